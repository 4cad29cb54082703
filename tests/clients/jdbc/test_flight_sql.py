"""Arrow's JDBC driver for Flight SQL: what a Java program sees of the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.clients.jdbc.asking import FLIGHT_SQL, ask, needs_java, rows
from tests.served import MANY, SLOW, SLOW_MERGE, Served

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
CASES = yaml.safe_load(Path(__file__).with_name("values.yaml").read_text(encoding="utf-8"))
FLIGHTS = ("operations", "departures", "flights")


@pytest.fixture(autouse=True)
def _java(gateway: Served) -> None:
    needs_java()


def told(gateway: Served, *steps: tuple[str, ...], user: str = "nora") -> list[str]:
    """What the program printed of each step; afterwards nothing runs."""
    port = gateway.flight.rsplit(":", 1)[1]
    url = f"jdbc:arrow-flight-sql://127.0.0.1:{port}?useEncryption=false"
    answers = ask(FLIGHT_SQL, url, user, steps)
    assert gateway.is_idle()
    return answers


def test_whatever_the_metadata_ask_is_answered(gateway: Served) -> None:
    (answer,) = told(gateway, ("metadata",))
    found = {row[0]: row[1] for row in rows(answer)}
    assert not {name: value for name, value in found.items() if value.startswith("!")}
    assert len(found) > 120
    assert {name: found[name] for name in CASES["metadata"]} == CASES["metadata"]


def test_tables_columns_and_keys(gateway: Served) -> None:
    everything, some, none, columns, key, imported, exported, between = told(
        gateway,
        ("call", "getTables", "null", "null", "null", "null"),
        ("call", "getTables", "operations", "dep%", "%", "[TABLE]"),
        ("call", "getTables", "operations", "dep%", "%", "[VIEW]"),
        ("call", "getColumns", *FLIGHTS, "%"),
        ("call", "getPrimaryKeys", *FLIGHTS),
        ("call", "getImportedKeys", *FLIGHTS),
        ("call", "getExportedKeys", "network", "reference", "airports"),
        ("call", "getCrossReference", "network", "reference", "airports", *FLIGHTS),
    )
    listed = gateway.query("show tables").json["rows"]
    assert sorted(row[:3] for row in rows(everything)) == sorted(tuple(row[:3]) for row in listed)
    assert [row[:4] for row in rows(some)] == [(*FLIGHTS, "TABLE")]
    assert rows(none) == []
    shown = gateway.query("describe operations.departures.flights").json["rows"]
    assert [row[3] for row in rows(columns)] == [row[0] for row in shown]
    described = {row[3]: row[11] for row in rows(columns)}
    assert described["flight_id"] == "Number of the departure, in the order of the record."
    assert [row[3] for row in rows(key)] == ["flight_id"]
    assert {row[7] for row in rows(imported)} >= {"carrier", "origin", "dest"}
    assert {row[6] for row in rows(exported)} == {"flights", "hourly"}
    assert {row[7] for row in rows(between)} == {"origin", "dest"}


def test_each_sees_his_own_rows(gateway: Served) -> None:
    sql = "select count(*) from operations.departures"
    seen = {}
    for user in ("nora", "carl"):
        tables, members, count = told(
            gateway,
            ("call", "getTables", "null", "null", "null", "null"),
            ("call", "getColumns", "loyalty", "null", "null", "null"),
            ("query", sql),
            user=user,
        )
        listed = gateway.query("show tables", user=user).json["rows"]
        assert sorted(row[:3] for row in rows(tables)) == sorted(tuple(one[:3]) for one in listed)
        known = any(one[0] == "loyalty" for one in listed)
        assert bool(rows(members)) == known == (user == "carl")
        assert count == str(gateway.query(sql, user=user).json["rows"][0][0])
        seen[user] = int(count)
    assert 0 < seen["carl"] < seen["nora"]


def test_each_type(gateway: Served) -> None:
    cases = CASES["types"]
    steps = [(what, f"select {one['sql']} as v") for one in cases for what in ("shape", "query")]
    answers = told(gateway, *steps)
    found = [
        {"sql": one["sql"], "type": rows(shape)[0][1], "value": value}
        for one, shape, value in zip(cases, answers[::2], answers[1::2], strict=True)
    ]
    assert found == cases


def test_each_kind_of_parameter(gateway: Served) -> None:
    cases = CASES["parameters"]
    answers = told(gateway, *[("prepare", one["sql"], one["value"]) for one in cases])
    found = [{**one, "answer": text} for one, text in zip(cases, answers, strict=True)]
    assert found == cases


def test_a_statement_is_prepared_once_and_asked_again(gateway: Served) -> None:
    sql = "select origin, count(*) from operations.departures where month = {} and origin = {} "
    sql += "group by 1"
    types, answer = told(
        gateway,
        ("parameters", sql.format("?", "?")),
        ("prepare", sql.format("?", "?"), "int:2", "text:JFK", "", "int:3", "text:LGA"),
    )
    assert types == "4\x1f12"
    plain = [sql.format(2, "'JFK'"), sql.format(3, "'LGA'")]
    expected = [tuple(map(str, gateway.query(one).json["rows"][0])) for one in plain]
    assert rows(answer) == expected


@pytest.mark.parametrize("sql", [SLOW, SLOW_MERGE], ids=["source", "merge"])
def test_a_statement_is_stopped(gateway: Served, sql: str) -> None:
    bounded, cancelled, left, alive = told(
        gateway,
        ("timeout", "2", sql),
        ("cancel", "1000", sql),
        ("leave", MANY),
        ("query", "select 1"),
    )
    assert bounded.startswith("!") and "timed out" in bounded
    assert cancelled.startswith("!") and "ancel" in cancelled
    assert (left, alive) == ("1000", "1")


def test_errors_say_what_is_wrong(gateway: Served) -> None:
    syntax, unknown, late, alive = told(
        gateway,
        ("query", "selec 1"),
        ("query", "select * from nope.nope"),
        ("query", "select cast(x as integer) from (values ('a')) t(x)"),
        ("query", "select 1"),
    )
    assert "parse_error: " in syntax and "line 1, column 7" in syntax
    assert "unknown_table: " in unknown and "SHOW TABLES" in unknown
    assert "type_error: " in late
    assert alive == "1"
    for text in (syntax, unknown, late):
        assert "Traceback" not in text and ".py" not in text


def test_the_gateway_only_reads(gateway: Served) -> None:
    answers = told(
        gateway,
        ("update", "delete from operations.departures"),
        ("update", "create table x (a integer)"),
        ("batch", "insert into operations.departures values (?)"),
        ("settle",),
        ("page", "10", "select * from network.reference.airports"),
    )
    assert ["unsupported_sql: " in one for one in answers[:2]] == [True, True]
    # The driver keeps the text of what fails while it prepares a statement to itself.
    assert answers[2].startswith("!SQLException")
    assert answers[3:] == ["true\x1ftrue", "10"]
