"""A statement stops at its source within a second, and the connection lives on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from connectors.base import (
    Connection,
    ConnectorCancelled,
    Fragment,
    FragmentColumn,
    load_connector,
)
from gateway.demo.postgres import Server
from tests.connectors.conformance.samples import Sample

AFTER, WITHIN = 0.3, 60.0
COLUMN = (FragmentColumn("x", "BIGINT"),)
_RECURSIVE = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 2000000000) "
# One statement that is long before its first row, one that has many rows.
LONG = {
    "sqlite": (_RECURSIVE + "SELECT count(*) FROM r", _RECURSIVE + "SELECT i FROM r"),
    "duckdb": (
        "SELECT count(*) FROM range(1000000000) AS a, range(1000) AS b",
        "SELECT a.range FROM range(1000000000) AS a, range(1000) AS b",
    ),
    "postgres": (
        "SELECT count(*) FROM generate_series(1, 100000) AS a, generate_series(1, 1000000) AS b",
        "SELECT a::int8 FROM generate_series(1, 100000) AS a, generate_series(1, 1000000) AS b",
    ),
}
LONG["files"] = LONG["duckdb"]
PARAMETER = (
    "SELECT a::int8 + $1 FROM generate_series(1, 100000) AS a, generate_series(1, 1000) AS b"
)


def works(connection: Connection) -> None:
    """The next statement gives its row."""
    batches = list(connection.stream(Fragment("SELECT 7", COLUMN, ())))
    assert [batch.to_pydict() for batch in batches] == [{"x": [7]}]
    connection.ping()


def check_cancel(connection: Connection, fragment: Fragment) -> None:
    """Cancel after a moment, from another thread."""
    timer = threading.Timer(AFTER, connection.cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(ConnectorCancelled):
        for _ in connection.stream(fragment):
            pass
    assert time.monotonic() - began < AFTER + WITHIN
    timer.join()
    works(connection)


def check_close(connection: Connection, fragment: Fragment) -> None:
    """Leave after the first batch."""
    batches = connection.stream(fragment)
    assert next(batches).num_rows > 0
    began = time.monotonic()
    batches.close()  # type: ignore[attr-defined]  # the protocol promises an iterator only
    works(connection)
    assert time.monotonic() - began < WITHIN


@pytest.fixture(scope="module")
def postgres(server: Server) -> Iterator[Connection]:
    """A connection to PostgreSQL."""
    connection = load_connector("postgres").connect({"url": server.url("postgres")})
    yield connection
    connection.close()


@pytest.mark.parametrize("place", [0, 1])
def test_cancel(embedded: Sample, place: int) -> None:
    """Before the first row, and between rows."""
    check_cancel(embedded.connection, Fragment(LONG[embedded.kind][place], COLUMN, ()))


def test_close(embedded: Sample) -> None:
    """Who leaves stops the source."""
    check_close(embedded.connection, Fragment(LONG[embedded.kind][1], COLUMN, ()))


@pytest.mark.parametrize("sql", LONG["postgres"])
def test_cancel_postgres(postgres: Connection, sql: str) -> None:
    """Before the first row, and between rows."""
    check_cancel(postgres, Fragment(sql, COLUMN, ()))


def test_cancel_postgres_with_parameters(postgres: Connection) -> None:
    """The other way of reading, through a cursor."""
    check_cancel(postgres, Fragment(PARAMETER, COLUMN, (), (1,), ("BIGINT",)))
    check_close(postgres, Fragment(PARAMETER, COLUMN, (), (1,), ("BIGINT",)))


def test_close_postgres(server: Server, postgres: Connection) -> None:
    """Who leaves stops the source: its server runs nothing any more."""
    check_close(postgres, Fragment(LONG["postgres"][1], COLUMN, ()))
    other = load_connector("postgres").connect({"url": server.url("postgres")})
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series%' "
        "AND state = 'active' AND pid <> pg_backend_pid()"
    )
    batches = list(other.stream(Fragment(running, COLUMN, ())))
    other.close()
    assert batches[0].to_pydict() == {"x": [0]}


def test_cancel_when_nothing_runs(embedded: Sample) -> None:
    """Harmless, and without an after-effect."""
    embedded.connection.cancel()
    works(embedded.connection)


def test_cancel_before_the_first_row_is_asked_for(embedded: Sample) -> None:
    """The statement counts as running from the call on."""
    batches = embedded.connection.stream(Fragment("SELECT 7", COLUMN, ()))
    embedded.connection.cancel()
    with pytest.raises(ConnectorCancelled):
        next(batches)
    works(embedded.connection)
