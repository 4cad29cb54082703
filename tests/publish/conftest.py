"""A state of its own for each test that publishes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.state.engine import open_state


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Engine]:
    """An open state in SQLite."""
    engine = open_state(f"sqlite:///{tmp_path / 'state.sqlite'}")
    yield engine
    engine.dispose()
