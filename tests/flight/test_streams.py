"""Streaming over Flight: back-pressure, cancelling, leaving, errors in mid-stream.

What runs is counted at the source (pg_stat_activity) and in batches; time only bounds the waiting.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import adbc_driver_manager
import pyarrow as pa
import pytest
from pyarrow import flight

from gateway.serve.flight.messages import make, pack, unpack
from tests.flight.raw import FAULTS, RawClient
from tests.flight.test_statements import code_in
from tests.sample import SampleMesh
from tests.served import MANY, SLOW, SLOW_MERGE, Served, at_rest, within

BATCH = 65_536
# The batch at hand, and those in gRPC's and the socket's buffers: a batch is a MiB here, and
# Linux lets the two buffers of a loopback connection grow to 36 MiB. The whole is far larger.
AHEAD = 40 * BATCH
# Its last rows cannot be cast; PostgreSQL is not asked, so that the merge streams them.
LATE = (
    "select case when i < 1900000 then i else cast('x' || i as bigint) end as x "
    "from range(0, 2000000) as t(i)"
)


@pytest.fixture
def raw(gateway: Served) -> Iterator[RawClient]:
    """Nora, by hand; afterwards nothing runs."""
    with RawClient(gateway.flight, "nora") as client:
        yield client
    assert gateway.is_idle()


def query_id(info: flight.FlightInfo) -> str:
    """The id that travels with the schema."""
    return str(info.schema.metadata[b"sqluice.query_id"].decode())


def drain(reader: flight.FlightStreamReader) -> None:
    """Read to the end, by chunks: pyarrow's `read_all` takes CANCELLED for Ctrl-C."""
    with contextlib.suppress(StopIteration):
        while True:
            reader.read_chunk()


def test_a_slow_reader_holds_the_source_back(raw: RawClient, gateway: Served) -> None:
    info = raw.start(MANY)
    reader = raw.reader(info)
    read = reader.read_chunk().data.num_rows
    counts = [at_rest(lambda: gateway.rows_left(query_id(info)))]
    assert read <= counts[0] < AHEAD
    assert within(60, lambda: gateway.running() == 1)
    while read < 10 * BATCH:
        read += reader.read_chunk().data.num_rows
    counts.append(at_rest(lambda: gateway.rows_left(query_id(info))))
    assert counts[0] < counts[1] < read + AHEAD
    reader.cancel()


def test_a_result_that_nobody_fetches_is_not_read_ahead(raw: RawClient, gateway: Served) -> None:
    info = raw.start(MANY)
    assert at_rest(lambda: gateway.rows_left(query_id(info))) <= BATCH
    assert raw.cancel(info) == 1


@pytest.mark.parametrize(
    "sql",
    [
        MANY,
        "select a.flight_id + b.flight_id as x from operations.departures a, "
        "operations.departures b where a.origin like 'E%' limit 5000000",
    ],
    ids=["whole", "merged"],
)
def test_fragments_are_not_read_ahead(sample: SampleMesh, sql: str) -> None:
    """One batch of the answer is taken; so many rows were fetched for it, and no more follow."""
    result = sample.opened.gateway.answer(sample.request("nora", sql))
    try:
        assert next(result.batches()).num_rows > 0
        fetched = sum(result.fetched.values())
        assert 0 < fetched < AHEAD
        assert at_rest(lambda: sum(result.fetched.values())) < AHEAD
    finally:
        result.close()


def test_a_whole_table_streams(sample: SampleMesh, gateway: Served) -> None:
    """Nothing on the way holds a whole answer: the largest batch bounds it."""
    with gateway.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select * from operations.departures")
        reader = cursor.fetch_record_batch()
        rows = sum(batch.num_rows for batch in reader)
    assert rows == sample.ask("nora", "select flight_id from operations.departures").num_rows


def _cancel_info(raw: RawClient, info: flight.FlightInfo) -> bool:
    return raw.cancel(info) == 1


def _cancel_query(raw: RawClient, info: flight.FlightInfo) -> bool:
    body = pack(make("ActionCancelQueryRequest", info=info.serialize()))
    (answer,) = raw.act("CancelQuery", body)
    return int(unpack(answer)[1].result) == 1


@pytest.mark.parametrize("cancel", [_cancel_info, _cancel_query])
@pytest.mark.parametrize("is_read", [False, True], ids=["waiting", "streaming"])
def test_cancel_reaches_the_source(
    raw: RawClient,
    gateway: Served,
    cancel: Callable[[RawClient, flight.FlightInfo], bool],
    is_read: bool,
) -> None:
    info = raw.start(MANY)
    reader = raw.reader(info) if is_read else None
    if reader is not None:
        reader.read_chunk()
    assert within(60, lambda: gateway.running() == 1)
    assert cancel(raw, info)
    assert within(60, lambda: gateway.running() == 0)
    with pytest.raises(FAULTS) as caught:
        drain(reader or raw.reader(info))
    assert code_in(caught.value) == ("cancelled" if is_read else "unknown_table")
    assert not cancel(raw, info)
    assert gateway.ask(f"/v1/queries/{query_id(info)}").json["state"] == "cancelled"


@pytest.mark.parametrize("is_read", [False, True], ids=["waiting", "streaming"])
def test_closing_the_session_ends_what_it_began(gateway: Served, is_read: bool) -> None:
    with RawClient(gateway.flight, "nora") as one, RawClient(gateway.flight, "nora") as other:
        info, kept = one.start(MANY), other.start(MANY)
        reader = one.reader(info) if is_read else None
        if reader is not None:
            reader.read_chunk()
        assert within(60, lambda: gateway.running() == 2)
        assert len(one.act("CloseSession")) == 1
        assert within(60, lambda: gateway.running() == 1)
        with pytest.raises(FAULTS):
            drain(reader or one.reader(info))
        assert other.cancel(kept) == 1
    assert within(60, gateway.is_idle)


@pytest.mark.parametrize("sql", [SLOW, SLOW_MERGE], ids=["at the source", "in the merge"])
def test_cancel_before_the_first_batch(gateway: Served, sql: str) -> None:
    with gateway.connect() as connection, connection.cursor() as cursor:
        is_there = gateway.is_busy if sql == SLOW_MERGE else gateway.running

        def cancel() -> None:
            assert within(60, is_there)
            cursor.adbc_cancel()

        other = threading.Thread(target=cancel)
        other.start()
        with pytest.raises(adbc_driver_manager.Error):
            cursor.execute(sql)
        other.join()
        assert gateway.is_idle()
        cursor.execute("select 1")
        assert cursor.fetchall() == [(1,)]


def test_closing_the_cursor_stops_the_source(gateway: Served) -> None:
    with gateway.connect() as connection:
        with connection.cursor() as cursor:
            cursor.execute(MANY)
            assert cursor.fetch_record_batch().read_next_batch().num_rows
            assert within(60, lambda: gateway.running() == 1)
        assert gateway.is_idle()


@pytest.mark.parametrize(
    ("sql", "calls"),
    [
        (MANY, ["HANDSHAKE", "GET_FLIGHT_INFO", "DO_GET"]),
        (SLOW, ["HANDSHAKE", "GET_FLIGHT_INFO"]),
        (SLOW_MERGE, ["HANDSHAKE", "GET_FLIGHT_INFO"]),
    ],
    ids=["streaming", "at the source", "in the merge"],
)
def test_a_client_that_is_killed_stops_the_source(
    gateway: Served, sql: str, calls: list[str]
) -> None:
    # What was begun and is not fetched yet waits for a minute: the call must be under way.
    script = (
        "import sys; from pyarrow import flight\n"
        "class Telling(flight.ClientMiddleware, flight.ClientMiddlewareFactory):\n"
        "    def start_call(self, info):\n"
        "        print(info.method.name, flush=True)\n"
        "        return self\n"
        "client = flight.FlightClient(sys.argv[1], middleware=[Telling()])\n"
        "token = client.authenticate_basic_token('nora', 'nora-demo')\n"
        "options = flight.FlightCallOptions(headers=[token])\n"
        "command = flight.FlightDescriptor.for_command(bytes.fromhex(sys.argv[2]))\n"
        "info = client.get_flight_info(command, options)\n"
        # A reader that nobody holds cancels its call.
        "reader = client.do_get(info.endpoints[0].ticket, options)\n"
        "reader.read_chunk(); sys.stdin.read()"
    )
    statement = pack(make("CommandStatementQuery", query=sql)).hex()
    command = [sys.executable, "-c", script, gateway.flight, statement]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in calls]
        is_there = gateway.is_busy if sql == SLOW_MERGE else gateway.running
        is_running = within(60, is_there)
        time.sleep(0.5)
        process.kill()
    assert told == calls
    assert is_running
    assert gateway.is_idle()


def test_an_error_after_the_first_batch_is_no_clean_end(raw: RawClient) -> None:
    reader = raw.reader(raw.start(LATE))
    rows = reader.read_chunk().data.num_rows
    assert rows > 0
    with pytest.raises(FAULTS) as caught:
        while True:
            rows += reader.read_chunk().data.num_rows
    assert code_in(caught.value) == "type_error"
    assert rows < 1_900_000 + BATCH
    assert "x19" not in str(caught.value)


def test_a_source_that_dies_in_mid_stream_is_no_clean_end(raw: RawClient, gateway: Served) -> None:
    reader = raw.reader(raw.start(MANY))
    assert reader.read_chunk().data.num_rows
    assert gateway.terminate() == 1
    with pytest.raises(FAULTS) as caught:
        drain(reader)
    assert code_in(caught.value) in ("source_error", "source_unavailable")
    assert raw.read("CommandStatementQuery", query="select 1 as x").num_rows == 1


def test_the_client_of_sqluice_keeps_the_code_of_a_late_error(gateway: Served) -> None:
    import sqluice  # noqa: PLC0415 - the stock drivers are what this module is about

    with sqluice.connect(gateway.flight, user="nora", password="nora-demo") as connection:
        cursor = connection.execute(LATE)
        assert cursor.fetchone() == (0,)
        with pytest.raises(sqluice.DataError) as caught:
            cursor.fetchall()
        assert caught.value.code == "type_error"


def test_batches_are_no_larger_than_clients_take(gateway: Served) -> None:
    """The stock driver takes messages of up to 16 MiB."""
    sql = "select repeat('x', 2000) as x from range(0, 40000)"
    with gateway.connect() as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        batches: list[pa.RecordBatch] = list(cursor.fetch_record_batch())
    assert sum(one.num_rows for one in batches) == 40_000
    assert max(one.nbytes for one in batches) <= 8 * 1024 * 1024 + 65_536


def test_a_few_long_rows_among_many_short_ones(gateway: Served) -> None:
    """Four values of 5 MB stand beside each other, and are a quarter of what their batch has."""
    text = "case when i between 500 and 503 then repeat(repeat('x', 100000), 50) else 'y' end"
    sql = f"select i, {text} as x from range(0, 1000) as r(i) order by i"
    with gateway.connect() as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        found = cursor.fetch_arrow_table()
    assert found.column("i").to_pylist() == list(range(1000))
    lengths = [len(one) for one in found.column("x").to_pylist()]
    assert lengths == [5_000_000 if 500 <= i <= 503 else 1 for i in range(1000)]


def test_a_row_that_no_message_holds(gateway: Served, raw: RawClient) -> None:
    """The client is told what to do, in the place of gRPC's own words."""
    sql = "select repeat(repeat('x', 100000), 170) as x"
    with pytest.raises(flight.FlightError) as caught:
        raw.read("CommandStatementQuery", query=sql)
    assert code_in(caught.value) == "limit_exceeded"
    assert "substr" in str(caught.value)
    answer = gateway.query(sql)
    assert len(answer.json["rows"][0][0]) == 17_000_000


def test_too_many_open_streams(raw: RawClient, gateway: Served) -> None:
    held = []
    with RawClient(gateway.flight, "carl") as carl:
        with pytest.raises(flight.FlightUnavailableError) as caught:
            for _ in range(40):
                held.append(carl.start("show tables"))
        assert code_in(caught.value) == "rate_limited"
        assert len(held) == 16
        for info in held:
            assert carl.cancel(info) == 1
        carl.read("CommandStatementQuery", query="show tables")
        assert raw.read("CommandStatementQuery", query="select 1 as x").num_rows == 1
