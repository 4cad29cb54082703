"""Whole tables through the gateway: how fast, and how much memory they take.

Takes: places. Gives: for each kind of source rows and bytes a second in process and through Flight
SQL, and the most memory that the process which answers takes over its idle self. Both are processes
of their own, and their readers drop what they read. Never judges time.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.inside import drained
from bench.mesh import environment, write_mesh
from bench.ours import addressed
from bench.places import Places
from bench.served import Client, Peak, Served
from bench.tpch import Asked, placed

_MILLION = 1_000_000
# Of orders there are 1.5 million at scale 1, and lines up to this key are about as many.
STATEMENTS: Mapping[str, str] = {
    "PostgreSQL": "SELECT * FROM orders",
    "Parquet": "SELECT * FROM lineitem WHERE l_orderkey <= {lines}",
    "Parquet, whole": "SELECT * FROM lineitem",
    "SQLite": "SELECT * FROM partsupp",
}
_LINES = 1_500_000


@dataclass(frozen=True, slots=True)
class Way:
    """One way of one statement. seconds: median; idle, peak: bytes of the process."""

    seconds: float
    rows: int
    bytes: int
    idle: int
    peak: int

    @property
    def over(self) -> float:
        """Megabytes over the idle process."""
        return (self.peak - self.idle) / _MILLION


@dataclass(frozen=True, slots=True)
class Passed:
    """One statement, by the two ways."""

    source: str
    inside: Way
    flight: Way


@dataclass(frozen=True, slots=True)
class Passing:
    """All statements at one scale."""

    scale: float
    passed: tuple[Passed, ...]


class Inside:
    """A process with a gateway in it that answers to its input."""

    def __init__(self, places: Places) -> None:
        """Start it over the mesh that is written."""
        conf = places.folder / f"conf-{places.layout.name}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.inside", conf, json.dumps(environment(places))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).resolve().parents[1],
        )  # fmt: skip

    @property
    def process_id(self) -> int:
        """Its number."""
        return self._process.pid

    def drain(self, sql: str) -> tuple[float, int, int]:
        """Run a statement and drop what comes: seconds, rows, bytes."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(sql) + "\n")
        self._process.stdin.flush()
        seconds, rows, size = json.loads(self._process.stdout.readline())
        return seconds, rows, size

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


Drain = Callable[[str], tuple[float, int, int]]


def measure(folder: Path, asked: Asked, tell: Callable[[str], None] = lambda _: None) -> Passing:
    """Each statement by both ways in turn, in processes that have answered nothing large before."""
    with placed(folder, asked, tell) as (places, _):
        write_mesh(places)
        passed = []
        for source, text in STATEMENTS.items():
            tell(source)
            lines = round(_LINES * asked.scale)
            sql = addressed(text.format(lines=lines), places.layout)
            passed.append(Passed(source, *_in_turn(places, sql, asked.repeat)))
    return Passing(asked.scale, tuple(passed))


def _in_turn(places: Places, sql: str, repeat: int) -> list[Way]:
    """Medians; everybody once before counting. Memory is that of all rounds over the idle self."""
    with (
        closing(Inside(places)) as inside,
        closing(Served(places)) as served,
        closing(Client(served.connect())) as client,
    ):

        def drain(text: str) -> tuple[float, int, int]:
            start = time.perf_counter()
            rows, size = drained(client.batches(text))
            return time.perf_counter() - start, rows, size

        ways: tuple[tuple[int, Drain], ...] = (
            (inside.process_id, inside.drain),
            (served.process_id, drain),
        )
        for _, run in ways:
            run(f"{sql} LIMIT 1")
        peaks = [Peak(process_id) for process_id, _ in ways]
        found: list[list[tuple[float, int, int]]] = [[] for _ in ways]
        for turn in range(-1, repeat):
            for place, (_, run) in enumerate(ways):
                took = run(sql)
                if turn >= 0:
                    found[place].append(took)
        return [
            Way(statistics.median(one[0] for one in runs), *runs[0][1:], peak.idle, peak.most)
            for runs, peak in zip(found, peaks, strict=True)
        ]


def table(found: Passing) -> list[str]:
    """One line a source."""
    lines = [
        f"pass-through at scale {found.scale:g}; Flight SQL is to give 80 % of in process, "
        "memory is to grow by 60 MB at most",
        f"{'source':>15} {'rows':>10} {'MB':>7} {'in process':>11} {'Flight SQL':>11} {'/':>6} "
        f"{'MB over idle':>13} {'Flight SQL':>11}",
    ]
    for one in found.passed:
        inside, flight = one.inside, one.flight
        lines.append(
            f"{one.source:>15} {inside.rows:>10,} {inside.bytes / _MILLION:>7.0f} "
            f"{inside.seconds:>10.2f}s {flight.seconds:>10.2f}s "
            f"{inside.seconds / flight.seconds:>6.2f} {inside.over:>13.0f} {flight.over:>11.0f}"
        )
    return lines


def wrong(found: Passing) -> list[str]:
    """Both ways give the same number of rows."""
    return [
        f"{one.source}: {one.inside.rows} rows in process, {one.flight.rows} through Flight SQL"
        for one in found.passed
        if one.inside.rows != one.flight.rows
    ]
