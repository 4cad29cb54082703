"""Statements that are stopped: each was seen to run, and each ends as a cancelled one.

Takes: a small table in each kind of source. Gives: a figure for each endpoint, source and means.
Never looks at time.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import cancel
from bench.__main__ import main
from bench.cancel import Cancelling, Stopped

_WAYS = {"in process", "HTTP", "Flight SQL", "DB-API", "pgwire"}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_endpoint_stops_what_it_asked_of_every_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # MariaDB does not see that a gateway was killed, and is not waited for here.
    monkeypatch.setattr(cancel, "_GIVE_UP_KILLED", 3.0)
    file = tmp_path / "cancel.json"
    line = ["--repeat", "1", "--folder", str(tmp_path), "--json", str(file)]
    assert main([*line, "--cancel"]) == 0
    shown, figures = capsys.readouterr().out, json.loads(file.read_text())
    assert figures["problems"] == []
    for how in ("cancel", "killed"):
        found = [one for one in figures["stopped"] if one["how"] == how]
        assert {one["way"] for one in found} == _WAYS
        assert {one["source"] for one in found} >= {"PostgreSQL", "SQLite", "Parquet"}
    assert not any(one["unended"] for one in figures["stopped"] if one["how"] == "cancel")
    assert "stopped by" in shown


def test_a_slow_cancel_is_told_and_is_no_problem() -> None:
    slow = Stopped("cancel", "HTTP", "SQLite", 3, 900.0, 1_100.0, 0)
    found = Cancelling((slow, Stopped("killed", "HTTP", "SQLite", 3, 1e4, 3e4, 1)), (1.0, 2.0), ())
    *_, over, killed = cancel.table(found)
    assert over.endswith("over the bar") and killed.endswith("1 of 3 still ran then")
    assert cancel.wrong(found) == []
