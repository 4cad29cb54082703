"""How often the client calls the gateway, and a gateway that does not know the short way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

import pytest

import sqluice
from gateway.serve.flight import sign_in
from gateway.serve.flight.calls import FlightSqlCalls
from gateway.serve.flight.direct import Direct
from sqluice import flight
from tests.client.conftest import Served
from tests.sample import SampleMesh
from tests.served import MANY, within

KEYED = "SELECT flight_id, carrier FROM operations.departures WHERE flight_id = ?"
LARGE = "SELECT flight_id, origin FROM operations.departures ORDER BY 1"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what the gateway is asked, by method."""
    found: Counter[str] = Counter()

    def counted(name: str, method: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object) -> object:
            found[name] += 1
            return method(*given)

        return call

    for name in ("flight_info", "answer", "put", "act"):
        monkeypatch.setattr(FlightSqlCalls, name, counted(name, getattr(FlightSqlCalls, name)))
    return found


def test_a_small_answer_is_one_call(served: Served, calls: Counter[str]) -> None:
    with served.connect() as connection, connection.cursor() as cursor:
        ids = [row[0] for row in cursor.execute(LARGE).fetchmany(2)]
        calls.clear()
        assert [cursor.execute(KEYED, [one]).fetchall()[0][0] for one in ids] == ids
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
        assert calls == {"flight_info": 3}


def test_a_large_answer_is_the_same_by_both_ways(served: Served, calls: Counter[str]) -> None:
    with served.connect() as connection:
        by_preparing = connection.execute(LARGE).fetch_arrow_table()
        calls.clear()
        found = connection.execute(LARGE).fetch_arrow_table()
        assert calls == {"flight_info": 2, "answer": 1}
        assert found.equals(by_preparing) and found.num_rows > 1_000
        told = set(found.schema.metadata or {})
        assert told == set(by_preparing.schema.metadata or {})
        assert not {b"sqluice.rows", b"sqluice.begun"} & told


def test_a_gateway_that_does_not_know_the_short_way(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served.connect() as connection:
        given = connection.execute(LARGE).fetchone()
        assert given is not None
        want = connection.execute(KEYED, given[:1]).fetchall()
        # An older one takes over.
        monkeypatch.setattr(sign_in, "direct_of", lambda _: Direct())
        for _ in range(2):
            assert connection.execute("SELECT 1").fetchall() == [(1,)]
            assert connection.execute(KEYED, given[:1]).fetchall() == want
        monkeypatch.undo()
        for _ in range(2):
            assert connection.execute(KEYED, given[:1]).fetchall() == want


def test_values_without_room_in_a_header_are_put(served: Served, calls: Counter[str]) -> None:
    with served.connect() as connection:
        connection.execute("SELECT 1").fetchall()
        calls.clear()
        text = "é" * 10_000
        assert connection.execute("SELECT ?::varchar", [text]).fetchall() == [(text,)]
        assert calls["put"] == 1
        few = ["é'\n\0x"[:3], None, True, Decimal("1.50"), b"\0\xff", 2**62]
        asked = "SELECT ?::varchar, ?::bigint, ?::boolean, ?::decimal(4, 2), ?::blob, ?::bigint"
        assert connection.execute(asked, few).fetchall() == [tuple(few)]
        assert calls["put"] == 1


# Between the call that begins and the one that fetches; and after it was looked whether to fetch.
@pytest.mark.parametrize("place", ["begun_of", "_say"])
def test_a_cancel_between_the_two_calls(
    place: str, served: Served, sample: SampleMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = sample.opened.gateway.services.queries
    plain: Callable[..., object] = getattr(flight, place)
    with served.connect() as connection:
        connection.execute("SELECT 1").fetchall()
        cursor = connection.cursor()

        def cancelling(*given: object) -> object:
            found = plain(*given)
            if len(given) == 1 or (given[1] == "begun" and given[2]):
                assert queries.count == 1
                cursor.cancel()
            return found

        with monkeypatch.context() as changed:
            changed.setattr(flight, place, cancelling)
            with pytest.raises(sqluice.OperationalError) as caught:
                cursor.execute(MANY)
        assert caught.value.code == "cancelled"
        assert within(20, lambda: queries.count == 0)
        assert cursor.execute("SELECT 2").fetchall() == [(2,)]


def test_each_statement_has_the_key_that_was_chosen_for_it(served: Served) -> None:
    with served.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1").fetchall()
        found = []
        for _ in range(2):
            _ = cursor.query_key
            found.append(cursor.execute("SELECT 1").query_id)
        assert len(set(found)) == 2
