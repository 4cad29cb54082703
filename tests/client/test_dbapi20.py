"""The suite of PEP 249, over Flight SQL.

Its tables are products of a SQLite source. What it writes goes to that source, by a cursor that
hands every statement that writes to it; whatever reads goes the way of every client. Nothing of
the suite is left out but what says so below.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import dbapi20
import pytest

import sqluice
from gateway.serve.flight.server import FlightEndpoint
from tests.small_mesh import SmallMesh, opened_mesh

TABLES = {
    "dbapi20test_booze": {"name": "VARCHAR"},
    "dbapi20test_barflys": {"name": "VARCHAR", "drink": "VARCHAR"},
}
MESH = SmallMesh(
    domain="bar",
    source={"connector": "sqlite", "settings": {"path": "bar.sqlite"}},
    tables={name: (name, columns) for name, columns in TABLES.items()},
    users={"guest": {"groups": ["all"]}},
    grants=tuple({"product": name, "subjects": [{"groups": ["all"]}]} for name in TABLES),
)


class Writing(sqluice.Cursor):
    """A cursor that writes at the source."""

    source: ClassVar[Path]

    def execute(self, operation: str, parameters: Sequence[object] | None = None) -> Writing:
        """Read through the gateway; tables that are made or dropped are emptied."""
        verb, _, table, *_ = operation.split()
        if verb == "select":
            super().execute(operation, parameters)
            return self
        self._open()
        self._forget()
        if verb in ("create", "drop"):
            operation = f"DELETE FROM {table}"
        with sqlite3.connect(self.source) as database:
            database.execute(operation, tuple(parameters or ()))
        database.close()
        return self

    def executemany(self, operation: str, seq_of_parameters: Sequence[Sequence[object]]) -> None:
        """Each by itself."""
        for one in seq_of_parameters:
            self.execute(operation, one)


class WritingConnection(sqluice.Connection):
    """A connection with such cursors."""

    def cursor(self) -> Writing:
        """A fresh cursor."""
        self._check()
        return Writing(self, self._transport.statement())


def connect(*arguments: str, **named: str) -> WritingConnection:
    """As the module does."""
    made = sqluice.connect(*arguments, **named)  # type: ignore[arg-type]  # by name
    made.__class__ = WritingConnection
    assert isinstance(made, WritingConnection)
    return made


@pytest.fixture(scope="module", autouse=True)
def bar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A gateway over the suite's tables."""
    folder = tmp_path_factory.mktemp("bar")
    Writing.source = folder / "data" / "bar.sqlite"
    Writing.source.parent.mkdir()
    with sqlite3.connect(Writing.source) as database:
        for name, columns in TABLES.items():
            held = ", ".join(f"{column} TEXT" for column in columns)
            database.execute(f"CREATE TABLE {name} ({held})")
    database.close()
    opened = opened_mesh(folder, MESH)
    endpoint = FlightEndpoint(opened, "127.0.0.1", 0)
    Suite.connect_args = (f"grpc://127.0.0.1:{endpoint.start()}",)
    Suite.connect_kw_args = {"user": "guest", "password": "guest-demo", "domain": "bar"}
    yield
    endpoint.stop()
    opened.close()


class Suite(dbapi20.DatabaseAPI20Test):  # type: ignore[misc]  # it has no types
    driver = SimpleNamespace(**vars(sqluice) | {"connect": connect})


EXCLUDED = {
    "test_nextset": "An optional extension that is not offered: a statement has one answer.",
    "test_setoutputsize": "The suite has no body for it; it does nothing, for nothing is cut.",
    "test_non_idempotent_close": "Closing twice is harmless here; the suite calls it disputable.",
}
for _excluded in EXCLUDED:
    setattr(Suite, _excluded, None)


def test_the_excluded_are_tests_of_the_suite() -> None:
    assert all(callable(getattr(dbapi20.DatabaseAPI20Test, name)) for name in EXCLUDED)
