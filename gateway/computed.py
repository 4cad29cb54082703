"""Constant expressions computed as the merge engine would.

Takes: an expression over constants, the values of its operands, a time zone. Gives: its Python
value, or None where the engine might give another or fail. Never computes with floats, never goes
beyond 32 bits or 18 digits, where the engine's own types begin to matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType

from sqlglot import exp

from gateway.moments import day_of, later, moment_of, span_of, truncated, without_zone
from gateway.trees import text_of

Operand = Callable[[exp.Expression], object]
ZONED = "TIMESTAMP WITH TIME ZONE"
_WHOLE = re.compile(r"-?\d{1,9}")
_BITS = {"TINYINT": 7, "SMALLINT": 15, "INTEGER": 31, "BIGINT": 63}
_CENTURIES = 400 * 366


class TypedText(str):
    """A text literal that the query casts to `type_name`, such as DATE '2013-07-01'."""

    type_name: str

    def __new__(cls, text: str, type_name: str) -> TypedText:
        """A text with its type."""
        made = super().__new__(cls, text)
        made.type_name = type_name
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # two make one
        """What a copy is made from: trees that hold such a text are copied."""
        return str(self), self.type_name


_NAMES = MappingProxyType(
    {"INT": "INTEGER", "INT128": "HUGEINT", "TEXT": "VARCHAR", "TIMESTAMPTZ": ZONED}
)


def name_of_type(data_type: exp.DataType) -> str:
    """A type as contracts name it."""
    kind = data_type.this
    is_bare = isinstance(kind, exp.DType) and not any(
        value for key, value in data_type.args.items() if key != "this"
    )
    return _name_of_bare(kind) if is_bare else _written(data_type)


@lru_cache
def _name_of_bare(kind: exp.DType) -> str:
    return _written(exp.DataType(this=kind))


def _written(data_type: exp.DataType) -> str:
    made = text_of(data_type).replace(", ", ",")
    return _NAMES.get(made, made)


def computed(node: exp.Expression, operand: Operand, timezone: str) -> object | None:
    """The value of a constant expression that is no literal."""
    match node:
        case exp.Add() | exp.Sub() | exp.DateAdd() | exp.DateSub():
            return _sum(node, operand, timezone)
        case exp.Mul():
            return _number(node, operand(node.this), operand(node.expression))
        case exp.TimestampTrunc() | exp.DateTrunc():
            unit = node.args["unit"].name.upper()
            return truncated(unit, _timed(operand(node.this), timezone), timezone)
        case exp.DateFromParts():
            return _day(*(operand(node.args[key]) for key in ("year", "month", "day")))
        case exp.Cast() if not isinstance(node, exp.TryCast):
            return _cast(operand(node.this), name_of_type(node.to), timezone)
        case _:
            return None


def _sum(node: exp.Expression, operand: Operand, timezone: str) -> object | None:
    left, right = node.this, node.expression
    backwards = isinstance(node, exp.Sub | exp.DateSub)
    if isinstance(left, exp.Interval) and not backwards:
        left, right = right, left
    span = span_of(right)
    if span is not None:
        return later(_timed(operand(left), timezone), -span if backwards else span, timezone)
    if isinstance(node, exp.DateAdd | exp.DateSub):
        return None
    one, other = _timed(operand(left), timezone), operand(right)
    if isinstance(one, date) and not isinstance(one, datetime):
        return _days_later(one, other, -1 if backwards else 1)
    return _number(node, one, other)


def _days_later(day: date, count: object, sign: int) -> date | None:
    whole = isinstance(count, int) and not isinstance(count, bool) and abs(count) < _CENTURIES
    if not whole:
        return None
    assert isinstance(count, int)
    try:
        return day + timedelta(days=sign * count)
    except OverflowError:
        return None


def _number(node: exp.Expression, one: object, other: object) -> object | None:
    if node.find(exp.Cast) is not None:
        # The narrower type of a cast may overflow.
        return None
    if not all(isinstance(each, int | Decimal) for each in (one, other)):
        return None
    if isinstance(one, bool) or isinstance(other, bool):
        return None
    assert isinstance(one, int | Decimal)
    assert isinstance(other, int | Decimal)
    if not (_is_small(one) and _is_small(other)):
        return None
    left, right = (one, other) if isinstance(one, int) and isinstance(other, int) else (
        Decimal(one), Decimal(other)
    )  # fmt: skip
    match node:
        case exp.Add():
            value = left + right
        case exp.Sub():
            value = left - right
        case _:
            value = left * right
    return value if _is_small(value) else None


def _is_small(value: int | Decimal) -> bool:
    if isinstance(value, int):
        return abs(value) < 2**31
    _, digits, exponent = value.as_tuple()
    return isinstance(exponent, int) and -9 <= exponent <= 0 and len(digits) <= 9


def _day(*parts: object) -> date | None:
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in parts):
        return None
    try:
        return date(*parts)  # type: ignore[arg-type]  # whole numbers, as was just seen
    except (OverflowError, ValueError):
        return None


def _timed(value: object, timezone: str) -> object:
    """A typed text as the date or the moment that it is; all else as it was."""
    if not isinstance(value, TypedText):
        return value
    if value.type_name == "DATE":
        return day_of(str(value))
    if value.type_name in ("TIMESTAMP", ZONED):
        return moment_of(str(value), value.type_name == ZONED, timezone)
    return value


def _cast(value: object, target: str, timezone: str) -> object | None:
    value = _timed(value, timezone)
    zoned = target == ZONED
    if target == "DATE":
        if isinstance(value, datetime):
            local = value if value.tzinfo is None else without_zone(value, timezone)
            return None if local is None else local.date()
        return day_of(value)
    if target in ("TIMESTAMP", ZONED):
        if isinstance(value, datetime) and value.tzinfo is not None and not zoned:
            return without_zone(value, timezone)
        return moment_of(value, zoned, timezone)
    if target in _BITS:
        return _whole(value, target)
    if target == "VARCHAR":
        plain = isinstance(value, int) and not isinstance(value, bool)
        return TypedText(str(value), "VARCHAR") if plain else None
    return _decimal(value, target) if target.startswith("DECIMAL(") else None


def _whole(value: object, target: str) -> int | None:
    if isinstance(value, str) and not isinstance(value, TypedText) and _WHOLE.fullmatch(value):
        value = int(value)
    plain = isinstance(value, int) and not isinstance(value, bool)
    return value if plain and isinstance(value, int) and abs(value) < 2 ** _BITS[target] else None


def _decimal(value: object, target: str) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    precision, scale = (int(one) for one in target[8:-1].split(","))
    made = Decimal(value)
    if not made.is_finite():
        return None
    scaled = made.scaleb(scale)
    fits = scaled == scaled.to_integral_value() and abs(scaled) < Decimal(10) ** precision
    return made if fits else None
