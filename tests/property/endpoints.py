"""What a caller gets over each endpoint of a gateway that `sqluice serve` started.

Takes: a mesh folder and a data folder for each world. Gives: gateways in processes of their own,
and all that comes back of a statement over HTTP (JSON, CSV, Arrow), Flight SQL and the PostgreSQL
wire, down to the text of errors. Only what names the request itself is left out.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import adbc_driver_manager
import psycopg
import pyarrow as pa
from adbc_driver_flightsql import dbapi

from tests.property.files import PASSWORD
from tests.served import started

# The one part of an answer that is another for each request.
_QUERY_ID = re.compile(r"q_[0-9a-f]{24}")
FORMS = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}
Wire: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
_KEPT = ("content-type", "x-sqluice-truncated", "x-sqluice-masked")


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where one world's gateway listens."""

    http: str
    flight: str
    pgwire: str

    def over_http(self, user: str, form: str, sql: str, values: Sequence[object]) -> object:
        """Status, headers and body, its rows in order."""
        parts = urlsplit(self.http)
        connection = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        signed = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        headers = {
            "Authorization": f"Basic {signed}", "Content-Type": "application/json",
            "Accept": FORMS[form],
        }  # fmt: skip
        asked = json.dumps({"sql": sql, "parameters": list(values)}, default=str)
        try:
            connection.request("POST", "/v1/query", asked, headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        kept = tuple((name, response.headers.get(name)) for name in _KEPT)
        return response.status, kept, _in_order(form, response.status, body)

    @contextmanager
    def flight_of(self, user: str) -> Iterator[dbapi.Connection]:
        """A Flight SQL connection of one insider."""
        options = {"username": user, "password": PASSWORD}
        with dbapi.connect(self.flight, db_kwargs=options, autocommit=True) as made:
            yield made

    @contextmanager
    def pgwire_of(self, user: str) -> Iterator[Wire]:
        """A connection of one insider over the PostgreSQL wire."""
        with psycopg.connect(
            self.pgwire, user=user, password=PASSWORD, autocommit=True,
            cursor_factory=psycopg.RawCursor,
        ) as made:  # fmt: skip
            yield made


def over_pgwire(connection: Wire, sql: str, values: Sequence[object], binary: bool) -> object:
    """Columns with their types and the bytes of the rows, in order; or all fields of the error."""
    try:
        cursor = connection.cursor(binary=binary)
        cursor.execute(sql.encode(), list(values) or None)
    except psycopg.Error as error:
        told = [error.diag.severity, error.sqlstate, error.diag.message_primary,
                error.diag.message_detail, error.diag.message_hint,
                error.diag.statement_position]  # fmt: skip
        return tuple(_QUERY_ID.sub("-", str(one)) for one in told)
    result = cursor.pgresult
    assert result is not None
    columns = range(result.nfields)
    shape = [(result.fname(one), result.ftype(one), result.fmod(one)) for one in columns]
    rows = [[result.get_value(row, one) for one in columns] for row in range(result.ntuples)]
    return shape, sorted(map(repr, rows))


def over_flight(connection: dbapi.Connection, sql: str, values: Sequence[object]) -> object:
    """Schema with its metadata and rows in order; or the error with its text and state."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, list(values) or None)
            table = cursor.fetch_arrow_table()
        return _schema(table.schema), _rows(table)
    except adbc_driver_manager.Error as error:
        told = (str(error), error.sqlstate, error.status_code)
        return tuple(_QUERY_ID.sub("-", str(one)) for one in told)


def _in_order(form: str, status: int, body: bytes) -> object:
    if status != 200:
        return _QUERY_ID.sub("-", body.decode())
    if form == "arrow":
        table = pa.ipc.open_stream(body).read_all()
        return _schema(table.schema), _rows(table)
    if form == "csv":
        head, *lines = body.decode().splitlines(keepends=True)
        return head, sorted(lines)
    told = json.loads(body)
    told.pop("query_id")
    told["rows"] = sorted(map(repr, told["rows"]))
    return told


def _schema(schema: pa.Schema) -> str:
    return _QUERY_ID.sub("-", schema.to_string(show_schema_metadata=True))


def _rows(table: pa.Table) -> list[str]:
    return sorted(map(repr, zip(*(one.to_pylist() for one in table.columns), strict=True)))


@contextmanager
def serving(conf: Path, data: Path) -> Iterator[Gateway]:
    """A gateway on free ports until the end of the block."""
    with started(conf, data, {"SQLUICE_DATA": str(data)}) as found:
        yield Gateway(found[1], found[2], found[3])
