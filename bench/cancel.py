"""How long a statement outlives its client's cancel, and the client himself.

Takes: a folder, a number of rounds. Gives: for each endpoint and kind of source milliseconds until
a statement has left the gateway's list of running queries and its source works no more: from the
client's cancel, and from the end of the client's process. Never judges time.

A server is asked itself what it runs (pg_stat_activity, the process list). SQLite and Parquet are
read by the gateway and its processes: they work as long as those take processor time or a thread of
theirs waits for a processor (Linux only).
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from bench.client_process import ClientProcess
from bench.endless import End, Source, placed_rows, statements, watched
from bench.mesh import PASSWORD, environment
from bench.places import Places
from bench.served import Served

BAR_MS = 1_000
_USER = "open"
_INSIDE = "in process"
# Longer than that nobody waits: what still runs then is told so, and ended by force.
_GIVE_UP, _GIVE_UP_KILLED, _BEGIN_SECONDS = 30.0, 30.0, 60.0
_POLL, _SETTLE = 0.002, 0.25
# A busy thread takes five of these in a window; whoever only answers looks takes none.
_WINDOW, _FEW_TICKS = 0.05, 1
# Where they stand in /proc/<pid>/stat behind the name of the program.
_PARENT, _TAKEN = 1, slice(11, 13)


@dataclass(frozen=True, slots=True)
class Stopped:
    """One way to ask one kind of source, stopped so many times, in milliseconds.

    how: `cancel` or `killed`. unended: how many times it still ran when nobody waited any longer.
    """

    how: str
    way: str
    source: str
    rounds: int
    median: float
    worst: float
    unended: int


@dataclass(frozen=True, slots=True)
class Cancelling:
    """Everything. load: of the machine as it began and ended. problems: what did not end so."""

    stopped: tuple[Stopped, ...]
    load: tuple[float, float]
    problems: tuple[str, ...]


class Client(ClientProcess):
    """A process that asks."""

    def __init__(self, kind: str, address: str, password: str) -> None:
        """Start it."""
        super().__init__("bench.cancel_client", kind, address, _USER, password)
        self._is_killed = False

    def run(self, sql: str) -> None:
        """Ask, without waiting for the answer."""
        self.do({"do": "run", "sql": sql})

    def stop(self) -> None:
        """Cancel it as clients of this endpoint do."""
        self.do({"do": "stop"})

    @property
    def waits(self) -> bool:
        """Whether it is there, and its statement has not ended."""
        return not self._is_killed and not self.ended

    @property
    def ended(self) -> str:
        """How the statement has ended; '' while it runs."""
        return str(self.do({"do": "over"}))

    def kill(self) -> None:
        """End the process as a crash would."""
        self._is_killed = True
        super().kill()


class _Listed:
    """The gateway's own list of what runs, as its owner sees it."""

    def __init__(self, address: str) -> None:
        self._connection = HTTPConnection(urlsplit(address).netloc, timeout=_GIVE_UP)
        signed = b64encode(f"{_USER}:{PASSWORD}".encode()).decode()
        self._headers = {"Authorization": f"Basic {signed}"}

    def __call__(self) -> list[str]:
        found = json.loads(self._ask("GET", "/v1/queries"))["queries"]
        return [str(one["query_id"]) for one in found]

    def end(self) -> None:
        """Stop all of it."""
        for one in self():
            self._ask("DELETE", f"/v1/queries/{one}")

    def _ask(self, method: str, path: str) -> bytes:
        try:
            self._connection.request(method, path, headers=self._headers)
            return self._connection.getresponse().read()
        except (HTTPException, OSError):
            # The server closes who was silent for long; it opens again.
            self._connection.close()
            self._connection.request(method, path, headers=self._headers)
            return self._connection.getresponse().read()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class _Tree:
    """A process and all that it has started by now."""

    def __init__(self, process_id: int) -> None:
        parents = {one: int(told[_PARENT]) for one in _processes() if (told := _stat(one))}
        self._members = {process_id}
        while more := {one for one, parent in parents.items() if parent in self._members}:
            if more <= self._members:
                break
            self._members |= more

    def is_busy(self) -> bool:
        """Whether one of them takes processor time, over a short while."""
        before = {one: _ticks(one) for one in self._members}
        ready = self._ready()
        time.sleep(_WINDOW)
        taken = sum(max(0, _ticks(one) - was) for one, was in before.items())
        # On a busy machine a thread may work and yet have had no turn.
        return taken > _FEW_TICKS or not ready.isdisjoint(self._ready())

    def _ready(self) -> set[str]:
        """The threads that run, or would."""
        found = set()
        for one in self._members:
            for told in Path(f"/proc/{one}/task").glob("*/stat"):
                with contextlib.suppress(OSError):
                    if told.read_text().rpartition(")")[2].split()[0] == "R":
                        found.add(told.parent.name)
        return found


def _processes() -> Iterable[int]:
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]


def _stat(process_id: int) -> list[str]:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _ticks(process_id: int) -> int:
    return sum(map(int, _stat(process_id)[_TAKEN]))


@dataclass(frozen=True, slots=True)
class _Way:
    """An endpoint: how its clients are started, which list names their statements."""

    name: str
    client: Callable[[], Client]
    listed: _Listed | None
    served: int


@dataclass(frozen=True, slots=True)
class _Case:
    """What is asked of which kind of source, how many times; source: the server of it, if any."""

    kind: str
    sql: str
    source: Source | None
    repeat: int


@dataclass(frozen=True, slots=True)
class _Running:
    """A statement that runs, and where one sees that it does."""

    client: Client
    listed: _Listed | None
    is_busy: Callable[[], bool]
    end: End

    def is_there(self) -> bool:
        """Whether the gateway or the source still knows of it."""
        known = bool(self.listed()) if self.listed is not None else self.client.waits
        return known or self.is_busy()

    def end_by_force(self) -> None:
        """For what nothing else has ended."""
        self.client.kill()
        if self.listed is not None:
            self.listed.end()
        self.end()


def measure(folder: Path, repeat: int, tell: Callable[[str], None] = lambda _: None) -> Cancelling:
    """Every way at every kind of source, stopped by both means."""
    began = os.getloadavg()[0]
    problems: list[str] = []
    stopped: list[Stopped] = []
    with placed_rows(folder) as places, ExitStack() as stack:
        served = stack.enter_context(closing(Served(places)))
        listed = stack.enter_context(closing(_Listed(served.http)))
        servers = stack.enter_context(watched(places))
        for way in _ways(places, served, listed):
            for kind, sql in statements(places).items():
                tell(f"{way.name}, {kind}")
                case = _Case(kind, sql, servers.get(kind), repeat)
                stopped += [_cancelled(way, case, problems), _killed(way, case)]
    return Cancelling(tuple(stopped), (began, os.getloadavg()[0]), tuple(problems))


def _ways(places: Places, served: Served, listed: _Listed) -> Iterable[_Way]:
    conf = f"{places.folder / f'conf-{places.layout.name}'}/"
    within = json.dumps(environment(places))
    yield _Way(_INSIDE, partial(Client, "dbapi", conf, within), None, 0)
    for name, kind, address in (
        ("HTTP", "http", served.http), ("Flight SQL", "flight", served.flight),
        ("DB-API", "dbapi", served.flight), ("pgwire", "libpq", served.pgwire),
    ):  # fmt: skip
        yield _Way(name, partial(Client, kind, address, PASSWORD), listed, served.process_id)


def _cancelled(way: _Way, case: _Case, problems: list[str]) -> Stopped:
    """One client, who cancels each time, and asks again."""
    took: list[float | None] = []
    with closing(way.client()) as client:
        for _ in range(case.repeat):
            running = _begun(way, client, case)
            start = time.perf_counter()
            client.stop()
            took.append(_gone(running, start, _GIVE_UP))
            if took[-1] is None:
                break
            _await(lambda: bool(client.ended), _GIVE_UP)
            if client.ended in ("", "answered"):
                told = f"a cancelled statement {client.ended or 'hangs'}"
                problems.append(f"{way.name}, {case.kind}: {told}")
    return _figures("cancel", way.name, case.kind, took)


def _killed(way: _Way, case: _Case) -> Stopped:
    """A client each time."""
    took: list[float | None] = []
    for _ in range(case.repeat):
        with closing(way.client()) as client:
            running = _begun(way, client, case)
            start = time.perf_counter()
            client.kill()
            took.append(_gone(running, start, _GIVE_UP_KILLED))
    return _figures("killed", way.name, case.kind, took)


def _begun(way: _Way, client: Client, case: _Case) -> _Running:
    """The statement, once it has run at its source for a while."""
    client.run(case.sql)
    deadline = time.monotonic() + _BEGIN_SECONDS
    while time.monotonic() < deadline and not client.ended:
        running = _seen(way, client, case)
        if running.is_busy() and (way.listed is None or way.listed()):
            time.sleep(_SETTLE)
            return _seen(way, client, case)
    raise RuntimeError(f"{way.name}: a statement does not run: {client.ended or 'no sign of it'}")


def _seen(way: _Way, client: Client, case: _Case) -> _Running:
    """Where it is seen now: the processes that read for a gateway are there once they read."""
    if case.source is not None:
        return _Running(client, way.listed, case.source.is_busy, case.source.end)
    tree = _Tree(way.served or client.process_id)
    return _Running(client, way.listed, tree.is_busy, lambda: None)


def _gone(running: _Running, start: float, most: float) -> float | None:
    """Seconds from the start until nobody knows of it; None where that takes longer than most."""
    while (now := time.perf_counter()) - start < most:
        if not running.is_there():
            return now - start
        time.sleep(_POLL)
    running.end_by_force()
    _await(lambda: not running.is_there(), _GIVE_UP)
    return None


def _await(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(_POLL)


def _figures(how: str, way: str, kind: str, took: list[float | None]) -> Stopped:
    ordered = [_GIVE_UP if one is None else one for one in took]
    return Stopped(
        how, way, kind, len(took), statistics.median(ordered) * 1000, max(ordered) * 1000,
        took.count(None),
    )  # fmt: skip


def table(found: Cancelling) -> list[str]:
    """One line a way and kind of source."""
    lines = [
        f"ms until a statement has left the gateway and its source; a cancel is to take {BAR_MS} "
        f"at most; load of the machine {found.load[0]:.1f} to {found.load[1]:.1f}",
        f"{'by':>11} {'source':>11} {'stopped by':>11} {'median':>8} {'worst':>8}",
    ]
    for one in found.stopped:
        more = f"  {one.unended} of {one.rounds} still ran then" if one.unended else ""
        if one.how == "cancel" and one.worst > BAR_MS:
            more += "  over the bar"
        lines.append(
            f"{one.way:>11} {one.source:>11} {one.how:>11} {one.median:>8.0f} {one.worst:>8.0f}"
            f"{more}"
        )
    return lines


def wrong(found: Cancelling) -> list[str]:
    """Statements that did not end as cancelled ones do."""
    return list(found.problems)
