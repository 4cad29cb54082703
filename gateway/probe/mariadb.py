"""Random tables planted in MariaDB.

Takes: the URL of a database, shapes, raw rows. Gives: the same rows there, in columns of text that
ignore case by themselves. What MariaDB cannot hold, NaN and infinities, is NULL there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pymysql

from gateway.probe.oracle import Row
from gateway.probe.shapes import Field, Shape

_TEXT = "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
_TYPES = {
    "BOOLEAN": "tinyint(1)", "DOUBLE": "double", "BLOB": "longblob", "VARCHAR": _TEXT,
    "TIME": "time(6)", "TIMESTAMP": "datetime(6)", "TIMESTAMP WITH TIME ZONE": "timestamp(6) NULL",
}  # fmt: skip
_AT_ONCE = 500


def plant_mariadb(url: str, tables: Iterable[tuple[Shape, Sequence[Row]]]) -> None:
    """Make the tables in an empty database."""
    parts = urlsplit(url)
    with pymysql.connect(
        host=parts.hostname, port=parts.port or 3306, user=parts.username,
        password=parts.password or "", database=parts.path.strip("/"), charset="utf8mb4",
        autocommit=True, init_command="SET time_zone = '+00:00'",
    ) as connection, connection.cursor() as cursor:  # fmt: skip
        for shape, rows in tables:
            body = ", ".join(f"`{one.name}` {_type(one)}" for one in shape.fields)
            cursor.execute(f"CREATE TABLE {shape.physical} ({body})")
            for start in range(0, len(rows), _AT_ONCE):
                some = rows[start : start + _AT_ONCE]
                values = ", ".join(f"({', '.join(map(_cell, row))})" for row in some)
                cursor.execute(f"INSERT INTO {shape.physical} VALUES {values}")


def _type(field: Field) -> str:
    return _TYPES.get(field.type, field.type.lower())


def _cell(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool() | int():
            return str(int(value))
        case float():
            return repr(value) if math.isfinite(value) else "NULL"
        case bytes():
            return f"x'{value.hex()}'"
        case datetime():
            at_utc = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return f"'{at_utc.isoformat(sep=' ')}'"
        case _:
            return f"_utf8mb4 x'{str(value).encode().hex()}'"
