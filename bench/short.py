"""What a short statement costs the gateway: processor time, which a busy machine hardly changes.

Takes: a folder. Gives: for each way to ask, milliseconds of processor time (user and system) that
the process which answers spends on one statement, of one client and of many at once, and what
passes meanwhile. Never judges time.

`inside` is a gateway in the process that asks, whose own work on the rows counts too; the others
ask a gateway that serves, in a process of its own.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from bench.mesh import PASSWORD, environment
from bench.places import Places
from bench.readings import LIVE, READINGS, placed_readings
from bench.served import Served
from bench.wire import Client

_ROWS = 10_000
_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_WARM, _BLOCK = 96, 192
STATEMENTS: Mapping[str, tuple[str, bool]] = {
    "by key": (f"SELECT * FROM {LIVE.address} WHERE id = ?", True),
    "SELECT 1": ("SELECT 1", False),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians of rounds, in milliseconds a statement."""

    statement: str
    way: str
    clients: int
    processor: float
    passed: float


@dataclass(frozen=True, slots=True)
class Costs:
    """Everything."""

    costs: tuple[Cost, ...]


def measure(
    folder: Path, clients: int, repeat: int, tell: Callable[[str], None] = lambda _: None
) -> Costs:
    """One client by each way in turn, statement by statement; then so many at once."""
    found: list[Cost] = []
    with placed_readings(folder, _ROWS) as places, ExitStack() as stack:
        served = stack.enter_context(closing(Served(places)))
        for count in dict.fromkeys((1, clients)):
            with ExitStack() as opened:
                asking = {
                    way: [opened.enter_context(closing(one)) for one in made]
                    for way, made in _clients(count, places, served)
                }
                for statement in STATEMENTS:
                    tell(f"{statement}, {count} at once")
                    for one in _costs(statement, asking, served.process_id, repeat):
                        tell(_line(one).strip())
                        found.append(one)
    return Costs(tuple(found))


def _clients(
    count: int, places: Places, served: Served
) -> Iterable[tuple[str, Iterable[Client]]]:
    """A process for each client; the one in which the gateway itself is has but one."""
    if count == 1:
        conf = places.folder / f"conf-{READINGS.name}"
        yield "inside", [Client("inside", str(conf), "open", json.dumps(environment(places)))]
    served_at = {"libpq": served.pgwire, "http": served.http, "flight": served.flight}
    for way, address in served_at.items():
        yield way, [Client(way, address, "open", PASSWORD) for _ in range(count)]


def _costs(
    statement: str, asking: Mapping[str, Sequence[Client]], server: int, repeat: int
) -> Iterable[Cost]:
    sql, has_key = STATEMENTS[statement]
    spent: dict[str, list[float]] = {way: [] for way in asking}
    passed: dict[str, list[float]] = {way: [] for way in asking}
    for turn in range(-1, repeat):
        for way, clients in asking.items():
            answering = clients[0].process_id if way == "inside" else server
            times = (_WARM if turn < 0 else _BLOCK) // len(clients) or 1
            values = [[at * 37 % _ROWS] if has_key else [] for at in range(times)]
            before, start = _spent(answering), time.perf_counter()
            with ThreadPoolExecutor(len(clients)) as threads:
                list(threads.map(lambda one: one.ask(sql, values), clients))  # noqa: B023
            took, asked = time.perf_counter() - start, times * len(clients)
            if turn >= 0:
                spent[way].append((_spent(answering) - before) / asked * 1000)
                passed[way].append(took / asked * 1000)
    return [
        Cost(
            statement, way, len(clients), statistics.median(spent[way]),
            statistics.median(passed[way]),
        )
        for way, clients in asking.items()
    ]  # fmt: skip


def _spent(process_id: int) -> float:
    """Seconds of processor time of a process so far; Linux only."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def table(found: Costs) -> list[str]:
    """One line a statement and way."""
    lines = ["processor time of the gateway for a short statement, in milliseconds"]
    lines.append(f"{'statement':>10} {'by':>8} {'clients':>8} {'processor':>10} {'passed':>8}")
    return lines + [_line(one) for one in found.costs]


def _line(one: Cost) -> str:
    return (
        f"{one.statement:>10} {one.way:>8} {one.clients:>8} {one.processor:>10.2f} "
        f"{one.passed:>8.2f}"
    )
