"""The endpoints beside PostgreSQL: all rows come, and every way gives the same answer.

Takes: a few thousand rows. Gives: right answers on each endpoint. Never looks at time.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import wire
from bench.__main__ import main

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
_WAYS = {"PostgreSQL", "pgwire", "Flight SQL", "DB-API", "HTTP", "in process"}


def test_every_endpoint_gives_all_rows_and_the_database_s_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each short statement 75 times by everybody: what is left out is asked for its time only."""
    monkeypatch.setattr(wire, "_BLOCKS", 1)
    file = tmp_path / "wire.json"
    line = ["--sf", "0.003", "--repeat", "1", "--folder", str(tmp_path), "--json", str(file)]
    assert main([*line, "--wire"]) == 0
    shown, figures = capsys.readouterr().out, json.loads(file.read_text())
    assert figures["problems"] == []
    assert {one["rows"] for one in figures["pulled"]} == {3_000}
    assert {one["form"] for one in figures["pulled"]} >= {"text", "binary", "copy"}
    assert {one["way"] for one in figures["points"]} == _WAYS
    assert {one["way"] for one in figures["probes"]} == _WAYS
    assert "3,000 rows x 5 columns" in shown
