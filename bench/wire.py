"""The endpoints beside PostgreSQL itself: a million rows, probes of drivers, a row by its key.

Takes: a folder, a scale. Gives: seconds of whole tables through libpq in text, in binary and as
COPY in binary, and of the other endpoints; milliseconds of what drivers ask before they work, and
of a prepared statement that is repeated, beside the source's own. Each client is a process of its
own, and all take turns. Never judges time.
"""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.client_process import ClientProcess
from bench.mesh import PASSWORD, environment
from bench.places import Places
from bench.readings import KEPT, LIVE, READINGS, placed_readings
from bench.served import Served

_MILLION = 1_000_000
SOURCE = "PostgreSQL"
_KEPT, _LIVE = "gateway, Parquet", "gateway, PostgreSQL"
_FORMS = ("text", "binary", "copy")
# What drivers and pools send before and between statements.
PROBES = (
    "SELECT 1", "SELECT version()", "SHOW server_version", "SET application_name = 'bench'",
    "SHOW transaction_isolation", "BEGIN", "COMMIT", "SELECT current_user",
)  # fmt: skip
_SHARED = ("SELECT 1",)
_POINT = "SELECT * FROM {table} WHERE id = ?"
_BLOCK, _BLOCKS, _WARM = 25, 16, 50


@dataclass(frozen=True, slots=True)
class Pulled:
    """A whole table by one way in one form. ratio: to PostgreSQL's own, by rounds, the median.

    processor: seconds of the serving gateway's processor time for a million rows, on average.
    """

    way: str
    form: str
    rows: int
    seconds: float
    ratio: float
    processor: float


@dataclass(frozen=True, slots=True)
class Short:
    """A short statement by one way, in milliseconds; quick: of the fastest tenth the slowest."""

    statement: str
    way: str
    median: float
    quick: float


@dataclass(frozen=True, slots=True)
class Wire:
    """Everything. problems: answers that are not PostgreSQL's."""

    scale: float
    pulled: tuple[Pulled, ...]
    probes: tuple[Short, ...]
    points: tuple[Short, ...]
    problems: tuple[str, ...]


class Client(ClientProcess):
    """A process that asks one endpoint."""

    def __init__(self, kind: str, address: str, user: str = "", password: str = "") -> None:
        """Start it."""
        super().__init__("bench.wire_client", kind, address, user, password)

    def pull(self, sql: str, form: str) -> tuple[float, int]:
        """Seconds and rows of a whole answer."""
        found = self.do({"do": "pull", "sql": sql, "form": form})
        return found["took"][0], found["rows"]

    def ask(self, sql: str, values: Iterable[Sequence[object]]) -> tuple[list[float], list[Any]]:
        """Seconds of each time, and the last answer."""
        found = self.do({"do": "ask", "sql": sql, "values": list(values)})
        return found["took"], found["answer"]


def measure(
    folder: Path, scale: float, repeat: int, tell: Callable[[str], None] = lambda _: None
) -> Wire:
    """The three parts, one after the other."""
    rows = round(_MILLION * scale)
    with placed_readings(folder, rows) as places, ExitStack() as stack:
        served = stack.enter_context(closing(Served(places)))
        clients = {
            name: stack.enter_context(closing(one)) for name, one in _clients(places, served)
        }
        problems: list[str] = []
        tell("whole tables")
        pulled = _pulled(clients, served, rows, repeat, problems)
        tell("probes")
        probes = _probes(clients)
        tell("a row by its key")
        points = _points(clients, rows, problems)
    return Wire(scale, pulled, probes, points, tuple(problems))


def _clients(places: Places, served: Served) -> Iterable[tuple[str, Client]]:
    conf = places.folder / f"conf-{READINGS.name}"
    signed = ("open", PASSWORD)
    yield SOURCE, Client("libpq", places.url(LIVE.domain))
    yield "pgwire", Client("libpq", served.pgwire, *signed)
    yield "Flight SQL", Client("flight", served.flight, *signed)
    yield "DB-API", Client("dbapi", served.flight, *signed)
    yield "HTTP", Client("http", served.http, *signed)
    yield "in process", Client("inside", str(conf), "open", json.dumps(environment(places)))


def _pulled(
    clients: Mapping[str, Client], served: Served, rows: int, repeat: int, problems: list[str]
) -> tuple[Pulled, ...]:
    """In each round everybody once in each form."""
    runs: list[tuple[str, str, Client, str]] = []
    for form in _FORMS:
        runs.append((SOURCE, form, clients[SOURCE], f"SELECT * FROM {LIVE.name}"))
        for way, table in ((_KEPT, KEPT), (_LIVE, LIVE)):
            runs.append((way, form, clients["pgwire"], f"SELECT * FROM {table.address}"))
    for name in ("in process", "Flight SQL", "HTTP"):
        for way, table in ((_KEPT, KEPT), (_LIVE, LIVE)):
            runs.append((way, name, clients[name], f"SELECT * FROM {table.address}"))
    took: dict[tuple[str, str], list[float]] = {(way, form): [] for way, form, _, _ in runs}
    count = {}
    busy = dict.fromkeys(took, 0.0)
    for turn in range(-1, repeat):
        for way, form, client, sql in runs:
            before = served.processor
            once, count[way, form] = client.pull(sql, form)
            if turn >= 0:
                took[way, form].append(once)
                busy[way, form] += served.processor - before
    for (way, form), found in count.items():
        if form != "HTTP" and found != rows:
            problems.append(f"{way}, {form}: {found} rows of {rows} came")
    made = []
    for (way, form), seconds in took.items():
        beside = took[SOURCE, form if form in _FORMS else "binary"]
        ratio = statistics.median(a / b for a, b in zip(seconds, beside, strict=True))
        processor = busy[way, form] / repeat * _MILLION / rows
        made.append(Pulled(way, form, rows, statistics.median(seconds), ratio, processor))
    return tuple(made)


def _probes(clients: Mapping[str, Client]) -> tuple[Short, ...]:
    """What drivers ask, by the wire that they speak; `SELECT 1` by all."""
    made = []
    for sql in PROBES:
        names = clients if sql in _SHARED else (SOURCE, "pgwire")
        took = _in_turn({name: (clients[name], sql) for name in names}, [()])[0]
        made += [Short(sql, name, *_figures(seconds)) for name, seconds in took.items()]
    return tuple(made)


def _points(clients: Mapping[str, Client], rows: int, problems: list[str]) -> tuple[Short, ...]:
    """The same statement with another key each time."""
    chosen = random.Random(1)
    values = [[chosen.randrange(rows)] for _ in range(_BLOCK)]
    texts = {
        name: (one, _POINT.format(table=LIVE.name if name == SOURCE else LIVE.address))
        for name, one in clients.items()
    }
    took, answers = _in_turn(texts, values)
    problems += [
        f"{name} answers {found}, PostgreSQL {answers[SOURCE]}"
        for name, found in answers.items()
        if found != answers[SOURCE]
    ]
    return tuple(Short("by key", name, *_figures(seconds)) for name, seconds in took.items())


def _in_turn(
    texts: Mapping[str, tuple[Client, str]], values: Sequence[Sequence[object]]
) -> tuple[dict[str, list[float]], dict[str, list[Any]]]:
    """Blocks of everybody in turn; seconds of each time by name, and the last answers."""
    took: dict[str, list[float]] = {name: [] for name in texts}
    answers = {}
    for turn in range(-1, _BLOCKS):
        block = _WARM if turn < 0 else _BLOCK
        for name, (client, sql) in texts.items():
            given = [values[at % len(values)] for at in range(block)]
            seconds, answers[name] = client.ask(sql, given)
            if turn >= 0:
                took[name] += seconds
    return took, answers


def _figures(took: Sequence[float]) -> tuple[float, float]:
    """The median and what the fastest tenth needs at most, in milliseconds."""
    ordered = sorted(took)
    return statistics.median(ordered) * 1000, ordered[len(ordered) // 10] * 1000


def table(found: Wire) -> list[str]:
    """One line a way."""
    rows = found.pulled[0].rows
    lines = [
        f"{rows:,} rows x 5 columns; binary is to take 1.0 x PostgreSQL, text 1.5 x; the other "
        "endpoints stand beside its binary; processor: the gateway's seconds for a million rows",
        f"{'by':>20} {'as':>11} {'seconds':>8} {'/':>6} {'processor':>10}",
    ]
    lines += [
        f"{one.way:>20} {one.form:>11} {one.seconds:>8.2f} {one.ratio:>6.2f} "
        f"{one.processor:>10.2f}"
        for one in found.pulled
    ]
    lines += ["what drivers ask, in 1 ms", *_lines(found.probes)]
    source = next(one for one in found.points if one.way == SOURCE)
    lines += ["a row by its key, prepared, in 3 ms more than the source"]
    lines += _lines(found.points, source)
    return lines


def _lines(shorts: Iterable[Short], source: Short | None = None) -> list[str]:
    lines = [f"{'statement':>32} {'by':>11} {'median ms':>10} {'fast 10 %':>10}"]
    for one in shorts:
        more = f" {one.median - source.median:>+8.2f}" if source is not None else ""
        lines.append(
            f"{one.statement:>32} {one.way:>11} {one.median:>10.2f} {one.quick:>10.2f}{more}"
        )
    return lines


def wrong(found: Wire) -> list[str]:
    """Answers that are not PostgreSQL's."""
    return list(found.problems)
