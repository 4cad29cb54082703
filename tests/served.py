"""A gateway in a process of its own, as `sqluice serve` starts it, over the sample mesh.

Takes: the sample mesh. Gives: addresses, clients with real sockets on loopback, and what runs at
the source meanwhile. Never starts more than one gateway a test run.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from adbc_driver_flightsql import dbapi

from tests.sample import CONF, SampleMesh

_READY = re.compile(r"ready http=(\S+) flight=(\S+) pgwire=(\S+) pid=(\d+)")
_START = "from sqluice.command import main; main()"
# Every pair of departures: some 390 million rows, which PostgreSQL sends by itself.
MANY = (
    "select a.flight_id as one, b.flight_id as other "
    "from operations.departures a, operations.departures b"
)
# Nobody waits for the only row of these: PostgreSQL counts the first, the merge the second.
SLOW = (
    "select count(*) as n from operations.departures a, operations.departures b, "
    "operations.departures c where a.distance < b.distance and b.distance < c.distance"
)
SLOW_MERGE = SLOW.replace("a.distance < b", "a.distance + 1 < b")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of HTTP."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the body holds
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Served:
    """Where the gateway listens; passwords of the sample mesh are `<name>-demo`."""

    http: str
    flight: str
    pgwire: str
    pid: int
    source: str

    def connect(self, user: str = "nora", **options: str) -> dbapi.Connection:
        """A stock ADBC connection."""
        signed = {"username": user, "password": f"{user}-demo"}
        return dbapi.connect(self.flight, db_kwargs={**signed, **options}, autocommit=True)

    @contextmanager
    def asking(
        self, path: str, body: object = None, method: str = "", **headers: str
    ) -> Iterator[HTTPResponse]:
        """A request of nora's unless `Authorization` says otherwise; its body is not read yet."""
        parts = urlsplit(self.http)
        connection = HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        sent = {"Authorization": basic("nora"), "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(
                method or ("GET" if body is None else "POST"),
                path,
                None if body is None else content,
                {name: value for name, value in sent.items() if value},
            )
            yield connection.getresponse()
        finally:
            connection.close()

    def ask(self, path: str, body: object = None, method: str = "", **headers: str) -> Answer:
        """A request and its whole answer."""
        with self.asking(path, body, method, **headers) as response:
            return Answer(response.status, response.headers, response.read())

    def query(self, sql: str, user: str = "nora", accept: str = "", **fields: object) -> Answer:
        """A statement over HTTP."""
        return self.ask(
            "/v1/query", {"sql": sql, **fields}, Accept=accept, Authorization=basic(user)
        )

    def rows_left(self, query_id: str) -> int:
        """How many rows of a query have left so far."""
        return int(self.ask(f"/v1/queries/{query_id}").json["rows"])

    def running(self, what: str = "count(*)") -> int:
        """How many statements run in PostgreSQL for the gateway."""
        sql = (
            f"SELECT {what} FROM pg_stat_activity WHERE state = 'active'"
            " AND datname = current_database() AND backend_type = 'client backend'"
            " AND application_name <> 'test'"
        )
        with psycopg.connect(self.source, autocommit=True, application_name="test") as connection:
            found = connection.execute(sql).fetchone()
        assert found is not None
        return int(found[0])

    def terminate(self) -> int:
        """End the sessions that run a statement at the source; gives how many."""
        return self.running("count(*) FILTER (WHERE pg_terminate_backend(pid))")

    def is_busy(self) -> bool:
        """Whether a statement runs at the source, or one for which that has nothing more to do."""
        return bool(self.running() or self.ask("/v1/queries").json["queries"])

    def is_idle(self) -> bool:
        """Whether nothing runs, neither here nor at the source, within some seconds."""
        return within(60, self._is_at_rest)

    def _is_at_rest(self) -> bool:
        return not self.running() and not self.ask("/v1/queries").json["queries"]


def basic(user: str, password: str | None = None) -> str:
    """The value of an Authorization header."""
    text = f"{user}:{f'{user}-demo' if password is None else password}"
    return "Basic " + base64.b64encode(text.encode()).decode()


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


@contextmanager
def again_and_again(call: Callable[[], object]) -> Iterator[None]:
    """Call from another thread until the end: what is stopped before it began is not stopped."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.3):
            call()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def at_rest(count: Callable[[], int]) -> int:
    """A count that has stopped growing."""
    seen = [-1]

    def is_same() -> bool:
        time.sleep(0.3)
        seen.append(count())
        return seen[-1] == seen[-2]

    assert within(60, is_same), seen
    return seen[-1]


@contextmanager
def serving(sample: SampleMesh) -> Iterator[Served]:
    """A gateway over the sample mesh until the end of the block."""
    with started(CONF, sample.data, sample.environment) as found:
        yield Served(found[1], found[2], found[3], int(found[4]), sample.server.url("operations"))


@contextmanager
def started(
    conf: Path, data: Path, environment: Mapping[str, str]
) -> Iterator[re.Match[str]]:
    """A gateway on free ports until the end: HTTP, Flight SQL, PostgreSQL, process id."""
    command = [sys.executable, "-c", _START, "serve", "--conf", str(conf)]
    with (data / "served.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*command, "--http-port", "0", "--flight-port", "0", "--pgwire-port", "0"],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        yield next(filter(None, map(_READY.search, process.stdout)))
    finally:
        process.terminate()
        # Kills whatever does not end by itself, and closes the pipe.
        with process:
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
