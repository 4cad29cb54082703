"""Streaming over HTTP: back-pressure, clients that leave, errors in mid-stream, one process.

What runs is counted at the source (pg_stat_activity) and in rows; time only bounds the waiting.
"""

from __future__ import annotations

import io
import json
import os
import re
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from tests.flight.test_streams import BATCH, LATE
from tests.http.test_answers import ARROW, CSV, JSON, PARQUET
from tests.served import MANY, SLOW, SLOW_MERGE, Served, at_rest, basic, within

# The batch at hand, what the server and the sockets hold, and room.
AHEAD = 20 * BATCH


@pytest.mark.parametrize("media", [ARROW, JSON])
def test_a_slow_reader_holds_the_source_back(gateway: Served, media: str) -> None:
    with gateway.asking("/v1/query", {"sql": MANY}, Accept=media) as response:
        query_id = response.headers["X-Sqluice-Query-Id"]
        response.read(1_000)
        first = at_rest(lambda: gateway.rows_left(query_id))
        assert 0 < first < AHEAD
        assert within(60, lambda: gateway.running() == 1)
        # As if a row took no more than six bytes.
        response.read(6 * 5 * BATCH)
        assert gateway.rows_left(query_id) < 5 * BATCH + AHEAD
    assert gateway.is_idle()


@pytest.mark.parametrize("media", [ARROW, CSV, JSON])
def test_a_client_that_leaves_stops_the_source(gateway: Served, media: str) -> None:
    with gateway.asking("/v1/query", {"sql": MANY}, Accept=media) as response:
        query_id = response.headers["X-Sqluice-Query-Id"]
        response.read(1_000)
        assert within(60, lambda: gateway.running() == 1)
    assert gateway.is_idle()
    assert gateway.ask(f"/v1/queries/{query_id}").json["state"] == "cancelled"


@pytest.mark.parametrize("sql", [SLOW, SLOW_MERGE], ids=["at the source", "in the merge"])
@pytest.mark.parametrize("media", [ARROW, CSV, JSON, PARQUET])
def test_a_client_that_leaves_before_the_first_row_stops_everything(
    gateway: Served, media: str, sql: str
) -> None:
    parts = urlsplit(gateway.http)
    body = json.dumps({"sql": sql})
    head = (
        f"POST /v1/query HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: {basic('nora')}\r\n"
        f"Content-Type: application/json\r\nAccept: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 30) as wire:
        wire.sendall((head + body).encode())
        # The merge has begun, or the source still sends what it will read.
        assert within(60, gateway.is_busy)
        (query,) = gateway.ask("/v1/queries").json["queries"]
    assert gateway.is_idle()
    assert gateway.ask(f"/v1/queries/{query['query_id']}").json["state"] == "cancelled"


def test_a_late_error_in_arrow_is_no_end(gateway: Served) -> None:
    body = gateway.query(LATE, accept=ARROW).body
    reader = pa.ipc.open_stream(body)
    assert reader.read_next_batch().num_rows
    with pytest.raises((pa.ArrowInvalid, OSError)):
        reader.read_all()
    assert b'"code": "type_error"' in body[-1_000:]


def test_a_missing_end_alone_would_be_read_as_an_end() -> None:
    """The control: without the mark, a stream that breaks off reads like a whole one."""
    sink = io.BytesIO()
    table = pa.table({"a": [1, 2]})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
        broken = sink.getvalue()
    assert pa.ipc.open_stream(broken).read_all().equals(table)


def test_a_late_error_in_parquet_comes_before_the_head(gateway: Served) -> None:
    answer = gateway.query(LATE, accept=PARQUET)
    assert answer.status == 400
    assert answer.json["error"]["code"] == "type_error"


def test_a_source_that_dies_in_mid_stream(gateway: Served) -> None:
    with gateway.asking("/v1/query", {"sql": MANY}, Accept=ARROW) as response:
        assert response.status == 200
        start = response.read(1_000)
        assert gateway.terminate() == 1
        body = start + response.read()
    with pytest.raises((pa.ArrowInvalid, OSError)):
        pa.ipc.open_stream(body).read_all()
    assert re.search(rb'"code": "source_', body[-1_000:])
    assert gateway.query("select 1").json["rows"] == [[1]]


def test_all_endpoints_are_one_process(gateway: Served) -> None:
    """Whoever listens on each port is the process that /healthz names, and nobody else."""
    assert gateway.ask("/healthz").json["pid"] == gateway.pid
    sockets = _sockets_of(gateway.pid)
    for address in (gateway.http, gateway.flight):
        port = int(address.rsplit(":", 1)[1])
        inodes = _listening_on(port)
        assert inodes and inodes <= sockets, address
    with gateway.connect() as connection, connection.cursor() as cursor:
        cursor.execute(MANY)
        cursor.fetch_record_batch().read_next_batch()
        listed = gateway.ask("/v1/queries").json["queries"]
        assert [one["endpoint"] for one in listed] == ["flight"]


def _sockets_of(pid: int) -> set[str]:
    folder = f"/proc/{pid}/fd"
    found = set()
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):  # closed since it was listed
            if match := re.match(r"socket:\[(\d+)\]", os.readlink(f"{folder}/{name}")):
                found.add(match[1])
    return found


def _listening_on(port: int) -> set[str]:
    found = set()
    for name in ("tcp", "tcp6"):
        with open(f"/proc/net/{name}", encoding="ascii") as table:
            for line in list(table)[1:]:
                parts = line.split()
                if parts[3] == "0A" and int(parts[1].rsplit(":", 1)[1], 16) == port:
                    found.add(parts[9])
    return found
