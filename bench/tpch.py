"""TPC-H over the domains of a layout, beside DuckDB over files and DuckDB with ATTACH.

Takes: what to measure. Gives: a `Report` with, for each statement, whether the answers are right,
seconds of everybody from interleaved runs, rows and bytes moved by source and the time of planning.
Never judges time.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from bench.link import Link, SlowLink
from bench.mariadb import fill_mysql
from bench.mesh import open_mesh
from bench.ours import Ours, addressed
from bench.peers import Attached, Database, Floor
from bench.places import Places, make_places
from bench.served import Client, Served
from bench.tables import MESH, ONE, Layout
from gateway.demo import mysql
from gateway.demo.postgres import find_server
from gateway.opening import settle
from gateway.probe.outcomes import difference, of_batches

ALL = tuple(range(1, 23))
# Those that join several sources and fetch much from one of them.
FEDERATED = (3, 5, 10, 12, 13, 18, 22)
PLANNED_TIMES, SLOW = 5, " slow link"


@dataclass(frozen=True, slots=True)
class Asked:
    """What to measure: numbers of statements, counted rounds, a layout, a link."""

    scale: float
    numbers: tuple[int, ...] = ALL
    repeat: int = 3
    layout: Layout = MESH
    link: Link | None = None

    @property
    def kind(self) -> str:
        """The section of limits.toml."""
        layout = "" if self.layout is MESH else f" {self.layout.name}"
        return f"sf-{self.scale:g}{layout}{SLOW if self.link else ''}"


@dataclass(frozen=True, slots=True)
class Measured:
    """One statement. seconds: medians by name; plan_cold, plan_cached in ms.

    moved, bytes: by source, governed_moved for whom policies hold; wire: bytes over the slow link,
    of the gateway and of ATTACH.
    """

    number: int
    wrong: str
    seconds: dict[str, float]
    plan_cold: float
    plan_cached: float
    moved: dict[str, int]
    bytes: dict[str, int]
    fragments: tuple[tuple[str, str], ...] = field(repr=False)
    wire: Mapping[str, int] = field(default_factory=dict)
    governed_moved: Mapping[str, int] = field(default_factory=dict)

    def ratio(self, one: str, other: str) -> float:
        """How one stands to another."""
        return self.seconds[one] / self.seconds[other]


@dataclass(frozen=True, slots=True)
class Report:
    """All statements of one kind of run."""

    kind: str
    scale: float
    measured: tuple[Measured, ...]

    def geomean(self, one: str, other: str, numbers: Iterable[int] = ALL) -> float | None:
        """The mean ratio over some statements; None where none of them was measured."""
        logs = [
            math.log(each.ratio(one, other))
            for each in self.measured
            if each.number in numbers and {one, other} <= set(each.seconds)
        ]
        return math.exp(statistics.fmean(logs)) if logs else None


def measure(folder: Path, asked: Asked, tell: Callable[[str], None] = lambda _: None) -> Report:
    """Place the data where it is missing, check every answer, measure interleaved."""
    with placed(folder, asked, tell) as (places, beside), ExitStack() as stack:
        opened = open_mesh(places)
        stack.callback(opened.close)
        # As in a process that serves.
        settle()
        attached = stack.enter_context(closing(Attached(beside)))
        texts = attached.queries()
        link_cost = "dear" if asked.link else "cheap"
        served = stack.enter_context(closing(Served(places)))
        client = Client(served.connect(link_cost=link_cost))
        stack.callback(client.close)
        peers: list[Attached | Database] = [attached]
        if asked.layout is ONE:
            peers.append(stack.enter_context(closing(Database(places))))
        ours = tuple(Ours(opened, one, link_cost) for one in ("open", "governed"))
        runners = Runners(
            Floor(places), tuple(peers), ours, client, asked.repeat, asked.layout,
            {"open": places.link, "attach": beside.link},
        )  # fmt: skip
        measured = []
        for number in asked.numbers:
            tell(f"statement {number}")
            measured.append(runners.run(number, texts[number]))
    return Report(asked.kind, asked.scale, tuple(measured))


@contextmanager
def placed(
    folder: Path, asked: Asked, tell: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[Places, Places]]:
    """The data in their places, for the gateway and for its peer: each has a link of its own."""
    home, layout = folder / f"tpch-{asked.scale:g}", asked.layout
    with find_server(home / "postgres") as server, ExitStack() as stack:
        tell(f"placing TPC-H at scale {asked.scale:g}")
        places = make_places(home, asked.scale, server, layout)
        for domain in (one for one, kind in layout.domains.items() if kind == "mysql"):
            mariadb = mysql.find_server()
            stack.callback(mariadb.discard)
            places = replace(places, mariadb=stack.enter_context(mariadb))
            fill_mysql(places, mariadb, domain, layout.of(domain))
        if asked.link is None:
            yield places, places
            return
        url = server.url("postgres")
        links = [stack.enter_context(SlowLink(url, asked.link)) for _ in range(2)]
        yield replace(places, link=links[0]), replace(places, link=links[1])


@dataclass(frozen=True, slots=True)
class Runners:
    """Everybody who runs. `ours` are principals of the gateway, first the one without policies."""

    floor: Floor
    peers: tuple[Attached | Database, ...]
    ours: tuple[Ours, ...]
    client: Client
    repeat: int
    layout: Layout
    links: Mapping[str, SlowLink | None]

    def run(self, number: int, text: str) -> Measured:
        """One statement by all of them."""
        sql = addressed(text, self.layout)
        first = self.ours[0]
        wrong = self._wrong(text, sql)
        runs: dict[str, Callable[[], float]] = {
            self.floor.name: partial(self.floor.seconds, text),
            **{one.name: partial(one.seconds, text) for one in self.peers},
            **{one.name: partial(one.seconds, sql) for one in self.ours},
            self.client.name: partial(self.client.seconds, sql),
        }
        seconds = _interleaved(runs, self.repeat)
        _, moved = first.answer(sql)
        _, governed = self.ours[-1].answer(sql)
        wire = {
            name: _passed(link, runs[name]) for name, link in self.links.items() if link is not None
        }
        cold, cached = (
            statistics.median(first.planning(sql, kept) for _ in range(PLANNED_TIMES)) * 1000
            for kept in (False, True)
        )
        return Measured(
            number, wrong, seconds, cold, cached, moved.rows, moved.bytes, moved.fragments, wire,
            governed.rows,
        )

    def _wrong(self, text: str, sql: str) -> str:
        """How answers differ from the reference; empty where they do not."""
        table, hidden = self.floor.answer(text), self.floor.answer(text, is_governed=True)
        answers: dict[str, Callable[[], pa.Table]] = {
            **{one.name: partial(one.table, sql) for one in self.ours},
            self.client.name: partial(self.client.answer, sql),
        }
        found = []
        for name, answer in answers.items():
            got, due = answer(), hidden if name == "governed" else table
            want = of_batches(due.schema, due.to_batches())
            told_ = difference(want, of_batches(got.schema, got.to_batches()))
            found += [f"{name}: {told_}"] if told_ else []
        return "; ".join(found)


def _passed(link: SlowLink, run: Callable[[], float]) -> int:
    """What came through a link for one more run."""
    before = link.bytes
    run()
    return link.bytes - before


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
