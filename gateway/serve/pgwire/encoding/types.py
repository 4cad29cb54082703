"""Which PostgreSQL type a column of an answer has, and how its values are written.

Takes: a field of an answer's schema. Gives: a `WireType`. Never looks at a value. What PostgreSQL
has no type for (structs, maps, lists of lists) is json.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pyarrow as pa

from gateway.serve.pgwire.encoding import arrays, documents, numbers, texts, times
from gateway.serve.pgwire.encoding.arrays import Encode

_JSON, _UUID, _TEXT = 114, 2950, 25
_HEADER = 4


@dataclass(frozen=True, slots=True)
class WireType:
    """A type of PostgreSQL: its number, its size (-1: varying), its modifier (-1: none)."""

    oid: int
    size: int
    text: Encode
    binary: Encode
    modifier: int = -1

    def encode(self, form: int) -> Encode:
        """How values are written: form 0 is text, 1 is binary."""
        return self.binary if form else self.text


BOOLEAN = WireType(16, 1, numbers.boolean_text, numbers.boolean_binary)
BYTES = WireType(17, -1, texts.hexadecimal, texts.raw)
BIG = WireType(20, 8, numbers.integer_text, numbers.big_binary)
SMALL = WireType(21, 2, numbers.integer_text, numbers.small_binary)
INTEGER = WireType(23, 4, numbers.integer_text, numbers.integer_binary)
TEXT = WireType(_TEXT, -1, texts.plain, texts.plain)
JSON = WireType(_JSON, -1, texts.plain, texts.plain)
NESTED = WireType(_JSON, -1, documents.written, documents.written)
REAL = WireType(700, 4, numbers.real_text, numbers.float_binary)
DOUBLE = WireType(701, 8, numbers.double_text, numbers.float_binary)
DATE = WireType(1082, 4, times.date_text, times.date_binary)
TIME = WireType(1083, 8, times.time_text, times.time_binary)
TIMESTAMP = WireType(1114, 8, times.timestamp_text, times.timestamp_binary)
ZONED = WireType(1184, 8, times.timestamp_text, times.timestamp_binary)
INTERVAL = WireType(1186, 16, texts.interval_text, texts.interval_binary)
UUID = WireType(_UUID, 16, texts.plain, texts.uuid_binary)
UNSIGNED = WireType(1700, -1, numbers.unsigned_text, numbers.unsigned_binary)

_SIMPLE: dict[pa.DataType, WireType] = {
    pa.bool_(): BOOLEAN,
    pa.int8(): SMALL, pa.int16(): SMALL, pa.int32(): INTEGER, pa.int64(): BIG,
    pa.uint8(): SMALL, pa.uint16(): INTEGER, pa.uint32(): BIG, pa.uint64(): UNSIGNED,
    pa.float32(): REAL, pa.float64(): DOUBLE,
    pa.string(): TEXT, pa.large_string(): TEXT, pa.string_view(): TEXT, pa.null(): TEXT,
    pa.binary(): BYTES, pa.large_binary(): BYTES, pa.binary_view(): BYTES,
    pa.date32(): DATE, pa.month_day_nano_interval(): INTERVAL,
}  # fmt: skip
# The numbers of the types of arrays, by that of their values.
ARRAYS = {
    16: 1000, 17: 1001, 20: 1016, 21: 1005, 23: 1007, 25: 1009, 114: 199, 700: 1021, 701: 1022,
    1082: 1182, 1083: 1183, 1114: 1115, 1184: 1185, 1186: 1187, 1700: 1231, 2950: 2951,
}  # fmt: skip
# Types whose texts hold nothing that an array would have to quote.
_PLAIN = frozenset({16, 20, 21, 23, 700, 701, 1082, 1083, 1700, 2950})


def wire_type(field: pa.Field) -> WireType:
    """The type of a column."""
    name = (field.metadata or {}).get(b"type", b"").decode()
    return _of(field.type, name)


@functools.lru_cache(maxsize=1024)
def _of(kind: pa.DataType, name: str) -> WireType:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        value = _of(kind.value_type, name.rpartition("[")[0])
        return (
            NESTED
            if value is NESTED or value.oid not in ARRAYS or _is_list(kind)
            else (_array(value))
        )
    if name == "UUID":
        return UUID
    if name == "JSON":
        return JSON
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if pa.types.is_decimal(kind):
        modifier = ((kind.precision << 16) | kind.scale) + _HEADER
        return WireType(1700, -1, numbers.decimal_text, numbers.decimal_binary, modifier)
    if pa.types.is_timestamp(kind):
        return ZONED if kind.tz else TIMESTAMP
    if pa.types.is_time(kind):
        return TIME
    return TEXT if pa.types.is_dictionary(kind) else NESTED


def _is_list(kind: pa.DataType) -> bool:
    """Whether the values of a list are lists: they may differ in length, which arrays may not."""
    return bool(pa.types.is_nested(kind.value_type))


def _array(value: WireType) -> WireType:
    def text(column: pa.Array) -> pa.Array:
        return arrays.array_text(column, value.text, value.oid in _PLAIN)

    def binary(column: pa.Array) -> pa.Array:
        return arrays.array_binary(column, value.binary, value.oid)

    return WireType(ARRAYS[value.oid], -1, text, binary, value.modifier)
