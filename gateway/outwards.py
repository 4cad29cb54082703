"""Values that a column is compared with become bounds of exactly the column's type.

Takes: how a column compares, with which values, its DuckDB type. Gives: between what its values lie
where the comparison can be true: never less than that, so more where the engine compares as floats,
rounded outwards. Nothing where nobody can tell, such as for NaN, for infinity, or for a value of
another kind. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pyarrow as pa

from gateway.computed import ZONED
from gateway.constants import INTEGERS, decimal_shape, family, integer_bounds

Bound = int | Decimal | float | str | date | datetime

# Where values are compared as floats, they are off by less than that share of them: those of 64
# bits, however they were made, and those of 32.
_OFF, _OFF_SINGLE = Fraction(1, 2**40), Fraction(1, 2**18)
_FIRST, _LAST = date(1, 1, 1), date(9999, 12, 31)
_DAY_ZERO = date(1970, 1, 1)
_MOMENT_ZERO = datetime(1970, 1, 1)
_DAY = 86_400_000_000
_PER_MICROSECOND = {
    "s": Fraction(1_000_000), "ms": Fraction(1_000), "us": Fraction(1), "ns": Fraction(1, 1_000)
}  # fmt: skip
# Digits of what may be a whole number without a decimal's exactness.
_WIDEST = 38


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which values a column lies, both ends included. is_empty: no row can pass."""

    low: Bound | None = None
    high: Bound | None = None
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class _Point:
    """A value in a column's steps; `off`: the share of it by which a comparison may be wrong."""

    steps: Fraction
    off: Fraction = Fraction(0)


def bounds(operator: str, values: Sequence[pa.Scalar], kind: str) -> Bounds | None:
    """What a comparison leaves of a column of this type; None where that may be everything."""
    if any(not one.is_valid for one in values):
        return Bounds(is_empty=True)
    if kind == "VARCHAR":
        texts = [_text(one) for one in values]
        return _ends(operator, texts)
    if kind == "DOUBLE":
        return _of_doubles(operator, values)
    points = [_point(one, kind) for one in values]
    if any(one is None for one in points):
        return None
    known = [one for one in points if one is not None]
    off = max(one.off for one in known)
    low, high = _steps(operator, [one.steps for one in known], off)
    return _of_steps(low, high, kind)


def _ends(operator: str, values: Sequence[Bound | None]) -> Bounds | None:
    """The ends themselves: one more value than a strict comparison lets pass."""
    if any(one is None for one in values):
        return None
    low = values[0] if operator in ("EQ", "GT", "GTE", "Between") else None
    high = values[-1] if operator in ("EQ", "LT", "LTE", "Between") else None
    return Bounds(low, high)


def _text(value: pa.Scalar) -> str | None:
    if not (pa.types.is_string(value.type) or pa.types.is_large_string(value.type)):
        return None
    text = value.as_py()
    # PostgreSQL has no text with that.
    return None if "\0" in text else str(text)


def _of_doubles(operator: str, values: Sequence[pa.Scalar]) -> Bounds | None:
    numbers = [_number(one) for one in values]
    known = [one for one in numbers if one is not None]
    if len(known) < len(numbers):
        return None
    # A sum of floats may differ in its last digits from the one that the merge compares with.
    lows = [_as_float(one - abs(one) * _OFF) for one in known]
    highs = [_as_float(one + abs(one) * _OFF) for one in known]
    if not all(math.isfinite(one) for one in (*lows, *highs)):
        return None
    made = _ends(operator, lows)
    other = _ends(operator, highs)
    return None if made is None or other is None else Bounds(made.low, other.high)


def _as_float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _number(value: pa.Scalar) -> Fraction | None:
    """A finite number; NaN and infinity have no place in a column of numbers."""
    kind = value.type
    if pa.types.is_boolean(kind):
        return None
    if not (pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind)):
        return None
    plain = value.as_py()
    return Fraction(plain) if math.isfinite(plain) else None


def _point(value: pa.Scalar, kind: str) -> _Point | None:
    held = family(kind)
    if held in INTEGERS or held == "DECIMAL":
        number = _number(value)
        if number is None:
            return None
        scale = decimal_shape(kind)[1] if held == "DECIMAL" else 0
        return _Point(number * 10**scale, _off(value.type, held))
    moment = _moment(value, is_zoned=held == ZONED)
    if moment is None:
        return None
    return _Point(moment.steps / _DAY, moment.off) if held == "DATE" else moment


def _off(kind: pa.DataType, held: str) -> Fraction:
    """How far a comparison of a number of this type with the column's family may be off."""
    if pa.types.is_float64(kind):
        return _OFF
    if pa.types.is_floating(kind):
        return _OFF_SINGLE
    # As wide as that it may be a HUGEINT, with which decimals are compared as floats.
    is_wide = pa.types.is_decimal(kind) and kind.precision >= _WIDEST
    return _OFF if is_wide and held == "DECIMAL" else Fraction(0)


def _moment(value: pa.Scalar, is_zoned: bool) -> _Point | None:
    """A date or a moment in microseconds; one with a zone only beside those that have one."""
    kind = value.type
    if pa.types.is_date32(kind) and not is_zoned:
        return _Point(Fraction(value.cast(pa.int32()).as_py() * _DAY))
    if not pa.types.is_timestamp(kind) or (kind.tz is not None) != is_zoned:
        return None
    steps = value.cast(pa.int64()).as_py() * _PER_MICROSECOND[kind.unit]
    return _Point(steps, _OFF if kind.unit == "ns" else Fraction(0))


def _steps(
    operator: str, points: Sequence[Fraction], off: Fraction
) -> tuple[int | None, int | None]:
    """The lowest and the highest whole step that may pass."""
    first, last = points[0], points[-1]
    low: int | None = None
    high: int | None = None
    if off:
        if operator in ("EQ", "GT", "GTE", "Between"):
            low = math.ceil(first - abs(first) * off)
        if operator in ("EQ", "LT", "LTE", "Between"):
            high = math.floor(last + abs(last) * off)
        return low, high
    if operator in ("EQ", "GTE", "Between"):
        low = math.ceil(first)
    elif operator == "GT":
        low = math.floor(first) + 1
    if operator in ("EQ", "LTE", "Between"):
        high = math.floor(last)
    elif operator == "LT":
        high = math.ceil(last) - 1
    return low, high


def _of_steps(low: int | None, high: int | None, kind: str) -> Bounds | None:
    """As values of the type; what lies beyond all of them bounds nothing, or leaves nothing."""
    if low is not None and high is not None and low > high:
        return Bounds(is_empty=True)
    held = family(kind)
    if held in INTEGERS or held == "DECIMAL":
        least, most = _extent(kind)
        if (low is not None and low > most) or (high is not None and high < least):
            return Bounds(is_empty=True)
        low = None if low is not None and low <= least else low
        high = None if high is not None and high >= most else high
        scale = decimal_shape(kind)[1] if held == "DECIMAL" else None
        return _known(_value(low, scale), _value(high, scale))
    make = _day if held == "DATE" else _zoned if held == ZONED else _unzoned
    made = [None if one is None else make(one) for one in (low, high)]
    # A source may hold dates that have no form here.
    given = [one for one in (low, high) if one is not None]
    if len([one for one in made if one is not None]) < len(given):
        return None
    return _known(*made)


def _known(low: Bound | None, high: Bound | None) -> Bounds | None:
    return None if low is None and high is None else Bounds(low, high)


def _extent(kind: str) -> tuple[int, int]:
    if family(kind) != "DECIMAL":
        return integer_bounds(kind)
    most = 10 ** decimal_shape(kind)[0] - 1
    return -most, most


def _value(steps: int | None, scale: int | None) -> int | Decimal | None:
    if steps is None or scale is None:
        return steps
    # Made of digits: no context rounds it.
    sign, digits = int(steps < 0), tuple(int(one) for one in str(abs(steps)))
    return Decimal((sign, digits, -scale))


def _day(steps: int) -> date | None:
    zero = _DAY_ZERO.toordinal()
    if not _FIRST.toordinal() <= steps + zero <= _LAST.toordinal():
        return None
    return date.fromordinal(steps + zero)


def _unzoned(steps: int) -> datetime | None:
    try:
        return _MOMENT_ZERO + timedelta(microseconds=steps)
    except OverflowError:
        return None


def _zoned(steps: int) -> datetime | None:
    made = _unzoned(steps)
    return None if made is None else made.replace(tzinfo=UTC)
