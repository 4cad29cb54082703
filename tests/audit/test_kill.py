"""kill -9 at any moment loses no `started` record of a result of which a byte left.

Takes: real gateways over one state, each killed while clients read from it. Gives: for every query
of which a client saw a byte its record, and chains that hold.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from gateway.audit import verify
from gateway.cli.init import init
from gateway.state.engine import open_state, reading

NURSERY = '''
import os, signal, sys
from pathlib import Path
from gateway.config import ServeOptions, load_config
from gateway.serve import app

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        print("forked", os.getpid(), flush=True)
        options = ServeOptions(http_port=0, flight_port=0, pgwire_port=0)
        app.run(load_config(Path(sys.argv[1])), options)
        os._exit(0)
'''
STATEMENTS = (
    "SELECT range AS n FROM range(200000)",
    "SELECT planet, moons FROM example.planets ORDER BY moons DESC LIMIT 3",
    "SELECT count(*) AS n FROM example.planets WHERE moons > 2",
)
CLIENTS = 4


class _Nursery:
    """A process that has loaded the gateway's code and forks a gateway for each line it reads."""

    def __init__(self, conf: Path) -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SQLUICE_")
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, str(conf)],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )
        self._running: list[int] = []

    def start(self) -> None:
        """Fork a gateway in a process group of its own."""
        assert self._process.stdin is not None
        self._process.stdin.write("start\n")
        self._process.stdin.flush()

    def ready(self) -> tuple[int, str]:
        """The group and the address of the next gateway that answers."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("forked "):
                self._running.append(int(line.split()[1]))
            if line.startswith("ready "):
                group = os.getpgid(int(line.split("pid=")[1]))
                return group, line.split("http=http://")[1].split()[0]
        pytest.fail("the gateway did not start")

    def kill(self, group: int) -> None:
        """The whole group, at once, without a word."""
        os.killpg(group, signal.SIGKILL)
        self._running.remove(group)

    def close(self) -> None:
        """Nothing stays behind."""
        for group in list(self._running):
            self.kill(group)
        self._process.kill()
        self._process.communicate()


class _Client(threading.Thread):
    """Asks again and again; `seen` are the queries of which a byte of the answer came."""

    def __init__(self, address: str, headers: Mapping[str, str], seed: int) -> None:
        super().__init__(daemon=True)
        self._address, self._headers = address, dict(headers)
        self._choice = random.Random(seed)
        self.seen: set[str] = set()
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            try:
                self._ask()
            except (OSError, http.client.HTTPException):
                return

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        body = json.dumps({"sql": self._choice.choice(STATEMENTS)})
        with contextlib.closing(connection):
            connection.request("POST", "/v1/query", body, self._headers)
            with connection.getresponse() as answer:
                query_id = answer.headers["X-Sqluice-Query-Id"]
                while answer.read1(512):
                    self.seen.add(query_id)


def _rounds(conf: Path, kills: int) -> set[str]:
    """Start, read, kill, again and again; the next gateway starts while one is read from."""
    told = json.loads(CliRunner().invoke(init, [str(conf), "--json"]).output)
    signed = base64.b64encode(f"{told['user']}:{told['password']}".encode()).decode()
    headers = {
        "Authorization": f"Basic {signed}", "Content-Type": "application/json",
        "Accept": "text/csv",
    }
    chance, seen = random.Random(kills), set[str]()
    nursery = _Nursery(conf)
    try:
        nursery.start()
        for number in range(kills):
            group, address = nursery.ready()
            if number + 1 < kills:
                nursery.start()
            clients = [_Client(address, headers, number * CLIENTS + one) for one in range(CLIENTS)]
            for one in clients:
                one.start()
            _wait_for_a_byte(clients)
            time.sleep(chance.uniform(0, 0.4))
            nursery.kill(group)
            for one in clients:
                one.stopping = True
                one.join(timeout=60)
                seen |= one.seen
    finally:
        nursery.close()
    return seen


def _wait_for_a_byte(clients: Sequence[_Client]) -> None:
    deadline = time.monotonic() + 60
    while not any(one.seen for one in clients) and time.monotonic() < deadline:
        time.sleep(0.01)


def _check(folder: Path, kills: int) -> None:
    conf = folder / "mesh"
    seen = _rounds(conf, kills)
    assert len(seen) >= kills, "clients saw too little for the test to mean anything"
    engine = open_state(f"sqlite:///{conf / 'data' / 'gateway' / 'state.sqlite'}")
    with reading(engine) as connection:
        found = connection.scalars(
            text("SELECT query_id FROM audit_records WHERE kind = 'started'")
        )
        lost = seen - set(found)
    proof = verify(engine)
    engine.dispose()
    assert lost == set()
    assert (proof.flaws, proof.chains) == ((), kills)


def test_five_kills_lose_no_record(tmp_path: Path) -> None:
    _check(tmp_path, 5)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_forty_kills_lose_no_record(tmp_path: Path) -> None:
    _check(tmp_path, 40)
