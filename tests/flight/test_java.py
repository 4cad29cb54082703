"""Clients over gRPC for Java: what they can neither stop nor read otherwise."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyarrow import flight

from tests.flight.raw import FAULTS, RawClient
from tests.served import SLOW, Served, within

UNSIGNED = "select 200::utinyint a, 18446744073709551615::ubigint b, [7::uinteger] c"
PREPARED = "select ?::timestamp a, ?::time b, ? c, ?::ubigint d"


@pytest.fixture
def java(gateway: Served) -> Iterator[RawClient]:
    """Nora, by a client that calls itself as Arrow's JDBC driver does."""
    with RawClient(gateway.flight, "nora", agent="JDBC Flight SQL Driver grpc-java-netty") as one:
        yield one
    assert gateway.is_idle()


@pytest.fixture
def other(gateway: Served) -> Iterator[RawClient]:
    """Nora, by any other client."""
    with RawClient(gateway.flight, "nora") as one:
        yield one


def test_a_slow_statement_answers_soon_and_can_be_cancelled(
    java: RawClient, gateway: Served
) -> None:
    info = java.start(SLOW)
    assert info.schema.names == ["n"]
    assert within(60, lambda: bool(gateway.running()))
    assert java.cancel(info) == 1
    assert gateway.is_idle()


def test_whoever_stops_its_stream_stops_the_statement(java: RawClient, gateway: Served) -> None:
    reader = java.reader(java.start(SLOW))
    assert within(60, lambda: bool(gateway.running()))
    reader.cancel()
    assert gateway.is_idle()


def test_others_wait_for_the_first_row(other: RawClient) -> None:
    """The control: no other client is answered before its statement has begun to answer."""
    other.options = flight.FlightCallOptions(headers=[other.token], timeout=3)
    began = time.monotonic()
    with pytest.raises(flight.FlightTimedOutError):
        other.start(SLOW)
    assert time.monotonic() - began > 2.5


def test_a_statement_that_fails_late_fails_in_its_stream(java: RawClient) -> None:
    sql = "select count(*), sum(cast(x as integer)) from (select case when i + j = 10000019 then "
    sql += "'x' else '1' end x from range(10000000) t(i), range(21) u(j))"
    with pytest.raises(FAULTS, match="type_error"):
        java.reader(java.start(sql)).read_all()


def test_unsigned_integers_are_told_as_what_holds_them(java: RawClient, other: RawClient) -> None:
    told = [pa.int16(), pa.decimal128(20, 0), pa.list_(pa.int64())]
    rows = {}
    for client, types in ((java, told), (other, None)):
        info = client.start(UNSIGNED)
        found = client.reader(info).read_all()
        assert found.schema.equals(info.schema, check_metadata=False)
        assert (found.schema.types == told) == (types is not None)
        rows[client] = [[int(one[0] if isinstance(one, list) else one) for one in row.values()]
                        for row in found.to_pylist()]  # fmt: skip
    assert rows[java] == rows[other] == [[200, 18446744073709551615, 7]]


def test_parameters_are_asked_for_as_the_driver_writes_them(
    java: RawClient, other: RawClient
) -> None:
    """The driver writes milliseconds whatever the unit, and nothing into a column of nulls."""
    asked = {
        client: pa.ipc.read_schema(pa.py_buffer(client.prepare(PREPARED).parameter_schema)).types
        for client in (java, other)
    }
    assert asked[java] == [
        pa.timestamp("ms"), pa.time32("ms"), pa.string(), pa.decimal128(20, 0),
    ]  # fmt: skip
    assert asked[other] == [pa.timestamp("us"), pa.time64("us"), pa.null(), pa.uint64()]
