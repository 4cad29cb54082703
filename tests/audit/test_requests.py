"""What a request over the sample mesh leaves in the audit, and who may see it there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import pytest
from adbc_driver_flightsql import dbapi
from sqlalchemy import text

from gateway.audit import AuditedQuery, Redaction, history, redact, verify
from gateway.errors import SqluiceError, Unauthenticated
from gateway.request import Principal
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.http.application import make_application
from gateway.state.engine import reading
from tests.sample import SampleMesh

MEMBERS = (
    "SELECT upper(m.email) AS e, count(*) AS n FROM loyalty.members m "
    "JOIN loyalty.trips t ON t.member_id = m.member_id WHERE m.region = 'south' "
    "GROUP BY m.email LIMIT ?"
)
ALL = "SELECT * FROM mesh.audit.queries"


def _asked(sample: SampleMesh, user: str, sql: str, **fields: object) -> AuditedQuery:
    """The audit of a statement that was answered, or refused."""
    request = sample.request(user, sql, **fields)
    try:
        list(sample.opened.gateway.answer(request).batches())
    except SqluiceError as error:
        assert error.query_id == request.query_id
    found = history(sample.opened.state, 20)
    return next(one for one in found if one.query_id == request.query_id)


def _seen(sample: SampleMesh, user: str, sql: str = ALL) -> list[dict[str, object]]:
    return sample.ask(user, sql).to_pylist()  # type: ignore[no-any-return]  # rows


def test_a_record_tells_the_whole_request(sample: SampleMesh) -> None:
    one = _asked(
        sample, "mara", MEMBERS, purpose="loyalty-marketing", parameters=(3,), client="notebook"
    )
    assert (one.user, one.purpose, one.client) == ("mara", "loyalty-marketing", "notebook")
    assert one.statement == MEMBERS and one.parameters == ("3",)
    assert one.products == ("loyalty.members@1.0.0", "loyalty.trips@1.0.0")
    assert one.columns == (
        "loyalty.members.members.email", "loyalty.members.members.member_id",
        "loyalty.members.members.region", "loyalty.trips.trips.member_id",
    )
    assert "governance.pii-email" in one.policies and "loyalty.own-regions" in one.policies
    assert (one.verdict, one.outcome, one.code) == ("allowed", "ok", "")
    assert any(outcome.startswith("masked") for _, outcome, _ in one.reasons)
    assert len(one.decision) == 64 and one.revision and one.statement_hash
    assert "<loyalty.own-regions>" in one.plan and "northeast" not in one.plan
    assert ("e", "loyalty.members.members.email", "transformation", True) in one.lineage
    assert (None, "loyalty.trips.trips.member_id", "join", False) in one.lineage
    assert one.principal is not None and one.principal["groups"] == ["marketing", "staff"]
    assert one.principal["attributes"] == {"region": ["northeast", "south"]}
    assert one.rows is not None and one.bytes and one.seconds


def test_a_column_named_in_the_text_but_not_read_is_not_recorded(sample: SampleMesh) -> None:
    """The columns come from the bound tree: here `email` is the name of something else."""
    sql = "SELECT region AS email FROM loyalty.members WHERE 'birth_date' <> region"
    one = _asked(sample, "mara", sql, purpose="loyalty-marketing")
    assert one.columns == ("loyalty.members.members.region",)


def test_a_star_records_what_it_became(sample: SampleMesh) -> None:
    one = _asked(sample, "nora", "SELECT * FROM network.reference.airlines")
    assert one.columns == (
        "network.reference.airlines.carrier", "network.reference.airlines.name"
    )


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", "parse_error"), ("DROP TABLE x", "unsupported_sql"),
        ("SELECT * FROM loyalty.members", "unknown_table"),
        ("SELECT wings FROM fleet.aircraft", "unknown_column"),
    ],
)
def test_refused_requests_are_recorded(sql: str, code: str, sample: SampleMesh) -> None:
    one = _asked(sample, "nora", sql)
    assert (one.outcome, one.code, one.verdict) == ("refused", code, "")


def test_failed_sign_ins_are_recorded(sample: SampleMesh) -> None:
    identity = sample.opened.identity
    for name, endpoint in (("otto", "http"), ("swordfish", "flight")):
        with pytest.raises(Unauthenticated):
            identity.authenticate_basic(name, "wrong", endpoint)
    with pytest.raises(Unauthenticated):
        identity.authenticate_bearer("sqs_none", "http")
    with reading(sample.opened.state) as connection:
        found = connection.execute(
            text("SELECT user_name, endpoint, code FROM audit_records WHERE kind = 'sign_in'")
        ).all()
    assert ("otto", "http", "unauthenticated") in [tuple(one) for one in found]
    assert not any(one[0] == "swordfish" for one in found)
    mine = _seen(sample, "otto", f"{ALL} WHERE kind = 'sign_in'")
    assert [(one["user_name"], one["endpoint"]) for one in mine] == [("otto", "http")]


def _touches(sample: SampleMesh) -> Mapping[str, str]:
    """A request that touches operations and network, and one that touches loyalty."""
    join = (
        "SELECT a.name FROM operations.departures f JOIN network.reference.airlines a "
        "USING (carrier) WHERE f.distance > 4000 LIMIT 1"
    )
    carl = _asked(sample, "carl", join)
    mara = _asked(sample, "mara", "SELECT region FROM loyalty.members",
                  purpose="loyalty-marketing")
    return {"carl": carl.query_id, "mara": mara.query_id}


def test_everybody_sees_his_own_requests_only(sample: SampleMesh) -> None:
    made = _touches(sample)
    seen = _seen(sample, "carl")
    assert {one["user_name"] for one in seen} == {"carl"}
    products = {one["product"] for one in seen if one["query_id"] == made["carl"]}
    assert products == {"operations.departures", "network.reference"}
    assert all(one["statement"] for one in seen if one["kind"] == "query")
    (own, *_) = _seen(sample, "ola")
    assert own["user_name"] == "ola"


def test_an_owner_sees_what_touched_his_products_without_the_statement(
    sample: SampleMesh,
) -> None:
    made = _touches(sample)
    others = [one for one in _seen(sample, "otto") if one["user_name"] != "otto"]
    assert {one["domain"] for one in others} == {"operations"}
    (touch,) = [one for one in others if one["query_id"] == made["carl"]]
    assert touch["columns_read"] == "flights.carrier, flights.distance"
    assert (touch["product"], touch["version"]) == ("operations.departures", "1.0.0")
    assert touch["statement"] is None and touch["row_count"] is None
    assert "network" not in json.dumps(touch, default=str)


def test_an_auditor_sees_all(sample: SampleMesh) -> None:
    made = _touches(sample)
    auditor = Principal("inspector", roles=frozenset({"auditor"}))
    seen = sample.ask("petra", ALL, principal=auditor).to_pylist()
    assert set(made.values()) <= {one["query_id"] for one in seen}
    assert {"carl", "mara"} <= {one["user_name"] for one in seen}
    counted = "SELECT count(DISTINCT query_id) AS n FROM mesh.audit.queries"
    count = sample.ask("petra", counted, principal=auditor)
    with reading(sample.opened.state) as connection:
        known = connection.scalar(
            text("SELECT count(*) FROM audit_records WHERE kind = 'started'")
        )
    assert count["n"][0].as_py() == known


def test_hidden_requests_have_no_influence(sample: SampleMesh) -> None:
    """What others do changes no count, no error and no order of what one sees."""
    sql = "SELECT count(*) AS n FROM mesh.audit.queries WHERE user_name <> 'ola' OR statement = '1'"
    assert _seen(sample, "ola", sql) == [{"n": 0}]
    _touches(sample)
    assert _seen(sample, "ola", sql) == [{"n": 0}]
    probe = "SELECT CAST(user_name AS INTEGER) FROM mesh.audit.queries WHERE user_name <> 'ola'"
    assert _seen(sample, "ola", probe) == []


def test_the_audit_is_asked_through_every_endpoint(sample: SampleMesh) -> None:
    made = _touches(sample)
    sql = f"SELECT user_name, product FROM mesh.audit.queries WHERE query_id = '{made['mara']}'"
    client = make_application(sample.opened).test_client()
    answer = client.post("/v1/query", json={"sql": sql}, auth=("mara", "mara-demo"))
    assert answer.get_json()["rows"] == [["mara", "loyalty.members"]]
    endpoint = FlightEndpoint(sample.opened, "127.0.0.1", 0)
    port = endpoint.start()
    options = {"username": "mara", "password": "mara-demo"}
    try:
        with (
            dbapi.connect(f"grpc://127.0.0.1:{port}", db_kwargs=options) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
            found: pa.Table = cursor.fetch_arrow_table()
    finally:
        endpoint.stop()
    assert found.to_pylist() == [{"user_name": "mara", "product": "loyalty.members"}]


def test_redacted_literals_stay_hidden_in_the_product(sample: SampleMesh) -> None:
    one = _asked(sample, "nora", "SELECT 'secret-of-nora' AS x")
    redact(sample.opened.audit, sample.opened.state, Redaction(one.query_id), by="petra")
    seen = _seen(sample, "nora", f"{ALL} WHERE query_id = '{one.query_id}'")
    assert [row["statement"] for row in seen] == ["SELECT ? AS x"]


def test_the_chain_of_all_this_holds(sample: SampleMesh) -> None:
    head = sample.opened.audit.head
    assert head is not None and verify(sample.opened.state, (head,)).flaws == ()
    assert not verify(sample.opened.state, (replace(head, hash="0" * 64),)).holds
