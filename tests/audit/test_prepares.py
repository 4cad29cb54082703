"""What a client is refused before anything runs: in the audit, once, whatever the wire."""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from adbc_driver_flightsql import dbapi
from pyarrow import flight
from sqlalchemy import text

from gateway.errors import Unauthenticated
from gateway.pipeline import Described, Gateway
from gateway.request import Principal, Request
from gateway.serve.flight.messages import make, pack
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.pgwire.answers import Piece
from gateway.serve.pgwire.running import Runner
from gateway.serve.pgwire.server import PgwireEndpoint
from gateway.state.engine import reading
from tests.flight.raw import FAULTS, RawClient
from tests.identity.mesh import Shop, open_shop
from tests.pgwire.wire import SYNC, Wire, bind, describe, execute, fields, parse, query
from tests.served import basic, within

DENIED = "select * from sales.reasons_of_others"


@dataclass(frozen=True, slots=True)
class Doors:
    """A gateway with both wires."""

    shop: Shop
    flight: str
    pgwire: str

    def noted(self) -> list[tuple[str, str, str]]:
        """Who was refused where and why, of every request so far, once all that began has ended.

        The end of a request may be written down after its client has read his answer.
        """
        assert within(20, lambda: not self._is_open())
        with reading(self.shop.opened.state) as connection:
            rows = connection.execute(text(
                "SELECT s.user_name, s.endpoint, f.code FROM audit_records s JOIN audit_records f "
                "ON f.query_id = s.query_id AND f.kind = 'finished' WHERE s.kind = 'started' "
                "ORDER BY s.sequence"
            ))  # fmt: skip
            return [(str(one[0]), str(one[1]), str(one[2] or "")) for one in rows]

    def _is_open(self) -> bool:
        """Whether a request is written down that has no end yet, or one is about to be."""
        if self.shop.opened.gateway.services.queries.count:
            return True
        with reading(self.shop.opened.state) as connection:
            return bool(connection.execute(text(
                "SELECT count(*) FROM audit_records s WHERE s.kind = 'started' AND NOT EXISTS "
                "(SELECT 1 FROM audit_records f WHERE f.query_id = s.query_id "
                "AND f.kind = 'finished')"
            )).scalar_one())  # fmt: skip


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    with open_shop(tmp_path_factory.mktemp("doors")) as shop:
        calls = FlightEndpoint(shop.opened, "127.0.0.1", 0)
        wire = PgwireEndpoint(shop.opened, "127.0.0.1", 0)
        yield Doors(
            shop, f"grpc://127.0.0.1:{calls.start()}", f"postgresql://127.0.0.1:{wire.start()}"
        )
        wire.stop()
        calls.stop()


Act = Callable[[RawClient], object]


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (lambda one: one.prepare(DENIED), "unknown_table"),
        (lambda one: one.prepare("select nothing from sales.people"), "unknown_column"),
        (lambda one: one.prepare("select from where"), "parse_error"),
        (lambda one: one.start("drop table sales.people"), "unsupported_sql"),
        (lambda one: one.start("set nothing = 1"), "unsupported_sql"),
        (lambda one: one.start(DENIED), "unknown_table"),
    ],
)
def test_over_flight(act: Act, code: str, doors: Doors) -> None:
    with RawClient(doors.flight, "amy") as client:
        before = doors.noted()
        with pytest.raises(FAULTS, match=code):
            act(client)
        assert doors.noted()[len(before) :] == [("amy", "flight", code)]
        # The control: what is prepared and right is no request yet.
        client.prepare("select * from sales.people")
        assert len(doors.noted()) == len(before) + 1


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (parse(DENIED) + describe("S") + SYNC, "unknown_table"),
        (parse(DENIED) + bind() + describe("P") + SYNC, "unknown_table"),
        (parse("select nothing from sales.people where name = $1") + describe("S") + SYNC,
         "unknown_column"),
        (query("table sales.people; table sales.people"), "unsupported_sql"),
        (query("copy sales.people from stdin"), "unsupported_sql"),
        (query("set dialect = 'klingon'"), "type_error"),
        # Tried in vain to find the types of its values, then run: that is one refusal.
        (parse("select * from sales.nothing where x = $1") + bind("", "", b"1") + execute() + SYNC,
         "unknown_table"),
        (query(DENIED), "unknown_table"),
        (parse(DENIED) + bind() + execute() + SYNC, "unknown_table"),
    ],
)  # fmt: skip
def test_over_the_postgresql_wire(sent: bytes, code: str, doors: Doors) -> None:
    with Wire(doors.pgwire) as client:
        client.sign_in("amy")
        before = doors.noted()
        answered = client.ask(sent)
        told = [fields(body) for kind, body in answered if kind == "E"]
        assert [one["D"].partition(",")[0] for one in told] == [code]
        assert doors.noted()[len(before) :] == [("amy", "postgres", code)]
        # The control: what is described and right is no request yet.
        client.ask(parse("select * from sales.people where name = $1") + describe("S") + SYNC)
        assert len(doors.noted()) == len(before) + 1


def test_an_answer_that_breaks_later_is_one_request(doors: Doors) -> None:
    # More than is read ahead.
    late = (
        "select case when i < 600000 then i else cast('x' || i as bigint) end, repeat('x', 40) "
        "from range(700000) r(i)"
    )
    with Wire(doors.pgwire) as client:
        client.sign_in("amy")
        before = doors.noted()
        kinds = [kind for kind, _ in client.ask(query(late))]
        assert kinds[-2:] == ["E", "Z"] and "D" in kinds
        assert [one[2] for one in doors.noted()[len(before) :]] == ["type_error"]


def test_it_tells_whose_statement_it_was(doors: Doors) -> None:
    with Wire(doors.pgwire) as client:
        client.sign_in("ola", **{"options": "-c as=ben"})
        client.ask(parse("select nope from sales.people") + describe("S") + SYNC)
    with reading(doors.shop.opened.state) as connection:
        found = connection.execute(text(
            "SELECT user_name, actor, normalised FROM audit_records WHERE kind = 'started' "
            "ORDER BY sequence DESC LIMIT 1"
        )).one()  # fmt: skip
    assert tuple(found)[:2] == ("ben", "ola") and "nope" in str(found[2])


COMPUTED = "select upper('x')"


@pytest.mark.parametrize(
    "sent",
    [
        query(COMPUTED),
        query(f"copy ({COMPUTED}) to stdout"),
        query("copy (select relname from pg_class) to stdout"),
        query("select relname from pg_class"),
        query(f"declare c cursor with hold for {COMPUTED}"),
        parse(COMPUTED) + bind() + execute() + SYNC,
        parse(f"copy ({COMPUTED}) to stdout") + bind() + execute() + SYNC,
    ],
)
def test_who_is_no_longer_known(
    sent: bytes, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def still(*_: object) -> Principal:
        raise Unauthenticated("The password has changed.")

    with Wire(doors.pgwire) as client:
        client.sign_in("amy")
        before = doors.noted()
        with monkeypatch.context() as changed:
            changed.setattr(doors.shop.opened.identity, "still", still)
            assert "E" in {kind for kind, _ in client.ask(sent)}
        assert doors.noted()[len(before) :] == [("amy", "postgres", "unauthenticated")]
        # The control: each of them runs, and is one request.
        assert "E" not in {kind for kind, _ in client.ask(sent)}
        client.ask(query("close all"))
        assert within(10, lambda: len(doors.noted()) == len(before) + 2)


def test_what_catalogs_describe_is_a_request(doors: Doors) -> None:
    with Wire(doors.pgwire) as client:
        client.sign_in("amy")
        before = doors.noted()
        client.ask(parse("select relname from pg_class", "c") + describe("S", "c") + SYNC)
        assert doors.noted()[len(before) :] == [("amy", "postgres", "")]
        client.ask(parse("select nothing from pg_class", "d") + describe("S", "d") + SYNC)
        assert len(doors.noted()) == len(before) + 2
        # The types of its values are found as a part of it.
        sent = parse("select relname from pg_class where relname = $1") + bind("", "", b"x")
        client.ask(sent + execute() + SYNC)
        assert within(10, lambda: len(doors.noted()) == len(before) + 3)


def _waiting(
    monkeypatch: pytest.MonkeyPatch, asked: threading.Event, going_on: threading.Event
) -> None:
    """Descriptions say when they begin, and wait until they may go on."""
    plain = Gateway.describe

    def slow(self: Gateway, request: Request) -> Described:
        asked.set()
        assert going_on.wait(30)
        return plain(self, request)

    monkeypatch.setattr(Gateway, "describe", slow)


@pytest.mark.parametrize(
    "sent",
    [
        parse(COMPUTED) + describe("S") + SYNC,
        parse(COMPUTED) + bind() + describe("P") + SYNC,
        parse("select 1 + $1") + bind("", "", b"1") + execute() + SYNC,
    ],
)
def test_a_description_is_cancelled(
    sent: bytes, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, going_on = threading.Event(), threading.Event()
    with Wire(doors.pgwire) as client:
        client.sign_in("amy")
        with monkeypatch.context() as changed:
            _waiting(changed, asked, going_on)
            client.send(sent)
            assert asked.wait(20)
            with Wire(doors.pgwire) as other:
                other.send(struct.pack(">ii", 16, 80877102) + client.key)
                assert other.receive() is None
            told = [fields(body) for kind, body in client.until("Z") if kind == "E"]
            going_on.set()
        assert [one["C"] for one in told] == ["57014"]
        assert "E" not in {kind for kind, _ in client.ask(sent)}


_PREPARE = pack(make("ActionCreatePreparedStatementRequest", query=COMPUTED))
_STATEMENT = flight.FlightDescriptor.for_command(
    pack(make("CommandStatementQuery", query=COMPUTED))
)


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("DoAction", flight.Action("CreatePreparedStatement", _PREPARE).serialize()),
        ("GetSchema", _STATEMENT.serialize()),
    ],
)
def test_a_description_over_flight_is_left(
    call: str, body: bytes, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled call looks to the gateway as one whose client has gone."""
    asked, going_on = threading.Event(), threading.Event()
    metadata = [("authorization", basic("amy"))]
    with grpc.insecure_channel(doors.flight.removeprefix("grpc://")) as channel:
        method: Any = channel.unary_stream(f"/arrow.flight.protocol.FlightService/{call}")
        assert list(method(body, metadata=metadata, timeout=30))
        before = doors.noted()
        with monkeypatch.context() as changed:
            _waiting(changed, asked, going_on)
            asking = method(body, metadata=metadata, timeout=30)
            assert asked.wait(20)
            # The control: as long as somebody waits it is waited for.
            time.sleep(0.5)
            assert len(doors.noted()) == len(before)
            asking.cancel()
            told = within(20, lambda: len(doors.noted()) > len(before))
            going_on.set()
        assert told and doors.noted()[len(before) :] == [("amy", "flight", "cancelled")]
        assert list(method(body, metadata=metadata, timeout=30))


def test_a_stock_client_cancels_what_he_prepares(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, going_on = threading.Event(), threading.Event()
    known = {"username": "amy", "password": "amy-demo"}
    with (
        dbapi.connect(doors.flight, db_kwargs=known, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        before = doors.noted()
        with monkeypatch.context() as changed:
            _waiting(changed, asked, going_on)

            def cancel() -> None:
                assert asked.wait(20)
                cursor.adbc_cancel()

            cancelling = threading.Thread(target=cancel)
            cancelling.start()
            with pytest.raises(dbapi.Error):
                cursor.adbc_prepare(COMPUTED)
            cancelling.join()
            told = within(20, lambda: len(doors.noted()) > len(before))
            going_on.set()
        assert told and doors.noted()[len(before) :] == [("amy", "flight", "cancelled")]
        with connection.cursor() as other:
            assert other.adbc_prepare(COMPUTED) is not None


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_what_is_still_to_be_sent_is_cancelled(
    is_cancelled: bool, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole answer has left its source, and is no longer among the running queries."""
    held, going_on = threading.Event(), threading.Event()
    plain = Runner._send

    async def slow(self: Runner, piece: Piece) -> None:
        await plain(self, piece)
        held.set()
        assert await asyncio.to_thread(going_on.wait, 30)

    with Wire(doors.pgwire) as client:
        client.sign_in("amy")
        with monkeypatch.context() as changed:
            changed.setattr(Runner, "_send", slow)
            client.send(query("select i, repeat('x', 50) from range(40000) r(i)"))
            assert held.wait(20)
            assert within(20, lambda: doors.shop.opened.gateway.services.queries.count == 0)
            if is_cancelled:
                with Wire(doors.pgwire) as other:
                    other.send(struct.pack(">ii", 16, 80877102) + client.key)
                    assert other.receive() is None
            going_on.set()
            answered = list(client.until("Z"))
        told = [fields(body)["C"] for kind, body in answered if kind == "E"]
        assert told == (["57014"] if is_cancelled else [])
        assert (sum(kind == "D" for kind, _ in answered) < 40_000) == is_cancelled
