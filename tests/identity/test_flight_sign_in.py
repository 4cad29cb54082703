"""Sign-in over Flight, by address, and what others may touch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import flight
from sqlalchemy import text

from gateway.audit import verify
from gateway.config import SignIn
from gateway.errors import LimitExceeded, Unauthenticated
from gateway.identity import Token
from gateway.request import Limits, Principal
from gateway.serve.flight import calls, sign_in
from gateway.serve.flight.messages import make, pack
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.flight.sign_in import Peer, Sessions, signed_in
from gateway.serve.flight.streams import WAITING_SECONDS
from gateway.sign_in import Attempt
from gateway.state.engine import open_state, reading
from tests.flight.raw import RawClient
from tests.identity.mesh import Shop, basic, bearer, open_shop
from tests.identity.test_identity import World
from tests.served import within

HERE, ELSEWHERE = "10.0.0.1", "10.0.0.66"
COUNT = "select count(*) as n from sales.people"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    engine = open_state(f"sqlite:///{tmp_path / 'state.sqlite'}")
    yield World(engine)
    engine.dispose()


def test_who_guesses_elsewhere_keeps_nobody_out(world: World) -> None:
    sessions = Sessions(world.identity(SignIn(free_failures=1)), Limits())
    for _ in range(6):
        with pytest.raises(Unauthenticated):
            sessions.begin("nora", "guess", ELSEWHERE)
    assert len(world.slept) == 5
    world.slept.clear()
    token = sessions.begin("nora", "nora-demo", HERE)
    found = sessions.of(token, "", HERE)
    assert (found.session.principal.user, found.began_here, world.slept) == ("nora", True, [])
    assert sessions.of(token, "", HERE) is found
    assert sessions.end(token)
    with pytest.raises(Unauthenticated):
        sessions.of(token, "", HERE)
    # The control: from the guesser's place she would have waited.
    with pytest.raises(Unauthenticated):
        sessions.begin("nora", "guess", ELSEWHERE)
    assert world.slept


def test_a_user_has_so_many_sessions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "_MOST_SESSIONS", 3)
    sessions = Sessions(world.identity(SignIn()), Limits())
    tokens = [sessions.begin("nora", "nora-demo", HERE) for _ in range(3)]
    held = [sessions.of(one, "", HERE) for one in tokens]
    held[0].prepared[b"one"] = object()
    held[1].session.set("purpose", "fraud")
    # What holds nothing makes room, and is the same when it comes again.
    fourth = sessions.of(sessions.begin("nora", "nora-demo", HERE), "", HERE)
    fourth.session.set("domain", "sales")
    for token, kept in zip(tokens[:2], held[:2], strict=True):
        assert sessions.of(token, "", HERE) is kept
    with pytest.raises(LimitExceeded):
        sessions.of(tokens[2], "", HERE)
    # The control: others have room, and so has she once one has rested long.
    sessions.begin("ola", "ola-demo", HERE)
    held[1].used -= 2 * 3600
    assert sessions.of(tokens[2], "", HERE).holds_nothing


def test_a_session_that_made_room_still_ends_with_its_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "_MOST_SESSIONS", 1)
    sessions = Sessions(world.identity(SignIn()), Limits())
    first = sessions.begin("nora", "nora-demo", HERE)
    sessions.begin("nora", "nora-demo", HERE)
    assert sessions.of(first, "", HERE).began_here
    assert sessions.end(first)
    with pytest.raises(Unauthenticated):
        sessions.of(first, "", HERE)


def test_whoever_has_no_room_leaves_no_token_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "_MOST_SESSIONS", 1)
    identity = world.identity(SignIn())
    issued: list[Token] = []
    sessions, issue = Sessions(identity, Limits()), identity.issue

    def watched(principal: Principal) -> Token:
        issued.append(issue(principal))
        return issued[-1]

    monkeypatch.setattr(identity, "issue", watched)
    held = sessions.of(sessions.begin("nora", "nora-demo", HERE), "", HERE)
    held.prepared[b"one"] = object()
    with pytest.raises(LimitExceeded):
        sessions.begin("nora", "nora-demo", HERE)
    with pytest.raises(Unauthenticated):
        identity.authenticate_bearer(issued[1].value, "flight", HERE)
    # The control: the one that has room.
    assert identity.authenticate_bearer(issued[0].value, "flight", HERE).user == "nora"


def test_whoever_acts_as_somebody_takes_none_of_his_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "_MOST_SESSIONS", 1)
    identity = world.identity(SignIn())
    sessions = Sessions(identity, Limits())
    nora = sessions.of(sessions.begin("nora", "nora-demo", HERE), "", HERE)
    nora.prepared[b"one"] = object()
    acting = replace(nora.session.principal, actor="ola")
    monkeypatch.setattr(identity, "act_as", lambda *_: acting)
    token = sessions.begin("ola", "ola-demo", HERE)
    assert sessions.of(token, "nora", HERE).session.principal.actor == "ola"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, str]]:
    folder = tmp_path_factory.mktemp("shop")
    with open_shop(folder, {"sign_in": {"free_failures": 2, "longest_delay": 0.05}}) as made:
        endpoint = FlightEndpoint(made.opened, "127.0.0.1", 0)
        yield made, f"grpc://127.0.0.1:{endpoint.start()}"
        endpoint.stop()


def test_over_the_wire_guesses_count_by_address(
    shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, address = shop
    slowing = held.opened.identity._slowing
    seen: list[str] = []
    attempt = slowing.attempt

    def watched(name: str) -> AbstractContextManager[Attempt]:
        seen.append(name)
        return attempt(name)

    monkeypatch.setattr(slowing, "attempt", watched)
    for _ in range(2):
        with pytest.raises(flight.FlightUnauthenticatedError, match="or the password is wrong"):
            RawClient(address, "ben", "guess")
    with RawClient(address, "ben") as client:
        assert client.read("CommandStatementQuery", query=COUNT).to_pylist() == [{"n": 3}]
    assert seen == ["ben\x00127.0.0.1"] * 3
    # A token's failures are those of its address, too.
    seen.clear()
    options = flight.FlightCallOptions(headers=[(b"authorization", b"Bearer sqs_guess")])
    with (
        flight.FlightClient(address) as made,
        pytest.raises(flight.FlightUnauthenticatedError),
    ):
        list(made.do_action(flight.Action("GetSessionOptions", b""), options))
    assert seen == ["\0token 127.0.0.1"]
    # The audit tells where each came from.
    assert [one[1] for one in failures(held)] == ["127.0.0.1"] * 3


def failures(shop: Shop) -> list[tuple[str, str]]:
    """Endpoint and address of each failed sign-in, as the audit has them."""
    with reading(shop.opened.state) as connection:
        rows = connection.execute(text(
            "SELECT endpoint, principal FROM audit_records WHERE kind = 'sign_in' "
            "ORDER BY sequence"
        ))  # fmt: skip
        return [(str(one[0]), str(json.loads(one[1])["address"])) for one in rows]


def test_the_audit_tells_where_a_guess_came_from(shop: tuple[Shop, str]) -> None:
    held = shop[0]
    before = len(failures(held))
    for authorization, code in (
        (basic("amy", "guess"), "unauthenticated"), (bearer("sqs_guess"), "unauthenticated"),
        (basic("amy"), "access_denied"),
    ):  # fmt: skip
        assert held.ask(authorization, COUNT, {"X-Sqluice-As": "ben"}) == code
    assert failures(held)[before:] == [("http", "127.0.0.1")] * 3
    assert verify(held.opened.state).holds


@pytest.mark.parametrize("call", ["list_actions", "list_flights"])
def test_nothing_is_told_to_nobody(shop: tuple[Shop, str], call: str) -> None:
    options = flight.FlightCallOptions(headers=[(b"authorization", b"Bearer sqs_guess")])
    with (
        flight.FlightClient(shop[1]) as made,
        pytest.raises(flight.FlightUnauthenticatedError),
    ):
        list(getattr(made, call)(options=options))


def closing(handle: bytes) -> bytes:
    return pack(make("ActionClosePreparedStatementRequest", prepared_statement_handle=handle))


def test_nobody_closes_what_another_has_started(shop: tuple[Shop, str]) -> None:
    """An empty handle is what every statement without one has."""
    with RawClient(shop[1], "amy") as amy, RawClient(shop[1], "ola") as ola:
        direct = amy.start(COUNT)
        handle = amy.prepare(COUNT).prepared_statement_handle
        prepared = amy.info("CommandPreparedStatementQuery", prepared_statement_handle=handle)
        for one in (b"", handle):
            ola.act("ClosePreparedStatement", closing(one))
        time.sleep(0.5)
        for info in (direct, prepared):
            assert amy.reader(info).read_all().to_pylist() == [{"n": 3}]
        # The control: her own, closed by herself, is gone.
        prepared = amy.info("CommandPreparedStatementQuery", prepared_statement_handle=handle)
        amy.act("ClosePreparedStatement", closing(handle))
        assert within(60, lambda: not shop[0].opened.queries.count)
        with pytest.raises(pa.ArrowException, match="unknown, was used already or has expired"):
            amy.reader(prepared).read_all()


def test_a_session_holds_so_much_text(
    shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "_MOST_TEXT", 1_000)
    long = f"{COUNT} -- {'x' * 300}"
    with RawClient(shop[1], "amy") as amy, RawClient(shop[1], "amy") as other:
        handles = [amy.prepare(long).prepared_statement_handle for _ in range(2)]
        with pytest.raises(flight.FlightError, match="limit_exceeded"):
            for _ in range(2):
                amy.prepare(long)
        # The control: another session has room of its own, and so has this one again.
        other.prepare(long)
        amy.act("ClosePreparedStatement", closing(handles[0]))
        amy.prepare(long)


UNKNOWN = "unknown_table: The ticket is unknown, was used already or has expired"


def test_a_ticket_is_its_owners_once_and_in_time(
    resting: tuple[Shop, FlightEndpoint, str]
) -> None:
    shop, endpoint, address = resting
    status, narrow = shop.call(
        "POST", "/v1/tokens", basic("amy"), json={"label": "n", "products": ["sales.people"]}
    )
    assert status == 201
    with (
        RawClient(address, "amy") as amy, RawClient(address, "ola") as ola,
        RawClient(address, "amy", narrow["token"]) as bounded,
    ):  # fmt: skip
        # He who acts as her is not she, nor is a token of hers that is good for less.
        acting = ola.with_headers((b"x-sqluice-as", b"amy"))
        others = ((ola, ola.options), (ola, acting), (bounded, bounded.options))
        info = amy.start(COUNT)
        ticket = info.endpoints[0].ticket
        for client, options in others:
            refuse(client, ticket, options)
        # The control: the same ticket, in time.
        assert amy.reader(info).read_all().to_pylist() == [{"n": 3}]
        refuse(amy, ticket, amy.options)
        late = amy.start(COUNT)
        assert shop.opened.queries.count == 1
        for one in endpoint._calls._streams._started.values():
            one.until -= 2 * WAITING_SECONDS
        assert within(30, lambda: not shop.opened.queries.count)
        refuse(amy, late.endpoints[0].ticket, amy.options)
        refuse(amy, flight.Ticket(pack(make("TicketStatementQuery", statement_handle=b"x" * 24))),
               amy.options)  # fmt: skip
        # As somebody else he has tickets of his own.
        command = pack(make("CommandStatementQuery", query=COUNT))
        own = ola.client.get_flight_info(flight.FlightDescriptor.for_command(command), acting)
        found = ola.client.do_get(own.endpoints[0].ticket, acting).read_all()
        assert found.to_pylist() == [{"n": 3}]


def refuse(client: RawClient, ticket: flight.Ticket, options: flight.FlightCallOptions) -> None:
    with pytest.raises(pa.ArrowException, match=UNKNOWN):
        client.client.do_get(ticket, options).read_all()


IDLE = 60.0


@pytest.fixture(scope="module")
def resting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, FlightEndpoint, str]]:
    """A gateway whose sessions may rest a minute."""
    folder = tmp_path_factory.mktemp("resting")
    with open_shop(folder, {"flight": {"idle_seconds": IDLE}}) as made:
        endpoint = FlightEndpoint(made.opened, "127.0.0.1", 0)
        yield made, endpoint, f"grpc://127.0.0.1:{endpoint.start()}"
        endpoint.stop()


def rest(endpoint: FlightEndpoint, seconds: float = 2 * IDLE) -> None:
    """Nobody has called for so long."""
    for one in list(endpoint._calls.sessions._sessions.values()):
        one.used -= seconds


def test_a_session_that_rests_is_closed_with_all_it_has(
    resting: tuple[Shop, FlightEndpoint, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else begins a session meanwhile."""
    monkeypatch.setattr(sign_in, "_LOOK_SECONDS", 0.1)
    shop, endpoint, address = resting
    held, queries = endpoint._calls.sessions._sessions, shop.opened.queries
    rest(endpoint)
    assert within(30, lambda: not held)
    with RawClient(address, "amy") as idle, RawClient(address, "ben") as busy:
        idle.prepare(COUNT)
        ticket = idle.start(COUNT).endpoints[0].ticket
        many = "select i, i + 1 as j, i + 2 as k from range(0, 10000000) as r(i)"
        reader = busy.reader(busy.start(many))
        reader.read_chunk()
        assert (len(held), queries.count) == (2, 2)
        # The control: what has rested less stays.
        rest(endpoint, IDLE / 2)
        time.sleep(0.4)
        assert len(held) == 2
        rest(endpoint)
        assert within(30, lambda: len(held) == 1)
        assert within(30, lambda: queries.count == 1)
        calls: tuple[Callable[[], object], ...] = (
            lambda: idle.start(COUNT), lambda: idle.prepare(COUNT),
            lambda: idle.client.do_get(ticket, idle.options).read_all(),
        )  # fmt: skip
        for call in calls:
            with pytest.raises(flight.FlightUnauthenticatedError, match="has expired"):
                call()
        # Who reads on does not rest.
        assert reader.read_chunk().data.num_rows
        assert busy.read("CommandStatementQuery", query="select 1 as x").num_rows == 1
        reader.cancel()


def test_a_token_of_ones_own_outlives_the_session_that_came_by_it(
    resting: tuple[Shop, FlightEndpoint, str]
) -> None:
    shop, endpoint, address = resting
    status, made = shop.call("POST", "/v1/tokens", basic("amy"), json={"label": "a program's"})
    assert status == 201
    held = endpoint._calls.sessions._sessions
    with RawClient(address, "amy", made["token"]) as client:
        client.prepare(COUNT)
        rest(endpoint)
        assert within(30, lambda: not held)
        assert client.read("CommandStatementQuery", query=COUNT).to_pylist() == [{"n": 3}]


def bind(client: RawClient, handle: bytes, rows: pa.Table) -> None:
    client.put("CommandPreparedStatementQuery", rows, prepared_statement_handle=handle)


def test_a_session_holds_so_much_of_values(
    shop: tuple[Shop, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "_MOST_TEXT", 5_000)
    with RawClient(shop[1], "amy") as amy:
        handles = [
            amy.prepare("select ? as v").prepared_statement_handle for _ in range(3)
        ]
        bind(amy, handles[0], pa.table({"1": ["x" * 2_000]}))
        bind(amy, handles[1], pa.table({"1": ["x" * 2_000]}))
        with pytest.raises(flight.FlightError, match="limit_exceeded"):
            bind(amy, handles[2], pa.table({"1": ["x" * 2_000]}))
        # The control: what is bound anew takes the place of what was.
        bind(amy, handles[1], pa.table({"1": ["y" * 2_000]}))


@pytest.mark.parametrize(
    "header", ["Basic \xff", "Basic /w==", "Basic", "Bearer \xff", "\xff"]
)
def test_a_header_that_cannot_be_read_is_no_defect(shop: tuple[Shop, str], header: str) -> None:
    """Before anybody has signed in."""
    sessions = Sessions(shop[0].opened.identity, Limits())
    with pytest.raises(Unauthenticated):
        signed_in(sessions, Peer({"authorization": header}, HERE))
    # The control: one that can.
    signed_in(sessions, Peer({"authorization": basic("amy")}, HERE))
