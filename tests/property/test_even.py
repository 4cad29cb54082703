"""Non-interference and agreement over the arenas of even seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.demo import mysql
from gateway.demo.postgres import Server
from gateway.probe.coverage import empty_pairs
from gateway.probe.rules import FORMS
from tests.property.halves import SHORT, check, places


@pytest.mark.timeout(900)
def test_nothing_hidden_has_an_influence(
    tmp_path: Path, server: Server, mariadb: mysql.Server | None
) -> None:
    """And every answer is what plain DuckDB gives over the permitted rows."""
    tally = check(range(0, SHORT, 2), tmp_path, server, mariadb)
    assert empty_pairs(tally, FORMS, places(mariadb)) == []
