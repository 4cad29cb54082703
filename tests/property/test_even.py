"""Non-interference and agreement over the arenas of even seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.demo.postgres import Server
from tests.property.halves import LONG, SHORT, check, empty_cells


@pytest.mark.timeout(900)
def test_nothing_hidden_has_an_influence(tmp_path: Path, server: Server) -> None:
    """And every answer is what plain DuckDB gives over the permitted rows."""
    check(range(0, SHORT, 2), tmp_path, server)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_nothing_hidden_has_an_influence_anywhere(tmp_path: Path, server: Server) -> None:
    """Other arenas, and no clause, form of policy or connector is left out."""
    tally = check(range(1000 + 0, 1000 + LONG, 2), tmp_path, server)
    assert empty_cells(tally) == []
