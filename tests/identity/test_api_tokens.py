"""API tokens: what they are bounded to, when they end, and who may make and end them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from sqlalchemy import text

from gateway.api_tokens import Wish, is_whole
from gateway.audit import verify
from gateway.cli.token import token as command
from gateway.errors import Unauthenticated
from gateway.request import TokenScope
from gateway.serve.flight.server import FlightEndpoint
from gateway.state.engine import open_state, reading
from tests.flight.raw import RawClient
from tests.identity.mesh import Shop, basic, bearer, open_shop
from tests.served import within
from tests.small_mesh import principal

CASES = yaml.safe_load((Path(__file__).parent / "scopes.yaml").read_text())
COUNT = "select count(*) from sales.people"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("shop")) as made:
        yield made


def made_for(shop: Shop, user: str = "amy", **scope: list[str]) -> str:
    """A token of a user, made as an operator makes it."""
    bounds = TokenScope(**{name: frozenset(values) for name, values in scope.items()})
    return made_with(shop, user, Wish("test", bounds))


def made_with(shop: Shop, user: str, wish: Wish) -> str:
    book = shop.opened.own_tokens._book
    return book.create(shop.opened.identity.local_user(user), wish, "test").value


@pytest.mark.parametrize("case", CASES, ids=lambda one: str(one["name"]))
def test_a_scope_only_restricts(case: dict[str, Any], shop: Shop) -> None:
    token = made_for(shop, **case.get("scope", {}))
    assert shop.ask(bearer(token), **case["ask"]) == case["gives"]
    assert shop.ask(basic("amy"), **case["ask"]) == case["owner"]


def test_a_table_beyond_the_scope_looks_like_none(shop: Shop) -> None:
    token = bearer(made_for(shop, products=["sales.orders"]))
    told = []
    for name in ("people", "nothing"):
        body = {"sql": f"select * from sales.{name}", "policy": True}
        status, answer = shop.call("POST", "/v1/explain", token, json=body)
        answer.pop("query_id")
        told.append(re.sub(r"asked-\w+", "asked", json.dumps(answer).replace(name, "X")))
        assert status == 200
    assert told[0] == told[1]
    body = {"sql": "select * from sales.people", "policy": True}
    assert shop.call("POST", "/v1/explain", basic("amy"), json=body)[1]["verdict"] == "allowed"


def test_a_token_is_what_its_owner_is_at_that_moment(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        token = bearer(made_for(shop))
        assert shop.ask(token, COUNT) == [["3"]]
        file = shop.folder / "identities.yaml"
        before = file.read_text()
        file.write_text(before.replace("  - staff\n", "  - guests\n", 1))
        shop.opened.publisher.reload()
        assert shop.ask(token, COUNT) == "unknown_table"
        held = yaml.safe_load(before)
        del held["users"]["amy"]
        file.write_text(yaml.safe_dump(held))
        shop.opened.publisher.reload()
        assert shop.ask(token, COUNT) == "unauthenticated"
        file.write_text(before.replace("SCRAM-SHA-256$4096", "SCRAM-SHA-256$4097", 1))
        shop.opened.publisher.reload()
        assert shop.ask(token, COUNT) == "unauthenticated"
        file.write_text(before)
        shop.opened.publisher.reload()
        assert shop.ask(token, COUNT) == [["3"]]


def test_a_service_has_no_password_and_signs_in_with_its_token(shop: Shop) -> None:
    assert shop.ask(bearer(made_for(shop, "nightly")), COUNT) == [["3"]]
    assert shop.ask(basic("nightly", made_for(shop, "nightly")), COUNT) == [["3"]]
    for secret in ("", "nightly-demo", "x"):
        assert shop.ask(basic("nightly", secret), COUNT) == "unauthenticated"


def test_a_token_in_the_place_of_a_password_is_its_owners(shop: Shop) -> None:
    token = made_for(shop)
    assert shop.ask(basic("amy", token), COUNT) == [["3"]]
    assert shop.ask(basic("ben", token), COUNT) == "unauthenticated"


def test_state_and_audit_hold_no_token(shop: Shop) -> None:
    token = made_for(shop)
    secret = token.removeprefix("sqt_")[10:]
    assert shop.ask(bearer(token), COUNT) == [["3"]]
    with reading(shop.opened.state) as connection:
        rows = str(connection.execute(text("SELECT * FROM api_tokens")).all())
        rows += str(connection.execute(text("SELECT * FROM audit_records")).all())
    assert token.removeprefix("sqt_")[:10] in rows
    assert token not in rows and secret not in rows


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        (lambda one: one, True),
        (lambda one: one[:-1] + ("a" if one[-1] != "a" else "b"), False),
        (lambda one: one[:5] + ("a" if one[5] != "a" else "b") + one[6:], False),
        (lambda one: one + "a", False),
        (lambda one: one.upper(), False),
        (lambda one: "sqt_" + "é" * 48, False),
    ],
)
def test_the_checksum_tells_what_was_never_a_token(
    change: Callable[[str], str], whole: bool, shop: Shop
) -> None:
    token = change(made_for(shop))
    assert is_whole(token) is whole
    if not whole:
        with pytest.raises(Unauthenticated):
            shop.opened.identity.authenticate_bearer(token, "http")


def test_revoked_here_it_ends_at_once_and_elsewhere_within_a_second(tmp_path: Path) -> None:
    with open_shop(tmp_path) as here, open_shop(tmp_path) as there:
        token = made_for(here)
        # The first use is written down, the second one is remembered.
        for _ in range(2):
            assert there.ask(bearer(token), COUNT) == [["3"]]
        token_id = token.removeprefix("sqt_")[:10]
        assert here.call("DELETE", f"/v1/tokens/{token_id}", basic("amy"))[0] == 200
        assert here.ask(bearer(token), COUNT) == "unauthenticated"
        # A second is promised; a busy machine has more.
        assert within(60, lambda: there.ask(bearer(token), COUNT) == "unauthenticated")


def test_over_flight_a_revoked_token_ends_its_session(shop: Shop) -> None:
    endpoint = FlightEndpoint(shop.opened, "127.0.0.1", 0)
    address = f"grpc://127.0.0.1:{endpoint.start()}"
    try:
        token = made_for(shop, products=["sales.people"])
        with RawClient(address, "amy", token) as client:
            # The handshake gives no session of its own, which would outlive the token.
            assert client.token[1].decode() == f"Bearer {token}"
            assert client.reader(client.start(COUNT)).read_all().to_pylist() == [
                {"count_star()": 3}
            ]
            with pytest.raises(Exception, match=r"no table sales\.orders"):
                client.start("select * from sales.orders")
            assert client.read("CommandGetTables")["table_name"].to_pylist() == ["people"]
            shop.call("DELETE", f"/v1/tokens/{token.removeprefix('sqt_')[:10]}", basic("amy"))
            with pytest.raises(Exception, match="unknown or has expired"):
                client.start(COUNT)
    finally:
        endpoint.stop()


def test_tokens_over_http_are_ones_own(shop: Shop) -> None:
    wish = {"label": "mine", "products": ["sales.people"], "days": 2}
    status, made = shop.call("POST", "/v1/tokens", basic("ben"), json=wish)
    assert (status, made["state"], made["products"]) == (201, "active", ["sales.people"])
    assert shop.ask(bearer(made["token"]), COUNT) == [["3"]]
    listed = shop.call("GET", "/v1/tokens", basic("ben"))[1]["tokens"]
    assert [one["id"] for one in listed] == [made["id"]] and "token" not in listed[0]
    assert listed[0]["used_at"] is not None
    assert made["id"] not in str(shop.call("GET", "/v1/tokens", basic("amy")))
    assert shop.call("DELETE", f"/v1/tokens/{made['id']}", basic("amy"))[0] == 404
    assert shop.call("DELETE", f"/v1/tokens/{made['id']}", basic("ben"))[0] == 200
    assert shop.ask(bearer(made["token"]), COUNT) == "unauthenticated"


def test_a_token_makes_and_ends_no_other(shop: Shop) -> None:
    own, other = made_for(shop), made_for(shop)
    other_id, own_id = (one.removeprefix("sqt_")[:10] for one in (other, own))
    assert shop.call("POST", "/v1/tokens", bearer(own), json={"label": "more"})[0] == 403
    assert shop.call("DELETE", f"/v1/tokens/{other_id}", bearer(own))[0] == 403
    listed = shop.call("GET", "/v1/tokens", bearer(own))[1]["tokens"]
    assert [one["id"] for one in listed] == [own_id]
    assert shop.call("DELETE", f"/v1/tokens/{own_id}", bearer(own))[0] == 200
    # The control: with her password she may.
    assert shop.call("DELETE", f"/v1/tokens/{other_id}", basic("amy"))[0] == 200


def test_a_bounded_token_does_not_tell_what_its_owner_asks_besides(shop: Shop) -> None:
    marker = "select count(*) from sales.people where name = 'a secret wish'"
    assert shop.ask(basic("ola"), marker) == [["0"]]
    bounded = bearer(made_for(shop, "ola", products=["sales.orders"]))
    assert "secret wish" not in str(shop.call("GET", "/v1/queries?all=true", bounded))
    assert "secret wish" in str(shop.call("GET", "/v1/queries?all=true", basic("ola")))


def test_a_bounded_token_of_an_operator_is_not_shown_what_sources_gave(shop: Shop) -> None:
    asked = "explain analyze select * from sales.people"
    bounded = bearer(made_for(shop, "ola", products=["sales"]))
    whole = bearer(made_for(shop, "ola"))
    assert "fetched rows" not in str(shop.ask(bounded, asked))
    assert "fetched rows" in str(shop.ask(whole, asked))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "no JSON object"), ({}, "label"), ({"label": ""}, "label"), ({"label": 3}, "label"),
        ({"label": "x", "days": 0}, "365 days"), ({"label": "x", "days": 366}, "365 days"),
        ({"label": "x", "days": "7"}, "days"), ({"label": "x", "days": 1e999}, "365 days"),
        ({"label": "x", "purposes": []}, "purposes"), ({"label": "x", "products": "a"}, "products"),
        ({"label": "x", "products": ["a.b.c"]}, "no domain"), ({"label": "x", "for": "y"}, "'for'"),
        ({"label": "x", "endpoints": ["smtp"]}, "smtp"), ({"label": "x\n"}, "label"),
        ({"label": "x", "purposes": ["p" * 201]}, "200 characters"),
        ({"label": "x", "purposes": [f"p{at}" for at in range(101)]}, "100 names"),
        ({"label": "\ud800"}, "half of a character"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be(body: object, words: str, shop: Shop) -> None:
    status, answer = shop.call("POST", "/v1/tokens", basic("amy"), json=body)
    assert status == 400 and answer["error"]["code"] == "type_error"
    assert words in answer["error"]["message"]


def test_a_session_makes_no_token_that_outlives_it(shop: Shop) -> None:
    identity = shop.opened.identity
    session = identity.issue(identity.authenticate_basic("amy", "amy-demo")).value
    wish = {"label": "for ever", "days": 365}
    status, answer = shop.call("POST", "/v1/tokens", bearer(session), json=wish)
    assert (status, answer["error"]["code"]) == (403, "access_denied")
    assert shop.ask(bearer(session), COUNT) == [["3"]]
    # The control: who shows the password makes one.
    assert shop.call("POST", "/v1/tokens", basic("amy"), json=wish)[0] == 201


def test_an_expired_token_is_out(shop: Shop) -> None:
    for seconds in (0.3, 3.0, 30.0):
        token = made_with(shop, "amy", Wish("short", days=seconds / 86_400))
        ends = time.monotonic() + seconds
        told = shop.ask(bearer(token), COUNT)
        if time.monotonic() < ends:
            break
    assert told == [["3"]]
    assert within(60, lambda: shop.ask(bearer(token), COUNT) == "unauthenticated")


def test_what_was_asked_with_a_token_is_audited_and_verified(shop: Shop) -> None:
    token = made_for(shop, products=["sales.people"])
    shop.ask(bearer(token), COUNT)
    with reading(shop.opened.state) as connection:
        rows = connection.execute(text(
            "SELECT principal FROM audit_records WHERE kind = 'started' ORDER BY sequence DESC"
        )).scalars().all()  # fmt: skip
        told = connection.execute(text("SELECT content FROM audit_records WHERE kind = 'token'"))
        made = [json.loads(one)["id"] for one in told.scalars()]
    token_id = token.removeprefix("sqt_")[:10]
    assert json.loads(rows[0])["credential"] == f"token {token_id}"
    assert json.loads(rows[0])["scope"] == {"products": ["sales.people"], "purposes": []}
    assert token_id in made
    assert verify(shop.opened.state).holds


def test_the_command_makes_rotates_and_revokes(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        told = ["--conf", str(shop.folder), "--json"]

        def run(*words: str, code: int = 0) -> Any:  # noqa: ANN401 - JSON
            found = CliRunner().invoke(command, [*words, *told])
            assert found.exit_code == code, found.output
            return json.loads(found.output)

        made = run("create", "report", "--for", "nightly", "--product", "sales.people")
        assert shop.ask(bearer(made["token"]), COUNT) == [["3"]]
        fresh = run("rotate", made["id"])
        assert fresh["products"] == ["sales.people"] and fresh["id"] != made["id"]
        assert shop.ask(bearer(fresh["token"]), COUNT) == [["3"]]
        assert within(60, lambda: shop.ask(bearer(made["token"]), COUNT) == "unauthenticated")
        assert [one["id"] for one in run("list")["tokens"]] == [fresh["id"]]
        assert {one["state"] for one in run("list", "--all")["tokens"]} == {"active", "revoked"}
        kept = run("rotate", fresh["id"], "--grace", "1")
        assert shop.ask(bearer(fresh["token"]), COUNT) == [["3"]]
        assert run("revoke", kept["id"])["revoked"] is True
        assert run("revoke", kept["id"], code=1)["error"]["code"] == "conflict"
        for words in (
            ("create", "x", "--for", "nobody"), ("create", "x", "--for", "amy", "--purpose", "no"),
            ("create", "x", "--for", "amy", "--domain", "no"), ("rotate", made["id"]),
            ("create", "x", "--for", "amy", "--days", "999"), ("revoke", "nothing"),
        ):  # fmt: skip
            assert "error" in run(*words, code=1)


def test_where_sign_in_moves_to_the_newest_form(tmp_path: Path) -> None:
    """A state of before has no tokens and takes some."""
    engine = open_state(f"sqlite:///{tmp_path / 'state.sqlite'}")
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM api_tokens")).scalar() == 0
    engine.dispose()


def test_principals_of_one_user_share_what_no_scope_tells_apart(shop: Shop) -> None:
    """Neither credential nor actor is part of what a decision depends on."""
    own = principal(shop.opened, "amy")
    signed = shop.opened.identity.authenticate_bearer(made_for(shop), "http")
    assert signed == own and hash(signed) == hash(own)
    bounded = made_for(shop, products=["sales"])
    assert shop.opened.identity.authenticate_bearer(bounded, "http") != own


def test_nobody_has_more_than_a_hundred(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        for _ in range(100):
            made_for(shop, "ben")
        wish = {"label": "one more"}
        status, answer = shop.call("POST", "/v1/tokens", basic("ben"), json=wish)
        assert (status, answer["error"]["code"]) == (413, "limit_exceeded")
        listed = shop.call("GET", "/v1/tokens", basic("ben"))[1]["tokens"]
        assert shop.call("DELETE", f"/v1/tokens/{listed[0]['id']}", basic("ben"))[0] == 200
        assert shop.call("POST", "/v1/tokens", basic("ben"), json=wish)[0] == 201
        assert shop.call("POST", "/v1/tokens", basic("amy"), json=wish)[0] == 201
