"""PollFlightInfo: a statement that tells how far it is, through ADBC and by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import adbc_driver_manager
import grpc
import pyarrow as pa
import pytest
from adbc_driver_flightsql import dbapi
from pyarrow import flight

from gateway.serve.flight.messages import make, pack, parse
from tests.flight.raw import RawClient
from tests.served import SLOW, Served, within

# Two fragments, and a merge that takes seconds.
JOINED = (
    "select count(*) as n from operations.departures a join network.reference.airlines c "
    "on a.carrier = c.carrier, range(40000) t(i) where a.flight_id + length(c.name) + t.i < 0"
)


class Polling:
    """Polls of one user, over a channel of gRPC's own client."""

    def __init__(self, gateway: Served, raw: RawClient) -> None:
        parts = urlsplit(gateway.flight)
        self.channel = grpc.insecure_channel(f"{parts.hostname}:{parts.port}")
        self.signed = ((raw.token[0].decode(), raw.token[1].decode()),)
        self.call: Any = self.channel.unary_unary(
            "/arrow.flight.protocol.FlightService/PollFlightInfo"
        )

    def ask(self, descriptor: bytes) -> Any:  # noqa: ANN401 - a message built at run time
        """One poll."""
        return parse("FlightPollInfo", self.call(descriptor, metadata=self.signed, timeout=30))

    def begin(self, sql: str) -> Any:  # noqa: ANN401
        """The first one."""
        command = pack(make("CommandStatementQuery", query=sql))
        return self.ask(flight.FlightDescriptor.for_command(command).serialize())


@pytest.fixture
def raw(gateway: Served) -> Iterator[RawClient]:
    """Nora, by hand; afterwards nothing runs."""
    with RawClient(gateway.flight, "nora") as client:
        yield client
    assert gateway.is_idle()


@pytest.fixture
def polling(gateway: Served, raw: RawClient) -> Iterator[Polling]:
    """Nora's polls."""
    made = Polling(gateway, raw)
    yield made
    made.channel.close()


def test_a_quick_statement_is_whole_at_once(polling: Polling, raw: RawClient) -> None:
    told = polling.begin("select 42 as x")
    assert not told.flight_descriptor and told.progress == 1.0
    info = flight.FlightInfo.deserialize(told.info)
    assert raw.reader(info).read_all().to_pylist() == [{"x": 42}]


def test_a_slow_one_tells_how_far_it_is(polling: Polling, raw: RawClient) -> None:
    for _ in range(5):  # where the machine is late, nobody looks before the end
        told = polling.begin(JOINED)
        seen = [told.progress]
        until = time.monotonic() + 60
        while told.flight_descriptor and time.monotonic() < until:
            assert flight.FlightInfo.deserialize(told.info).endpoints == []
            told = polling.ask(told.flight_descriptor)
            seen.append(told.progress)
        assert seen == sorted(seen) and seen[-1] == 1.0
        if any(0.0 < one < 1.0 for one in seen):
            break
    assert any(0.0 < one < 1.0 for one in seen), seen
    info = flight.FlightInfo.deserialize(told.info)
    assert raw.reader(info).read_all().to_pylist() == [{"n": 0}]


def test_a_poll_is_its_users_own(polling: Polling, gateway: Served, raw: RawClient) -> None:
    told = polling.begin(SLOW)
    assert told.flight_descriptor
    with RawClient(gateway.flight, "carl") as other:
        strange = Polling(gateway, other)
        with pytest.raises(grpc.RpcError) as caught:
            strange.ask(told.flight_descriptor)
        strange.channel.close()
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert polling.ask(told.flight_descriptor).flight_descriptor
    stop_polling(polling, told.flight_descriptor, gateway)


def stop_polling(polling: Polling, descriptor: bytes, gateway: Served) -> None:
    """A client who leaves while he polls stops the statement."""
    assert within(60, gateway.running)

    def leaves() -> bool:
        # A poll that has not reached the gateway yet stops nothing.
        call = polling.call.future(descriptor, metadata=polling.signed, timeout=30)
        time.sleep(0.1)
        call.cancel()
        return within(2, lambda: not gateway.running())

    assert within(60, leaves)


def test_a_statement_that_fails_says_so_in_a_poll(polling: Polling) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        polling.begin("select nothing from network.reference.airlines")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert str(caught.value.details()).startswith("unknown_column: ")


def test_adbc_shows_progress(gateway: Served) -> None:
    # Where the machine is late, nobody looks before the end.
    assert any(0.0 < one < 1.0 for _ in range(5) for one in progress_of_adbc(gateway))


def progress_of_adbc(gateway: Served) -> set[float]:
    seen: set[float] = set()
    with gateway.connect() as connection, connection.cursor() as cursor:
        statement = cursor.adbc_statement
        statement.set_options(**{"adbc.statement.exec.incremental": "true"})
        statement.set_sql_query(JOINED)
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.05):
                seen.add(statement.get_option_float("adbc.statement.exec.progress"))

        looking = threading.Thread(target=look)
        looking.start()
        partitions, schema, _ = statement.execute_partitions()
        ended.set()
        looking.join()
        assert len(partitions) == 1 and schema is not None
        handle = connection.adbc_connection.read_partition(partitions[0])
        found = pa.RecordBatchReader._import_from_c(handle.address).read_all()
    assert found.to_pylist() == [{"n": 0}]
    return seen


CLASSES = {
    "selec 1": "ProgrammingError",
    "select nothing from network.reference.airlines": "ProgrammingError",
    "select 1 from network.reference.nothing": "ProgrammingError",
    "select carrier + 1 + date '2020-01-01' from network.reference.airlines": "ProgrammingError",
    "delete from network.reference.airlines": "NotSupportedError",
    "pivot network.reference.airlines on carrier": "NotSupportedError",
}


@pytest.mark.parametrize("sql", CLASSES)
def test_a_stock_client_raises_the_class_of_the_error(gateway: Served, sql: str) -> None:
    with gateway.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(dbapi.Error) as caught:
            cursor.execute(sql)
        assert type(caught.value).__name__ == CLASSES[sql]
        assert isinstance(caught.value, adbc_driver_manager.Error)
        assert "Traceback" not in str(caught.value)
