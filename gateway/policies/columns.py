"""What policies may make of a column: outcomes, made at load.

Takes: a column and the policies that mask or hide it, or keep its keys at home. Gives: their
outcomes, or problems: a mask that its column cannot have, two different masks of one rank that
could meet (DESIGN 5, rules 3, 5 and 8). Never decides for anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import combinations
from types import MappingProxyType

from sqlglot import exp

from catalog.model import Column, Mask, Place, Policy, Subjects, Table
from gateway.constants import INTEGERS, family
from gateway.decision import (
    ColumnDecision,
    ColumnEntry,
    CompiledCondition,
    Condition,
    Outcome,
    Reason,
)
from gateway.policies.conditions import ConditionError, Entitled, compile_expression

_TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
_HASHED = INTEGERS | {"VARCHAR", "DATE", "UUID"}
_EVERYONE = (Subjects(everyone=True),)


@dataclass(slots=True)
class Shared:
    """What tables have in common, so that it is made once for a whole mesh.

    decisions: by policy and column. rivals: pairs of policies whose masks differ, by policies.
    """

    decisions: dict[tuple[str, str, str, str | None], ColumnDecision] = field(default_factory=dict)
    clear: dict[tuple[str, str], ColumnDecision] = field(default_factory=dict)
    rivals: dict[tuple[str, ...], tuple[tuple[Policy, Policy], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A table's columns under compilation.

    `bits` are the positions of its policies; `entitled` says what an author's conditions may ask.
    """

    address: str
    table: Table
    bits: Mapping[str, int]
    entitled: Callable[[str | None], Entitled]
    problems: list[str]
    shared: Shared


def kind_of(policy: Policy) -> str:
    """The rank's name of what a policy makes of a column."""
    if policy.effect == "keysStay":
        return "clear"
    return "hide" if policy.effect == "hide" else (policy.mask.kind if policy.mask else "null")


def column_entry(column: Column, policies: tuple[Policy, ...], asked: Asked) -> ColumnEntry:
    """A column with all its outcomes."""
    clear = asked.shared.clear.get((column.name, column.type))
    if clear is None:
        clear = ColumnDecision(column.name, column.type, column.type)
        asked.shared.clear[column.name, column.type] = clear
    if not policies:
        return ColumnEntry(column, clear)
    stays = sum(1 << asked.bits[one.id] for one in policies if one.effect == "keysStay")
    policies = tuple(one for one in policies if one.effect != "keysStay")
    rivals = _rivals(policies, f"{asked.address}.{column.name}", asked)
    outcomes = {}
    for one in policies:
        problem = mask_problem(one, column)
        if problem:
            asked.problems.append(told(one.place, one.id, f"mask {kind_of(one)}: {problem}"))
            continue
        made = _outcome(one, column, rivals.get(one.id, 0), asked)
        if made is not None:
            outcomes[asked.bits[one.id]] = made
    bits = sum(1 << number for number in outcomes)
    return ColumnEntry(column, clear, bits, MappingProxyType(outcomes), stays)


def _outcome(policy: Policy, column: Column, rivals: int, asked: Asked) -> Outcome | None:
    name, kind = f"{asked.address}.{column.name}", kind_of(policy)
    mark = f"{column.name}:{policy.id}"
    if kind == "hide":
        return Outcome(policy.id, None, Reason(name, "hidden", policy.id), mark)
    reason = Reason(name, f"masked: {kind}", policy.id)
    if kind == "clear":
        return Outcome(
            policy.id, ColumnDecision(column.name, column.type, column.type), reason, mark, None,
            rivals,
        )
    if kind != "expression":
        return Outcome(policy.id, _shared(policy, column, asked.shared), reason, mark, None, rivals)
    made = _expression(policy, column, asked)
    if made is None:
        return None
    fixed = made.expression.find(exp.Placeholder) is None
    decision = replace(
        _shared(policy, column, asked.shared),
        expression=Condition(policy.id, made.expression, made.sql),
    )
    return Outcome(policy.id, decision, reason, mark, None if fixed else made, rivals)


def _shared(policy: Policy, column: Column, shared: Shared) -> ColumnDecision:
    key = (policy.id, column.name, column.type, column.masked_type)
    made = shared.decisions.get(key)
    if made is None:
        assert policy.mask is not None
        made = shared.decisions[key] = ColumnDecision(
            column.name, column.type, _shown_type(policy.mask.kind, column), policy.mask.kind,
            policy.id, mask_arguments(policy.mask),
        )  # fmt: skip
    return made


def _shown_type(kind: str, column: Column) -> str:
    changes = kind in ("pseudonym", "partial", "expression")
    return (column.masked_type or column.type) if changes else column.type


def _expression(policy: Policy, column: Column, asked: Asked) -> CompiledCondition | None:
    assert policy.mask is not None
    try:
        return compile_expression(
            policy.id, policy.mask.sql or "", asked.table, _shown_type("expression", column),
            asked.entitled(policy.domain),
        )  # fmt: skip
    except ConditionError as error:
        asked.problems.append(told(policy.place, policy.id, f"mask expression: {error}"))
        return None


@lru_cache(maxsize=4096)
def mask_arguments(mask: Mask) -> Mapping[str, str]:
    """A mask's arguments as text, by name."""
    values = {
        "value": mask.value,
        "join_group": mask.join_group,
        "unit": mask.unit,
        "size": mask.size,
        "form": mask.form,
        "keep_first": str(mask.keep_first),
        "keep_last": str(mask.keep_last),
        "fill": mask.fill,
    }
    return MappingProxyType({name: one for name, one in values.items() if one is not None})


def mask_problem(policy: Policy, column: Column) -> str | None:
    """Why a column cannot have a mask."""
    mask = policy.mask
    if policy.effect == "hide" or mask is None:
        return None
    visible = column.masked_type or column.type
    if mask.kind in ("pseudonym", "partial") and family(visible) != "VARCHAR":
        return f"{column.name} is {column.type} and declares no text for its masked form"
    if mask.kind == "partial" and family(column.type) != "VARCHAR":
        return f"{column.name} is {column.type}; partial masks text only"
    if mask.kind == "pseudonym" and family(column.type) not in _HASHED:
        return f"{column.name} is {column.type}, which has no canonical text"
    return _bucket_problem(mask, column) if mask.kind == "bucket" else None


def _bucket_problem(mask: Mask, column: Column) -> str | None:
    kind = family(column.type)
    if kind in _TIMES:
        if kind == "DATE" and mask.unit == "hour":
            return f"{column.name} is a DATE, which has no hours"
        return None if mask.unit else f"{column.name} is {column.type} and needs a unit"
    if kind in INTEGERS | {"DOUBLE", "REAL", "DECIMAL"}:
        try:
            return None if float(mask.size or "") > 0 else "the size must be more than 0"
        except ValueError:
            return f"{column.name} is {column.type} and needs a size"
    return f"{column.name} is {column.type}; bucket masks numbers and times only"


def _rivals(policies: tuple[Policy, ...], column: str, asked: Asked) -> dict[str, int]:
    """By policy the bits of those of its rank with another mask; a problem where two may meet."""
    key = tuple(one.id for one in policies)
    pairs = asked.shared.rivals.get(key)
    if pairs is None:
        pairs = asked.shared.rivals[key] = tuple(_differing(policies))
    found: dict[str, int] = {}
    for one, other in pairs:
        found[one.id] = found.get(one.id, 0) | 1 << asked.bits[other.id]
        found[other.id] = found.get(other.id, 0) | 1 << asked.bits[one.id]
        if not disjoint(one, other):
            asked.problems.append(told(
                one.place, one.id,
                f"differs from {other.id} ({other.place}) on {column}, and both masks have one "
                "rank; make their subjects exclude each other or use one mask",
            ))  # fmt: skip
    return found


def _differing(policies: tuple[Policy, ...]) -> Iterator[tuple[Policy, Policy]]:
    """Pairs of policies with different masks of one rank."""
    masks = [one for one in policies if one.mask is not None]
    for one, other in combinations(masks, 2):
        assert one.mask is not None and other.mask is not None
        if one.mask.kind == other.mask.kind and one.mask != other.mask:
            yield one, other


def told(place: Place | None, name: str, message: str) -> str:
    """A problem as one line."""
    return f"{place}: {name}: {message}" if place is not None else f"{name}: {message}"


def disjoint(one: Policy, other: Policy) -> bool:
    """Whether nobody can ever meet both, as far as the files prove it."""
    if one.purposes and other.purposes and not (one.purposes & other.purposes):
        return True
    if _ends_before(one.until, other.valid_from) or _ends_before(other.until, one.valid_from):
        return True
    return all(
        _exclude(a, b)
        or any(_covers(u, a) for u in other.unless)
        or any(_covers(u, b) for u in one.unless)
        for a, b in _pairs(one, other)
    )


def _ends_before(until: object, start: object) -> bool:
    return until is not None and start is not None and until <= start  # type: ignore[operator]  # two times


def _pairs(one: Policy, other: Policy) -> Iterator[tuple[Subjects, Subjects]]:
    for a in one.subjects or _EVERYONE:
        for b in other.subjects or _EVERYONE:
            yield a, b


def _exclude(a: Subjects, b: Subjects) -> bool:
    """Nobody is two users; everything else somebody may be at once."""
    only_users = not (a.groups or a.roles or a.everyone or b.groups or b.roles or b.everyone)
    users = bool(only_users and a.users and b.users and not a.users & b.users)
    purposes = bool(a.purposes and b.purposes and not a.purposes & b.purposes)
    return (
        users or purposes or _ends_before(a.until, b.valid_from)
        or _ends_before(b.until, a.valid_from)
    )  # fmt: skip


def _covers(outer: Subjects, inner: Subjects) -> bool:
    """Whether whoever is meant by `inner` is surely meant by `outer`."""
    # Of an unknown client or address a restriction assumes the worst, an exemption the best.
    if inner.clients or inner.networks or outer.clients or outer.networks or outer.approval:
        return False
    conditions = (
        all(inner.attributes.get(name, frozenset()) and inner.attributes[name] <= values
            for name, values in outer.attributes.items())
        and (not outer.purposes or (bool(inner.purposes) and inner.purposes <= outer.purposes))
        and outer.hours in (None, inner.hours)
        and outer.valid_from in (None, inner.valid_from)
        and outer.until in (None, inner.until)
    )  # fmt: skip
    if not conditions:
        return False
    if outer.everyone or not (outer.users or outer.groups or outer.roles):
        return True
    named = inner.users or inner.groups or inner.roles
    return bool(
        named and not inner.everyone and inner.users <= outer.users
        and inner.groups <= outer.groups and inner.roles <= outer.roles
    )  # fmt: skip
