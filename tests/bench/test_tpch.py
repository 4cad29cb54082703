"""The measurements: every answer is that of DuckDB over the same rows, whatever the mode.

Takes: a small scale. Gives: right answers, for somebody without and for somebody with policies and
through Flight SQL, and no more rows moved than is written down. Never looks at time.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import psycopg
import pytest

from bench import tpch
from bench.__main__ import main
from bench.link import Link, SlowLink
from bench.report import LIMITS, beyond, to_handwritten, unlimited
from bench.tables import LAYOUTS, ONE
from bench.tpch import ALL, FEDERATED, Asked, Measured, Report, measure
from gateway.demo.postgres import find_server
from tests.bench.peer import lend_peer

SCALE = 0.01
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all modes keep their data."""
    made = tmp_path_factory.mktemp("bench")
    lend_peer(made)
    return made


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_all_answers_are_right_and_move_no_more_than_before(
    layout: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tpch, "PLANNED_TIMES", 1)
    report = measure(folder, Asked(SCALE, repeat=1, layout=LAYOUTS[layout]))
    assert [one.number for one in report.measured] == list(ALL)
    assert [one.wrong for one in report.measured if one.wrong] == []
    assert beyond(report) == []
    # The mean is one of something.
    peers = ("floor", "attach", "database") if layout == ONE.name else ("floor", "attach")
    for numbers in (ALL, FEDERATED):
        assert all(report.geomean("open", one, numbers) for one in peers)
    assert report.geomean("flight", "open") is not None


def test_over_a_slow_link_bytes_are_counted_and_rows_held_to_those_by_hand(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "slow.json"
    line = ["--sf", str(SCALE), "--queries", "12,18", "--repeat", "1", "--folder", str(folder)]
    assert main([*line, "--slow-link", "5,500", "--json", str(file), "--fragments"]) == 0
    shown = capsys.readouterr().out
    assert "query 12 moves" in shown and "attach's link" in shown
    for one in json.loads(file.read_text())["measured"]:
        assert one["wire"]["open"] > 0 and one["wire"]["attach"] > 0


def test_a_slow_link_delays_what_passes(folder: Path) -> None:
    """The control of the mode: a link of 40 ms answers no statement in less."""
    with find_server(folder / f"tpch-{SCALE:g}" / "postgres") as server:
        url = server.url("postgres")
        with SlowLink(url, Link(40, 8)) as link, psycopg.connect(link.through(url)) as connection:
            before, start = link.bytes, time.perf_counter()
            connection.execute("SELECT repeat('x', 100000)").fetchall()
            took = time.perf_counter() - start
            assert link.bytes - before > 100_000
        # A round trip, and 0.1 MB at 1 MB a second.
        assert took > 0.04 + 0.1


@pytest.mark.parametrize("part", [["--pass-through"], ["--clients", "4", "--seconds", "0.5"]])
def test_other_parts_give_a_table(
    part: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "part.json"
    line = ["--sf", str(SCALE), "--repeat", "1", "--folder", str(folder), "--json", str(file)]
    assert main([*line, *part]) == 0
    shown, figures = capsys.readouterr().out, json.loads(file.read_text())
    if "--clients" in part:
        assert figures["problems"] == []
        assert {one["way"] for one in figures["together"]} == {
            "database", "in process", "Flight SQL",
        }  # fmt: skip
        assert all(one["throughput"] > 0 for one in figures["together"])
    else:
        assert [one["inside"]["rows"] for one in figures["passed"]][:1] == [15_000]
        assert all(one["inside"]["peak"] >= one["inside"]["idle"] for one in figures["passed"])
    assert "at scale 0.01" in shown


def test_more_rows_than_written_down_are_a_problem() -> None:
    one = Measured(3, "", {"open": 1.0, "attach": 1.0}, 1.0, 1.0, {"sales": 10**9}, {}, ())
    assert '["sf-0.01"]' in LIMITS.read_text(encoding="utf-8")
    assert beyond(Report("sf-0.01", 0.01, (one,))) != []
    assert beyond(Report("sf-0.01", 0.01, ())) == []
    slow = Report("sf-2 slow link", 2.0, (one,))
    assert "bar 1.2" in to_handwritten(slow)[0]
    assert beyond(slow) == ["query 3 moves over 1.2 x the rows by hand"]
    (told,) = unlimited(slow)
    assert "no limits of rows are written down for sf-2 slow link" in told
    assert unlimited(Report("sf-0.01", 0.01, ())) == []
