"""TPC-H over four domains, beside DuckDB over files and DuckDB with ATTACH.

Takes: a scale factor, numbers of statements, repetitions. Gives: a `Report` with, for each
statement, whether the answer is right, seconds of everybody from interleaved runs, rows moved by
source and the time of planning. Never judges time.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.mariadb import fill_mysql
from bench.mesh import open_mesh
from bench.ours import Ours, addressed
from bench.peers import Attached, Floor
from bench.places import make_places
from bench.tables import TABLES
from gateway.demo import mysql
from gateway.demo.postgres import find_server
from gateway.opening import settle
from gateway.probe.outcomes import difference, of_batches

ALL = tuple(range(1, 23))
# Those that join several sources and fetch much from one of them.
FEDERATED = (3, 5, 10, 12, 13, 18, 22)
PLANNED_TIMES = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """One statement. seconds: medians by name; plan_cold, plan_cached in ms."""

    number: int
    wrong: str
    seconds: dict[str, float]
    plan_cold: float
    plan_cached: float
    moved: dict[str, int]
    fragments: tuple[tuple[str, str], ...] = field(repr=False)

    def ratio(self, one: str, other: str) -> float:
        """How one stands to another."""
        return self.seconds[one] / self.seconds[other]


@dataclass(frozen=True, slots=True)
class Report:
    """All statements at one scale."""

    scale: float
    measured: tuple[Measured, ...]

    def geomean(self, one: str, other: str, numbers: Iterable[int] = ALL) -> float | None:
        """The mean ratio over some statements; None where none of them was measured."""
        logs = [
            math.log(each.ratio(one, other)) for each in self.measured if each.number in numbers
        ]
        return math.exp(statistics.fmean(logs)) if logs else None


def measure(  # noqa: PLR0913  # what the command line gives
    folder: Path, scale: float, numbers: Sequence[int], repeat: int,
    tell: Callable[[str], None] = lambda _: None, *, orders: str = "postgres",
) -> Report:
    """Place the data where it is missing, check every answer, measure interleaved."""
    home = folder / f"tpch-{scale:g}"
    with find_server(home / "postgres") as server, _mariadb(orders) as mariadb:
        tell(f"placing TPC-H at scale {scale:g}, orders in {orders}")
        places = make_places(home, scale, server, mariadb)
        if mariadb is not None:
            fill_mysql(places, mariadb, "sales", [one for one in TABLES if one.domain == "sales"])
        opened = open_mesh(places)
        # As in a process that serves.
        settle()
        try:
            with closing(Attached(places)) as attached:
                texts = attached.queries()
                floor = Floor(places)
                ours = [Ours(opened, "open"), Ours(opened, "governed")]
                runners = Runners(floor, attached, tuple(ours), repeat)
                measured = []
                for number in numbers:
                    tell(f"statement {number}")
                    measured.append(runners.run(number, texts[number]))
        finally:
            opened.close()
    return Report(scale, tuple(measured))


@contextmanager
def _mariadb(orders: str) -> Iterator[mysql.Server | None]:
    """A server for the orders where they shall lie in one."""
    if orders != "mariadb":
        yield None
        return
    server = mysql.find_server()
    try:
        with server:
            yield server
    finally:
        server.discard()


@dataclass(frozen=True, slots=True)
class Runners:
    """Everybody who runs. `ours` are principals of the gateway, first the one without policies."""

    floor: Floor
    attached: Attached
    ours: tuple[Ours, ...]
    repeat: int

    def run(self, number: int, text: str) -> Measured:
        """One statement by all of them."""
        sql = addressed(text)
        first = self.ours[0]
        wrong = self._wrong(text, sql)
        runs: dict[str, Callable[[], float]] = {
            self.floor.name: partial(self.floor.seconds, text),
            self.attached.name: partial(self.attached.seconds, text),
            **{one.name: partial(one.seconds, sql) for one in self.ours},
        }
        seconds = _interleaved(runs, self.repeat)
        _, moved = first.answer(sql)
        cold, cached = (
            statistics.median(first.planning(sql, kept) for _ in range(PLANNED_TIMES)) * 1000
            for kept in (False, True)
        )
        return Measured(number, wrong, seconds, cold, cached, moved.rows, moved.fragments)

    def _wrong(self, text: str, sql: str) -> str:
        """How answers differ from the reference; empty where they do not."""
        table = self.floor.answer(text)
        want = of_batches(table.schema, table.to_batches())
        found = []
        for one in self.ours:
            got, _ = one.answer(sql)
            told = difference(want, of_batches(got.schema, got.to_batches()))
            found += [f"{one.name}: {told}"] if told else []
        return "; ".join(found)


def _interleaved(runs: dict[str, Callable[[], float]], repeat: int) -> dict[str, float]:
    """Medians; everybody once before counting, then in turn, each round begun by another."""
    names = list(runs)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1, repeat):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            took = runs[name]()
            if turn >= 0:
                found[name].append(took)
    return {name: statistics.median(took) for name, took in found.items()}


def told(text: str) -> None:
    """Progress, for whoever waits."""
    sys.stderr.write(f"{text} ...\n")
