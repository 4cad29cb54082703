"""The values of a column as JSON and CSV can hold them.

Takes: an Arrow column. Gives: plain Python values. int64 and decimals become text, since JSON's
numbers lose digits; so do times, bytes (base64) and what is not finite. Never rounds a value.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa

Encoder = Callable[[Any], object]


def plain_values(column: pa.Array) -> list[object]:
    """The column's values, each as JSON can hold it."""
    kind = column.type
    if _is_beyond_python(kind):
        return _as_text(column)
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        # Arrow and DuckDB know years that Python does not.
        return _as_text(column)
    encode = _encoder(kind)
    if encode is None:
        return values
    return [None if one is None else encode(one) for one in values]


def _is_beyond_python(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_time64(kind)) and kind.unit == "ns"


def _as_text(column: pa.Array) -> list[object]:
    texts = column.cast(pa.string()).to_pylist()
    return [None if one is None else one.replace(" ", "T", 1) for one in texts]


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
