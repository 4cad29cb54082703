"""State in SQLite and in PostgreSQL, a new one for each test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine

import gateway.state.engine as engine_module
from gateway.demo.postgres import NoPostgres, Server, find_server
from gateway.state.engine import open_state
from tests.fresh_state import migrated

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A PostgreSQL server, for as long as the tests of this folder run."""
    try:
        server = find_server(tmp_path_factory.mktemp("state-postgres"))
        server.start()
    except NoPostgres as error:
        pytest.skip(str(error))
    yield server
    server.discard()


@pytest.fixture(autouse=True)
def _migrations_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere a schema that was made once is written down; here it is made each time."""
    monkeypatch.setattr(engine_module, "migrate", migrated)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty state of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'folder of state' / 'state%20.sqlite'}"
    server: Server = request.getfixturevalue("postgres")
    name = f"state_{next(_NUMBERS)}"
    server.run("postgres", f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.fixture
def state(url: str) -> Iterator[Engine]:
    """An open state of either kind."""
    engine = open_state(url)
    yield engine
    engine.dispose()
