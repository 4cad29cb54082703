"""What Prometheus is told agrees with the audit, and names nobody."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from gateway.metrics import Ended, Metrics
from gateway.opening import OpenGateway
from gateway.state.engine import reading
from tests.identity.mesh import Shop, basic, open_shop

ASKED = (
    ("amy", "select count(*) from sales.people"),
    ("amy", "select o.id from sales.orders o, sales.people p where p.name <> 'a secret'"),
    ("ben", "select * from sales.orders"),
    ("amy", "select * from sales.nothing"),
    ("amy", "select nonsense from sales.people"),
    ("amy", "this is no SQL"),
    ("amy", "show tables"),
    ("amy", "explain select * from sales.people"),
    ("ben", "select 9223372036854775807 + count(*) from sales.people"),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("metrics")) as made:
        yield made


def samples(shop: Shop, user: str | None = None) -> dict[str, Counter[tuple[str, ...]]]:
    """Counters by name and by the values of their labels."""
    headers = {"Authorization": basic(user)} if user else {}
    body = shop.client.get("/metrics", headers=headers).text
    found: dict[str, Counter[tuple[str, ...]]] = {}
    for family in text_string_to_metric_families(body):
        for one in family.samples:
            key = tuple(one.labels[name] for name in sorted(one.labels))
            found.setdefault(one.name, Counter())[key] += int(one.value)
    return found


def audited(opened: OpenGateway) -> list[dict[str, Any]]:
    """Each request with how it ended."""
    with reading(opened.state) as connection:
        rows = connection.execute(text(
            "SELECT s.endpoint, s.products, f.outcome, f.code, f.row_count FROM audit_records s "
            "JOIN audit_records f ON f.query_id = s.query_id AND f.kind = 'finished' "
            "WHERE s.kind = 'started'"
        ))  # fmt: skip
        return [dict(one._mapping) for one in rows]


def test_numbers_are_those_of_the_audit(shop: Shop) -> None:
    for user, sql in ASKED:
        shop.ask(basic(user), sql)
    assert shop.ask(basic("amy", "wrong"), "select 1") == "unauthenticated"
    assert shop.ask(basic("amy"), "select 1", {"X-Sqluice-User": "ben"}) == "access_denied"
    told, records = samples(shop, "ola"), audited(shop.opened)
    outcomes = Counter((one["endpoint"], one["code"] or "ok") for one in records)
    assert told["sqluice_requests_total"] == outcomes and len(outcomes) >= 4
    assert sum(outcomes.values()) == len(ASKED)
    rows = sum(one["row_count"] for one in records)
    assert told["sqluice_rows_total"] == Counter({("http",): rows})
    assert told["sqluice_running"] == Counter({(): 0})
    by_product = Counter(
        (one["endpoint"], one["code"] or "ok", product.split("@")[0])
        for one in records for product in json.loads(one["products"])
    )  # fmt: skip
    assert told["sqluice_product_requests_total"] == by_product and len(by_product) >= 2
    assert told["sqluice_failed_sign_ins_total"] == Counter(
        {("access_denied", "http"): 1, ("unauthenticated", "http"): 1}
    )


def test_only_an_operator_is_told_of_products(shop: Shop) -> None:
    shop.ask(basic("amy"), "select count(*) from sales.people")
    for user in (None, "amy"):
        told = samples(shop, user)
        assert "sqluice_product_requests_total" not in told
        assert "sales" not in str(told)
    assert "sales.people" in str(samples(shop, "ola"))


def test_labels_are_bounded() -> None:
    metrics = Metrics()
    for number in range(1_100):
        metrics.ended(Ended("http", "", 1, 1, 0.1, (f"d.p{number}",)))
    found = metrics.text(with_products=True).decode()
    assert found.count("sqluice_product_requests_total{") == 1_001
    assert 'product="other"} 100.0' in found
