"""Acting for somebody: who may for whom, with whose grants, and what the audit says of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from click.testing import CliRunner
from sqlalchemy import text

from catalog.policy import _impersonation
from gateway.api_tokens import Wish
from gateway.cli.audit import tail
from gateway.request import TokenScope
from gateway.serve.flight.server import FlightEndpoint
from gateway.state.engine import reading
from sqluice import connect
from sqluice.command import main
from tests.flight.raw import RawClient
from tests.identity.mesh import Shop, basic, bearer, open_shop
from tests.small_mesh import request

CASES = yaml.safe_load((Path(__file__).parent / "acting.yaml").read_text())
# Takes a right as its file says it.
Give = Callable[[object], None]
COUNT = "select count(*) from sales.orders"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("acting")) as made:
        users = made.folder / "identities.yaml"
        held = yaml.safe_load(users.read_text())
        verifier = held["users"]["amy"]["verifier"]
        held["users"]["bi"] = {"verifier": verifier, "groups": ["board"]}
        held["users"]["ola"]["groups"] = ["staff", "board"]
        held["users"]["cleo"] = {"groups": ["guests"]}
        users.write_text(yaml.safe_dump(held))
        assert made.opened.publisher.reload()
        yield made


@pytest.fixture
def with_right(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Give:
    """Gives the BI server another right."""

    def give(right: object) -> None:
        mesh = shop.opened.publisher.current().mesh
        users = tuple(
            replace(one, impersonates=_impersonation(cast("Mapping[str, Any]", right)))
            if one.name == "bi"
            else one
            for one in mesh.users
        )
        changed = replace(mesh, users=users)
        monkeypatch.setattr(shop.opened.identity, "_mesh", lambda: changed)

    return give


SIGNED = basic("bi", "amy-demo")


@pytest.mark.parametrize("header", ["X-Sqluice-User", "x-sqluice-as"])
@pytest.mark.parametrize("case", CASES, ids=lambda one: str(one["name"]))
def test_who_may_act_for_whom(
    case: dict[str, Any],
    header: str,
    shop: Shop,
    with_right: Give,
) -> None:
    with_right(case["right"])
    found = shop.ask(SIGNED, COUNT, {header: case["as"]})
    assert found == ([[case["gives"]]] if case["gives"].isdigit() else case["gives"])
    # Without a name it is itself again, with its own grants.
    assert shop.ask(SIGNED, COUNT) == [["6"]]


def test_two_names_are_none(shop: Shop, with_right: Give) -> None:
    with_right(True)
    headers = {"X-Sqluice-User": "amy", "X-Sqluice-As": "ben"}
    assert shop.ask(SIGNED, COUNT, headers) == "type_error"
    assert shop.ask(SIGNED, COUNT, {**headers, "X-Sqluice-As": "amy"}) == [["3"]]


def test_both_are_audited_and_a_refusal_too(shop: Shop, with_right: Give) -> None:
    with_right({"groups": ["staff"]})
    shop.ask(SIGNED, COUNT, {"X-Sqluice-User": "amy"})
    shop.ask(SIGNED, COUNT)
    shop.ask(SIGNED, COUNT, {"X-Sqluice-User": "cleo"})
    with reading(shop.opened.state) as connection:
        rows = connection.execute(text(
            "SELECT kind, user_name, actor, principal, code FROM audit_records "
            "WHERE kind IN ('started', 'sign_in') ORDER BY sequence DESC LIMIT 3"
        )).all()  # fmt: skip
    refused, own, acting = rows
    assert tuple(refused)[:3] == ("sign_in", "bi", None) and refused.code == "access_denied"
    assert tuple(own)[:3] == ("started", "bi", None)
    assert tuple(acting)[:3] == ("started", "amy", "bi")
    told = CliRunner().invoke(tail, ["--conf", str(shop.folder), "-n", "2"]).output
    assert "amy (by bi)" in told and "bi (by" not in told
    # What was decided by is what she is, and nothing of who asked.
    assert json.loads(acting.principal)["groups"] == ["staff"]
    assert json.loads(acting.principal)["credential"] == "password"


def test_nobody_acts_on_from_there(shop: Shop, with_right: Give) -> None:
    """Neither another right, nor a session, nor the tokens of the other come with it."""
    with_right(True)
    headers = {"X-Sqluice-User": "amy"}
    for method, body in (("GET", None), ("POST", {"label": "x"})):
        response = shop.client.open(
            "/v1/tokens", method=method, json=body, headers={"Authorization": SIGNED, **headers}
        )
        assert response.status_code == 403
    identity = shop.opened.identity
    acting = identity.sign_in("bi", "amy-demo", "pgwire", acting_as="amy").principal
    assert (acting.user, acting.actor, acting.may_impersonate) == ("amy", "bi", False)
    with pytest.raises(Exception, match="may not act"):
        identity.act_as(acting, "ben")
    with pytest.raises(Exception, match="own sign-in"):
        identity.issue(acting)
    # Not even where the other has a right of his own, as ola has.
    with_right({"users": ["ola"], "roles": ["operator"]})
    acting = identity.sign_in("bi", "amy-demo", "pgwire", acting_as="ola").principal
    with pytest.raises(Exception, match="may not act"):
        identity.act_as(acting, "amy")
    assert identity.act_as(identity.trusted("ola"), "amy").actor == "ola"


def test_a_tokens_scope_stays_with_whom_it_acts_for(shop: Shop, with_right: Give) -> None:
    with_right(True)
    book = shop.opened.own_tokens._book
    owner = shop.opened.identity.local_user("bi")
    scope = TokenScope(products=frozenset({"sales.orders"}))
    token = bearer(book.create(owner, Wish("bi", scope), "test").value)
    headers = {"X-Sqluice-User": "amy"}
    assert shop.ask(token, COUNT, headers) == [["3"]]
    assert shop.ask(token, "select count(*) from sales.people", headers) == "unknown_table"
    # The control: without the scope she has it.
    assert shop.ask(SIGNED, "select count(*) from sales.people", headers) == [["3"]]


def test_a_lasting_connection_loses_the_right_at_its_next_statement(
    shop: Shop,
    with_right: Give,
) -> None:
    with_right(True)
    signed = shop.opened.identity.sign_in("bi", "amy-demo", "pgwire", acting_as="amy")
    assert signed.again().user == "amy"
    with_right(False)
    with pytest.raises(Exception, match="may not act"):
        signed.again()


def test_over_flight_by_either_header(shop: Shop, with_right: Give) -> None:
    with_right({"groups": ["staff"]})
    endpoint = FlightEndpoint(shop.opened, "127.0.0.1", 0)
    address = f"grpc://127.0.0.1:{endpoint.start()}"
    try:
        with RawClient(address, "bi", "amy-demo") as client:
            for header in (b"x-sqluice-user", b"x-sqluice-as"):
                client.options = client.with_headers((header, b"amy"))
                found = client.reader(client.start(COUNT)).read_all().to_pylist()
                assert found == [{"count_star()": 3}]
                client.options = client.with_headers((header, b"ola"))
                with pytest.raises(Exception, match="may not act"):
                    client.start(COUNT)
    finally:
        endpoint.stop()


def test_the_client_and_its_command_say_for_whom(
    shop: Shop,
    with_right: Give,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_right({"groups": ["staff"]})
    monkeypatch.setenv("SQLUICE_PASSWORD", "amy-demo")
    endpoint = FlightEndpoint(shop.opened, "127.0.0.1", 0)
    address = f"grpc://127.0.0.1:{endpoint.start()}"
    try:
        with connect(address, user="bi", password="amy-demo", acting_as="amy") as connection:
            assert connection.execute(COUNT).fetchall() == [(3,)]
        words = ["query", COUNT, "--url", address, "--user", "bi", "--csv"]
        for name, told in (("amy", "3"), ("bi", "6")):
            found = CliRunner().invoke(main, [*words, "--as", name])
            assert found.exit_code == 0 and found.stdout.split() == ["count_star()", told]
        assert CliRunner().invoke(main, [*words, "--as", "ola"]).exit_code == 4
    finally:
        endpoint.stop()


def test_what_the_other_asks_himself_is_not_his_to_see(shop: Shop, with_right: Give) -> None:
    with_right({"groups": ["staff"]})
    own = "select count(*) from sales.people where name = 'a wish of her own'"
    theirs = "select count(*) from sales.people where name = 'asked for her'"
    assert shop.ask(basic("amy"), own) == [["0"]]
    assert shop.ask(SIGNED, theirs, {"X-Sqluice-User": "amy"}) == [["0"]]

    def listed(authorization: str, **headers: str) -> str:
        answer = shop.client.get(
            "/v1/queries?all=true", headers={"Authorization": authorization, **headers}
        )
        return answer.get_data(as_text=True)

    acting = listed(SIGNED, **{"X-Sqluice-User": "amy"})
    assert "asked for her" in acting and "a wish of her own" not in acting
    # Nor is it his to stop.
    identity, queries = shop.opened.identity, shop.opened.queries
    asked = request(shop.opened, "amy", own)
    queries.started(asked)
    for signed in (identity.act_as(identity.trusted("bi"), "amy"), identity.trusted("bi")):
        assert not queries.cancel(asked.query_id, signed)
    # The control: she sees both, and may stop hers.
    for text_of in ("asked for her", "a wish of her own"):
        assert text_of in listed(basic("amy"))
    assert queries.cancel(asked.query_id, identity.trusted("amy"))
    queries.finished(asked.query_id)
