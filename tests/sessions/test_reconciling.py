"""Audit, metrics and traces tell the same of every endpoint, however statements end."""

from __future__ import annotations

import json
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pyarrow import flight
from sqlalchemy import text

import sqluice
from gateway.metrics import Metrics
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.pgwire.server import PgwireEndpoint
from gateway.state.engine import reading
from tests.flight.raw import RawClient
from tests.identity.mesh import Shop, basic, open_shop
from tests.pgwire.wire import Wire, query
from tests.served import within
from tests.sessions.test_telemetry import attributes, collecting, settings

# Each with how it ends for amy, who sees half of the orders and no reasons without a purpose.
MIX = (
    ("select count(*) from sales.people", "ok"),
    ("select o.id from sales.orders o, sales.people p where p.name <> 'a secret'", "ok"),
    ("show tables", "ok"),
    ("explain select * from sales.people", "ok"),
    ("select * from sales.people where false", "ok"),
    ("select * from sales.nothing", "unknown_table"),
    ("select nonsense from sales.people", "unknown_column"),
    ("select (1", "parse_error"),
    ("delete from sales.people", "unsupported_sql"),
    ("select text from sales.reasons", "purpose_required"),
    ("select 9223372036854775807 + count(*) from sales.people", "source_error"),
    ("select cast('x' || r.i as integer) as x from range(3) as r(i)", "type_error"),
)
SLOW = (
    "select count(*) as n from sales.people p, range(9000000) as a(i), range(9000000) as b(j) "
    "where a.i < b.j"
)
MANY = "select p.name, r.i from sales.people p, range(10000000) as r(i)"
# What tells whether a client is there takes no record (ADR 14), and is counted.
PROBE = "select 1"


@dataclass(slots=True)
class Told:
    """What each of the three tells: statements by endpoint and outcome, and by product besides."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    products: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)

    def add(self, endpoint: str, outcome: str, rows: int, products: list[str]) -> None:
        """One statement."""
        self.requests[endpoint, outcome] += 1
        self.rows[endpoint] += rows
        for one in products:
            self.products[endpoint, one, outcome] += 1


@dataclass(frozen=True, slots=True)
class Open:
    """The gateway behind its endpoints."""

    shop: Shop
    flight: str
    pgwire: str
    local: sqluice.Connection

    @property
    def is_busy(self) -> bool:
        """Whether a statement runs."""
        inner: Any = self.local._transport
        return bool(self.shop.opened.queries.count or inner._gateway._opened.queries.count)


@contextmanager
def stopped(opened: Open, call: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    """A statement from another thread, stopped once it runs; both have ended by the end."""

    def run() -> None:
        with suppress(sqluice.Error, psycopg.Error):
            call()

    thread = threading.Thread(target=run)
    thread.start()
    assert within(60, lambda: opened.is_busy)

    def has_ended() -> bool:
        stop()
        thread.join(0.3)
        return not thread.is_alive()

    assert within(60, has_ended)
    yield
    assert within(60, lambda: not opened.is_busy)


def over_http(opened: Open) -> None:
    """Each statement once, and one that is stopped by its id."""
    shop = opened.shop
    for sql, outcome in MIX:
        found = shop.ask(basic("amy"), sql)
        assert found == outcome or (isinstance(found, list) and outcome == "ok"), sql
    shop.ask(basic("amy"), PROBE)

    def stop() -> None:
        for one in shop.call("GET", "/v1/queries", basic("amy"))[1]["queries"]:
            shop.call("DELETE", f"/v1/queries/{one['query_id']}", basic("amy"))

    other = Shop(shop.folder, shop.opened, shop.client.application.test_client())
    with stopped(opened, lambda: other.ask(basic("amy"), SLOW), stop):
        pass


def over_flight(opened: Open) -> None:
    """By hand: as text and prepared; one is stopped while it streams."""
    with RawClient(opened.flight, "amy") as client:
        for sql, outcome in MIX:
            with suppress(flight.FlightError, pa.ArrowException):
                client.read("CommandStatementQuery", query=sql)
                assert outcome == "ok", sql
        client.read("CommandStatementQuery", query=PROBE)
        # What cannot be prepared is told then, and once.
        with pytest.raises(pa.ArrowException, match="unknown_table"):
            client.prepare("select * from sales.nothing")
        handle = client.prepare("select count(*) from sales.people").prepared_statement_handle
        client.read("CommandPreparedStatementQuery", prepared_statement_handle=handle)
        info = client.start(MANY)
        reader = client.reader(info)
        reader.read_chunk()
        assert client.cancel(info) == 1
        with pytest.raises((flight.FlightError, pa.ArrowException)):
            while True:
                reader.read_chunk()
    assert within(60, lambda: not opened.is_busy)


def by_dbapi(opened: Open, connection: sqluice.Connection) -> None:
    """Over Flight SQL, or in process."""
    for sql, outcome in MIX:
        try:
            connection.execute(sql).fetchall()
        except sqluice.Error as error:
            assert error.code == outcome, sql
        else:
            assert outcome == "ok", sql
    connection.execute(PROBE).fetchall()
    cursor = connection.cursor()
    with stopped(opened, lambda: cursor.execute(SLOW), cursor.cancel):
        pass


def over_pgwire(opened: Open) -> None:
    """In the simple protocol and in the extended one."""
    chosen: dict[str, Any] = {"user": "amy", "password": "amy-demo", "autocommit": True}
    with psycopg.connect(opened.pgwire, **chosen) as connection:
        for sql, outcome in MIX:
            for is_binary in (False, True):
                try:
                    connection.execute(sql.encode(), binary=is_binary)
                except psycopg.Error as error:
                    assert f"{outcome}, query " in str(error.diag.message_detail), sql
                else:
                    assert outcome == "ok", sql
        connection.execute(PROBE.encode())
        connection.execute("select count(*) from pg_class").fetchall()
        with pytest.raises(psycopg.Error):
            connection.execute("select nonsense from pg_class")
    # By hand: libpq holds Python's lock while it waits for the end of a cancel request.
    with Wire(opened.pgwire) as wire:
        wire.sign_in("amy")

        def stop() -> None:
            with Wire(opened.pgwire) as other:
                other.send(struct.pack(">ii", 16, 80877102), wire.key)
                other.receive()

        with stopped(opened, lambda: wire.ask(query(SLOW)), stop):
            pass


def of_audit(shop: Shop) -> Told:
    """Both records of each request."""
    told = Told()
    with reading(shop.opened.state) as connection:
        rows = connection.execute(text(
            "SELECT s.endpoint, s.products, f.code, f.row_count FROM audit_records s "
            "JOIN audit_records f ON f.query_id = s.query_id AND f.kind = 'finished' "
            "WHERE s.kind = 'started'"
        )).fetchall()  # fmt: skip
    for endpoint, products, code, count in rows:
        names = [one.split("@")[0] for one in json.loads(products or "[]")]
        told.add(endpoint, code or "ok", count or 0, names)
    return told


def is_written(shop: Shop) -> bool:
    """Whether each request has its end: that of the other gateway is written by itself."""
    with reading(shop.opened.state) as connection:
        kinds = connection.execute(text("SELECT kind, count(*) FROM audit_records GROUP BY kind"))
        counts = {str(kind): int(count) for kind, count in kinds}
    return counts["started"] == counts["finished"]


def of_metrics(metrics: Metrics) -> Told:
    """What Prometheus is told."""
    told = Told()
    for family in text_string_to_metric_families(metrics.text(with_products=True).decode()):
        for one in family.samples:
            known, count = one.labels, int(one.value)
            match one.name:
                case "sqluice_requests_total":
                    told.requests[known["endpoint"], known["outcome"]] += count
                case "sqluice_rows_total":
                    told.rows[known["endpoint"]] += count
                case "sqluice_product_requests_total":
                    told.products[known["endpoint"], known["product"], known["outcome"]] += count
    return told


def test_every_endpoint_is_told_alike_by_audit_metrics_and_traces(tmp_path: Path) -> None:
    with collecting() as collector:
        with open_shop(tmp_path, settings(collector)) as shop, ExitStack() as stack:
            by_flight = FlightEndpoint(shop.opened, "127.0.0.1", 0)
            by_pgwire = PgwireEndpoint(shop.opened, "127.0.0.1", 0)
            stack.callback(by_flight.stop)
            stack.callback(by_pgwire.stop)
            local = stack.enter_context(sqluice.connect(f"{shop.folder}/", user="amy"))
            opened = Open(
                shop, f"grpc://127.0.0.1:{by_flight.start()}",
                f"postgresql://127.0.0.1:{by_pgwire.start()}", local,
            )  # fmt: skip
            over_http(opened)
            over_flight(opened)
            with sqluice.connect(opened.flight, user="amy", password="amy-demo") as connection:
                by_dbapi(opened, connection)
            by_dbapi(opened, local)
            over_pgwire(opened)
            inner: Any = local._transport
            gateways = shop.opened, inner._gateway._opened
            assert within(30, lambda: is_written(shop))
            audit, metrics = of_audit(shop), [of_metrics(one.services.metrics) for one in gateways]
        traces = Told()
        for span in collector.spans():
            if span.name == "sqluice.statement":
                one = attributes(span)
                products = [each.string_value for each in getattr(
                    one.get("sqluice.products"), "values", ())]  # fmt: skip
                traces.add(str(one["sqluice.endpoint"]), str(one["sqluice.outcome"]),
                           int(str(one["sqluice.rows"])), products)  # fmt: skip
    assert audit.requests == asked()
    counted = metrics[0].requests + metrics[1].requests
    # On the PostgreSQL wire it is the connection's own affair, like BEGIN.
    probes = Counter({("http", "ok"): 1, ("flight", "ok"): 2, ("in-process", "ok"): 1})
    assert counted == audit.requests + probes
    assert metrics[0].rows + metrics[1].rows == audit.rows + Counter(
        {endpoint: count for (endpoint, _), count in probes.items()}
    )
    assert traces.requests == audit.requests
    assert metrics[0].products + metrics[1].products == audit.products == traces.products
    assert len(audit.products) > 12


def asked() -> Counter[tuple[str, str]]:
    """What was sent, so that nothing is lost by all three."""
    each = Counter(outcome for _, outcome in MIX) + Counter({"cancelled": 1})
    times = {"http": 1, "flight": 2, "in-process": 1}
    made = Counter(
        {(endpoint, one): n * times[endpoint] for endpoint in times for one, n in each.items()}
    )
    # Prepared: one that cannot be, one that ran.
    made += Counter({("flight", "unknown_table"): 1, ("flight", "ok"): 1})
    on_the_wire = Counter({("postgres", one): n * 2 for one, n in each.items()})
    on_the_wire["postgres", "cancelled"] = 1
    # Questions to the catalogs.
    on_the_wire += Counter({("postgres", "ok"): 1, ("postgres", "unknown_column"): 1})
    return made + on_the_wire
