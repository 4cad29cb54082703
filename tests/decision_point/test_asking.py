"""How a decision point is asked, and what happens when it does not answer."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.config import DecisionPointSettings, load_config
from gateway.decision_point.client import Client, Unanswered
from gateway.decision_point.wire import Question
from gateway.errors import InvalidConfig, SourceUnavailable
from gateway.opening import open_gateway
from gateway.serve.http.application import make_application
from tests.decision_point.bundle import PATHS, Bundle, serving
from tests.decision_point.test_cases import UNBATCHED, with_staff
from tests.policies.running import Running, running

IDS = "SELECT id FROM shop.orders ORDER BY id"
BOTH = "SELECT o.id FROM shop.orders o JOIN staff.people.areas a ON o.region = a.region"
# What stands at an address instead of an answer. None of it may be taken for a yes.
WRONG: dict[str, Any] = {
    "refused": {"status": 403, "body": "{}"},
    "not found": {"status": 404, "body": '{"code": "undefined_document"}'},
    "failed": {"status": 500, "body": '{"result": true}'},
    "accepted": {"status": 202, "body": '{"result": true}'},
    "undefined": {"body": "{}"},
    "null": {"body": '{"result": null}'},
    "a number": {"body": '{"result": 1}'},
    "text": {"body": '{"result": "true"}'},
    "an object": {"body": '{"result": {"allow": true}}'},
    "bare": {"body": "true"},
    "a list around it": {"body": '[{"result": true}]'},
    "no JSON": {"body": "yes"},
    "nothing": {"body": ""},
    "cut": {"body": '{"result": true'},
    "said twice": {"body": '{"result": false, "result": true}'},
    "reset": {"reset": True},
    "redirected": {"redirect": "/v1/data/trino/allow"},
}
WRONG_POSITIONS = {
    "unknown": "[0, 7]", "negative": "[-1]", "twice": "[0, 0]", "true": "[true]",
    "a fraction": "[0.0]", "text": '["0"]', "yes": "true",
}  # fmt: skip
VIEW = '{"expression": "NULL"}'
WRONG_MASKS = {
    "unknown": f'[{{"index": 9, "viewExpression": {VIEW}}}]',
    "negative": f'[{{"index": -1, "viewExpression": {VIEW}}}]',
    "twice": f'[{", ".join([f"""{{"index": 0, "viewExpression": {VIEW}}}"""] * 2)}]',
    "no index": f'[{{"viewExpression": {VIEW}}}]',
    "no expression": '[{"index": 0}]',
    "misspelt": f'[{{"index": 0, "viewExpresion": {VIEW}}}]',
    "empty": '[{"index": 0, "viewExpression": {}}]',
    "a number": '[{"index": 0, "viewExpression": {"expression": 1}}]',
    "bare": '[{"index": 0, "viewExpression": "NULL"}]',
    "more said": '[{"index": 0, "viewExpression": {"expression": "NULL", "for": "bob"}}]',
    "somebody else": '[{"index": 0, "viewExpression": {"expression": "NULL", "identity": "bob"}}]',
    "an object": '{"0": "NULL"}',
}
WRONG_FILTERS = {
    "text": '["true"]', "no expression": "[{}]", "null": '[{"expression": null}]',
    "somebody else": '[{"expression": "true", "identity": "admin"}]', "an object": "{}",
    "bare": '{"expression": "true"}',
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bundle, Running]]:
    """One gateway for what only the answers change; patient, for a busy machine is no answer."""
    with with_patience(tmp_path_factory.mktemp("shop"), 20) as shop:
        yield shop


@contextmanager
def with_patience(folder: Path, seconds: float) -> Iterator[tuple[Bundle, Running]]:
    with serving() as bundle:
        settings = bundle.settings(tuple(PATHS), f"timeout_seconds = {seconds}")
        with running(folder, with_staff({}, settings)) as gateway:
            yield bundle, gateway


@pytest.fixture
def asked(shop: tuple[Bundle, Running]) -> Iterator[tuple[Bundle, Running]]:
    bundle, _ = shop
    yield shop
    bundle.broken.clear()
    bundle.denies.clear()
    bundle.filters.clear()
    bundle.masks.clear()
    bundle.operations()


def closed(gateway: Running, sql: str = IDS) -> SourceUnavailable:
    """The refusal, which tells nothing of why."""
    with pytest.raises(SourceUnavailable) as caught:
        gateway.ask(sql)
    error = caught.value
    assert error.message == "What you may see could not be decided, so nothing is served now."
    assert error.remedy == "Try again later; the operators of the gateway have been told."
    return error


@pytest.mark.parametrize("path", ["allow", "batch", "rowFilters", "batchColumnMasks"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_answer_is_a_refusal(
    asked: tuple[Bundle, Running], wrong: str, path: str
) -> None:
    bundle, gateway = asked
    bundle.broken[path] = WRONG[wrong]
    closed(gateway)
    del bundle.broken[path]
    assert len(gateway.ask(IDS)) == 4


@pytest.mark.parametrize(
    ("path", "result"),
    [("batch", one) for one in WRONG_POSITIONS.values()]
    + [("batchColumnMasks", one) for one in WRONG_MASKS.values()]
    + [("rowFilters", one) for one in WRONG_FILTERS.values()],
)
def test_results_of_another_shape_are_a_refusal(
    asked: tuple[Bundle, Running], path: str, result: str
) -> None:
    bundle, gateway = asked
    bundle.broken[path] = {"body": f'{{"result": {result}}}'}
    closed(gateway)


@pytest.mark.parametrize("broken", [{"wait": 60}, {"drip": 60}])
def test_there_is_one_deadline_for_all_calls(broken: dict[str, Any], tmp_path: Path) -> None:
    with with_patience(tmp_path, 4) as (bundle, gateway):
        bundle.broken["rowFilters"] = broken
        error = closed(gateway, BOTH)
        assert "no answer in time" in (error.private or "")
        # Whoever waited has been woken: no thread waits for the slow one any longer.
        bundle.broken.clear()
        assert len(gateway.ask(IDS)) == 4


def test_nothing_else_stops_and_health_tells(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    client = make_application(gateway.opened).test_client()
    assert gateway.ask(IDS)
    assert client.get("/readyz").get_json()["decision_point"] == "ok"
    bundle.broken["allow"] = {"status": 500}
    closed(gateway)
    told = client.get("/readyz")
    content = told.get_json()
    assert (told.status_code, content["status"]) == (200, "degraded")
    assert content["decision_point"] == "failing"
    assert client.get("/healthz").status_code == 200
    assert gateway.ask("SELECT 1 AS n") == [{"n": 1}]
    assert gateway.ask("SHOW purpose")
    bundle.broken.clear()
    assert gateway.ask(IDS)
    assert client.get("/readyz").get_json() == {**content, "status": "ok", "decision_point": "ok"}


def test_operators_are_told_why(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    bundle.filters["shop.orders.orders"] = ["id = 1", "length(email) > 1 AND random() > 0.5"]
    closed(gateway)
    with pytest.raises(SourceUnavailable):
        bundle.broken["batch"] = {"status": 500}
        gateway.ask("SHOW TABLES")
    log = (gateway.folder / "data" / "logs" / "gateway.jsonl").read_text().splitlines()
    private = [json.loads(line)["private"] for line in log[-2:]]
    assert private[0].startswith("decision point: row filter 2 of shop.orders.orders: character")
    assert private[1] == "decision point: status 500 at batched_url"


def test_a_query_asks_in_one_go(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    bundle.operations()
    gateway.ask(BOTH)
    assert bundle.operations() == [
        "allow ExecuteQuery",
        "batch AccessCatalog",
        "batch SelectFromColumns",
        "batchColumnMasks GetColumnMask",
        "rowFilters GetRowFilters",
        "rowFilters GetRowFilters",
    ]
    gateway.ask("SELECT 1 AS n")
    assert bundle.operations() == []


def test_the_words_are_those_of_trino(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    bundle.operations()
    gateway.ask("SELECT placed FROM shop.orders WHERE amount > 1")
    by_operation = {one.operation: one for one in bundle.asked}
    table = {"catalogName": "shop", "schemaName": "orders", "tableName": "orders"}
    identity = {"user": "ada", "principal": "ada", "groups": []}
    for one in bundle.asked:
        assert one.input["context"]["identity"] == identity
        assert set(one.input["context"]["softwareStack"]) == {"trinoVersion"}
        assert one.headers["Content-Type"] == "application/json"
    assert by_operation["ExecuteQuery"].input["action"] == {"operation": "ExecuteQuery"}
    assert by_operation["AccessCatalog"].input["action"]["filterResources"] == [
        {"catalog": {"name": "shop"}}
    ]
    assert by_operation["SelectFromColumns"].input["action"]["filterResources"] == [
        {"table": {**table, "columns": ["amount", "placed"]}}
    ]
    assert by_operation["GetRowFilters"].input["action"]["resource"] == {"table": table}
    assert by_operation["GetColumnMask"].input["action"]["filterResources"] == [
        {"column": {**table, "columnName": "placed", "columnType": "timestamp(6) with time zone"}},
        {"column": {**table, "columnName": "amount", "columnType": "decimal(12,2)"}},
    ]


def test_one_by_one_where_there_is_no_batch(tmp_path: Path) -> None:
    with (
        serving() as bundle,
        running(tmp_path, with_staff({}, bundle.settings(UNBATCHED))) as gateway,
    ):
        gateway.ask(BOTH)
        assert bundle.operations() == [
            "allow AccessCatalog", "allow AccessCatalog", "allow ExecuteQuery",
            "allow SelectFromColumns", "allow SelectFromColumns", "columnMask GetColumnMask",
            "columnMask GetColumnMask", "columnMask GetColumnMask", "rowFilters GetRowFilters",
            "rowFilters GetRowFilters",
        ]  # fmt: skip
        # OPA cannot tell an undefined mask from a misspelt rule.
        bundle.broken["columnMask"] = {"body": "{}"}
        closed(gateway)


def test_connections_are_kept(asked: tuple[Bundle, Running]) -> None:
    bundle, gateway = asked
    gateway.ask(IDS)
    bundle.operations()
    for _ in range(5):
        gateway.ask(IDS)
    assert len(bundle.asked) == 25
    assert len({one.connection for one in bundle.asked}) <= 8


def test_a_kept_connection_that_was_closed_is_replaced(tmp_path: Path) -> None:
    with serving() as bundle:
        settings = DecisionPointSettings(url=f"http://127.0.0.1:{bundle.port}/v1/data/trino/allow")
        client = Client(settings, lambda: "")
        question = Question("url", json.dumps({"input": {
            "context": {"identity": {"user": "ada"}}, "action": {"operation": "ExecuteQuery"},
        }}).encode())  # fmt: skip
        assert client.ask([question]) == [{"result": True}]
        for _, kept in client._idle:
            kept.sock.shutdown(socket.SHUT_RDWR)
        assert client.ask([question]) == [{"result": True}]
        client.close()


def test_answers_are_asked_for_each_statement_unless_told_to_keep_them(tmp_path: Path) -> None:
    with serving() as bundle:
        for seconds, calls in ((0, 2), (60, 1)):
            more = f"cache_seconds = {seconds}"
            folder = tmp_path / str(seconds)
            with running(folder, with_staff({}, bundle.settings(more=more))) as gateway:
                gateway.ask(IDS)
                gateway.ask(IDS)
                assert bundle.operations().count("allow ExecuteQuery") == calls
                bundle.denies.append({"operation": "ExecuteQuery", "user": "bob"})
                with pytest.raises(Exception, match="may not run"):
                    gateway.ask(IDS, "bob")
                bundle.denies.clear()
                bundle.operations()


def test_a_token_goes_along_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLUICE_SECRET_GOVERNANCE_OPA", "very secret")
    with serving() as bundle:
        settings = bundle.settings(more='token = "OPA"')
        with running(tmp_path, with_staff({}, settings)) as gateway:
            gateway.ask(IDS)
            assert {one.headers["Authorization"] for one in bundle.asked} == {"Bearer very secret"}
            bundle.broken["allow"] = {"status": 401}
            closed(gateway)
            assert "very secret" not in (gateway.folder / "data/logs/gateway.jsonl").read_text()


def test_a_token_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    with serving() as bundle:
        case = with_staff({}, bundle.settings(more='token = "OPA"'))
        with pytest.raises(InvalidConfig, match="OPA"), running(tmp_path, case):
            raise AssertionError("it has started")


@contextmanager
def encrypted(folder: Path) -> Iterator[tuple[int, Path]]:
    """A port on which every question is answered by yes, and the certificate of who answers."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "decision point")])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(alternative, critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file, secret = folder / "authority.pem", folder / "key.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ))  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, secret)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                with context.wrap_socket(listening.accept()[0], server_side=True) as one:
                    while not one.recv(65536).endswith(b"{}"):
                        continue
                    one.sendall(b'HTTP/1.0 200 OK\r\n\r\n{"result": true}')
            except ssl.SSLError:
                continue
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1], file
    finally:
        listening.close()


def test_only_a_known_authority_is_believed(tmp_path: Path) -> None:
    question = Question("url", b"{}")
    with encrypted(tmp_path) as (port, file):
        settings = DecisionPointSettings(url=f"https://127.0.0.1:{port}/v1/data/trino/allow")
        stranger = Client(settings, lambda: "")
        with pytest.raises(Unanswered, match="TLS"):
            stranger.ask([question])
        known = Client(settings, lambda: "", ssl.create_default_context(cafile=str(file)))
        assert known.ask([question]) == [{"result": True}]
        stranger.close()
        known.close()


def test_authorities_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    with serving() as bundle:
        case = with_staff({}, bundle.settings(more='authorities = "nowhere.pem"'))
        with pytest.raises(InvalidConfig, match="authorities"), running(tmp_path, case):
            raise AssertionError("it has started")


def test_nobody_is_asked_where_nobody_is_named(tmp_path: Path) -> None:
    with running(tmp_path, {}) as gateway:
        assert gateway.opened.decision_point is None
        assert "decision_point" not in (
            make_application(gateway.opened).test_client().get("/readyz").get_json()
        )
        again = open_gateway(load_config(gateway.folder, {"SQLUICE_DATA": str(tmp_path / "x")}))
        again.close()
