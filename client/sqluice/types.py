"""PEP 249's types: what `description` says, and the constructors.

Takes: Arrow types. Gives: SQL type names, which are plain text and yet compare with `STRING`,
`NUMBER`, `DATETIME`, `BINARY` and `ROWID`. Never looks at values.
"""

from __future__ import annotations

import datetime
import re
import time
from typing import Final

import pyarrow as pa

Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = bytes

Described = tuple[str, str, None, None, int | None, int | None, bool | None]


def DateFromTicks(ticks: float) -> datetime.date:
    """A date from seconds since the epoch, in local time."""
    return Date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> datetime.time:
    """A time of day from seconds since the epoch, in local time."""
    return Time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> datetime.datetime:
    """A timestamp from seconds since the epoch, in local time."""
    return Timestamp(*time.localtime(ticks)[:6])


class TypeGroup:
    """A group of SQL types; equal to the type code of every column whose type is in it."""

    def __init__(self, *names: str) -> None:
        """Hold the names, without precision and scale."""
        self.names: Final = frozenset(names)

    def __eq__(self, other: object) -> bool:
        """Compare with a type code or with another group."""
        if isinstance(other, TypeGroup):
            return self.names == other.names
        return (
            isinstance(other, str)
            and not other.endswith("]")
            and (other.split("(", 1)[0] in self.names)
        )

    def __hash__(self) -> int:
        """Groups are values."""
        return hash(self.names)


STRING = TypeGroup("VARCHAR", "UUID", "JSON")
BINARY = TypeGroup("BLOB", "BIT")
NUMBER = TypeGroup(
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
    "UBIGINT", "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN",
)  # fmt: skip
DATETIME = TypeGroup(
    "DATE", "TIME", "TIME WITH TIME ZONE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "INTERVAL"
)
ROWID = TypeGroup()

_PLAIN: dict[pa.DataType, str] = {
    pa.null(): "NULL",
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float16(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.date64(): "DATE",
    pa.month_day_nano_interval(): "INTERVAL",
}
_SAID = frozenset({"UUID", "JSON", "TIME WITH TIME ZONE", "BIT"})
_LISTS = re.compile(r"(\[\d*\])+$")
_EXTENSIONS = {"arrow.uuid": "UUID", "arrow.json": "JSON", "arrow.bool8": "BOOLEAN"}


def type_code(arrow: pa.DataType) -> str:
    """The SQL name of an Arrow type; what has none is named as Arrow names it."""
    plain = _PLAIN.get(arrow)
    if plain is not None:
        return plain
    extension = getattr(arrow, "extension_name", None)
    if extension is not None:
        return _EXTENSIONS.get(extension) or type_code(arrow.storage_type)
    if pa.types.is_dictionary(arrow):
        return type_code(arrow.value_type)
    return _parameterised(arrow) or _nested(arrow) or _texts(arrow)


def field_code(field: pa.Field) -> str:
    """The SQL name of a field's type; the gateway says it where Arrow has text alone."""
    said = (field.metadata or {}).get(b"type", b"").decode()
    return said if _LISTS.sub("", said) in _SAID else type_code(field.type)


def describe(schema: pa.Schema) -> tuple[Described, ...] | None:
    """The `description` of a result; None where there are no columns."""
    return tuple(_described(field) for field in schema) or None


def _described(field: pa.Field) -> Described:
    precision = scale = None
    if pa.types.is_decimal(field.type):
        precision, scale = field.type.precision, field.type.scale
    return field.name, field_code(field), None, None, precision, scale, field.nullable


def _parameterised(arrow: pa.DataType) -> str:
    if pa.types.is_decimal(arrow):
        return f"DECIMAL({arrow.precision},{arrow.scale})"
    if pa.types.is_timestamp(arrow):
        return "TIMESTAMP WITH TIME ZONE" if arrow.tz else "TIMESTAMP"
    if pa.types.is_time(arrow):
        return "TIME"
    return "INTERVAL" if pa.types.is_duration(arrow) else ""


def _nested(arrow: pa.DataType) -> str:
    if pa.types.is_map(arrow):
        return f"MAP({type_code(arrow.key_type)}, {type_code(arrow.item_type)})"
    if pa.types.is_struct(arrow):
        inner = ", ".join(f"{one.name} {type_code(one.type)}" for one in arrow)
        return f"STRUCT({inner})"
    if pa.types.is_fixed_size_list(arrow):
        return f"{type_code(arrow.value_type)}[{arrow.list_size}]"
    if pa.types.is_list(arrow) or pa.types.is_large_list(arrow):
        return f"{type_code(arrow.value_type)}[]"
    return ""


def _texts(arrow: pa.DataType) -> str:
    name = str(arrow)
    if "string" in name:
        return "VARCHAR"
    return "BLOB" if "binary" in name else name.upper()
