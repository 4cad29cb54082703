"""Traces as a collector on loopback receives them: from endpoint to source, without values."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.config import load_config
from gateway.errors import InvalidConfig
from gateway.serve.flight.server import FlightEndpoint
from tests.flight.raw import RawClient
from tests.identity.mesh import basic, open_shop, write_shop

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
SECRET = "select count(*) from sales.people where name <> 'a secret'"


@dataclass(slots=True)
class Collector:
    """What was received, as bytes and as spans."""

    address: str
    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> list[Any]:
        """All spans so far."""
        found = []
        for body in self.bodies:
            read = ExportTraceServiceRequest()
            read.ParseFromString(body)
            for one in read.resource_spans:
                found += [span for scope in one.scope_spans for span in scope.spans]
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on loopback until the end of the block."""
    held: list[Collector] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            held[0].bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    held.append(Collector(f"http://127.0.0.1:{server.server_address[1]}"))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield held[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


def attributes(span: Any) -> dict[str, object]:  # noqa: ANN401 - a message
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def settings(collector: Collector) -> dict[str, dict[str, Any]]:
    return {"telemetry": {"endpoint": collector.address}}


def test_a_statement_from_the_endpoint_to_its_source(tmp_path: Path) -> None:
    with collecting() as collector:
        with open_shop(tmp_path, settings(collector)) as shop:
            shop.ask(basic("amy"), SECRET, {"traceparent": PARENT})
            shop.ask(basic("amy"), "select * from sales.nothing", {"traceparent": "nonsense"})
            shop.ask(basic("amy"), "show tables")
            endpoint = FlightEndpoint(shop.opened, "127.0.0.1", 0)
            with RawClient(f"grpc://127.0.0.1:{endpoint.start()}", "ben") as client:
                client.options = client.with_headers((b"traceparent", PARENT.encode()))
                client.reader(client.start(SECRET)).read_all()
            endpoint.stop()
        spans = collector.spans()
    whole = [one for one in spans if one.name == "sqluice.statement"]
    told = [attributes(one) for one in whole]
    assert [(one["sqluice.endpoint"], one["sqluice.outcome"]) for one in told] == [
        ("http", "ok"), ("http", "unknown_table"), ("http", "ok"), ("flight", "ok"),
    ]  # fmt: skip
    for one in (whole[0], whole[3]):
        # Beneath the caller's own span, and above those of stages and sources.
        assert (one.trace_id.hex(), one.parent_span_id.hex()) == (TRACE, SPAN)
        inner = [each for each in spans if each.parent_span_id == one.span_id]
        names = {each.name for each in inner}
        assert {"sqluice.authorize", "sqluice.plan", "sqluice.fetch"} <= names
        fetched = next(each for each in inner if each.name == "sqluice.fetch")
        assert attributes(fetched)["sqluice.source"] == "sales.held"
        for each in inner:
            assert one.start_time_unix_nano <= each.start_time_unix_nano
            assert each.end_time_unix_nano <= one.end_time_unix_nano
    assert whole[1].trace_id.hex() != TRACE and whole[1].parent_span_id == b""
    assert whole[1].status.code == 2
    sent = b"".join(collector.bodies)
    for private in (b"secret", b"amy", b"ben", b"select", b"name <>", b"nothing"):
        assert private not in sent, private


def test_texts_go_along_where_that_is_set_without_their_literals(tmp_path: Path) -> None:
    with collecting() as collector:
        file = write_shop(tmp_path, settings(collector)) / "gateway.toml"
        held = file.read_text()
        file.write_text(held.replace("[telemetry]\n", "[telemetry]\nstatements = true\n"))
        with open_shop(tmp_path) as shop:
            shop.ask(basic("amy"), SECRET)
        whole = [one for one in collector.spans() if one.name == "sqluice.statement"]
        told = attributes(whole[0])
    assert "people" in str(told["db.query.text"])
    assert b"secret" not in b"".join(collector.bodies)


@pytest.mark.long
def test_a_collector_that_is_away_holds_nobody_up(tmp_path: Path) -> None:
    with open_shop(tmp_path, {"telemetry": {"endpoint": "http://127.0.0.1:1"}}) as shop:
        began = time.monotonic()
        for _ in range(20):
            assert shop.ask(basic("amy"), SECRET) == [["3"]]
        assert time.monotonic() - began < 90


@pytest.mark.parametrize("endpoint", ["nonsense", "ftp://a", "http://user:pw@a"])
def test_an_address_that_will_not_do(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(f"[telemetry]\nendpoint = '{endpoint}'\n")
    with pytest.raises(InvalidConfig, match=r"telemetry\.endpoint"):
        load_config(tmp_path, {})
