"""Which PostgreSQL type a column of an answer has, and how its values are written.

Takes: a field of an answer's schema. Gives: a `WireType`. Never looks at a value. What PostgreSQL
has no type for (structs, maps, lists of lists of any length) is json.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from gateway.serve.pgwire.encoding import arrays, decimals, documents, numbers, texts, times
from gateway.serve.pgwire.encoding.arrays import Encode
from gateway.serve.pgwire.encoding.matrices import Field, of_fixed
from gateway.serve.pgwire.encoding.packing import Cells

Values: TypeAlias = Callable[[pa.Array], Field]
_JSON, _UUID, _TEXT = 114, 2950, 25
_HEADER = 4
# PostgreSQL's MAXDIM.
MOST_DIMENSIONS = 6
# Where the binary form of an array says from which place it counts.
_BOUND = 16


@dataclass(frozen=True, slots=True)
class WireType:
    """A type of PostgreSQL: its number, its size (-1: varying), its modifier (-1: none).

    values, letters: how a column without NULLs is written in binary and in text where all values
    are as wide as one another.
    """

    oid: int
    size: int
    text: Encode
    binary: Encode
    modifier: int = -1
    values: Values | None = None
    letters: Values | None = None

    def encode(self, form: int) -> Encode:
        """How values are written: form 0 is text, 1 is binary."""
        return self.binary if form else self.text

    def cells(self, form: int) -> Callable[[pa.Array], Cells]:
        """The same as cells of one width where that may be."""
        write, values = self.encode(form), self.values if form else self.letters
        if values is None:
            return write
        return lambda column: write(column) if column.null_count else values(column)


def _fixed(oid: int, size: int, text: Encode, values: Values) -> WireType:
    """A type whose values are of one width in binary."""
    return WireType(oid, size, text, lambda column: of_fixed(values(column), column), values=values)


BOOLEAN = WireType(
    16, 1, numbers.boolean_text, numbers.boolean_binary,
    values=numbers.boolean_values, letters=numbers.boolean_letters,
)  # fmt: skip
BYTES = WireType(17, -1, texts.hexadecimal, texts.raw)
BIG = _fixed(20, 8, numbers.integer_text, numbers.big_values)
SMALL = _fixed(21, 2, numbers.integer_text, numbers.small_values)
INTEGER = _fixed(23, 4, numbers.integer_text, numbers.integer_values)
TEXT = WireType(_TEXT, -1, texts.plain, texts.plain)
JSON = WireType(_JSON, -1, documents.kept, documents.kept)
NESTED = WireType(_JSON, -1, documents.written, documents.written)
REAL = _fixed(700, 4, numbers.real_text, numbers.float_values)
DOUBLE = _fixed(701, 8, numbers.double_text, numbers.float_values)
DATE = _fixed(1082, 4, times.date_text, times.date_values)
TIME = _fixed(1083, 8, times.time_text, times.time_values)
TIMESTAMP = _fixed(1114, 8, times.timestamp_text, times.timestamp_values)
ZONED = _fixed(1184, 8, times.timestamp_text, times.timestamp_values)
INTERVAL = WireType(1186, 16, texts.interval_text, texts.interval_binary)
UUID = WireType(_UUID, 16, texts.plain, texts.uuid_binary)
ZONED_TIME = WireType(1266, 12, texts.plain, times.zoned_time_binary)
BITS = WireType(1562, -1, texts.plain, texts.bits_binary)
UNSIGNED = WireType(1700, -1, decimals.unsigned_text, decimals.unsigned_binary)

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
    18: 1002, 19: 1003, 26: 1028,
    16: 1000, 17: 1001, 20: 1016, 21: 1005, 23: 1007, 25: 1009, 114: 199, 700: 1021, 701: 1022,
    1082: 1182, 1083: 1183, 1114: 1115, 1184: 1185, 1186: 1187, 1266: 1270, 1562: 1563,
    1700: 1231, 2950: 2951,
}  # fmt: skip
# Types whose texts hold nothing that an array would have to quote.
_PLAIN = frozenset({16, 20, 21, 23, 26, 700, 701, 1082, 1083, 1266, 1562, 1700, 2950})
# Types that Arrow holds as text, by what their fields tell.
_TOLD = {"UUID": UUID, "JSON": JSON, "TIME WITH TIME ZONE": ZONED_TIME, "BIT": BITS}


def wire_type(field: pa.Field) -> WireType:
    """The type of a column."""
    name = (field.metadata or {}).get(b"type", b"").decode()
    return _of(field.type, name)


@functools.lru_cache(maxsize=1024)
def _of(kind: pa.DataType, name: str) -> WireType:
    if name in _CATALOG:
        return _CATALOG[name]
    if name.startswith("pg._") and pa.types.is_list(kind):
        return _array(_of(kind.value_type, f"pg.{name[4:]}"))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _listed(kind, name)
    if name in _TOLD:
        return _TOLD[name]
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if pa.types.is_decimal(kind):
        modifier = ((kind.precision << 16) | kind.scale) + _HEADER
        return WireType(1700, -1, decimals.decimal_text, decimals.decimal_binary, modifier)
    if pa.types.is_timestamp(kind):
        return ZONED if kind.tz else TIMESTAMP
    if pa.types.is_time(kind):
        return TIME
    return TEXT if pa.types.is_dictionary(kind) else NESTED


def _listed(kind: pa.DataType, name: str) -> WireType:
    """An array; json where lists in it may differ in length, which those of arrays may not."""
    inner: list[int] = []
    value, named = kind.value_type, name.rpartition("[")[0]
    while pa.types.is_fixed_size_list(value):
        inner.append(value.list_size)
        value, named = value.value_type, named.rpartition("[")[0]
    known = _of(value, named)
    is_array = not pa.types.is_nested(value) and known is not NESTED and known.oid in ARRAYS
    if not is_array or len(inner) >= MOST_DIMENSIONS:
        return NESTED
    return _array(known, tuple(inner))


def _array(value: WireType, inner: tuple[int, ...] = ()) -> WireType:
    def text(column: pa.Array) -> pa.Array:
        write, is_plain = value.text, value.oid in _PLAIN
        for _ in inner:
            write = functools.partial(arrays.array_text, encode=write, plain=is_plain)
            is_plain = True
        return arrays.array_text(column, write, is_plain)

    def binary(column: pa.Array) -> pa.Array:
        return arrays.array_binary(column, value.binary, value.oid, inner)

    return WireType(ARRAYS[value.oid], -1, text, binary, value.modifier)


def _vector(oid: int, value: WireType) -> WireType:
    """Numbers with spaces between them, which are arrays in binary."""

    def text(column: pa.Array) -> pa.Array:
        listed = arrays.array_text(column, value.text, True).cast(pa.string())
        spaced = pc.replace_substring(pc.utf8_slice_codeunits(listed, 1, -1), ",", " ")
        return spaced.cast(pa.binary())

    def binary(column: pa.Array) -> pa.Array:
        made = arrays.array_binary(column, value.binary, value.oid)
        # They count from 0; an empty one has no bounds.
        return pc.if_else(
            pc.greater(pc.binary_length(made), _BOUND),
            pc.binary_replace_slice(made, _BOUND, _BOUND + 4, b"\0\0\0\0"),
            made,
        )

    return WireType(oid, -1, text, binary)


_OID = _fixed(26, 4, numbers.integer_text, numbers.integer_values)
# What only the columns of PostgreSQL's catalogs have.
_CATALOG = {
    "pg.oid": _OID,
    "pg.xid": _fixed(28, 4, numbers.integer_text, numbers.integer_values),
    "pg.name": WireType(19, 64, texts.plain, texts.plain),
    "pg.char": WireType(18, 1, texts.plain, texts.plain),
    "pg.varchar": WireType(1043, -1, texts.plain, texts.plain),
    "pg.json": JSON,
    "pg.int2vector": _vector(22, SMALL),
    "pg.oidvector": _vector(30, _OID),
    "pg._aclitem": WireType(1034, -1, _array(TEXT).text, _array(TEXT).binary),
}
