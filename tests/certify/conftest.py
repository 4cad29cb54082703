"""Servers and small meshes for certifying.

Takes: a PostgreSQL server, where one is. Gives: gateways over single sources that hold the rows of
the conformance suite.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.certify import run
from gateway.demo import mysql as mariadb
from gateway.demo.postgres import NoPostgres, Server, find_server
from tests.connectors.conformance.samples import in_sqlite
from tests.differential.traps_mesh import TrapsMesh, open_over
from tests.mysql import running_mysql


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A PostgreSQL server; a run that must have one fails without."""
    try:
        found = find_server(tmp_path_factory.mktemp("postgres"))
    except NoPostgres as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with found:
        yield found
    found.discard()


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[mariadb.Server]:
    """A MariaDB server; a run that must have one fails without."""
    with running_mysql() as found:
        yield found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only abilities are asked; the rest has tests of its own."""
    monkeypatch.setattr(run, "barrier", lambda *_: None)
    monkeypatch.setattr(run, "facts", lambda *_: iter(()))
    monkeypatch.setattr(run, "prices", lambda *_: {})
    monkeypatch.setattr(run, "bounds", lambda *_: {})


@pytest.fixture
def over_sqlite(tmp_path: Path) -> Iterator[TrapsMesh]:
    """A gateway over one SQLite file, its state empty."""
    (tmp_path / "sqlite").mkdir()
    made = open_over(tmp_path, {"sqlite": in_sqlite(tmp_path / "sqlite")}, {})
    yield made
    made.close()
