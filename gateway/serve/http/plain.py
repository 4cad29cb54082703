"""The values of a column as JSON and CSV can hold them.

Takes: an Arrow column. Gives: plain Python values. int64 and decimals become text, since JSON's
numbers lose digits; so do times, bytes (base64) and what is not finite. Never rounds a value.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
Encoder = Callable[[Any], object]


def plain_values(column: pa.Array) -> list[object]:
    """The column's values, each as JSON can hold it."""
    kind = column.type
    if _is_beyond_python(kind):
        return _parts(column)
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        # Arrow and DuckDB know years that Python does not.
        return _parts(column)
    encode = _encoder(kind)
    if encode is None:
        return values
    return [None if one is None else encode(one) for one in values]


def _is_beyond_python(kind: pa.DataType) -> bool:
    """Whether it has nanoseconds, or something inside it has."""
    if pa.types.is_nested(kind):
        return any(_is_beyond_python(kind.field(place).type) for place in range(kind.num_fields))
    return bool(pa.types.is_timestamp(kind) or pa.types.is_time64(kind)) and kind.unit == "ns"


def _parts(column: pa.Array) -> list[object]:
    """Values that Python has no room for."""
    kind = column.type
    if pa.types.is_nested(kind):
        return _inside(column)
    if pa.types.is_date32(kind):
        days = column.cast(pa.int32()).to_pylist()
        return [None if one is None else _infinite(one, 31) or _day(one) for one in days]
    if pa.types.is_timestamp(kind):
        return _moments(column)
    texts: list[object] = column.cast(pa.string()).to_pylist()
    return texts


def _moments(column: pa.Array) -> list[object]:
    per_second, zone = _PER_SECOND[column.type.unit], "+00:00" if column.type.tz else ""
    return [
        None if one is None else _infinite(one, 63) or _moment(one, per_second) + zone
        for one in column.cast(pa.int64()).to_pylist()
    ]


def _infinite(value: int, bits: int) -> str:
    """What DuckDB calls a moment that never comes; else nothing."""
    if abs(value) < 2**bits - 1:
        return ""
    return "infinity" if value > 0 else "-infinity"


def _moment(value: int, per_second: int) -> str:
    seconds, fraction = divmod(value, per_second)
    days, second = divmod(seconds, 86_400)
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    if per_second == _PER_SECOND["ns"]:
        return f"{_day(days)}T{clock}.{fraction:09}"
    micros = fraction * 1_000_000 // per_second
    return f"{_day(days)}T{clock}" + (f".{micros:06}" if micros else "")


def _day(days: int) -> str:
    """A day of the calendar that both have in each year, by days since 1970.

    400 years have 146,097 days, and the days of a year are counted from March, where leap days end.
    """
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    is_next = month >= 10
    day -= (153 * month + 2) // 5
    whole = year + 400 * era + is_next
    return f"{whole:0{4 + (whole < 0)}}-{month + (-9 if is_next else 3):02}-{day + 1:02}"


def _inside(column: pa.Array) -> list[object]:
    """Values of which something inside is beyond Python: each part is taken for itself."""
    types, kind = pa.types, column.type
    if types.is_struct(kind):
        names = [kind.field(place).name for place in range(kind.num_fields)]
        rows = zip(*map(plain_values, column.flatten()), strict=True)
        made: list[object] = [dict(zip(names, row, strict=True)) for row in rows]
        return [
            one if is_there else None
            for one, is_there in zip(made, column.is_valid().to_pylist(), strict=True)
        ]
    if types.is_map(kind):
        entries = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        column = column.cast(pa.list_(entries))
        pairs = _inside(column.flatten())
        inner: list[object] = [list(one.values()) for one in pairs if isinstance(one, dict)]
    else:
        inner = plain_values(column.flatten())
    values = iter(inner)
    lengths = pc.list_value_length(column).to_pylist()
    return [None if length is None else list(islice(values, length)) for length in lengths]


def _encoder(kind: pa.DataType) -> Encoder | None:
    """How values of a type are written; None where they are plain as they are."""
    types = pa.types
    if types.is_boolean(kind) or types.is_null(kind) or types.is_string(kind):
        return None
    if types.is_integer(kind):
        return str if kind.bit_width == 64 else None
    if types.is_floating(kind):
        return _float
    if types.is_decimal(kind):
        return lambda one: format(one, "f")
    if types.is_temporal(kind) and not (types.is_duration(kind) or types.is_interval(kind)):
        return lambda one: one.isoformat()
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return lambda one: base64.b64encode(one).decode()
    return _nested(kind)


def _float(value: float) -> object:
    return value if math.isfinite(value) else str(value)


def _nested(kind: pa.DataType) -> Encoder | None:
    types = pa.types
    if types.is_dictionary(kind):
        return _encoder(kind.value_type)
    if types.is_struct(kind):
        fields = {kind.field(n).name: _each(kind.field(n).type) for n in range(kind.num_fields)}
        return lambda one: {name: fields[name](value) for name, value in one.items()}
    if types.is_map(kind):
        key, item = _each(kind.key_type), _each(kind.item_type)
        return lambda one: [[key(name), item(value)] for name, value in one]
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _each(kind.value_type)
        return lambda one: [inner(value) for value in one]
    if types.is_interval(kind):
        return list
    return str


def _each(kind: pa.DataType) -> Encoder:
    encode = _encoder(kind)
    if encode is None:
        return lambda one: one
    return lambda one: None if one is None else encode(one)
