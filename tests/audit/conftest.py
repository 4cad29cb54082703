"""An audit in a state of its own: SQLite from a file made once, or PostgreSQL too."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.state.engine import open_state
from tests.state.conftest import postgres

__all__ = ["postgres"]


@pytest.fixture(scope="session")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated state without rows."""
    path = tmp_path_factory.mktemp("state") / "empty.sqlite"
    open_state(f"sqlite:///{path}").dispose()
    return path


@pytest.fixture
def state_path(tmp_path: Path, empty_state: Path) -> Path:
    """The file of a state of one's own."""
    return Path(shutil.copy(empty_state, tmp_path / "state.sqlite"))


@pytest.fixture
def state(state_path: Path) -> Iterator[Engine]:
    """An open state in SQLite."""
    engine = open_state(f"sqlite:///{state_path}")
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def either_state(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An open state in SQLite, then in PostgreSQL."""
    if request.param == "sqlite":
        yield request.getfixturevalue("state")
        return
    server = request.getfixturevalue("postgres")
    name = f"audit_{zlib.crc32(request.node.name.encode())}"
    server.run("postgres", f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    engine = open_state(server.url(name))
    yield engine
    engine.dispose()
