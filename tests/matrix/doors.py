"""The ways into one gateway: a statement goes in, what the protocol gives comes out.

Takes: the house. Gives: for each door the types as it names them and the values as its reader hands
them out, column by column. Never changes a value: what a protocol should say is in `expected`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import adbc_driver_postgresql.dbapi
import psycopg
import pyarrow as pa
import sqlalchemy
from pyarrow import parquet

import sqluice
from tests.flight.raw import RawClient
from tests.matrix.house import House

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
JSON, CSV = "application/json", "text/csv"


@dataclass(frozen=True, slots=True)
class Read:
    """The columns of an answer: the name of each type, and the values from the first row on."""

    types: tuple[object, ...]
    values: tuple[list[Any], ...]


Door = Callable[[House, str, str], Read]


def of_arrow(table: pa.Table) -> Read:
    """Arrow's types, each with the SQL type that its field tells."""
    types = tuple(
        (str(one.type), (one.metadata or {}).get(b"type", b"").decode()) for one in table.schema
    )
    return Read(types, tuple(one.to_pylist() for one in table.columns))


def _body(house: House, sql: str, user: str, accept: str) -> bytes:
    answer = house.served.query(sql, user, accept)
    assert answer.status == 200, answer.body
    return answer.body


def _in_process(house: House, sql: str, user: str) -> Read:
    return of_arrow(house.local(user).execute(sql).fetch_arrow_table())


def _http_arrow(house: House, sql: str, user: str) -> Read:
    return of_arrow(pa.ipc.open_stream(_body(house, sql, user, ARROW)).read_all())


def _http_parquet(house: House, sql: str, user: str) -> Read:
    return of_arrow(parquet.ParquetFile(io.BytesIO(_body(house, sql, user, PARQUET))).read())


def _http_json(house: House, sql: str, user: str) -> Read:
    answer = house.served.query(sql, user, JSON)
    assert answer.status == 200, answer.body
    columns, rows = answer.json["columns"], answer.json["rows"]
    return Read(
        tuple(one["type"] for one in columns),
        tuple([row[place] for row in rows] for place in range(len(columns))),
    )


def _http_csv(house: House, sql: str, user: str) -> Read:
    text = _body(house, sql, user, CSV).decode()
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    return Read((), tuple([row[place] for row in rows] for place in range(len(head))))


def _flight(house: House, sql: str, user: str) -> Read:
    with RawClient(house.served.flight, user) as client:
        return of_arrow(client.read("CommandStatementQuery", query=sql))


def _adbc(house: House, sql: str, user: str) -> Read:
    with house.served.connect(user) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return of_arrow(cursor.fetch_arrow_table())


def _pep249(connection: sqluice.Connection, sql: str) -> Read:
    cursor = connection.execute(sql)
    rows = cursor.fetchall()
    described = cursor.description or ()
    return Read(
        tuple(one[1] for one in described),
        tuple([row[place] for row in rows] for place in range(len(described))),
    )


def _dbapi(house: House, sql: str, user: str) -> Read:
    with house.connect(user) as connection:
        return _pep249(connection, sql)


def _sqlalchemy(house: House, sql: str, user: str) -> Read:
    with house.engine(user).connect() as connection:
        found = connection.execute(sqlalchemy.text(sql.replace(":", r"\:")))
        described = found.cursor.description
        rows = found.fetchall()
    return Read(
        tuple(one[1] for one in described),
        tuple([row[place] for row in rows] for place in range(len(described))),
    )


def _wire(is_binary: bool) -> Door:
    def read(house: House, sql: str, user: str) -> Read:
        with house.wire(user) as connection, connection.cursor(binary=is_binary) as cursor:
            cursor.execute(sql.encode())
            described = cursor.description or ()
            rows = cursor.fetchall()
        return Read(
            tuple(one.type_code for one in described),
            tuple([row[place] for row in rows] for place in range(len(described))),
        )

    return read


def _copied(house: House, sql: str, user: str) -> Read:
    """ADBC's driver of PostgreSQL reads all by COPY in binary; types are as PostgreSQL names them.

    It leaves numbers of any size and documents as texts, which are read here.
    """
    address = house.served.pgwire.replace("://", f"://{user}:{user}-demo@") + "/postgres"
    with adbc_driver_postgresql.dbapi.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        table = cursor.fetch_arrow_table()
    types = [(one.metadata or {})[b"POSTGRESQL:type"].decode() for one in table.schema]
    read: dict[str, Callable[[Any], Any]] = {"numeric": Decimal, "json": json.loads}
    return Read(tuple(types), tuple(
        [_read(read.get(kind.removeprefix("_"), _same), value) for value in column.to_pylist()]
        for kind, column in zip(types, table.columns, strict=True)
    ))  # fmt: skip


def _same(value: Any) -> Any:  # noqa: ANN401 - any value
    return value


def _read(read: Callable[[Any], Any], value: Any) -> Any:  # noqa: ANN401 - any value
    """A value, or each of a list."""
    if isinstance(value, list):
        return [_read(read, one) for one in value]
    return None if value is None else read(value)


DOORS: Mapping[str, Door] = {
    "in process": _in_process,
    "HTTP Arrow": _http_arrow,
    "HTTP Parquet": _http_parquet,
    "HTTP JSON": _http_json,
    "HTTP CSV": _http_csv,
    "Flight SQL": _flight,
    "ADBC": _adbc,
    "DB-API": _dbapi,
    "SQLAlchemy": _sqlalchemy,
    "PostgreSQL text": _wire(False),
    "PostgreSQL binary": _wire(True),
    "PostgreSQL ADBC": _copied,
}

Failures = (psycopg.Error, sqluice.Error)
