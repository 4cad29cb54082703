"""What is killed or revoked while a slow client has not read it: no more of it leaves.

Takes: a gateway in a process of its own, and clients that stop reading. Gives: how many bytes came
after it was stopped, which is what systems and libraries held by then. The control is the same
client where nothing is stopped: he gets all of it.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from pyarrow import flight

from gateway.serve.flight.messages import make, pack
from tests.pgwire.wire import Wire, query
from tests.served import Served, basic, within

# Some 3 MB, which the PostgreSQL wire reads ahead; 6 MB; 30 MB; 60 MB in two batches.
FEW = "select i, sha256(i::varchar) as s from range(40000) r(i)"
BATCH = "select i, repeat(sha256(i::varchar), 2) as s from range(45000) r(i)"
WIDE = "select i, repeat(sha256(i::varchar), 8) as s from range(120000) r(i)"
MANY = "select i, sha256(i::varchar) as s from range(400000) r(i)"
WAITS = 7.0
SMALL = 32_768


@dataclass(frozen=True, slots=True)
class Slow:
    """A client who has begun to read: his query, and how he reads on; gives bytes, and whether
    they were a whole answer."""

    query_id: str
    rest: Callable[[], tuple[int, bool]]



def _socket(address: str) -> socket.socket:
    parts = urlsplit(address)
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    made.settimeout(30)
    made.connect((str(parts.hostname), int(parts.port or 0)))
    return made


def _drained(sock: socket.socket) -> bytes:
    found = bytearray()
    try:
        while more := sock.recv(1 << 16):
            found += more
    except ConnectionError:
        pass
    return bytes(found)


def _http(sql: str, accept: str) -> Callable[[Served], Any]:
    @contextmanager
    def read(gateway: Served) -> Iterator[Slow]:
        body = json.dumps({"sql": sql}).encode()
        head = (
            f"POST /v1/query HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('nora')}\r\n"
            f"Content-Type: application/json\r\nAccept: {accept}\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with _socket(gateway.http) as sock:
            sock.sendall(head.encode() + body)
            found = b""
            while b"\r\n\r\n" not in found:
                found += sock.recv(1024)
            told = found.lower().split(b"x-sqluice-query-id: ")[1].split(b"\r\n")[0].decode()

            def rest() -> tuple[int, bool]:
                more = _drained(sock)
                return len(more), more.endswith(b"0\r\n\r\n") and b"cancelled" not in more[-2000:]

            yield Slow(told, rest)

    return read


@contextmanager
def _wire(gateway: Served) -> Iterator[Slow]:
    with Wire(gateway.pgwire) as client:
        client.sock.close()
        client.sock = _socket(gateway.pgwire)
        client.sign_in("nora")
        known = {one["query_id"] for one in gateway.ask("/v1/queries?all=true").json["queries"]}
        client.send(query(FEW))
        assert client.exactly(1000)

        def new() -> list[str]:
            found = gateway.ask("/v1/queries?all=true").json["queries"]
            return [one["query_id"] for one in found if one["query_id"] not in known]

        assert within(20, lambda: len(new()) == 1)
        # The whole of it is read ahead.
        assert within(20, gateway._is_at_rest)

        def rest() -> tuple[int, bool]:
            more = _drained_wire(client.sock)
            return len(more), b"SELECT 40000" in more

        yield Slow(new()[0], rest)


def _drained_wire(sock: socket.socket) -> bytes:
    """To ReadyForQuery, or to the end."""
    found = bytearray()
    try:
        while not found.endswith(b"Z\0\0\0\x05I") and (more := sock.recv(1 << 16)):
            found += more
    except ConnectionError:
        pass
    return bytes(found)


@contextmanager
def _flight(gateway: Served) -> Iterator[Slow]:
    """gRPC's own client, which takes no more than its window while nobody asks for a message."""
    service = "/arrow.flight.protocol.FlightService"
    parts = urlsplit(gateway.flight)
    known: dict[str, Any] = {"metadata": [("authorization", basic("nora"))], "timeout": 60}
    options = [("grpc.http2.lookahead_bytes", SMALL), ("grpc.http2.bdp_probe", 0),
               ("grpc.max_receive_message_length", -1)]  # fmt: skip
    command = flight.FlightDescriptor.for_command(pack(make("CommandStatementQuery", query=BATCH)))
    with grpc.insecure_channel(f"{parts.hostname}:{parts.port}", options) as channel:
        begin: Any = channel.unary_unary(f"{service}/GetFlightInfo")
        info = flight.FlightInfo.deserialize(begin(command.serialize(), **known))
        got: Any = channel.unary_stream(f"{service}/DoGet")
        coming = got(info.endpoints[0].ticket.serialize(), **known)
        assert next(coming)

        def rest() -> tuple[int, bool]:
            size = 0
            try:
                for one in coming:
                    size += len(one)
            except grpc.RpcError:
                return size, False
            return size, True

        yield Slow(info.schema.metadata[b"sqluice.query_id"].decode(), rest)


# How many bytes may come after it: what is held by systems, by libraries and by the server of HTTP.
READERS: Mapping[str, tuple[Any, int]] = {
    "HTTP JSON": (_http(WIDE, "application/json"), 25_000_000),
    "HTTP CSV": (_http(WIDE, "text/csv"), 25_000_000),
    "HTTP Arrow": (_http(WIDE, "application/vnd.apache.arrow.stream"), 25_000_000),
    "HTTP Parquet": (_http(MANY, "application/vnd.apache.parquet"), 14_000_000),
    "PostgreSQL": (_wire, 500_000),
    "Flight SQL": (_flight, 100_000),
}


@pytest.fixture(scope="module")
def received(gateway: Served) -> Mapping[str, tuple[tuple[int, bool], tuple[int, bool]]]:
    """What came by each door to who is left alone, and to whose query is killed; all wait at once.

    The PostgreSQL wire begins: its readers are known by a gateway that is at rest.
    """
    doors = sorted(READERS, key=lambda one: one != "PostgreSQL")
    with ExitStack() as stack:
        begun = {
            door: [stack.enter_context(READERS[door][0](gateway)) for _ in ("control", "slow")]
            for door in doors
        }
        time.sleep(0.5)
        for _, slow in begun.values():
            assert gateway.ask(f"/v1/queries/{slow.query_id}", method="DELETE").status == 200
        time.sleep(WAITS)
        return {door: (control.rest(), slow.rest()) for door, (control, slow) in begun.items()}


@pytest.mark.parametrize("door", READERS)
def test_what_is_killed_while_it_is_sent(
    received: Mapping[str, tuple[tuple[int, bool], tuple[int, bool]]], door: str
) -> None:
    (whole, control_is_whole), (size, is_whole) = received[door]
    most = READERS[door][1]
    print(f"{door}: {whole} whole, {size} after the cut")  # noqa: T201 - the figures of security.md
    assert control_is_whole
    assert not is_whole and size < most and size < whole / 2
