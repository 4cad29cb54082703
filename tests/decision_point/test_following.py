"""What follows from what a decision point says: lists, prepared statements, plans, the audit."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from adbc_driver_flightsql import dbapi
from adbc_driver_manager import Error

from gateway.errors import AccessDenied, SqluiceError, UnknownTable
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.http.application import make_application
from tests.decision_point.bundle import Bundle, serving
from tests.decision_point.test_cases import UNBATCHED, with_staff
from tests.policies.mesh import ROWS
from tests.policies.running import AREAS, PASSWORD, Running, running

IDS = "SELECT id FROM shop.orders ORDER BY id"


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[tuple[Bundle, Running]]:
    with (
        serving() as bundle,
        running(tmp_path, with_staff({}, bundle.settings())) as gateway,
    ):
        yield bundle, gateway


def _ids(gateway: Running, user: str = "ada") -> list[int]:
    return [row["id"] for row in gateway.ask(IDS, user)]


def _basic(gateway: Running, path: str) -> Any:  # noqa: ANN401 - a response's JSON
    client = make_application(gateway.opened).test_client()
    return client.get(path, auth=("ada", PASSWORD)).get_json()


def test_a_change_holds_from_the_next_statement(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    assert _ids(gateway) == [1, 2, 3, 4]
    bundle.filters["shop.orders.orders"] = ["region = 'EU'"]
    assert _ids(gateway) == [1, 4]
    bundle.filters["shop.orders.orders"] = ["region = 'US'"]
    assert _ids(gateway) == [2]
    bundle.denies.append({"table": "shop.orders.orders", "user": "ada"})
    with pytest.raises(UnknownTable):
        gateway.ask(IDS)
    assert _ids(gateway, "bob") == [2]
    bundle.denies.clear()
    bundle.filters.clear()
    assert _ids(gateway) == [1, 2, 3, 4]


def test_plans_are_kept_apart_by_what_was_said(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    sql = "SELECT id, email FROM shop.orders WHERE id < 3 ORDER BY id"
    for _ in range(2):
        bundle.masks.clear()
        bundle.filters.clear()
        plain = gateway.ask(sql)
        bundle.masks["shop.orders.orders.email"] = "'x'"
        assert [row["email"] for row in gateway.ask(sql)] == ["x", "x"]
        bundle.masks["shop.orders.orders.email"] = "'y'"
        assert [row["email"] for row in gateway.ask(sql)] == ["y", "y"]
        bundle.filters["shop.orders.orders"] = ["id > 1"]
        assert [row["id"] for row in gateway.ask(sql)] == [2]
        assert [row["id"] for row in plain] == [1, 2]


def test_lists_follow(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    shown = [row["table"] for row in gateway.ask("SHOW TABLES")]
    assert shown == ["queries", "orders", "areas"]
    assert "batch FilterColumns" not in bundle.operations()
    bundle.denies.append({"table": "shop.orders.orders"})
    assert [row["table"] for row in gateway.ask("SHOW TABLES")] == ["queries", "areas"]
    assert gateway.ask("SHOW CATALOGS") == [{"domain": "mesh"}, {"domain": "staff"}]
    with pytest.raises(UnknownTable) as denied:
        gateway.ask("DESCRIBE shop.orders")
    with pytest.raises(UnknownTable) as missing:
        gateway.ask("DESCRIBE shop.nothing")
    assert denied.value.message == missing.value.message.replace("nothing", "orders")
    found = [one["product"] for one in _basic(gateway, "/v1/products")["products"]]
    assert found == ["audit", "people"]
    assert "unknown_table" in str(_basic(gateway, "/v1/products/shop/orders"))


def test_columns_follow(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    bundle.denies.append({"operation": "FilterColumns", "column": "email"})
    described = gateway.ask("DESCRIBE shop.orders")
    names = ["id", "region", "phone", "born", "placed", "amount"]
    assert [row["column_name"] for row in described] == names
    page = _basic(gateway, "/v1/products/shop/orders")
    assert [one["name"] for one in page["tables"][0]["columns"]] == names
    bundle.denies.append({"operation": "FilterCatalogs", "catalog": "shop"})
    with pytest.raises(UnknownTable):
        gateway.ask("DESCRIBE shop.orders")


def test_lists_follow_one_by_one(tmp_path: Path) -> None:
    with (
        serving(denies=[{"operation": "FilterColumns", "column": "email"}]) as bundle,
        running(tmp_path, with_staff({}, bundle.settings(UNBATCHED))) as gateway,
    ):
        assert len(gateway.ask("SHOW TABLES")) == 3
        assert set(bundle.operations()) == {"allow FilterCatalogs", "allow FilterTables"}
        described = [row["column_name"] for row in gateway.ask("DESCRIBE shop.orders")]
        assert described == ["id", "region", "phone", "born", "placed", "amount"]
        assert bundle.operations().count("allow FilterColumns") == 7


def test_names_beyond_ascii_are_sent_as_they_are(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    bundle.filters["staff.people.areas"] = ["person = current_user"]
    for user in ("Zoë \u6771 \N{WINKING FACE}", "a\nb", 'quo"te'):
        assert gateway.ask("SELECT person FROM staff.people.areas", user) == []
        assert bundle.asked[-1].input["context"]["identity"]["user"] == user


def test_flight_follows(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    endpoint = FlightEndpoint(gateway.opened, "127.0.0.1", 0)
    port = endpoint.start()
    try:
        options = {"username": "ada", "password": PASSWORD}
        with dbapi.connect(f"grpc://127.0.0.1:{port}", db_kwargs=options) as connection:
            assert _objects(connection) == {"orders": True, "areas": True}
            bundle.denies.append({"operation": "FilterColumns", "column": "email"})
            assert _objects(connection) == {"orders": False, "areas": True}
            bundle.denies[:] = [{"table": "shop.orders.orders"}]
            assert _objects(connection) == {"areas": True}
    finally:
        endpoint.stop()


def _objects(connection: Any) -> dict[str, bool]:  # noqa: ANN401 - adbc is untyped
    """Tables, and whether the column that may be denied is among theirs."""
    found = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    return {
        table["table_name"]: table["table_name"] == "areas"
        or "email" in [one["column_name"] for one in table["table_columns"]]
        for catalog in found
        if catalog["catalog_name"] != "mesh"
        for schema in catalog["catalog_db_schemas"]
        for table in schema["db_schema_tables"]
    }


def test_a_prepared_statement_asks_again(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    endpoint = FlightEndpoint(gateway.opened, "127.0.0.1", 0)
    port = endpoint.start()
    try:
        options = {"username": "ada", "password": PASSWORD}
        with (
            dbapi.connect(f"grpc://127.0.0.1:{port}", db_kwargs=options) as connection,
            connection.cursor() as cursor,
        ):
            sql = "SELECT id FROM shop.orders WHERE id > ? ORDER BY id"
            cursor.adbc_prepare(sql)
            cursor.execute(sql, (0,))
            assert [row[0] for row in cursor.fetchall()] == [1, 2, 3, 4]
            bundle.filters["shop.orders.orders"] = ["region = 'EU'"]
            cursor.execute(sql, (1,))
            assert [row[0] for row in cursor.fetchall()] == [4]
            bundle.denies.append({"operation": "SelectFromColumns"})
            with pytest.raises(Error, match="may not read"):
                cursor.execute(sql, (1,))
                cursor.fetchall()
    finally:
        endpoint.stop()


def test_the_answer_is_that_of_the_permitted_rows(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    bundle.filters["shop.orders.orders"] = ["region IS NOT NULL", "amount > -100"]
    bundle.filters["staff.people.areas"] = ["size < 3"]
    bundle.masks["shop.orders.orders.email"] = "if(region = 'EU', 'hidden', email)"
    with duckdb.connect() as reference:
        reference.execute("SET TimeZone = 'UTC'")
        reference.execute(
            "CREATE TABLE raw (id INTEGER, region VARCHAR, email VARCHAR, phone VARCHAR, "
            "born DATE, placed TIMESTAMPTZ, amount DECIMAL(12,2))"
        )
        reference.execute(f"INSERT INTO raw VALUES {ROWS}")
        reference.execute(
            "CREATE TABLE orders AS SELECT * REPLACE (CASE WHEN region = 'EU' THEN 'hidden' "
            "ELSE email END AS email) FROM raw WHERE region IS NOT NULL AND amount > -100"
        )
        reference.execute("CREATE TABLE areas (person VARCHAR, region VARCHAR, size INTEGER)")
        reference.executemany("INSERT INTO areas VALUES (?, ?, ?)", AREAS)
        reference.execute("DELETE FROM areas WHERE (size < 3) IS NOT TRUE")
        for sql in (
            "SELECT * FROM {o} ORDER BY id",
            "SELECT count(*) AS n, max(email) AS most FROM {o}",
            "SELECT region, sum(amount) AS total FROM {o} GROUP BY 1 ORDER BY 1",
            "SELECT o.id, a.person FROM {o} o LEFT JOIN {a} a USING (region) ORDER BY 1, 2",
            "SELECT id FROM {o} WHERE email LIKE '%hidden%' ORDER BY 1",
            "SELECT id FROM {o} WHERE region IN (SELECT region FROM {a}) ORDER BY id DESC LIMIT 2",
        ):
            answer = reference.execute(sql.format(o="orders", a="areas"))
            wanted = [tuple(map(str, row)) for row in answer.fetchall()]
            found = gateway.ask(sql.format(o="shop.orders", a="staff.people.areas"))
            assert [tuple(map(str, row.values())) for row in found] == wanted, sql


# Each fails on a row that the filter hides, and on no other.
BITING = (
    "SELECT id FROM shop.orders WHERE CAST(email AS INTEGER) = 1",
    "SELECT id FROM shop.orders ORDER BY CAST(email AS DATE) LIMIT 1",
    "SELECT sum(CAST(substr(phone, 1, 3) AS INTEGER)) AS n FROM shop.orders",
    "SELECT CAST(region || '1' AS INTEGER) AS n FROM shop.orders WHERE id < 3",
    "SELECT count(*) AS n FROM staff.people.areas GROUP BY CAST(person AS INTEGER)",
    "SELECT max(CAST(100 * size AS TINYINT)) AS n FROM staff.people.areas",
)


def test_what_fails_on_hidden_rows_alone_tells_nothing(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    # Without the filter each of them bites.
    assert [sql for sql in BITING if isinstance(_outcome(gateway, sql), list)] == []
    bundle.filters["shop.orders.orders"] = ["id = 4"]
    bundle.filters["staff.people.areas"] = ["size = 9"]
    for sql in BITING:
        gateway.ask(sql)


def test_what_changes_in_hidden_rows_changes_nothing(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    attacks = (
        "SELECT CAST(60 * size AS TINYINT) AS n FROM staff.people.areas ORDER BY 1",
        "SELECT count(*) AS n FROM staff.people.areas WHERE size > 2",
        "SELECT person FROM staff.people.areas ORDER BY CAST(60 * size AS TINYINT), 1",
        "EXPLAIN SELECT person FROM staff.people.areas WHERE size > 1",
    )
    worlds = {}
    for protected in (False, True):
        bundle.filters["staff.people.areas"] = ["size = 1"] if protected else []
        for size in (2, 3):
            with sqlite3.connect(gateway.folder / "data" / "staff.sqlite") as areas:
                areas.execute("UPDATE areas SET size = ? WHERE size <> 1", (size,))
            worlds[protected, size] = [_outcome(gateway, sql) for sql in attacks]
    assert worlds[False, 2] != worlds[False, 3]
    assert worlds[True, 2] == worlds[True, 3]


def _outcome(gateway: Running, sql: str) -> object:
    try:
        return gateway.ask(sql)
    except SqluiceError as error:
        return error.code, error.message


GROUPS: dict[str, Any] = {
    "governance": [
        {
            "id": "groups",
            "match": {"domain": "shop"},
            "effect": {
                "aggregate": {"entity": "id", "minimum": 2, "dimensions": ["region", "born"]}
            },
        }
    ]
}


def test_groups_are_held_apart_whatever_is_masked(tmp_path: Path) -> None:
    groups = "SELECT region, count(*) AS n FROM shop.orders GROUP BY region"
    with (
        serving() as bundle,
        running(tmp_path, with_staff(GROUPS, bundle.settings())) as gateway,
    ):
        assert gateway.ask(groups) == [{"region": "EU", "n": 2}]
        # Three of whom two are known: the difference is one.
        bundle.filters["shop.orders.orders"] = ["id <> 3"]
        bundle.masks["shop.orders.orders.region"] = "'X'"
        with pytest.raises(AccessDenied):
            gateway.ask(groups)
        bundle.filters["shop.orders.orders"] = ["id IN (1, 4)"]
        assert gateway.ask(groups) == [{"region": "X", "n": 2}]
        # Dimensions are masked whether they are read or not.
        bundle.asked.clear()
        gateway.ask("SELECT born, count(*) AS n FROM shop.orders GROUP BY born")
        asked = next(one for one in bundle.asked if one.operation == "GetColumnMask")
        columns = [one["column"]["columnName"] for one in asked.input["action"]["filterResources"]]
        assert columns == ["region", "born"]


def test_the_audit_names_it(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    bundle.filters["shop.orders.orders"] = ["region = 'a literal'"]
    request = gateway.request(IDS)
    for _ in gateway.opened.gateway.answer(request).batches():
        pass
    explained = str(gateway.ask(f"EXPLAIN {IDS}") + gateway.ask(f"EXPLAIN POLICY {IDS}"))
    assert "decision-point" in explained and "a literal" not in explained
    with gateway.opened.state.connect() as state:
        text = str(state.exec_driver_sql("SELECT * FROM audit_records").fetchall())
    assert "decision-point" in text and "own_decision" in text and "a literal" not in text


def test_it_is_asked_as_who_asks(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    bundle.filters["staff.people.areas"] = ["person = current_user"]
    for user in ("ada", "bob"):
        found = gateway.ask("SELECT DISTINCT person FROM staff.people.areas", user)
        assert found == [{"person": user}]
    assert {one.input["context"]["identity"]["user"] for one in bundle.asked} == {"ada", "bob"}
    purposed = gateway.request(IDS, purpose="billing", now=datetime.now(UTC))
    gateway.opened.gateway.answer(purposed).close()
    assert bundle.asked[-1].input["context"]["properties"] == {"purpose": "billing"}
