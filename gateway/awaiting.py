"""Whether values of sub-queries are worth waiting for.

Takes: the slots of a fragment for them, how many rows it has, what rows cost and how long each
provider takes. Gives: those that are worth it. Pure, and by estimates alone: never by a value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from gateway.draft import PlannedFragment, ValueSlot

# What a source spends on a row that it only adds up, to what it costs to deliver it.
_READ = 0.1


@dataclass(frozen=True, slots=True)
class Awaited:
    """The values to be sent, with the rows that are left and the longest wait for a provider."""

    values: tuple[ValueSlot, ...]
    rows: float
    waited: float

    def providers(self, ended: Collection[str]) -> frozenset[str]:
        """Those that have to end first."""
        return frozenset(name for one in self.values for name in one.providers) - set(ended)


@dataclass(frozen=True, slots=True)
class Costs:
    """cost: milliseconds of so many rows. lost: the share of waiting that counts as lost.

    worth: what of the cost has to be left at most.
    """

    cost: Callable[[float], float]
    lost: float
    worth: float


def awaited(
    slots: Sequence[ValueSlot], rows: float, waits: Callable[[str], float], costs: Costs
) -> Awaited:
    """The slots that are worth it, the one that leaves out most first."""
    best, spent = Awaited((), rows, 0.0), costs.cost(rows)
    for slot in sorted(slots, key=lambda one: one.share):
        longest = max(best.waited, *(waits(name) for name in slot.providers))
        left = best.rows * slot.share
        keyed = costs.cost(left) + costs.lost * longest
        if keyed < spent * costs.worth:
            best, spent = Awaited((*best.values, slot), left, longest), keyed
    return best


def read_for(provider: PlannedFragment, row: float) -> float:
    """Milliseconds in which a source reads what a fragment makes few rows of; row: of one."""
    return sum(rows for _, rows in provider.apart) * row * _READ / 1000
