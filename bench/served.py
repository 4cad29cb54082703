"""The gateway as its clients meet it: `sqluice serve` in a process, asked over its endpoints.

Takes: places whose mesh is written. Gives: answers by a stock driver, seconds, and the memory of
the process that serves. Never shares the process of whoever measures.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from adbc_driver_flightsql import dbapi

from bench.mesh import PASSWORD, environment
from bench.places import Places

_READY = re.compile(r"ready http=(\S+) flight=(\S+) pgwire=(\S+) pid=(\d+)")
_START = "from sqluice.command import main; main()"
_END_SECONDS = 20
# Where they stand in /proc/<pid>/stat behind the name of the program.
_USER, _SYSTEM = 11, 12


class Served:
    """A gateway that serves until `close`."""

    def __init__(self, places: Places) -> None:
        """Start it on free ports and wait until it answers."""
        conf = places.folder / f"conf-{places.layout.name}"
        command = [sys.executable, "-c", _START, "serve", "--conf", str(conf)]
        with (places.folder / "served.log").open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [*command, "--http-port", "0", "--flight-port", "0", "--pgwire-port", "0"],
                env={**os.environ, **environment(places)},
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        ready = next(filter(None, map(_READY.search, self._process.stdout)), None)
        if ready is None:
            raise RuntimeError(f"the gateway did not start; {places.folder}/served.log says why")
        self.http, self.flight, self.pgwire = ready[1], ready[2], ready[3]
        self.process_id = int(ready[4])

    def connect(self, user: str = "open", link_cost: str = "cheap") -> dbapi.Connection:
        """A signed-in connection."""
        signed = {"username": user, "password": PASSWORD}
        made = dbapi.connect(self.flight, db_kwargs=signed, autocommit=True)
        with made.cursor() as cursor:
            cursor.execute(f"SET link_cost = '{link_cost}'")
            cursor.fetchall()
        return made

    @property
    def processor(self) -> float:
        """Seconds of processor time that it has taken so far; Linux only."""
        told = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(told[_USER]) + int(told[_SYSTEM])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it; idempotent."""
        self._process.terminate()
        with self._process:
            try:
                self._process.wait(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()


class Client:
    """One connection to it."""

    name = "flight"

    def __init__(self, connection: dbapi.Connection) -> None:
        """Take a connection over."""
        self._connection = connection

    def answer(self, sql: str) -> pa.Table:
        """The whole answer."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The answer as it comes."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            with cursor.fetch_record_batch() as reader:
                yield from reader

    def seconds(self, sql: str) -> float:
        """How long an answer takes, to its last batch."""
        start = time.perf_counter()
        self.answer(sql)
        return time.perf_counter() - start

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class Peak:
    """What a process holds now, and the most that it holds from now on; Linux only."""

    def __init__(self, process_id: int) -> None:
        """Begin to look."""
        self._home = Path("/proc") / str(process_id)
        (self._home / "clear_refs").write_text("5")
        self.idle = _bytes(self._home, "VmRSS")

    @property
    def most(self) -> int:
        """The most since then."""
        return _bytes(self._home, "VmHWM")


def _bytes(home: Path, what: str) -> int:
    for line in (home / "status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == what:
            return int(rest.split()[0]) * 1024
    raise RuntimeError(f"{home}/status does not tell {what}")
