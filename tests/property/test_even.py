"""Non-interference and agreement over the arenas of even seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.demo.postgres import Server
from gateway.probe.coverage import empty_pairs
from gateway.probe.rules import FORMS
from tests.property.halves import SHORT, check


@pytest.mark.timeout(900)
def test_nothing_hidden_has_an_influence(tmp_path: Path, server: Server) -> None:
    """And every answer is what plain DuckDB gives over the permitted rows."""
    tally = check(range(0, SHORT, 2), tmp_path, server)
    assert empty_pairs(tally, FORMS) == []
