"""A decision under what a decision point said: it only ever restricts further.

Takes: the decision of the mesh's own rules, and for each table filters and masks in Trino's SQL.
Gives: the `Decision` of both: every filter beside the others, of two masks the stricter, NULL where
a mask from outside would show what the mesh's own rules do not. Raises `AnswerError` for an
expression that may fail, that does not mean the same, or that has another type than the column.
Never grants.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType

from sqlglot import exp

from gateway.decision import (
    Alert,
    ColumnDecision,
    Condition,
    Decision,
    Reason,
    TableDecision,
)
from gateway.decision_point.expressions import RULE, Place, condition, mask
from gateway.decision_point.wire import AnswerError
from gateway.policies.conditions import ConditionError
from gateway.resolve import Address

_NOTHING: Mapping[str, str] = MappingProxyType({})
# How Trino names the clock; a text that merely looks like it only costs what could be remembered.
_CLOCK = re.compile(r"current_|\bnow\b|\blocaltime", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of one table: filters, and masks by column."""

    place: Place
    filters: tuple[str, ...] = ()
    masks: Mapping[str, str] = field(default_factory=lambda: _NOTHING, hash=False)


@dataclass(slots=True)
class _Gathered:
    """What the restricted decision says beside its tables."""

    order: tuple[str, ...]
    reasons: list[Reason] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)


def restricted(
    decision: Decision, said: Mapping[Address, Said], order: tuple[str, ...]
) -> Decision:
    """The decision of both; `order` is that of masks, strictest first."""
    gathered = _Gathered(order)
    tables = {
        address: _table(table, said[address], gathered)
        for address, table in decision.tables.items()
    }
    marks = "\x1f".join((RULE, decision.fingerprint, *gathered.marks))
    return replace(
        decision,
        tables=tables,
        valid_until=None if _reads_clock(said) else decision.valid_until,
        fingerprint=sha256(marks.encode()).hexdigest(),
        own_fingerprint=decision.fingerprint,
        reasons=(*decision.reasons, *gathered.reasons),
        alerts=(*decision.alerts, *gathered.alerts),
    )


def _reads_clock(said: Mapping[Address, Said]) -> bool:
    texts = [text for one in said.values() for text in (*one.filters, *one.masks.values())]
    return any(_CLOCK.search(text) for text in texts)


def _table(table: TableDecision, said: Said, gathered: _Gathered) -> TableDecision:
    subject = str(table.address)
    gathered.reasons.append(Reason(subject, "permitted", RULE))
    filters = tuple(
        _checked(f"row filter {number} of {subject}", text, said.place)
        for number, text in enumerate(said.filters, start=1)
    )
    if filters:
        gathered.reasons.append(Reason(subject, "rows filtered", RULE))
    gathered.marks += (subject, *(one.sql for one in filters))
    columns = tuple(
        _column(one, table, said, gathered) if one.name in said.masks else one
        for one in table.columns
    )
    return replace(table, filters=(*table.filters, *filters), columns=columns)


def _checked(what: str, text: str, place: Place, type_name: str | None = None) -> Condition:
    try:
        return mask(text, type_name, place) if type_name else condition(text, place)
    except ConditionError as error:
        raise AnswerError(f"{what}: {error}; it reads: {text}") from None


def _column(
    own: ColumnDecision, table: TableDecision, said: Said, gathered: _Gathered
) -> ColumnDecision:
    """The stricter of the column's own mask and the one from outside."""
    name = f"{table.address}.{own.name}"
    made = _checked(f"the mask of {name}", said.masks[own.name], said.place, own.type)
    kind = _kind(made.expression)
    gathered.marks += (name, made.sql)
    if _rank(own.kind, gathered) < _rank(kind, gathered):
        return own
    if kind == "null":
        gathered.reasons.append(Reason(name, "masked: null", RULE))
        return replace(own, kind="null", policy=RULE, expression=None)
    if own.kind == kind and own.expression is not None and own.expression.sql == made.sql:
        return own
    if own.kind == kind or not _shows_no_more(made.expression, own, table):
        return _null(own, name, table.address.domain, gathered)
    gathered.reasons.append(Reason(name, "masked: expression", RULE))
    return replace(own, kind="expression", policy=RULE, expression=made)


def _kind(expression: exp.Expression) -> str:
    """The rank's name: what reads no column is a constant."""
    if isinstance(expression, exp.Null):
        return "null"
    return "expression" if expression.find(exp.Column) is not None else "constant"


def _rank(kind: str, gathered: _Gathered) -> int:
    # What the order does not name is as weak as can be.
    return gathered.order.index(kind) if kind in gathered.order else len(gathered.order)


def _shows_no_more(expression: exp.Expression, own: ColumnDecision, table: TableDecision) -> bool:
    """Whether it reads only what the caller sees clear wherever he sees the column."""
    columns = {one.name: one for one in table.columns}
    covering = [s for s in table.scopes if s.columns is None or own.name in s.columns]
    for column in expression.find_all(exp.Column):
        read = columns.get(column.name)
        if read is None or read.kind != "clear":
            return False
        if any(s.columns is not None and read.name not in s.columns for s in covering):
            return False
        if table.aggregate is not None and read.name != own.name:
            # Where only groups are shown, a column stands for itself alone.
            return False
    return True


def _null(
    own: ColumnDecision, name: str, domain: str, gathered: _Gathered
) -> ColumnDecision:
    gathered.marks.append("null")
    gathered.reasons.append(Reason(name, "masked: null, since two masks exclude each other", RULE))
    gathered.alerts.append(Alert(
        domain,
        f"The decision point's mask of {name} differs from its own of the same rank, or would show "
        "what the caller does not see clear; the column is shown as NULL.",
    ))  # fmt: skip
    return replace(own, kind="null", policy=RULE, expression=None)
