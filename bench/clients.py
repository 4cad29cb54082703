"""Short statements, of one client and of many at once, beside the sources' own.

Takes: places, a number of clients. Gives: for each way to ask (the databases themselves, the
gateway in process, and through Flight SQL) milliseconds of one client by statement, and throughput
and the 99th percentile of many clients with all statements mixed. Values are parameters; audit is
on. Never judges time.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
from adbc_driver_flightsql import dbapi

from bench.mesh import open_mesh
from bench.ours import Ours, addressed
from bench.peers import Attached, Floor
from bench.places import Places
from bench.served import Served
from bench.tables import TABLES
from bench.tpch import Asked, placed
from gateway.opening import OpenGateway, settle

Row = tuple[object, ...]
# Answers one statement with one value.
Ask = Callable[[str, object], list[Row]]
# Of one client: how to ask, and how to leave.
Way = Callable[[], tuple[Ask, Callable[[], None]]]

# By name: the table whose key is given, and the text.
STATEMENTS: Mapping[str, tuple[str, str]] = {
    "key": ("orders", "SELECT * FROM orders WHERE o_orderkey = ?"),
    "latest": (
        "customer",
        "SELECT o_orderkey, o_totalprice, o_orderdate FROM orders WHERE o_custkey = ? "
        "ORDER BY o_orderdate DESC, o_orderkey LIMIT 10",
    ),
    "sum": (
        "customer",
        "SELECT count(*) AS n, sum(o_totalprice) AS total FROM orders WHERE o_custkey = ?",
    ),
    "join": (
        "customer",
        "SELECT c_name, c_acctbal, n_name FROM customer JOIN nation ON c_nationkey = n_nationkey "
        "WHERE c_custkey = ?",
    ),
}
_KEYS = 500
_ALONE = 300
_WARM = 30


@dataclass(frozen=True, slots=True)
class Alone:
    """One statement of one client by one way, in milliseconds."""

    statement: str
    way: str
    median: float
    p99: float


@dataclass(frozen=True, slots=True)
class Together:
    """Many clients by one way: statements a second, milliseconds."""

    way: str
    clients: int
    throughput: float
    median: float
    p99: float


@dataclass(frozen=True, slots=True)
class Clients:
    """Everything at one scale. problems: answers that differ from the database's."""

    scale: float
    alone: tuple[Alone, ...]
    together: tuple[Together, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A statement as the gateway gets it, in which domain it is answered, and keys to ask for."""

    name: str
    domain: str
    plain: str
    addressed: str
    keys: Sequence[int]


def measure(
    folder: Path,
    asked: Asked,
    clients: int,
    seconds: float,
    tell: Callable[[str], None] = lambda _: None,
) -> Clients:
    """One client by each way, statement by statement; then all of them at once, in turn."""
    with placed(folder, asked, tell) as (places, beside), ExitStack() as stack:
        opened = stack.enter_context(closing(open_mesh(places)))
        settle()
        served = stack.enter_context(closing(Served(places)))
        attached = stack.enter_context(closing(Attached(beside)))
        questions = _questions(places)
        ways: dict[str, Way] = {
            "database": lambda: _database(places, questions),
            "in process": lambda: _inside(opened),
            "Flight SQL": lambda: _flight(served),
        }
        alone = []
        problems: list[str] = []
        for one in questions:
            tell(f"statement {one.name}")
            alone += _alone(one, ways, problems)
            alone.append(_beside(one, attached))
        found: dict[str, list[tuple[float, list[float]]]] = {name: [] for name in ways}
        for turn in range(asked.repeat):
            for name, way in ways.items():
                tell(f"{clients} clients, {name}, round {turn + 1}")
                found[name].append(_together(way, clients, seconds, questions))
    together = tuple(_summed(name, clients, runs) for name, runs in found.items())
    return Clients(asked.scale, tuple(alone), together, tuple(problems))


def _questions(places: Places) -> tuple[Question, ...]:
    """The statements, with keys that exist."""
    floor, chosen = Floor(places), random.Random(1)
    domains = {one.name: one.domain for one in places.layout.tables}
    keys = {one.name: one.key[0] for one in TABLES}
    made = []
    for name, (keyed, text) in STATEMENTS.items():
        found = floor.answer(f"SELECT {keys[keyed]} FROM {keyed} ORDER BY 1").column(0).to_pylist()
        first = text.split(" FROM ")[1].split()[0]
        made.append(
            Question(
                name, domains[first], text, addressed(text, places.layout),
                chosen.choices(found, k=_KEYS),
            )
        )  # fmt: skip
    return tuple(made)


def _database(places: Places, questions: Sequence[Question]) -> tuple[Ask, Callable[[], None]]:
    connections = {
        domain: psycopg.connect(places.url(domain), autocommit=True)
        for domain in {one.domain for one in questions}
    }
    texts = {
        one.addressed: (connections[one.domain], one.plain.replace("?", "%s")) for one in questions
    }

    def ask(sql: str, value: object) -> list[Row]:
        connection, text = texts[sql]
        return connection.execute(text, (value,)).fetchall()

    def leave() -> None:
        for one in connections.values():
            one.close()

    return ask, leave


def _inside(opened: OpenGateway) -> tuple[Ask, Callable[[], None]]:
    ours = Ours(opened, "open")
    return lambda sql, value: ours.rows(sql, (value,)), lambda: None


def _flight(served: Served) -> tuple[Ask, Callable[[], None]]:
    connection = served.connect()
    return lambda sql, value: _fetched(connection, sql, value), connection.close


def _fetched(connection: dbapi.Connection, sql: str, value: object) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(sql, (value,))
        rows: list[Row] = cursor.fetchall()
    return rows


def _alone(one: Question, ways: Mapping[str, Way], problems: list[str]) -> list[Alone]:
    """One client; by each way in turn, key by key."""
    opened = {name: way() for name, way in ways.items()}
    found: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for count in range(-_WARM, _ALONE):
            key = one.keys[count % len(one.keys)]
            answers = {}
            for name, (ask, _) in opened.items():
                start = time.perf_counter()
                answers[name] = ask(one.addressed, key)
                if count >= 0:
                    found[name].append(time.perf_counter() - start)
            want = answers["database"]
            problems += [
                f"{one.name} of {key} by {name} differs from the database's answer"
                for name, got in answers.items()
                if got != want
            ]
    finally:
        for _, leave in opened.values():
            leave()
    return [Alone(one.name, name, *_figures(took)) for name, took in found.items()]


def _beside(one: Question, attached: Attached) -> Alone:
    """What DuckDB with ATTACH takes, the value in the text."""
    took = []
    for count in range(_WARM):
        text = one.plain.replace("?", str(one.keys[count]))
        took.append(attached.seconds(text))
    return Alone(one.name, attached.name, *_figures(took[3:]))


def _together(
    way: Way, clients: int, seconds: float, questions: Sequence[Question]
) -> tuple[float, list[float]]:
    """Statements a second, and what each took."""
    took: list[list[float]] = [[] for _ in range(clients)]
    opened = [way() for _ in range(clients)]
    begin = threading.Barrier(clients + 1)
    stop = threading.Event()

    def client(number: int) -> None:
        ask, chosen = opened[number][0], random.Random(number)
        for one in questions:
            ask(one.addressed, one.keys[0])
        begin.wait()
        while not stop.is_set():
            one = chosen.choice(questions)
            start = time.perf_counter()
            ask(one.addressed, chosen.choice(one.keys))
            took[number].append(time.perf_counter() - start)

    threads = [threading.Thread(target=client, args=(one,)) for one in range(clients)]
    try:
        for thread in threads:
            thread.start()
        begin.wait()
        start = time.perf_counter()
        time.sleep(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        passed = time.perf_counter() - start
    finally:
        for _, leave in opened:
            leave()
    each = [one for own in took for one in own]
    return len(each) / passed, each


def _summed(name: str, clients: int, runs: Sequence[tuple[float, list[float]]]) -> Together:
    each = [one for _, took in runs for one in took]
    return Together(name, clients, statistics.median(rate for rate, _ in runs), *_figures(each))


def _figures(took: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds."""
    ordered = sorted(took)
    last = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return statistics.median(ordered) * 1000, last * 1000


def table(found: Clients) -> list[str]:
    """One line a statement and way, then one a way with many clients."""
    lines = [f"short statements at scale {found.scale:g}, one client; a key warm in 2 ms"]
    lines.append(f"{'statement':>10} {'by':>11} {'median ms':>10} {'p99 ms':>8}")
    lines += [
        f"{one.statement:>10} {one.way:>11} {one.median:>10.2f} {one.p99:>8.2f}"
        for one in found.alone
    ]
    lines.append(f"{'clients':>10} {'by':>11} {'median ms':>10} {'p99 ms':>8} {'a second':>9}")
    lines += [
        f"{one.clients:>10} {one.way:>11} {one.median:>10.2f} {one.p99:>8.2f} "
        f"{one.throughput:>9.0f}"
        for one in found.together
    ]
    return lines


def wrong(found: Clients) -> list[str]:
    """Answers that are not the database's."""
    return list(found.problems)
