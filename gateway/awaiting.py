"""Whether values of sub-queries are worth waiting for.

Takes: the slots of a fragment for them, how many rows it has, what rows cost and how long each
provider takes. Gives: those that are worth it. Pure, and by estimates alone: never by a value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from gateway.draft import LateSlot, PlannedFragment, ValueSlot

# Microseconds that a source needs for a row that it only reads or counts, and does not deliver.
_READ = 0.15
# Microseconds that the merge engine needs for a row that it joins and adds up.
_MERGED = 0.05


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


def late_cost(
    slot: LateSlot, cost: Callable[[float, float], float], core: float
) -> float:
    """Milliseconds of the first rows alone, for which the source counts its keys.

    cost: of so many rows and keys; core: rows that the merge engine goes through once more.
    """
    return cost(slot.taken, slot.taken) + (slot.read * _READ + core * _MERGED) / 1000


def read_for(provider: PlannedFragment) -> float:
    """Milliseconds in which a source reads what a fragment makes few rows of."""
    return sum(rows for _, rows in provider.apart) * _READ / 1000
