"""What is left of a restriction on the other side of a change.

Takes: a policy with the column that it concerned, and what concerns that column's counterpart.
Gives: the weakness, or None where something there is as strict. Filters: proven by `implication`,
else looked for by `counterexample`. Never lets pass what is neither proven nor refuted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from catalog.model import Policy, Table
from gateway.constants import INTEGERS, family
from gateway.decision import CompiledCondition
from gateway.policies.counterexample import CounterExample, counter_example
from gateway.policies.counterparts import Spot
from gateway.policies.implication import implies, joined
from gateway.policies.sides import Side
from gateway.policies.strictness import effect, whom


@dataclass(frozen=True, slots=True)
class Weakness:
    """Why nothing is as strict, and what is left: the policy's own id, another's, or ''."""

    why: str
    left: str = ""
    example: CounterExample | None = None
    # Somebody, some purpose or some time is left out; else what is done is weaker.
    spares: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """A column with the side that it is on."""

    spot: Spot
    side: Side


def weakness(
    policy: Policy, old: Standing, candidates: Mapping[str, Policy], new: Standing
) -> Weakness | None:
    """What is weaker than the policy was; None where something is as strict.

    `candidates` are by id: the policy itself is asked first, and mostly nobody else.
    """
    before = old.side.restriction(policy)
    filters: list[Policy] = []
    reasons: list[Weakness] = []
    for one in _asked(policy, candidates):
        after = new.side.restriction(one)
        if after == before and policy.effect != "filter":
            return None
        why = whom(after, before, new.side.now)
        if why is None and policy.effect == one.effect == "filter":
            filters.append(one)
            continue
        spares = why is not None
        why = why or effect(one, policy, new.side.order)
        if why is None:
            return None
        reasons.append(Weakness(why, one.id, spares=spares))
    if policy.effect == "filter":
        return _of_filters(policy, old, filters, reasons, new)
    return _nearest(policy, reasons)


def _asked(policy: Policy, candidates: Mapping[str, Policy]) -> Iterator[Policy]:
    if policy.id in candidates:
        yield candidates[policy.id]
    yield from (one for one in candidates.values() if one.id != policy.id)


def _nearest(policy: Policy, reasons: list[Weakness]) -> Weakness:
    """What to tell: of the policy itself, else that it is gone."""
    own = next((one for one in reasons if one.left == policy.id), None)
    if own is not None:
        return own
    others = tuple(one.left for one in reasons)
    return Weakness("matches it no more", others[0] if len(others) == 1 else "")


def _is_comparable(condition: CompiledCondition, before: Table, after: Table) -> bool:
    """Whether the columns of a condition kept their types, or are whole numbers still."""
    for name in {one.name for one in condition.expression.find_all(exp.Column)}:
        old, new = before.column(name), after.column(name)
        if old is None or new is None:
            return False
        if old.type != new.type and not {family(old.type), family(new.type)} <= INTEGERS:
            return False
    return True


def _of_filters(
    policy: Policy, old: Standing, filters: list[Policy], reasons: list[Weakness], new: Standing
) -> Weakness | None:
    wanted = old.side.condition(policy, old.spot)
    if wanted is None:
        # It never held there: the governance group wrote it for what the table has become.
        return None
    made = [new.side.condition(one, new.spot) for one in filters]
    held = [one for one in made if one is not None]
    every = joined(held)
    if every is not None and _is_comparable(wanted, old.spot.table, new.spot.table) and (
        any(one.sql == wanted.sql for one in held) or implies(every, wanted)
    ):  # fmt: skip
        return None
    table = new.spot.table if held else old.spot.table
    example = counter_example(every, wanted, table)
    if not held:
        found = _nearest(policy, reasons)
        return Weakness(found.why, found.left, example, found.spares)
    why = "lets more rows through" if example else "is not shown to let no more rows through"
    return Weakness(why, held[0].policy, example)
