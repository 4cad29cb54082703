"""Dates, times and timestamps as PostgreSQL writes them, in text (ISO) and in binary.

Takes: Arrow columns, in microseconds at most. Gives: columns of bytes. Never walks over rows in
Python; a value that PostgreSQL has no room for is a type_error.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.errors import TypeMismatch
from gateway.serve.pgwire.encoding.matrices import (
    Field,
    Integers,
    Mask,
    Matrix,
    integers,
    of_fixed,
    of_matrix,
    without_leading_zeros,
    without_trailing_zeros,
    write_digits,
)

_SECOND, _DAY = 1_000_000, 86_400_000_000
# From 1970, where Arrow begins, to 2000, where PostgreSQL does.
_EPOCH_DAYS = 10_957
_EPOCH = _EPOCH_DAYS * _DAY
_NO_DATE = np.iinfo(np.int32).max
_NO_MOMENT = np.iinfo(np.int64).max
# The years 1 to 9999, which Arrow writes as PostgreSQL does.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_YEAR, _DATE = 7, 13
_CLOCK, _FRACTION = 8, 7
_BC = np.frombuffer(b" BC", np.uint8)
# A time of day with its offset, as DuckDB writes it.
_ZONED_TIME = (
    r"^(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?"
    r"(?P<sign>[+-])(?P<hours>\d\d)(?::(?P<minutes>\d\d))?(?::(?P<seconds>\d\d))?$"
)
_WIRE_ZONED_TIME = np.dtype([("micros", ">i8"), ("west", ">i4")])


def date_text(column: pa.Array) -> pa.Array:
    """`2013-01-31`, `0044-03-15 BC`, `infinity`."""
    days = integers(column)
    if _is_within(days, _FIRST_DAY, _LAST_DAY):
        return column.cast(pa.string()).cast(pa.binary())
    matrix = np.empty((len(days), _DATE + 3), np.uint8)
    mask = np.ones(matrix.shape, np.bool_)
    _write_date(matrix, mask, np.where(np.abs(days) >= _NO_DATE, 0, days))
    return _with_infinity(of_matrix(matrix, column, mask), days, _NO_DATE)


def time_text(column: pa.Array) -> pa.Array:
    """`01:02:03.5`."""
    column = _micro(column)
    moments = integers(column)
    if _is_within(moments, 0, _DAY - 1):
        return _trimmed(column)
    matrix = np.empty((len(moments), _CLOCK + _FRACTION), np.uint8)
    mask = np.ones(matrix.shape, np.bool_)
    _write_clock(matrix, mask, 0, moments)
    return of_matrix(matrix, column, mask)


def timestamp_text(column: pa.Array) -> pa.Array:
    """`2013-01-31 01:02:03.5`; a zoned one with its offset in the zone of its type."""
    column = _micro(column)
    moments = integers(column)
    zone = column.type.tz
    if _is_utc(zone) and _is_within(moments, _FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY - 1):
        plain = column.cast(pa.int64()).cast(pa.timestamp("us"))
        texts = _seconds(plain) if _is_whole(moments) else _trimmed(plain)
        return pc.binary_join_element_wise(texts, b"+00", b"") if zone else texts
    never = np.abs(moments) >= _NO_MOMENT
    shown = np.where(never, 0, moments)
    offsets = _offsets(zone, shown) if zone else None
    local = shown if offsets is None else shown + offsets * 1_000_000
    wide = _DATE + 1 + _CLOCK + _FRACTION
    matrix = np.empty((len(moments), wide + (0 if offsets is None else 9) + 3), np.uint8)
    mask = np.ones(matrix.shape, np.bool_)
    days = local // _DAY
    _write_date(matrix, mask, days)
    matrix[:, _DATE] = ord(" ")
    _write_clock(matrix, mask, _DATE + 1, local - days * _DAY)
    if offsets is not None:
        _write_offset(matrix, mask, wide, offsets)
    return _with_infinity(of_matrix(matrix, column, mask), moments, _NO_MOMENT)


def date_values(column: pa.Array) -> Field:
    """Days since 2000."""
    days = integers(column)
    made = np.select(
        [days >= _NO_DATE, days <= -_NO_DATE],
        [_NO_DATE, -_NO_DATE - 1],
        days - _EPOCH_DAYS,
    )
    if len(made) and int(made.min()) < -_NO_DATE - 1:
        raise _beyond("date")
    return made.astype(">i4")


def time_values(column: pa.Array) -> Field:
    """Microseconds of the day."""
    return integers(_micro(column)).astype(">i8")


def zoned_time_binary(column: pa.Array) -> pa.Array:
    """Microseconds of the day, and seconds west of UTC."""
    parts = pc.extract_regex(column.cast(pa.string()), _ZONED_TIME)

    def number(name: str) -> Integers:
        digits = pc.struct_field(parts, name)
        if name == "fraction":
            digits = pc.utf8_rpad(digits, 6, "0")
        is_there = pc.fill_null(pc.not_equal(digits, ""), False)
        return integers(pc.if_else(is_there, digits, "0").cast(pa.int64()))

    made = np.empty(len(column), _WIRE_ZONED_TIME)
    seconds = number("hour") * 3_600 + number("minute") * 60 + number("second")
    made["micros"] = seconds * 1_000_000 + number("fraction")
    east = number("hours") * 3_600 + number("minutes") * 60 + number("seconds")
    is_west = pc.fill_null(pc.equal(pc.struct_field(parts, "sign"), "-"), False)
    made["west"] = np.where(is_west.to_numpy(zero_copy_only=False), east, -east)
    return of_fixed(made, column)


def timestamp_values(column: pa.Array) -> Field:
    """Microseconds since 2000."""
    moments = integers(_micro(column))
    if _is_within(moments, -_NO_MOMENT + _EPOCH, _NO_MOMENT - 1):
        return (moments - _EPOCH).astype(">i8")
    if np.any((moments < -_NO_MOMENT + _EPOCH) & (moments > -_NO_MOMENT)):
        raise _beyond("timestamp")
    made = np.select(
        [moments >= _NO_MOMENT, moments <= -_NO_MOMENT],
        [_NO_MOMENT, -_NO_MOMENT - 1],
        moments - _EPOCH,
    )
    return made.astype(">i8")


def _is_within(values: Integers, least: int, most: int) -> bool:
    """Whether all are between two bounds, or there are none."""
    return not len(values) or (int(values.min()) >= least and int(values.max()) <= most)


def _beyond(kind: str) -> TypeMismatch:
    return TypeMismatch(
        f"A {kind} of the answer lies before what the PostgreSQL protocol can hold.",
        hint="Cast the column to text.",
    )


def _micro(column: pa.Array) -> pa.Array:
    """In microseconds, of which PostgreSQL has no parts."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit != "us":
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_time(kind) and kind != pa.time64("us"):
        return column.cast(pa.time64("us"), safe=False)
    return column


def _trimmed(column: pa.Array) -> pa.Array:
    """As Arrow writes it, which is six digits of a second, without those at the end that are 0."""
    return pc.ascii_rtrim(pc.ascii_rtrim(column.cast(pa.string()), "0"), ".").cast(pa.binary())


def _is_whole(moments: Integers) -> bool:
    """Whether none has parts of a second; the first tells it of most that have."""
    return bool(not len(moments) or (moments[0] % _SECOND == 0 and not (moments % _SECOND).any()))


def _seconds(column: pa.Array) -> pa.Array:
    """The same without a fraction, all as wide as one another."""
    return column.cast(pa.timestamp("s")).cast(pa.string()).cast(pa.binary())


def _is_utc(zone: str | None) -> bool:
    return not zone or zone.upper() in ("UTC", "ETC/UTC")


def _offsets(zone: str, moments: Integers) -> Integers:
    """Seconds east of UTC at each moment."""
    if _is_utc(zone):
        return np.zeros(len(moments), np.int64)
    seconds = moments // 1_000_000
    try:
        local = pc.local_timestamp(pa.array(seconds).cast(pa.timestamp("s", zone)))
    except pa.ArrowInvalid as error:
        raise TypeMismatch(
            f"The zone {zone!r} is not known where the answer is written.",
            hint="SET timezone = 'UTC', or install the time zone database.",
            private=str(error),
        ) from None
    return integers(local.cast(pa.int64())) - seconds


def _write_date(matrix: Matrix, mask: Mask, days: Integers) -> None:
    """Year, month and day in the first columns, ` BC` in the last three."""
    years, months, of_month = _civil(days)
    is_before = years <= 0
    write_digits(matrix, 0, _YEAR, np.where(is_before, 1 - years, years))
    mask[:, :_YEAR] = without_leading_zeros(matrix, 0, _YEAR, 4)
    matrix[:, _YEAR] = matrix[:, _YEAR + 3] = ord("-")
    write_digits(matrix, _YEAR + 1, 2, months)
    write_digits(matrix, _YEAR + 4, 2, of_month)
    matrix[:, -3:] = _BC
    mask[:, -3:] = is_before[:, np.newaxis]


def _write_clock(matrix: Matrix, mask: Mask, place: int, moments: Integers) -> None:
    seconds, fraction = np.divmod(moments, 1_000_000)
    minutes, second = np.divmod(seconds, 60)
    hour, minute = np.divmod(minutes, 60)
    write_digits(matrix, place, 2, hour)
    write_digits(matrix, place + 3, 2, minute)
    write_digits(matrix, place + 6, 2, second)
    matrix[:, place + 2] = matrix[:, place + 5] = ord(":")
    write_fraction(matrix, mask, place + _CLOCK, fraction)


def write_fraction(matrix: Matrix, mask: Mask, place: int, fraction: Integers) -> None:
    """A point and up to six digits; nothing where there is no fraction."""
    matrix[:, place] = ord(".")
    write_digits(matrix, place + 1, 6, fraction)
    mask[:, place + 1 : place + 7] = without_trailing_zeros(matrix, place + 1, 6)
    mask[:, place] = fraction != 0


def _write_offset(matrix: Matrix, mask: Mask, place: int, offsets: Integers) -> None:
    """`+01`, `+05:30`, and seconds for times before there were zones."""
    matrix[:, place] = np.where(offsets < 0, ord("-"), ord("+"))
    minutes, second = np.divmod(np.abs(offsets), 60)
    hour, minute = np.divmod(minutes, 60)
    write_digits(matrix, place + 1, 2, hour)
    write_digits(matrix, place + 4, 2, minute)
    write_digits(matrix, place + 7, 2, second)
    matrix[:, place + 3] = matrix[:, place + 6] = ord(":")
    mask[:, place + 3 : place + 6] = ((minute != 0) | (second != 0))[:, np.newaxis]
    mask[:, place + 6 : place + 9] = (second != 0)[:, np.newaxis]


def _civil(days: Integers) -> tuple[Integers, Integers, Integers]:
    """Year, month and day of the proleptic Gregorian calendar, of days since 1970."""
    shifted = days + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted_month + 2) // 5 + 1
    month = np.where(shifted_month < 10, shifted_month + 3, shifted_month - 9)
    return year_of_era + era * 400 + (month <= 2), month, day


def _with_infinity(texts: pa.Array, values: Integers, bound: int) -> pa.Array:
    late, early = values >= bound, values <= -bound
    if late.any():
        texts = pc.if_else(pa.array(late & ~_nulls(texts)), pa.scalar(b"infinity"), texts)
    if early.any():
        texts = pc.if_else(pa.array(early & ~_nulls(texts)), pa.scalar(b"-infinity"), texts)
    return texts


def _nulls(column: pa.Array) -> Mask:
    return pc.is_null(column).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]  # no types
