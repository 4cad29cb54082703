"""Entitlements, revocation, quotas and alerts, in a gateway over real databases."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adbc_driver_flightsql import dbapi
from adbc_driver_manager import Error

from gateway.errors import (
    AccessDenied,
    RateLimited,
    SourceUnavailable,
    SqluiceError,
    UnknownTable,
)
from gateway.logs import JsonFormatter
from gateway.policies.compile import approval_of
from gateway.result import Result
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.http.application import make_application
from tests.policies.mesh import NOW
from tests.policies.running import PASSWORD, Running, running

IDS = "SELECT id FROM shop.orders ORDER BY id"
ENTITLED: dict[str, Any] = {
    "entitlements": [
        {"id": "areas", "table": "staff.people.areas", "subject": "person", "values": ["region"],
         "ttl": 3600}
    ],
    "governance": [
        {"id": "f", "match": {"domain": "shop"},
         "effect": {"filter": "region IN (entitlement.areas)"}}
    ],
}  # fmt: skip


def _ids(gateway: Running, user: str = "ada") -> list[int]:
    return [row["id"] for row in gateway.ask(IDS, user)]


def _soon(check: Callable[[], bool]) -> bool:
    """Whether something holds within a second, and a little for a busy machine."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if check():
            return True
        time.sleep(0.05)
    return False


def _is_refused(gateway: Running, user: str = "ada") -> bool:
    try:
        gateway.ask(IDS, user)
    except (UnknownTable, AccessDenied):
        # The latter where the revocation comes between decision and start.
        return True
    return False


def test_entitlements_filter_rows(tmp_path: Path) -> None:
    with running(tmp_path, ENTITLED) as gateway:
        assert _ids(gateway) == [1, 4]
        assert _ids(gateway, "bob") == [2]
        assert _ids(gateway, "olga") == []
        assert _ids(gateway, "x' OR 'a'='a") == []


def test_entitlements_are_kept_until_their_time_or_the_next_event(tmp_path: Path) -> None:
    with running(tmp_path, ENTITLED) as gateway:
        assert _ids(gateway) == [1, 4]
        with sqlite3.connect(tmp_path / "data" / "staff.sqlite") as areas:
            areas.execute("DELETE FROM areas WHERE person = 'ada'")
            areas.execute("INSERT INTO areas VALUES ('ada', 'US', 1)")
        areas.close()
        assert _ids(gateway) == [1, 4]
        gateway.tell("refresh", "entitlements")
        assert _soon(lambda: _ids(gateway) == [2])


def test_entitlements_without_time_are_read_each_time(tmp_path: Path) -> None:
    entitlement = {**ENTITLED["entitlements"][0], "ttl": 0}
    with running(tmp_path, {**ENTITLED, "entitlements": [entitlement]}) as gateway:
        assert _ids(gateway) == [1, 4]
        with sqlite3.connect(tmp_path / "data" / "staff.sqlite") as areas:
            areas.execute("DELETE FROM areas")
        areas.close()
        assert _ids(gateway) == []


def test_a_source_of_entitlements_that_fails_closes_the_table(tmp_path: Path) -> None:
    with running(tmp_path, ENTITLED) as gateway:
        with sqlite3.connect(tmp_path / "data" / "staff.sqlite") as areas:
            areas.execute("ALTER TABLE areas RENAME TO gone")
        areas.close()
        with pytest.raises(SourceUnavailable) as caught:
            gateway.ask(IDS)
        assert "areas" not in caught.value.message
        log = tmp_path / "data" / "logs" / "staff.jsonl"
        assert "entitlement areas" in json.loads(log.read_text().splitlines()[-1])["private"]


def test_a_shown_plan_names_the_policy_not_the_values(tmp_path: Path) -> None:
    with running(tmp_path, ENTITLED) as gateway:
        shown = json.dumps(gateway.ask(f"EXPLAIN {IDS}"))
        assert "<f>" in shown
        assert "EU" not in shown


def test_a_revocation_holds_from_the_next_statement(tmp_path: Path) -> None:
    with running(tmp_path, {}) as gateway:
        assert _ids(gateway) == [1, 2, 3, 4]
        gateway.tell("revoke", "all", "ada")
        assert _soon(lambda: _is_refused(gateway))
        assert _ids(gateway, "bob") == [1, 2, 3, 4]
        gateway.tell("restore", "all", "ada")
        assert _soon(lambda: not _is_refused(gateway))


def test_a_revocation_holds_on_every_endpoint_and_for_prepared_statements(tmp_path: Path) -> None:
    with running(tmp_path, {}) as gateway:
        client = make_application(gateway.opened).test_client()

        def http() -> int:
            body = {"sql": IDS}
            return client.post("/v1/query", json=body, auth=("ada", PASSWORD)).status_code

        endpoint = FlightEndpoint(gateway.opened, "127.0.0.1", 0)
        address = f"grpc://127.0.0.1:{endpoint.start()}"
        options = {"username": "ada", "password": PASSWORD}
        with (
            dbapi.connect(address, db_kwargs=options, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            cursor.adbc_prepare(IDS)
            cursor.execute(IDS)
            assert len(cursor.fetchall()) == 4
            assert http() == 200
            gateway.tell("revoke", "all")
            assert _soon(lambda: _is_refused(gateway))
            assert http() == 404
            with pytest.raises(Error, match="unknown_table"):
                cursor.execute(IDS)
            with pytest.raises(Error, match="unknown_table"):
                cursor.adbc_prepare(f"{IDS} LIMIT 3")
        endpoint.stop()


def test_a_revocation_lapses_when_the_file_drops_the_grant(tmp_path: Path) -> None:
    grants = tmp_path / "domains" / "shop" / "grants" / "case.yaml"
    with running(tmp_path, {}) as gateway:
        text = grants.read_text()
        gateway.tell("revoke", "all")
        assert _soon(lambda: _is_refused(gateway))
        publisher = gateway.opened.publisher
        grants.write_text(text + "# the same grant\n")
        assert publisher.reload() and _is_refused(gateway)
        grants.write_text(text.replace("all\n", "other\n", 1))
        assert publisher.reload()
        grants.write_text(text)
        assert publisher.reload()
        assert _soon(lambda: not _is_refused(gateway))


def test_a_revocation_may_end_what_runs(tmp_path: Path) -> None:
    slow = "SELECT sum(a.range * b.range) FROM range(100000) a, range(1000000) b, shop.orders"
    with running(tmp_path, {}) as gateway:
        caught: list[SqluiceError] = []

        def run(user: str) -> None:
            try:
                gateway.ask(slow, user)
            except SqluiceError as error:
                caught.append(error)

        threads = [threading.Thread(target=run, args=(name,)) for name in ("ada", "bob")]
        for one in threads:
            one.start()
        queries = gateway.opened.queries
        assert _soon(lambda: queries.count == 2)
        gateway.tell("revoke", "all", "ada", ends_running=True)
        threads[0].join(timeout=60)
        assert [type(one) for one in caught] == [AccessDenied]
        assert threads[1].is_alive()
        queries.cancel_all()
        threads[1].join(timeout=60)


def test_an_approval_lets_an_exception_hold_until_its_file_changes(tmp_path: Path) -> None:
    exception = {
        "id": "e", "policy": "m", "subjects": [{"users": ["ada"]}], "reason": "a case",
        "from": "2026-01-01", "until": "2036-01-01",
    }  # fmt: skip
    policy = {
        "id": "m", "match": {"columns": ["email"]}, "effect": {"mask": {"kind": "null"}},
        "exceptions": {"maxDays": 3660},
    }  # fmt: skip
    sql = "SELECT email FROM shop.orders WHERE id = 1"
    with running(tmp_path, {"governance": [policy], "exceptions": [exception]}) as gateway:
        assert gateway.ask(sql) == [{"email": None}]
        mesh = gateway.opened.publisher.current().mesh
        gateway.tell("approve", approval_of(mesh.exceptions[0]))
        assert _soon(lambda: gateway.ask(sql) == [{"email": "ada@example.org"}])
        file = tmp_path / "governance" / "exceptions" / "case.yaml"
        file.write_text(file.read_text().replace("- ada", "- ada\n  - bob"))
        assert gateway.opened.publisher.reload()
        assert gateway.ask(sql) == [{"email": None}]


def test_quotas_count_across_endpoints_and_gateways(tmp_path: Path) -> None:
    policy = {
        "id": "q", "match": {"domain": "shop"},
        "effect": {"limit": {"requests": 3, "rows": 9, "per": "day"}},
    }  # fmt: skip
    with running(tmp_path, {"governance": [policy]}) as gateway:
        client = make_application(gateway.opened).test_client()
        assert len(gateway.ask(IDS)) == 4
        first = client.post("/v1/query", json={"sql": IDS}, auth=("ada", PASSWORD))
        assert (first.status_code, len(first.data) > 0) == (200, True)
        with pytest.raises(SqluiceError) as caught:
            gateway.ask(IDS)
        assert caught.value.code == "limit_exceeded"
        answer = client.post("/v1/query", json={"sql": IDS}, auth=("ada", PASSWORD))
        assert (answer.status_code, "Retry-After" in answer.headers) == (429, True)
        with pytest.raises(RateLimited, match="you may take in a day"):
            gateway.ask(IDS)
        assert len(gateway.ask(IDS, "bob")) == 4


def test_masks_that_meet_at_run_time_are_null_and_the_owner_is_told(tmp_path: Path) -> None:
    """The load refuses them; here the proof that they exclude each other is taken away."""
    case = {
        "governance": [
            {"id": name, "match": {"columns": ["email"]}, "subjects": [{"users": [user]}],
             "effect": {"mask": {"kind": "constant", "value": name}}}
            for name, user in (("m1", "ada"), ("m2", "bob"))
        ]
    }  # fmt: skip
    with running(tmp_path, case) as gateway:
        publisher = gateway.opened.publisher
        entry = next(iter(publisher.current().index.tables.values()))
        entry.restricting.concerned.by_user["ada"] = 3  # type: ignore[index]  # a defect, made
        sql = "SELECT email FROM shop.orders WHERE id = 1"
        assert gateway.ask(sql, "bob") == [{"email": "m2"}]
        assert gateway.ask(sql) == [{"email": None}]
        log = tmp_path / "data" / "logs" / "shop.jsonl"
        assert "Masks of one rank differ" in log.read_text()


def test_a_broken_policy_keeps_the_last_good_revision(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path, {}) as gateway:
        client = make_application(gateway.opened).test_client()
        before = client.get("/readyz").json
        file = tmp_path / "governance" / "policies" / "broken.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            "{kind: Policy, id: b, match: {domain: shop}, effect: {filter: 'id / 0 = 1'}}"
        )
        assert not gateway.opened.publisher.reload()
        assert "broken.yaml:1" in (gateway.opened.publisher.failure or "")
        after = client.get("/readyz").json
        assert before is not None and after is not None
        assert (after["status"], after["reload_failed"]) == ("degraded", True)
        assert after["revision"] == before["revision"]
        health = client.get("/healthz").json
        assert health is not None and (health["status"], health["reload_failed"]) == ("ok", True)
        (told,) = (one for one in caplog.records if getattr(one, "event", "") == "reload_failed")
        line = json.loads(JsonFormatter().format(told))
        assert (line["level"], line["code"]) == ("ERROR", "invalid_config")
        assert line["files"] == ["governance/policies/broken.yaml:1"]
        assert "id / 0" not in json.dumps(line)
        assert _ids(gateway) == [1, 2, 3, 4]
        file.unlink()
        assert gateway.opened.publisher.reload()
        mended = client.get("/healthz").json
        assert mended is not None and mended["reload_failed"] is False


def test_a_grant_that_ends_while_the_query_runs_was_decided_at_the_start(tmp_path: Path) -> None:
    grant = {
        "id": "brief", "product": "orders", "until": "2026-03-04T12:00:01Z",
        "subjects": [{"all": True}],
    }  # fmt: skip
    with running(tmp_path, {"grants": [grant]}) as gateway:
        result: Result = gateway.opened.gateway.answer(gateway.request(IDS, now=NOW))
        late = NOW.replace(second=2)
        with pytest.raises(UnknownTable):
            gateway.ask(IDS, now=late)
        assert sum(batch.num_rows for batch in result.batches()) == 4


def test_the_address_of_the_connection_decides(tmp_path: Path) -> None:
    grant = {
        "id": "near", "product": "orders", "subjects": [{"all": True, "networks": ["127.0.0.0/8"]}],
    }  # fmt: skip
    with running(tmp_path, {"grants": [grant]}) as gateway:
        assert _is_refused(gateway)
        client = make_application(gateway.opened).test_client()

        def status(address: str) -> int:
            place = {"REMOTE_ADDR": address}
            return client.post(
                "/v1/query", json={"sql": IDS}, headers={"Authorization": f"Bearer {token}"},
                environ_base=place,
            ).status_code  # fmt: skip

        token = gateway.opened.identity.issue(gateway.request(IDS).principal).value
        assert (status("127.0.0.1"), status("192.0.2.1")) == (200, 404)
        endpoint = FlightEndpoint(gateway.opened, "127.0.0.1", 0)
        options = {"username": "ada", "password": PASSWORD}
        address = f"grpc://127.0.0.1:{endpoint.start()}"
        with (
            dbapi.connect(address, db_kwargs=options, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(IDS)
            assert len(cursor.fetchall()) == 4
        endpoint.stop()
