"""What each protocol says of a type and its values: stated here once.

Takes: what plain DuckDB answers, as Arrow. Gives: the types and values that each door has to give.
Never asks the gateway, and shares no code with it.

Everywhere: HUGEINT leaves as DECIMAL(38,0), which DuckDB's own Arrow does; TIME WITH TIME ZONE and
BIT, of which Arrow has no type that keeps them, leave as their text.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import duckdb
import numpy
import pyarrow as pa
from sqlalchemy import types

from tests.matrix.doors import Read, of_arrow

AS_TEXT = ("TIME WITH TIME ZONE", "BIT")
# What psycopg is told, by the type without its parameters; else: json for what is nested.
OIDS: Mapping[str, int] = {
    "BOOLEAN": 16, "TINYINT": 21, "SMALLINT": 21, "INTEGER": 23, "BIGINT": 20, "UTINYINT": 21,
    "USMALLINT": 23, "UINTEGER": 20, "UBIGINT": 1700, "HUGEINT": 1700, "DECIMAL": 1700,
    "FLOAT": 700, "DOUBLE": 701, "VARCHAR": 25, "ENUM": 25, "NULL": 25, "BLOB": 17, "DATE": 1082,
    "TIME": 1083, "TIMESTAMP": 1114, "TIMESTAMP_S": 1114, "TIMESTAMP_MS": 1114,
    "TIMESTAMP_NS": 1114, "TIMESTAMP WITH TIME ZONE": 1184, "INTERVAL": 1186, "UUID": 2950,
    "JSON": 114, "TIME WITH TIME ZONE": 1266, "BIT": 1562,
}  # fmt: skip
ARRAY_OIDS: Mapping[str, int] = {
    "BOOLEAN": 1000, "INTEGER": 1007, "VARCHAR": 1009, "DATE": 1182, "DECIMAL": 1231,
    "DOUBLE": 1022, "TIMESTAMP WITH TIME ZONE": 1185, "BLOB": 1001, "UUID": 2951,
}  # fmt: skip
_JSON_OID = 114
# What PostgreSQL calls those types; an array has the name of its values behind a line.
NAMES: Mapping[int, str] = {
    16: "bool", 17: "bytea", 20: "int8", 21: "int2", 23: "int4", 25: "text", 114: "json",
    700: "float4", 701: "float8", 1082: "date", 1083: "time", 1114: "timestamp",
    1184: "timestamptz", 1186: "interval", 1266: "timetz", 1562: "varbit", 1700: "numeric",
    2950: "uuid", 1000: "_bool", 1001: "_bytea", 1007: "_int4", 1009: "_text", 1022: "_float8",
    1182: "_date", 1185: "_timestamptz", 1231: "_numeric", 2951: "_uuid",
}  # fmt: skip
_INTERVAL = ("months", "days", "nanoseconds")
# What the DB-API calls a type, where it is not DuckDB's own word.
CODES: Mapping[str, str] = {
    "HUGEINT": "DECIMAL(38,0)", "ENUM('low', 'é')": "VARCHAR", "TIMESTAMP_S": "TIMESTAMP",
    "TIMESTAMP_MS": "TIMESTAMP", "TIMESTAMP_NS": "TIMESTAMP", '"NULL"': "NULL",
}  # fmt: skip
# What SQLAlchemy reflects, for the columns that a contract can say.
REFLECTED: Mapping[str, type[types.TypeEngine[Any]]] = {
    "BOOLEAN": types.Boolean, "TINYINT": types.SmallInteger, "SMALLINT": types.SmallInteger,
    "INTEGER": types.Integer, "BIGINT": types.BigInteger, "HUGEINT": types.Numeric,
    "DECIMAL": types.Numeric, "FLOAT": types.Float, "DOUBLE": types.Float, "VARCHAR": types.String,
    "BLOB": types.LargeBinary, "DATE": types.Date, "TIME": types.Time,
    "TIMESTAMP": types.DateTime, "TIMESTAMP WITH TIME ZONE": types.DateTime,
    "TIMESTAMPTZ": types.DateTime, "JSON": types.JSON,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reference:
    """What plain DuckDB says: the types by their names, and the columns as Arrow."""

    kinds: tuple[str, ...]
    table: pa.Table

    def values(self) -> list[list[Any]]:
        """The values of each column."""
        return [one.to_pylist() for one in self.table.columns]


def reference(database: str, sql: str) -> Reference:
    """The answer of plain DuckDB over a file."""
    with duckdb.connect(database, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        relation = connection.sql(sql)
        kinds = tuple(map(str, relation.types))
        shown = ", ".join(
            f'CAST("{name}" AS VARCHAR) AS "{name}"' if kind in AS_TEXT else f'"{name}"'
            for name, kind in zip(relation.columns, kinds, strict=True)
        )
        return Reference(kinds, relation.project(shown).to_arrow_table())


def in_utc(value: Any) -> object:  # noqa: ANN401 - any value
    """The same value, its moments in one spelling of UTC."""
    if isinstance(value, list):
        return [in_utc(one) for one in value]
    if isinstance(value, dict):
        return {name: in_utc(one) for name, one in value.items()}
    is_zoned = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC) if is_zoned else value


def base(kind: str) -> str:
    """A type without precision, values and quotes."""
    return kind.split("(", maxsplit=1)[0].strip('"')


def expected(door: str, known: Reference) -> Read:
    """What a door has to give."""
    return _RULES[door](known)


def _arrow(known: Reference) -> Read:
    plain = of_arrow(known.table)
    shown = zip(_shown(plain), known.kinds, strict=True)
    return Read(tuple(shown), plain.values)


def _shown(read: Read) -> list[str]:
    return [one for one, _ in _pairs(read)]


def _pairs(read: Read) -> list[tuple[str, str]]:
    return [(str(one[0]), str(one[1])) for one in read.types if isinstance(one, tuple)]


def _parquet(known: Reference) -> Read:
    """Parquet has no whole seconds; an interval is the struct of its three numbers."""
    read = _arrow(known)
    others = {
        "timestamp[s]": "timestamp[ms]",
        "map<string, int32>": "map<string, int32 ('map_of')>",
        "map<string, double>": "map<string, double ('odd_map')>",
        "month_day_nano_interval": "struct<months: int32, days: int32, nanoseconds: int64>",
    }
    values = tuple(
        [None if one is None else dict(zip(_INTERVAL, one, strict=True)) for one in values]
        if kind == "INTERVAL" else values
        for kind, values in zip(known.kinds, read.values, strict=True)
    )  # fmt: skip
    return Read(tuple((others.get(one, one), kind) for one, kind in _named(read)), values)


def _named(read: Read) -> list[tuple[str, str]]:
    """The types, what is inside a list and a map called as Parquet calls it."""
    return [(re.sub(r"list<l?: ", "list<element: ", one), kind) for one, kind in _pairs(read)]


def _json(known: Reference) -> Read:
    return Read(known.kinds, tuple(
        [_plain(kind, one) for one in values]
        for kind, values in zip(known.kinds, known.values(), strict=True)
    ))  # fmt: skip


def _csv(known: Reference) -> Read:
    return Read((), tuple(map(_lines, known.kinds, _json(known).values)))


def _lines(kind: str, values: Sequence[Any]) -> list[str]:
    """Text as it is, NULL as nothing; truth and what is nested as JSON."""
    is_json = kind in ("BOOLEAN", "INTERVAL") or _is_nested(kind)
    return [
        "" if one is None
        else json.dumps(one, ensure_ascii=False) if is_json
        else one if isinstance(one, str) else repr(one)
        for one in values
    ]  # fmt: skip


def _dbapi(known: Reference) -> Read:
    return Read(tuple(CODES.get(one, one) for one in known.kinds), tuple(known.values()))


def _wire(is_binary: bool) -> Callable[[Reference], Read]:
    def made(known: Reference) -> Read:
        return Read(tuple(map(_oid, known.kinds)), tuple(
            [_read_by_psycopg(kind, one, is_binary) for one in values]
            for kind, values in zip(known.kinds, known.values(), strict=True)
        ))  # fmt: skip

    return made


def _copied(known: Reference) -> Read:
    """As psycopg reads what is binary; but intervals, and as bytes what Arrow has no type for."""
    return Read(tuple(NAMES[_oid(one)] for one in known.kinds), tuple(
        [_read_by_adbc(kind, one) for one in values]
        for kind, values in zip(known.kinds, known.values(), strict=True)
    ))  # fmt: skip


def _read_by_adbc(kind: str, value: Any) -> Any:  # noqa: ANN401 - any value
    if value is None or kind == "INTERVAL":
        return value
    read = _read_by_psycopg(kind, value, True)
    if kind != "TIME WITH TIME ZONE":
        return read
    micros = (read.hour * 60 + read.minute) * 60 + read.second
    return struct.pack(
        ">qi", micros * 1_000_000 + read.microsecond, -int(read.utcoffset().total_seconds())
    )


def _oid(kind: str) -> int:
    if kind.endswith("]"):
        return ARRAY_OIDS.get(base(kind.rpartition("[")[0]), _JSON_OID)
    return OIDS.get(base(kind), _JSON_OID)


def _is_nested(kind: str) -> bool:
    return kind.endswith("]") or kind.startswith(("STRUCT", "MAP"))


def _plain(kind: str, value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """A value as JSON holds it without losing a digit."""
    if value is None or isinstance(value, bool):
        return value
    if kind.startswith("MAP"):
        return [[_plain("VARCHAR", key), _plain("INTEGER", one)] for key, one in value]
    if isinstance(value, dict):
        return {name: _plain(_guess(one), one) for name, one in value.items()}
    if kind.endswith("]"):
        return [_plain(kind.rpartition("[")[0], one) for one in value]
    if kind == "INTERVAL":
        return [value.months, value.days, value.nanoseconds]
    if base(kind) in ("BIGINT", "UBIGINT"):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if kind == "TIMESTAMP_NS":
        return f"{value.isoformat().partition('.')[0]}.{value.microsecond:06}{value.nanosecond:03}"
    if isinstance(value, date | time):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _guess(value: object) -> str:
    """The type of a field: only lists and structs need to be known."""
    return "VARCHAR[]" if isinstance(value, list) else "VARCHAR"


def _read_by_psycopg(kind: str, value: Any, is_binary: bool) -> Any:  # noqa: ANN401 - any value
    if value is None:
        return None
    if _oid(kind) == _JSON_OID:
        if kind.startswith("MAP"):
            return _written(dict(value))
        return _written(json.loads(value) if kind == "JSON" else value)
    if kind.endswith("]"):
        return [_read_by_psycopg(kind.rpartition("[")[0], one, is_binary) for one in value]
    if kind in ("UBIGINT", "HUGEINT"):
        return Decimal(value)
    if kind == "UUID":
        return UUID(value)
    if kind == "INTERVAL":
        # psycopg counts a year as 365 days and a month as 30.
        years, months = divmod(abs(value.months), 12)
        days = (years * 365 + months * 30) * (-1 if value.months < 0 else 1) + value.days
        return timedelta(days=days, microseconds=value.nanoseconds // 1000)
    if kind == "TIMESTAMP_NS":
        return value.to_pydatetime(warn=False)
    if kind == "TIME WITH TIME ZONE":
        # DuckDB leaves out minutes of an offset that are none.
        return time.fromisoformat(re.sub(r"([+-]\d\d)$", r"\1:00", value))
    if kind == "BIT" and is_binary:
        padded = value.ljust(-len(value) % 8 + len(value), "0")
        return len(value).to_bytes(4, "big") + bytes(
            int(padded[at : at + 8], 2) for at in range(0, len(padded), 8)
        )
    if kind == "FLOAT":
        # Text tells the shortest number that is the same one in 32 bits.
        return value if is_binary else float(str(numpy.float32(value)))
    return value


def _written(value: Any) -> Any:  # noqa: ANN401 - any value
    """JSON as DuckDB writes it: numbers stay numbers, moments are its own text.

    But for what JSON has no numbers for, which is text that PostgreSQL and its clients know.
    """
    if isinstance(value, list):
        return [_written(one) for one in value]
    if isinstance(value, dict):
        return {name: _written(one) for name, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S+00")
    return value.isoformat() if isinstance(value, date | time) else value


_RULES: Mapping[str, Callable[[Reference], Read]] = {
    "in process": _arrow,
    "HTTP Arrow": _arrow,
    "HTTP Parquet": _parquet,
    "HTTP JSON": _json,
    "HTTP CSV": _csv,
    "Flight SQL": _arrow,
    "ADBC": _arrow,
    "DB-API": _dbapi,
    "SQLAlchemy": _dbapi,
    "PostgreSQL text": _wire(False),
    "PostgreSQL binary": _wire(True),
    "PostgreSQL ADBC": _copied,
}


def reflected(kind: str) -> type[types.TypeEngine[Any]]:
    """The class that SQLAlchemy has for a type."""
    if kind.endswith("]"):
        return types.ARRAY
    # SQLAlchemy 1.4 has no type for these.
    return types.TypeEngine if kind == "UUID" else REFLECTED[base(kind)]
