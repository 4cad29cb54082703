"""Whether predicates can be true for any row at all.

Takes: predicates that have to be true together, and what constants mean. Gives: whether no row can
pass, whatever the data. Never looks at a parameter's value, which is another the next time, and
never takes what it does not understand for false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlglot import exp

from gateway.computed import ZONED, TypedText
from gateway.constants import value_of
from gateway.implied import bare, flat
from gateway.moments import day_of, moment_of

_UNKNOWN = object()
# Three values: true, false, None for NULL; or that it is not known.
Truth = object
_COMPARED: dict[type[exp.Expr], Callable[[Any, Any], bool]] = {
    exp.EQ: lambda a, b: a == b,
    exp.NEQ: lambda a, b: a != b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
}
_TURNED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.EQ: exp.EQ, exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE,
}  # fmt: skip


def is_never_true(predicate: exp.Expression, timezone: str) -> bool:
    """Whether constants alone make a predicate false or NULL."""
    return any(_truth(one, timezone) in (False, None) for one in flat(predicate, exp.And))


def exclude_each_other(predicates: Iterable[exp.Expression], timezone: str) -> bool:
    """Whether no row can pass all of them; their constants are of their columns' types."""
    ranges: dict[tuple[str, str], _Range] = {}
    for predicate in predicates:
        for one in flat(predicate, exp.And):
            if _truth(one, timezone) in (False, None):
                return True
            for column, kind, value in _bounds(bare(one), timezone):
                ranges.setdefault((column.table, column.name), _Range()).narrow(kind, value)
    return any(one.is_empty for one in ranges.values())


def _truth(node: exp.Expression, timezone: str) -> Truth:
    node = bare(node)
    match node:
        case exp.Boolean():
            return bool(node.this)
        case exp.Null():
            return None
        case exp.Not():
            inner = _truth(node.this, timezone)
            return inner if inner is _UNKNOWN or inner is None else not inner
        case exp.And() | exp.Or():
            decisive = isinstance(node, exp.Or)
            found = [_truth(one, timezone) for one in flat(node, type(node))]
            if decisive in found:
                return decisive
            if _UNKNOWN in found:
                return _UNKNOWN
            return None if None in found else not decisive
        case _ if type(node) in _COMPARED:
            return _compared(type(node), node.this, node.expression, timezone)
        case exp.In() if not node.args.get("query") and not node.args.get("unnest"):
            found = [_compared(exp.EQ, node.this, one, timezone) for one in node.expressions]
            if True in found:
                return True
            return _UNKNOWN if _UNKNOWN in found else (None if None in found else False)
        case _:
            return _UNKNOWN


def _compared(
    kind: type[exp.Expr], left: exp.Expression, right: exp.Expression, timezone: str
) -> Truth:
    left, right = bare(left), bare(right)
    if isinstance(left, exp.Null) or isinstance(right, exp.Null):
        return None
    one, other = _value(left, timezone), _value(right, timezone)
    if one is None or other is None or type(one) is not type(other):
        return _UNKNOWN
    return _COMPARED[kind](one, other)


def _value(node: exp.Expression, timezone: str) -> object | None:
    """A constant in a form that compares as the merge engine does; None for what has none."""
    if isinstance(node, exp.Column):
        return None
    if not isinstance(node, exp.Literal) and node.find(exp.Parameter) is not None:
        return None
    if isinstance(node, exp.Cast) and node.to.this == exp.DType.DOUBLE:
        # Folded from a decimal of at most 15 digits, which orders as its double does.
        node = node.this
    value = value_of(node, (), timezone)
    if isinstance(value, TypedText):
        return _typed(value, timezone)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(node, exp.Cast) and isinstance(value, str):
        return None
    known = isinstance(value, bool | str | date | datetime)
    return value if known else None


def _typed(value: TypedText, timezone: str) -> object | None:
    if value.type_name == "DATE":
        return day_of(str(value))
    if value.type_name in ("TIMESTAMP", ZONED):
        return moment_of(str(value), value.type_name == ZONED, timezone)
    return str(value) if value.type_name == "VARCHAR" else None


def _bounds(
    node: exp.Expression, timezone: str
) -> Iterator[tuple[exp.Column, type[exp.Expr], object]]:
    """Columns with what they are compared with, folded to their type before."""
    match node:
        case exp.Between() if isinstance(node.this, exp.Column) and not node.args.get("symmetric"):
            for kind, key in ((exp.GTE, "low"), (exp.LTE, "high")):
                value = _value(node.args[key], timezone)
                if value is not None:
                    yield node.this, kind, value
        case exp.In() if isinstance(node.this, exp.Column) and node.expressions:
            values = [_value(one, timezone) for one in node.expressions]
            if None not in values:
                yield node.this, exp.In, values
        case _ if type(node) in _TURNED:
            left, right = node.this, node.expression
            is_turned = not isinstance(left, exp.Column)
            left, right = (right, left) if is_turned else (left, right)
            value = _value(right, timezone) if isinstance(left, exp.Column) else None
            if value is not None:
                yield left, _TURNED[type(node)] if is_turned else type(node), value


@dataclass(slots=True)
class _Range:
    """The values that a column may still have."""

    values: list[Any] | None = None
    bounds: list[tuple[type[exp.Expr], Any]] = field(default_factory=list)

    def narrow(self, kind: type[exp.Expr], value: Any) -> None:  # noqa: ANN401 - any constant
        """Take one more comparison in."""
        if kind in (exp.EQ, exp.In):
            given = value if kind is exp.In else [value]
            kept = self.values
            self.values = given if kept is None else [one for one in kept if one in given]
        else:
            self.bounds.append((kind, value))

    @property
    def is_empty(self) -> bool:
        """Whether no value is left."""
        known = [*(self.values or ()), *(value for _, value in self.bounds)]
        if len({type(one) for one in known}) > 1:
            return False
        if self.values is not None:
            return not any(
                all(_COMPARED[kind](one, value) for kind, value in self.bounds)
                for one in self.values
            )
        lows = [one for one in self.bounds if one[0] in (exp.GT, exp.GTE)]
        highs = [one for one in self.bounds if one[0] in (exp.LT, exp.LTE)]
        return any(
            low > high or (low == high and (begins, ends) != (exp.GTE, exp.LTE))
            for begins, low in lows
            for ends, high in highs
        )
