"""Requests over HTTP: fields, sign-in, other routes, and errors in one shape everywhere."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from sqluice.codes import CODES
from tests.served import MANY, SLOW, Answer, Served, basic, within

SHAPE = {
    "code", "message", "remedy", "query_id", "line", "column", "sqlstate", "class", "retryable",
    "policy", "product",
}  # fmt: skip
PRIVATE = re.compile(r"Traceback|(?<!\w)/(?!v1/)\w+/|\.py\b|localhost|127\.0\.0\.1|postgresql://")
MEMBERS = "select count(*) from loyalty.members"


def fault(answer: Answer, status: int) -> dict[str, str]:
    """The error of an answer, in the one shape."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) == {"error"}
    error: dict[str, str] = answer.json["error"]
    assert set(error) == SHAPE
    assert error["code"] in CODES and error["message"] and error["remedy"]
    assert not PRIVATE.search(answer.body.decode())
    return error


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        (1, "select ? + 1 = 2"),
        ("EWR", "select count(*) > 0 from operations.departures where origin = ?"),
        (1.5, "select ? = 1.5::decimal(2,1)"),
        (True, "select ?"),
        (None, "select ? is null"),
        ("2013-01-31", "select ?::date = date '2013-01-31'"),
        (2**63, "select ? = 9223372036854775808"),
    ],
)
def test_parameters(gateway: Served, value: object, sql: str) -> None:
    assert gateway.query(sql, parameters=[value]).json["rows"] == [[True]]


def test_a_body_has_to_call_itself_json(gateway: Served) -> None:
    for kind, told in (("text/plain", "Content-Type"), ("application/json", "SELECT 1")):
        answer = gateway.ask("/v1/query", b"sql", Content_Type=kind)
        assert told in fault(answer, 400)["remedy"]


def test_numbered_parameters(gateway: Served) -> None:
    answer = gateway.query("select $2 - $1", parameters=[1, 10])
    assert answer.json["rows"] == [[9]]


def test_purpose_domain_dialect_timezone(gateway: Served) -> None:
    assert fault(gateway.query(MEMBERS, user="petra"), 403)["code"] == "purpose_required"
    told = gateway.query(MEMBERS, user="petra", purpose="privacy-review")
    assert int(told.json["rows"][0][0]) > 0
    short = "select count(*) from departures"
    assert fault(gateway.query(short), 404)["code"] == "unknown_table"
    assert int(gateway.query(short, domain="operations").json["rows"][0][0]) > 0
    named = gateway.query("select `carrier` from `network`.`reference`.`airlines` limit 1",
                          dialect="mysql")  # fmt: skip
    assert named.status == 200, named.body
    sql = "select timestamptz '2013-07-01 00:00:00+00'::varchar"
    assert gateway.query(sql, timezone="Europe/Berlin").json["rows"] == [
        ["2013-07-01T02:00:00+02:00"]
    ]


def test_settings_do_not_outlive_a_request(gateway: Served) -> None:
    assert gateway.query(MEMBERS, user="petra", purpose="privacy-review").status == 200
    assert gateway.query(MEMBERS, user="petra").status == 403
    assert fault(gateway.query("set purpose = 'x'"), 400)["code"] == "unsupported_sql"


@pytest.mark.parametrize(
    ("limit", "rows", "truncated"),
    [(2, 2, True), (16, 16, False), (0, 0, True), (99, 16, False)],
)
def test_limit_cuts_and_says_so(gateway: Served, limit: int, rows: int, truncated: bool) -> None:
    body = gateway.query("select carrier from network.reference.airlines", limit=limit).json
    assert (len(body["rows"]), body["truncated"]) == (rows, truncated)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{sql: 1", b'{"sql": "\xff"}', [1], "select 1", {}, {"sql": 1}, {"sql": None},
        {"sql": "select 1", "colour": "red"}, {"sql": "select 1", "limit": True},
        {"sql": "select 1", "limit": "1"}, {"sql": "select 1", "limit": -1},
        {"sql": "select ?", "parameters": {"a": 1}}, {"sql": "select ?", "parameters": [[1]]},
        {"sql": "select ?"}, {"sql": "select 1", "parameters": [1]},
        {"sql": "select 1", "dialect": "klingon"}, {"sql": "select 1", "timezone": "Mars"},
    ],
)  # fmt: skip
def test_bodies_that_are_wrong(gateway: Served, body: object) -> None:
    fault(gateway.ask("/v1/query", body), 400)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "unknown_table"),
        ("GET", "/v1/query", 405, "unsupported_sql"),
        ("PUT", "/v1/query", 405, "unsupported_sql"),
        ("DELETE", "/v1/products", 405, "unsupported_sql"),
        ("GET", "/v1/products/fleet/nothing", 404, "unknown_table"),
        ("GET", "/v1/products/loyalty/members", 404, "unknown_table"),
        ("GET", "/v1/queries/nothing", 404, "unknown_table"),
        ("DELETE", "/v1/queries/nothing", 404, "unknown_table"),
        ("GET", "/../../etc/passwd", 404, "unknown_table"),
    ],
)
def test_paths(gateway: Served, method: str, path: str, status: int, code: str) -> None:
    assert fault(gateway.ask(path, method=method), status)["code"] == code


@pytest.mark.parametrize(
    "value",
    ["", basic("nora", "guessed-it"), basic("nobody"), basic("", ""), "Bearer x", "Bearer",
     "Basic !!!", "Digest x"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/query", "/v1/explain", "/v1/queries", "/v1/products"])
def test_sign_in(gateway: Served, value: str, path: str) -> None:
    body = {"sql": "select 1"} if path in ("/v1/query", "/v1/explain") else None
    answer = gateway.ask(path, body, Authorization=value)
    assert fault(answer, 401)["code"] == "unauthenticated"
    assert "Basic" in answer.headers["WWW-Authenticate"]
    assert b"guessed-it" not in answer.body


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("selec 1", 400, "parse_error"),
        ("select * from no.such.thing", 404, "unknown_table"),
        ("select * from loyalty.members", 404, "unknown_table"),
        ("select wings from fleet.aircraft", 400, "unknown_column"),
        ("delete from fleet.aircraft", 400, "unsupported_sql"),
        ("select cast(model as integer) from fleet.aircraft", 400, "type_error"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/csv",
                                    "application/vnd.apache.arrow.stream"])  # fmt: skip
def test_statements_that_fail(
    gateway: Served, sql: str, status: int, code: str, accept: str
) -> None:
    answer = gateway.query(sql, accept=accept)
    error = fault(answer, status)
    assert error["code"] == code
    assert error["query_id"] == answer.headers["X-Sqluice-Query-Id"]
    assert (error["sqlstate"], error["class"]) == (CODES[code].sqlstate, CODES[code].pep249)


def test_explain(gateway: Served) -> None:
    sql = "select count(*) from operations.departures where month = 1"
    rows = gateway.ask("/v1/explain", {"sql": sql}).json["rows"]
    assert {"step", "where", "what", "detail", "why"} <= set(rows[0])
    assert any("flights" in row["detail"] for row in rows)
    tails = "select tailnum from fleet.aircraft"
    told = gateway.ask("/v1/explain", {"sql": tails, "policy": True}).json
    assert any("pseudonym" in str(row) for row in told["rows"])
    (table,) = told["tables"]
    assert (told["verdict"], table["table"]) == ("allowed", "fleet.aircraft.planes")
    (column,) = table["columns"]
    assert (column["column"], column["outcome"]) == ("tailnum", "masked: pseudonym")
    assert column["policy"] == "governance.tail-number"
    assert column["file"] == "governance/policies/aircraft.yaml"
    names = "select name from loyalty.members"
    refused = gateway.ask("/v1/explain", {"sql": names, "policy": True})
    assert refused.json["verdict"] == "refused: unknown_table"
    assert "columns: [name]" in refused.json["requests"][0]
    assert fault(gateway.ask("/v1/explain", {"sql": "selec 1"}), 400)["code"] == "parse_error"


def test_forms_of_explain(gateway: Served) -> None:
    sql = "select count(*) from operations.departures where month = 1"

    def told(**fields: object) -> dict[str, Any]:
        answer: dict[str, Any] = gateway.ask("/v1/explain", {"sql": sql, **fields}).json
        assert answer["query_id"]
        return answer

    assert any(row["what"] == "rows" for row in told(analyze=True)["rows"])
    plan = told(format="json")["explanation"]
    assert (plan["version"], plan["analyzed"], plan["answer"]["rows"]) == (1, False, None)
    assert plan["fragments"][0]["source"] == "operations.warehouse"
    assert told(format="json", analyze=True)["explanation"]["answer"]["rows"] == 1
    assert told(format="mermaid")["mermaid"].startswith("flowchart LR\n")
    assert told(format="json", policy=True)["verdict"] == "allowed"
    for wrong in ({"format": "xml"}, {"format": 1}, {"analyze": "yes"}, {"policy": 1}):
        answer = gateway.ask("/v1/explain", {"sql": sql, **wrong})
        assert fault(answer, 400)["code"] == "type_error"
    both = gateway.ask("/v1/explain", {"sql": sql, "policy": True, "analyze": True})
    assert fault(both, 400)["code"] == "unsupported_sql"
    assert fault(gateway.query(sql, format="json"), 400)["code"] == "type_error"


def test_products(gateway: Served) -> None:
    shown = {
        user: {
            f"{one['domain']}.{one['product']}"
            for one in gateway.ask("/v1/products", Authorization=basic(user)).json["products"]
        }
        for user in ("nora", "petra")
    }
    assert shown["petra"] - shown["nora"] == {"loyalty.members", "loyalty.trips"}
    page = gateway.ask("/v1/products/fleet/aircraft").json
    (table,) = page["tables"]
    masks = {one["name"]: one["masked"] for one in table["columns"]}
    assert masks["tailnum"] == "pseudonym" and masks["seats"] == ""
    assert table["address"] == "fleet.aircraft.planes" and page["owners"]


def test_queries_are_listed_for_their_owner_and_for_operators(gateway: Served) -> None:
    with gateway.asking("/v1/query", {"sql": MANY}) as response:
        query_id = response.headers["X-Sqluice-Query-Id"]
        listed = {
            user: [
                one
                for one in gateway.ask("/v1/queries", Authorization=basic(user)).json["queries"]
                if one["query_id"] == query_id
            ]
            for user in ("nora", "ola", "carl")
        }
        assert listed["nora"][0]["statement"] == MANY
        assert listed["nora"][0]["endpoint"] == "http"
        assert listed["ola"] and not listed["carl"]
        path = f"/v1/queries/{query_id}"
        fault(gateway.ask(path, Authorization=basic("carl")), 404)
        fault(gateway.ask(path, method="DELETE", Authorization=basic("carl")), 404)
        assert gateway.ask(path).json["state"] == "running"
        assert gateway.ask(path, method="DELETE", Authorization=basic("ola")).status == 200
        assert gateway.is_idle()
    ended = gateway.ask("/v1/queries?all=true").json["queries"]
    assert [one["state"] for one in ended if one["query_id"] == query_id] == ["cancelled"]
    fault(gateway.ask(path, method="DELETE"), 404)


def test_cancel_before_the_first_batch(gateway: Served) -> None:
    answers: list[Answer] = []
    asking = threading.Thread(target=lambda: answers.append(gateway.query(SLOW)))
    asking.start()
    assert within(60, lambda: gateway.running() == 1)
    (running,) = gateway.ask("/v1/queries").json["queries"]
    assert gateway.ask(f"/v1/queries/{running['query_id']}", method="DELETE").status == 200
    asking.join(timeout=60)
    assert fault(answers[0], 499)["code"] == "cancelled"
    assert gateway.is_idle()


def test_health_readiness_metrics(gateway: Served) -> None:
    health = gateway.ask("/healthz", Authorization="").json
    assert (health["status"], health["pid"]) == ("ok", gateway.pid)
    ready = gateway.ask("/readyz", Authorization="").json
    assert ready["status"] == "ok" and ready["reload_failed"] is False
    names = ('sqluice_requests_total{endpoint="http",outcome="ok"}',
             'sqluice_requests_total{endpoint="flight",outcome="ok"}',
             'sqluice_requests_total{endpoint="http",outcome="parse_error"}',
             'sqluice_rows_total{endpoint="flight"}')  # fmt: skip

    def counted() -> list[float]:
        text = gateway.ask("/metrics", Authorization="").body.decode()
        found = [re.search(rf"^{re.escape(one)} (\S+)$", text, re.MULTILINE) for one in names]
        return [float(one[1]) if one else 0.0 for one in found]

    before = counted()
    gateway.query("select 1")
    gateway.query("selec 1")
    with gateway.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select * from range(0, 7)")
        assert len(cursor.fetchall()) == 7
    assert [after - one for after, one in zip(counted(), before, strict=True)] == [1, 1, 1, 7]


def test_acting_for_another_needs_the_right(gateway: Served) -> None:
    as_carl = {"X_Sqluice_As": "carl"}
    body = {"sql": "select distinct carrier from operations.departures"}
    assert fault(gateway.ask("/v1/query", body, **as_carl), 403)["code"] == "access_denied"
    rows = gateway.ask("/v1/query", body, Authorization=basic("ola"), **as_carl).json["rows"]
    assert rows == [["UA"]]
