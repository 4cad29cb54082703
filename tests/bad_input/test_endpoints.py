"""Bad input over the wire: one error shape over HTTP, the same codes over Flight.

Takes: the sample mesh behind both endpoints. Gives: what clients meet. Never a traceback, a path
or an address in a message.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator

import pyarrow as pa
import pytest
from adbc_driver_flightsql import dbapi
from adbc_driver_manager import Error
from flask.testing import FlaskClient
from pyarrow import parquet
from werkzeug.test import TestResponse

from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.http.application import Handlers, make_application
from sqluice.codes import CODES
from tests.sample import SampleMesh

NORA = ("nora", "nora-demo")
KEYS = {
    "code",
    "message",
    "remedy",
    "query_id",
    "line",
    "column",
    "sqlstate",
    "class",
    "retryable",
    "policy",
    "product",
}
PRIVATE = re.compile(r"Traceback|(?<!\w)/(?!v1/)\w+/|\.py\b|localhost|127\.0\.0\.1|postgresql://")
QUERIES = (
    "select tailnum, year, seats, model from fleet.aircraft order by tailnum, model limit 500",
    "select carrier, count(*) as n, avg(distance) as mean, min(time_hour) as first "
    "from operations.departures group by carrier order by carrier",
    "select a.name, f.flight_id, f.dep_delay, cast(f.distance as decimal(12, 2)) as far "
    "from operations.departures f join network.reference.airlines a using (carrier) "
    "where f.dep_delay is null order by f.flight_id",
)
STATEMENTS = {
    "select * from nowhere.at.all": "unknown_table",
    "select wings from fleet.aircraft": "unknown_column",
    "select year from operations.departures f, fleet.aircraft p": "ambiguous_name",
    "selec 1": "parse_error",
    "drop table fleet.aircraft": "unsupported_sql",
    "select * from read_csv('a.csv')": "unsupported_sql",
    "select * from loyalty.members": "unknown_table",
    "select 'A' like 'B!' escape '!'": "type_error",
    "select cast(model as integer) from fleet.aircraft": "type_error",
}
BODIES: dict[str, object] = {
    "nothing": b"",
    "no JSON": b"{sql: 1",
    "no UTF-8": b'{"sql": "\xff"}',
    "a list": [1],
    "text": "select 1",
    "null": None,
    "no statement": {},
    "a statement that is a number": {"sql": 1},
    "a field that is not known": {"sql": "select 1", "colour": "red"},
    "a limit that is text": {"sql": "select 1", "limit": "1"},
    "a limit below zero": {"sql": "select 1", "limit": -1},
    "parameters that are an object": {"sql": "select ?", "parameters": {"a": 1}},
    "a parameter that is a list": {"sql": "select ?", "parameters": [[1]]},
    "too many parameters": {"sql": "select 1", "parameters": [1]},
    "a dialect that is not known": {"sql": "select 1", "dialect": "klingon"},
    "a zone that is not known": {"sql": "select 1", "timezone": "Mars/Olympus"},
    "a purpose that is not known": {"sql": "select * from loyalty.members", "purpose": "x"},
}


@pytest.fixture(scope="module")
def client(sample: SampleMesh) -> FlaskClient:
    """A client of HTTP, not signed in."""
    return make_application(sample.opened).test_client()


@pytest.fixture(scope="module")
def address(sample: SampleMesh) -> Iterator[str]:
    """The address of a Flight endpoint."""
    endpoint = FlightEndpoint(sample.opened, "127.0.0.1", 0)
    yield f"grpc://127.0.0.1:{endpoint.start()}"
    endpoint.stop()


def fault(response: TestResponse, status: int | None = None) -> dict[str, str]:
    """The error of a response, in the one shape; no private text."""
    assert 400 <= response.status_code < 600
    if status is not None:
        assert response.status_code == status
    body = response.get_json()
    assert set(body) == {"error"}
    assert set(body["error"]) == KEYS
    assert body["error"]["code"] in CODES
    assert body["error"]["message"]
    assert body["error"]["remedy"]
    assert not PRIVATE.search(response.text)
    error: dict[str, str] = body["error"]
    return error


def works(client: FlaskClient) -> None:
    """The next statement gives its row."""
    answer = client.post("/v1/query", json={"sql": "select 42 as x"}, auth=NORA).get_json()
    assert answer["rows"] == [[42]]


@pytest.mark.parametrize(
    "auth", [None, ("nora", "wrong"), ("nobody", "nora-demo"), ("", ""), ("nora", "")]
)
@pytest.mark.parametrize("path", ["/v1/query", "/v1/explain"])
def test_sign_in_over_http(client: FlaskClient, auth: tuple[str, str] | None, path: str) -> None:
    response = client.post(path, json={"sql": "select 1"}, auth=auth)
    assert fault(response, 401)["code"] == "unauthenticated"
    assert "Basic" in response.headers["WWW-Authenticate"]


def test_nobody_learns_which_users_there_are(client: FlaskClient) -> None:
    told = [
        fault(client.get("/v1/products", auth=(user, "wrong")), 401)["message"]
        for user in ("nora", "nobody")
    ]
    assert told[0].replace("nora", "nobody") == told[1]


@pytest.mark.parametrize("value", ["Bearer nothing", "Basic !!!", "Digest x", "Bearer", "Basic"])
def test_authorization_that_makes_no_sense(client: FlaskClient, value: str) -> None:
    response = client.get("/v1/products", headers={"Authorization": value})
    assert fault(response, 401)["code"] == "unauthenticated"


def test_acting_as_another_needs_the_right(client: FlaskClient) -> None:
    response = client.get("/v1/products", auth=NORA, headers={"X-Sqluice-As": "petra"})
    assert fault(response, 403)["code"] == "access_denied"


@pytest.mark.parametrize("path", ["/v1/query", "/v1/explain"])
@pytest.mark.parametrize("name", BODIES)
def test_bodies(client: FlaskClient, path: str, name: str) -> None:
    if path == "/v1/explain" and name == "too many parameters":
        path = "/v1/query"
    body = BODIES[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post(path, data=content, content_type="application/json", auth=NORA)
    fault(response)
    assert response.status_code < 500
    works(client)


def test_a_body_that_is_too_large(client: FlaskClient) -> None:
    response = client.post("/v1/query", json={"sql": "x" * 3_000_000}, auth=NORA)
    assert 400 <= response.status_code < 500
    fault(response)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/query", 405),
        ("DELETE", "/v1/products", 405),
        ("GET", "/v1/products/fleet/nothing", 404),
        ("GET", "/v1/products/loyalty/members", 404),
        ("GET", "/v1/queries/nothing", 404),
        ("DELETE", "/v1/queries/nothing", 404),
    ],
)
def test_paths(client: FlaskClient, method: str, path: str, status: int) -> None:
    fault(client.open(path, method=method, auth=NORA), status)


@pytest.mark.parametrize("sql", STATEMENTS)
def test_statements_over_http(client: FlaskClient, sql: str) -> None:
    error = fault(client.post("/v1/query", json={"sql": sql}, auth=NORA))
    assert error["code"] == STATEMENTS[sql]
    assert error["query_id"]
    works(client)


@pytest.mark.parametrize("password", ["wrong", ""])
def test_sign_in_over_flight(address: str, password: str) -> None:
    with pytest.raises(Error, match="unauthenticated") as caught:  # noqa: SIM117
        with (
            dbapi.connect(
                address, db_kwargs={"username": "nora", "password": password}, autocommit=True
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("select 1")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("sql", STATEMENTS)
def test_statements_over_flight(address: str, sql: str) -> None:
    signed = {"username": "nora", "password": "nora-demo"}
    with (
        dbapi.connect(address, db_kwargs=signed, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        with pytest.raises(Error) as caught:
            cursor.execute(sql)
        text = str(caught.value)
        assert STATEMENTS[sql] in text
        assert not PRIVATE.search(text)
        cursor.execute("select 42 as x")
        assert cursor.fetchall() == [(42,)]


@pytest.mark.parametrize("sql", QUERIES)
def test_forms_of_an_answer(sample: SampleMesh, client: FlaskClient, sql: str) -> None:
    """Arrow and Parquet are equal to the pipeline's; JSON and CSV in their own writing."""
    expected = sample.ask("nora", sql)
    assert expected.num_rows > 0
    bodies = {
        media: client.post(
            "/v1/query", json={"sql": sql}, auth=NORA, headers={"Accept": media}
        ).data
        for media in (
            "application/vnd.apache.arrow.stream",
            "application/vnd.apache.parquet",
            "application/json",
            "text/csv",
        )
    }
    arrow, packed, plain, lines = bodies.values()
    assert pa.ipc.open_stream(arrow).read_all().equals(expected)
    assert parquet.read_table(io.BytesIO(packed)).equals(expected)
    told = json.loads(plain)
    assert [one["name"] for one in told["columns"]] == expected.column_names
    rows = [tuple(row.values()) for row in expected.to_pylist()]
    assert [[_text(one) for one in row] for row in told["rows"]] == [
        [_text(one) for one in row] for row in rows
    ]
    read = list(csv.reader(io.StringIO(lines.decode(), newline="")))
    assert read[0] == expected.column_names
    assert read[1:] == [[_text(one) for one in row] for row in rows]


def _text(value: object) -> str:
    if value is None:
        return ""
    stamp = getattr(value, "isoformat", None)
    return str(stamp()) if stamp is not None else str(value)


def test_every_route_is_described(sample: SampleMesh, client: FlaskClient) -> None:
    described = {
        (path, method.upper())
        for path, operations in client.get("/openapi.json").get_json()["paths"].items()
        for method in operations
    }
    served = {
        (rule.replace("<", "{").replace(">", "}"), method)
        for rule, methods, _ in Handlers(sample.opened).routes()
        for method in methods
    }
    assert described == served


def _counted(client: FlaskClient, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_metrics_count(client: FlaskClient) -> None:
    names = (
        'sqluice_requests_total{endpoint="http",outcome="ok"}',
        'sqluice_requests_total{endpoint="http",outcome="parse_error"}',
        'sqluice_rows_total{endpoint="http"}',
        'sqluice_seconds_count{endpoint="http"}',
    )
    before = [_counted(client, name) for name in names]
    rows = client.post(
        "/v1/query", json={"sql": "select * from fleet.aircraft limit 7"}, auth=NORA
    ).get_json()["rows"]
    assert len(rows) == 7
    client.post("/v1/query", json={"sql": "selec 1"}, auth=NORA)
    after = [_counted(client, name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 7, 1]
