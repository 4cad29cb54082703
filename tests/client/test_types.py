"""Type codes over every Arrow type that a gateway may send."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

import sqluice
from sqluice.types import TypeGroup, describe, type_code

CODES: list[tuple[pa.DataType, str, TypeGroup | None]] = [
    (pa.bool_(), "BOOLEAN", sqluice.NUMBER),
    (pa.int8(), "TINYINT", sqluice.NUMBER),
    (pa.int16(), "SMALLINT", sqluice.NUMBER),
    (pa.int32(), "INTEGER", sqluice.NUMBER),
    (pa.int64(), "BIGINT", sqluice.NUMBER),
    (pa.uint8(), "UTINYINT", sqluice.NUMBER),
    (pa.uint16(), "USMALLINT", sqluice.NUMBER),
    (pa.uint32(), "UINTEGER", sqluice.NUMBER),
    (pa.uint64(), "UBIGINT", sqluice.NUMBER),
    (pa.float32(), "FLOAT", sqluice.NUMBER),
    (pa.float64(), "DOUBLE", sqluice.NUMBER),
    (pa.decimal128(12, 2), "DECIMAL(12,2)", sqluice.NUMBER),
    (pa.decimal256(50, 2), "DECIMAL(50,2)", sqluice.NUMBER),
    (pa.string(), "VARCHAR", sqluice.STRING),
    (pa.large_string(), "VARCHAR", sqluice.STRING),
    (pa.string_view(), "VARCHAR", sqluice.STRING),
    (pa.dictionary(pa.int8(), pa.string()), "VARCHAR", sqluice.STRING),
    (pa.uuid(), "UUID", sqluice.STRING),
    (pa.binary(), "BLOB", sqluice.BINARY),
    (pa.large_binary(), "BLOB", sqluice.BINARY),
    (pa.binary(16), "BLOB", sqluice.BINARY),
    (pa.date32(), "DATE", sqluice.DATETIME),
    (pa.time64("us"), "TIME", sqluice.DATETIME),
    (pa.timestamp("us"), "TIMESTAMP", sqluice.DATETIME),
    (pa.timestamp("us", "UTC"), "TIMESTAMP WITH TIME ZONE", sqluice.DATETIME),
    (pa.month_day_nano_interval(), "INTERVAL", sqluice.DATETIME),
    (pa.duration("us"), "INTERVAL", sqluice.DATETIME),
    (pa.null(), "NULL", None),
    (pa.list_(pa.int64()), "BIGINT[]", None),
    (pa.list_(pa.decimal128(3, 1), 2), "DECIMAL(3,1)[2]", None),
    (pa.struct([("a", pa.int32()), ("b", pa.string())]), "STRUCT(a INTEGER, b VARCHAR)", None),
    (pa.map_(pa.string(), pa.date32()), "MAP(VARCHAR, DATE)", None),
]
GROUPS = (sqluice.STRING, sqluice.NUMBER, sqluice.DATETIME, sqluice.BINARY, sqluice.ROWID)


@pytest.mark.parametrize(("arrow", "name", "group"), CODES, ids=[one[1] for one in CODES])
def test_type_codes(arrow: pa.DataType, name: str, group: TypeGroup | None) -> None:
    found = type_code(arrow)
    assert found == name
    assert [one for one in GROUPS if found == one] == ([group] if group else [])
    assert [one for one in GROUPS if one == found] == ([group] if group else [])


def test_description() -> None:
    schema = pa.schema([pa.field("a", pa.decimal128(12, 2), nullable=False), ("b", pa.string())])
    assert describe(schema) == (
        ("a", "DECIMAL(12,2)", None, None, 12, 2, False),
        ("b", "VARCHAR", None, None, None, None, True),
    )
    assert describe(pa.schema([])) is None


def test_constructors() -> None:
    moment = datetime.datetime(2013, 1, 31, 12, 30, 15)
    ticks = moment.timestamp()
    assert sqluice.Timestamp(2013, 1, 31, 12, 30, 15) == moment
    assert sqluice.TimestampFromTicks(ticks) == moment
    assert sqluice.DateFromTicks(ticks) == moment.date()
    assert sqluice.TimeFromTicks(ticks) == moment.time()
    assert sqluice.Binary(b"x") == b"x"
    assert {sqluice.STRING, sqluice.STRING} == {sqluice.STRING}
