"""SIGTERM: what runs ends on every endpoint, what is new is refused, the process ends with 0."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from pyarrow import flight

from gateway.serve.http.answers import ARROW
from tests.flight.raw import RawClient
from tests.flight.test_statements import code_in
from tests.sample import CONF, SampleMesh
from tests.served import _READY, _START, MANY, Served, at_rest, within

pytestmark = pytest.mark.long
ROWS = 3_000_000
LONG = (
    "select a.flight_id as one, b.flight_id as other from operations.departures a, "
    f"operations.departures b limit {ROWS}"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A gateway and its process."""

    served: Served
    process: subprocess.Popen[str]

    def exit_code(self, seconds: float) -> int | None:
        """How it ended; None where it has not in time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


@contextmanager
def gateway_for(sample: SampleMesh, folder: Path, seconds: float) -> Iterator[Ended]:
    """A gateway over the sample mesh whose statements have so long to end."""
    conf = folder / "conf"
    shutil.copytree(CONF, conf)
    with (conf / "gateway.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[serve]\ndrain_seconds = {seconds}\n")
    command = [sys.executable, "-c", _START, "serve", "--conf", str(conf)]
    state = {"SQLUICE_STATE": f"sqlite:///{folder}/state.sqlite"}
    with subprocess.Popen(
        [*command, "--http-port", "0", "--flight-port", "0", "--pgwire-port", "0"],
        env={**os.environ, **sample.environment, **state}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            found = next(filter(None, map(_READY.search, process.stdout)))
            source = sample.server.url("operations")
            yield Ended(Served(found[1], found[2], found[3], int(found[4]), source), process)
        finally:
            process.kill()


def sessions(served: Served) -> int:
    """How many sessions the gateway holds at PostgreSQL, idle ones too."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' "
        "AND application_name <> 'test'"
    )
    with psycopg.connect(served.source, autocommit=True, application_name="test") as connection:
        found = connection.execute(sql).fetchone()
    assert found is not None
    return int(found[0])


def test_what_runs_ends_and_what_is_new_is_refused(sample: SampleMesh, tmp_path: Path) -> None:
    sample.opened.pools.close()
    before = at_rest(lambda: sessions(Served("", "", "", 0, sample.server.url("operations"))))
    with gateway_for(sample, tmp_path, 60) as ended, ExitStack() as stack:
        served = ended.served
        response = stack.enter_context(
            served.asking("/v1/query", {"sql": LONG}, Accept=ARROW)
        )
        raw = stack.enter_context(RawClient(served.flight, "nora"))
        reader, waiting = raw.reader(raw.start(LONG)), raw.start(LONG)
        assert reader.read_chunk().data.num_rows
        connection = psycopg.connect(served.pgwire, user="nora", password="nora-demo")
        stack.callback(connection.close)
        part = f"{LONG[: LONG.rindex(' ')]} 200000"
        connection.execute(f"declare held cursor for {part}".encode())
        assert connection.execute("fetch 1 from held").fetchone()
        assert within(60, lambda: len(served.ask("/v1/queries").json["queries"]) == 4)

        ended.process.send_signal(signal.SIGTERM)
        assert within(60, lambda: served.ask("/readyz").status == 503)
        refused = served.query("select 1")
        assert refused.status == 503 and refused.json["error"]["code"] == "source_unavailable"
        assert refused.json["error"]["retryable"] is True
        with pytest.raises(flight.FlightUnavailableError) as caught:
            raw.start("select 1")
        assert code_in(caught.value) == "source_unavailable"
        with pytest.raises(psycopg.OperationalError, match="going down"):
            psycopg.connect(served.pgwire, user="nora", password="nora-demo")
        assert ended.process.poll() is None

        assert pa.ipc.open_stream(response.read()).read_all().num_rows == ROWS
        assert _rest(reader) < ROWS
        assert _rest(raw.reader(waiting)) == ROWS
        fetched = [
            len(connection.execute("fetch 50000 from held").fetchall()) for _ in range(4)
        ]
        assert sum(fetched) == 200_000 - 1
        assert ended.exit_code(20) == 0
        assert within(60, lambda: sessions(served) == before)


def _rest(reader: flight.FlightStreamReader) -> int:
    rows = 0
    try:
        while True:
            rows += reader.read_chunk().data.num_rows
    except StopIteration:
        return rows


def test_what_takes_too_long_is_stopped(sample: SampleMesh, tmp_path: Path) -> None:
    """Readers that do not read on every endpoint: the process ends with 0 all the same."""
    sample.opened.pools.close()
    before = at_rest(lambda: sessions(Served("", "", "", 0, sample.server.url("operations"))))
    with gateway_for(sample, tmp_path, 0.5) as ended, ExitStack() as stack:
        served = ended.served
        response = stack.enter_context(served.asking("/v1/query", {"sql": MANY}, Accept=ARROW))
        assert response.read(1000)
        raw = stack.enter_context(RawClient(served.flight, "nora"))
        reader = raw.reader(raw.start(MANY))
        assert reader.read_chunk().data.num_rows and raw.start(MANY)
        connection = psycopg.connect(
            served.pgwire, user="nora", password="nora-demo", autocommit=True
        )
        stack.callback(connection.close)
        # The one who asks does not read: what he gets fills the buffers in between.
        connection.pgconn.send_query(MANY.encode())
        assert within(60, lambda: served.running() == 4)
        began = time.monotonic()
        ended.process.send_signal(signal.SIGTERM)
        assert within(60, lambda: served.running() == 0)
        assert ended.exit_code(20) == 0, time.monotonic() - began
        assert within(60, lambda: sessions(served) == before)
        with pytest.raises(flight.FlightError):
            _rest(reader)
        with pytest.raises((pa.ArrowInvalid, OSError, HTTPException)):
            pa.ipc.open_stream(response.read()).read_all()
