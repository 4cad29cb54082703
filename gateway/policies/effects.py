"""What a change of the policies does to one statement of one caller.

Takes: the statement decided before and after. Gives: effects, each with what it is about. Never
names a value or a literal of a policy: conditions are named by their policy or grant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.decision import ColumnDecision, Decision, TableDecision
from gateway.policies.replay import ALLOWED, Replayed
from gateway.resolve import Address

GAINS, LOSES, MASKED, CHANGES = "gains", "loses", "masked", "changes"
_ALL_ROWS = "all rows"


@dataclass(frozen=True, slots=True)
class Effect:
    """`kind` is gains, loses, masked, or changes where neither is certain.

    `what` is the statement, a table, `rows of` one, or a column; `by` the policies and grants.
    """

    kind: str
    what: str
    before: str
    after: str
    by: tuple[str, ...] = ()


def effects(before: Replayed, after: Replayed, order: Sequence[str]) -> tuple[Effect, ...]:
    """What changes; `order` are the kinds of masks, strictest first."""
    found: list[Effect] = []
    if before.verdict != after.verdict:
        kind = CHANGES
        if ALLOWED in (before.verdict, after.verdict):
            kind = LOSES if before.verdict == ALLOWED else GAINS
        found.append(Effect(kind, "statement", before.verdict, after.verdict))
    if before.decision is not None and after.decision is not None:
        found += _decisions(before, after, before.decision, after.decision, order)
    return tuple(found)


def _decisions(
    before: Replayed, after: Replayed, old: Decision, new: Decision, order: Sequence[str]
) -> Iterator[Effect]:
    if old.purpose != new.purpose:
        yield Effect(CHANGES, "purpose", old.purpose or "none", new.purpose or "none")
    for address in old.tables:
        if address not in new.tables:
            other = next((str(one.major) for one in new.tables if str(one) == str(address)), "none")
            yield Effect(CHANGES, f"version of {address}", str(address.major), other)
            continue
        read = before.columns.get(address, frozenset()) | after.columns.get(address, frozenset())
        pair = (old.tables[address], new.tables[address])
        yield from _rows(*pair)
        yield from _columns(*pair, read, order)
        yield from _groups(*pair)
    yield from _limits(old, new)


def _rows(old: TableDecision, new: TableDecision) -> Iterator[Effect]:
    what = f"rows of {old.address}"
    filters = [{one.policy: one.sql for one in each.filters} for each in (old, new)]
    yield from _told(what, "filtered", filters[0], filters[1], restricts=True)
    scopes = [_scopes(one) for one in (old, new)]
    if set(scopes[0].values()) == set(scopes[1].values()):
        return
    if not scopes[0] or not scopes[1]:
        kind = LOSES if not scopes[0] else GAINS
        shown = [", ".join(one) if one else _ALL_ROWS for one in scopes]
        by = tuple({**scopes[0], **scopes[1]})
        yield Effect(kind, what, f"granted {shown[0]}", f"granted {shown[1]}", by)
        return
    yield from _told(what, "granted", scopes[0], scopes[1], restricts=False)


def _scopes(table: TableDecision) -> Mapping[str, object]:
    """The scopes by grant; none where some grant gives every column of every row."""
    if any(one.condition is None and one.columns is None for one in table.scopes):
        return {}
    return {
        one.grant: (one.condition.sql if one.condition is not None else "", one.columns)
        for one in table.scopes
    }


def _told(
    what: str, word: str, old: Mapping[str, object], new: Mapping[str, object], *, restricts: bool
) -> Iterator[Effect]:
    """What came, went and changed, of things that restrict or of things that give."""
    shown = [f"{word} by {', '.join(one)}" if one else f"not {word}" for one in (old, new)]
    came = tuple(one for one in new if one not in old)
    gone = tuple(one for one in old if one not in new)
    other = tuple(one for one in new if one in old and new[one] != old[one])
    if came:
        yield Effect(LOSES if restricts else GAINS, what, shown[0], shown[1], came)
    if gone:
        yield Effect(GAINS if restricts else LOSES, what, shown[0], shown[1], gone)
    if other:
        yield Effect(CHANGES, what, shown[0], shown[1], other)


def _columns(
    old: TableDecision, new: TableDecision, read: frozenset[str], order: Sequence[str]
) -> Iterator[Effect]:
    was, now = ({one.name: one for one in each.columns} for each in (old, new))
    for name in sorted(read):
        before, after = was.get(name), now.get(name)
        yield from _keys(f"{old.address}.{name}", before, after)
        if _made(before) == _made(after):
            continue
        by = tuple(dict.fromkeys(one.policy for one in (before, after) if one and one.policy))
        kind = _kind(before, after, order)
        yield Effect(kind, f"{old.address}.{name}", _shown(before), _shown(after), by)


def _keys(
    name: str, before: ColumnDecision | None, after: ColumnDecision | None
) -> Iterator[Effect]:
    if before is None or after is None or bool(before.keys_stay) == bool(after.keys_stay):
        return
    kind, by = (LOSES, after.keys_stay) if after.keys_stay else (GAINS, before.keys_stay)
    shown = ["stay" if one.keys_stay else "may leave" for one in (before, after)]
    yield Effect(kind, f"keys of {name}", shown[0], shown[1], by)


def _made(column: ColumnDecision | None) -> object:
    """What a caller can tell apart: not which of two equal masks it was."""
    if column is None:
        return None
    expression = column.expression.sql if column.expression is not None else ""
    return (column.kind, dict(column.arguments), expression, column.type)


def _kind(
    before: ColumnDecision | None, after: ColumnDecision | None, order: Sequence[str]
) -> str:
    if after is None:
        return LOSES
    if before is None:
        return GAINS
    was, now = (_rank(one.kind, order) for one in (before, after))
    if was == now:
        return CHANGES
    return MASKED if now < was else GAINS


def _rank(kind: str, order: Sequence[str]) -> int:
    return order.index(kind) if kind in order else len(order)


def _shown(column: ColumnDecision | None) -> str:
    if column is None:
        return "hidden"
    return column.kind if column.kind == "clear" else f"masked: {column.kind}"


def _groups(old: TableDecision, new: TableDecision) -> Iterator[Effect]:
    was, now = old.aggregate, new.aggregate
    if was == now:
        return
    kind = CHANGES if was and now else LOSES if now else GAINS
    shown = [f"groups of {one.minimum}" if one else "rows" for one in (was, now)]
    by = tuple(dict.fromkeys(one.policy for one in (was, now) if one))
    yield Effect(kind, str(old.address), shown[0], shown[1], by)


def _limits(old: Decision, new: Decision) -> Iterator[Effect]:
    for name in sorted({*old.limits, *new.limits}):
        was, now = old.limits.get(name), new.limits.get(name)
        if was == now:
            continue
        kind = LOSES if was is None or (now is not None and now < was) else GAINS
        shown = ["none" if one is None else str(one) for one in (was, now)]
        yield Effect(kind, f"limit of {name}", shown[0], shown[1])
    if set(old.turns) != set(new.turns):
        by = tuple(sorted({policy for policy, _ in {*old.turns} ^ {*new.turns}}))
        shown = [", ".join(str(most) for _, most in each.turns) or "none" for each in (old, new)]
        yield Effect(CHANGES, "limit of statements at once", shown[0], shown[1], by)
    if set(old.quotas) != set(new.quotas):
        by = tuple(sorted({one.policy for one in {*old.quotas} ^ {*new.quotas}}))
        shown = [f"{len(each.quotas)} of a period" for each in (old, new)]
        yield Effect(CHANGES, "limits of a period", shown[0], shown[1], by)


def tables_of(*replayed: Replayed) -> tuple[Address, ...]:
    """The tables that decisions are about, each once."""
    found = (one for each in replayed if each.decision for one in each.decision.tables)
    return tuple(dict.fromkeys(found))
