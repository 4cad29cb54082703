"""Budgets that policies set, by person, product and purpose: one for all endpoints and gateways."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from gateway.config import load_config
from gateway.errors import RateLimited, SqluiceError, TimedOut
from gateway.opening import OpenGateway, open_gateway
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.http.application import make_application
from tests.flight.raw import RawClient
from tests.small_mesh import SmallMesh, answer, request, write_mesh

SLOW = (
    "select count(*) from sales.orders o, range(100000) a(x), range(100000) b(y) "
    "where o.id + x * y % 7 = 3"
)


def mesh(effect: Mapping[str, Any], **besides: Any) -> SmallMesh:  # noqa: ANN401 - as a policy says it
    """Two products under a policy with one limit."""
    return SmallMesh(
        domain="sales",
        source={"connector": "duckdb", "settings": {"path": "rows.duckdb"}},
        tables={name: (f"main.{name}", {"id": "INTEGER"}) for name in ("orders", "people")},
        users={"amy": {}, "ben": {}},
        grants=tuple(
            {"product": name, "subjects": [{"users": ["amy", "ben"]}]}
            for name in ("orders", "people")
        ),
        policies=({"match": {"domain": "sales"}, "effect": {"limit": dict(effect)}, **besides},),
        purposes={"audit": "To audit", "care": "To care"},
    )


def opened(folder: Path, effect: Mapping[str, Any], **besides: Any) -> OpenGateway:  # noqa: ANN401
    conf = write_mesh(folder, mesh(effect, **besides))
    with duckdb.connect(str(folder / "data" / "rows.duckdb")) as connection:
        for name in ("orders", "people"):
            connection.execute(f"CREATE TABLE {name} AS SELECT i::INTEGER AS id FROM range(4) r(i)")
    return open_gateway(load_config(conf, {}))


def test_so_many_at_once(tmp_path: Path) -> None:
    gateway = opened(tmp_path, {"concurrent": 2})
    sql = "select * from sales.orders"
    started = [gateway.gateway.answer(request(gateway, "amy", sql)) for _ in range(2)]
    with pytest.raises(RateLimited, match="at once"):
        answer(gateway, "amy", sql)
    # What is refused holds no turn; others, and what no table of the policy is in, have their own.
    assert answer(gateway, "ben", sql).num_rows == 4
    assert answer(gateway, "amy", "select 1").num_rows == 1
    with pytest.raises(SqluiceError):
        answer(gateway, "amy", "select nothing from sales.orders")
    started[0].close()
    for _ in range(3):
        assert answer(gateway, "amy", sql).num_rows == 4
    started[1].close()
    gateway.close()


def test_so_many_seconds_of_a_statement(tmp_path: Path) -> None:
    gateway = opened(tmp_path, {"seconds": 1})
    with pytest.raises(TimedOut):
        answer(gateway, "amy", SLOW)
    assert answer(gateway, "amy", "select * from sales.orders").num_rows == 4
    gateway.close()


def test_so_many_seconds_of_a_day(tmp_path: Path) -> None:
    gateway = opened(tmp_path, {"seconds": 3, "per": "day"})
    assert answer(gateway, "amy", "select * from sales.orders").num_rows == 4
    with pytest.raises(TimedOut):
        answer(gateway, "amy", SLOW)
    with pytest.raises(RateLimited, match="3 seconds that you may take in a day"):
        answer(gateway, "amy", "select * from sales.orders")
    assert answer(gateway, "ben", "select * from sales.orders").num_rows == 4
    gateway.close()


def test_a_join_under_one_policy_counts_once(tmp_path: Path) -> None:
    gateway = opened(tmp_path, {"requests": 2, "per": "day"})
    sql = "select count(*) from sales.orders, sales.people"
    for _ in range(2):
        assert answer(gateway, "amy", sql).num_rows == 1
    with pytest.raises(RateLimited):
        answer(gateway, "amy", sql)
    gateway.close()


def test_a_budget_of_one_purpose(tmp_path: Path) -> None:
    gateway = opened(tmp_path, {"requests": 1, "per": "day"}, purposes=["care"])
    sql = "select * from sales.orders"
    assert answer(gateway, "amy", sql, purpose="care").num_rows == 4
    with pytest.raises(RateLimited):
        answer(gateway, "amy", sql, purpose="care")
    assert answer(gateway, "amy", sql, purpose="audit").num_rows == 4
    gateway.close()


def test_endpoints_of_several_gateways_count_together_within_a_twentieth(tmp_path: Path) -> None:
    most = 40
    first = opened(tmp_path, {"requests": most, "per": "day"})
    second = open_gateway(first.config)
    flight = FlightEndpoint(second, "127.0.0.1", 0)
    address = f"grpc://127.0.0.1:{flight.start()}"
    sql = "select count(*) from sales.orders"
    passed: list[int] = []
    refused: list[int] = []

    def over_http() -> None:
        client = make_application(first).test_client()
        signed = "Basic " + base64.b64encode(b"amy:amy-demo").decode()
        for _ in range(20):
            found = client.post("/v1/query", json={"sql": sql}, headers={"Authorization": signed})
            (passed if found.status_code == 200 else refused).append(found.status_code)
            assert found.status_code == 200 or "Retry-After" in found.headers

    def over_flight() -> None:
        with RawClient(address, "amy") as client:
            for _ in range(20):
                try:
                    client.reader(client.start(sql)).read_all()
                    passed.append(0)
                except pa.ArrowException as error:
                    assert "may take in a day" in str(error)
                    refused.append(0)

    threads = [threading.Thread(target=one) for one in (over_http, over_flight) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(passed) + len(refused) == 80
    assert most * 0.95 <= len(passed) <= most * 1.05
    flight.stop()
    second.close()
    first.close()
