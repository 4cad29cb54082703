"""The short way of the project's own client, by hand: rows in the answer to GetFlightInfo."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyarrow import flight

from gateway.errors import ParseError
from gateway.serve.flight.direct import MAXIMUM_BYTES, Direct, values_of
from gateway.serve.flight.framing import flight_data, is_compressed, sent
from gateway.serve.flight.messages import make, pack
from tests.flight.raw import FAULTS, RawClient
from tests.flight.test_statements import code_in
from tests.served import MANY, Served, within

SPOKEN = (b"x-sqluice-direct", b"1")
MASKED = "select tailnum from operations.departures order by flight_id limit 3"
FEW = "select carrier, name from network.reference.airlines where carrier < ? order by carrier"
LARGE = "select flight_id, tailnum from operations.departures order by flight_id"


@pytest.fixture
def raw(gateway: Served) -> Iterator[RawClient]:
    """Nora, by hand; afterwards nothing runs."""
    with RawClient(gateway.flight, "nora") as client:
        yield client
    assert within(5, gateway.is_idle)


def ask(raw: RawClient, sql: str, *headers: tuple[bytes, bytes]) -> flight.FlightInfo:
    command = pack(make("CommandStatementQuery", query=sql))
    descriptor = flight.FlightDescriptor.for_command(command)
    return raw.client.get_flight_info(descriptor, raw.with_headers(*headers))


def rows(info: flight.FlightInfo) -> list[dict[str, object]]:
    """What came with the schema."""
    sent = b64decode(info.schema.metadata[b"sqluice.rows"])
    if not sent:
        return []
    batch = pa.ipc.read_record_batch(pa.py_buffer(sent), info.schema)
    return [dict(one) for one in batch.to_pylist()]


def values(*given: object) -> tuple[bytes, bytes]:
    row = pa.table({str(place): [one] for place, one in enumerate(given)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, row.schema) as writer:
        writer.write_table(row)
    return b"x-sqluice-values", b64encode(sink.getvalue().to_pybytes())


def begun(info: flight.FlightInfo) -> bytes:
    return bytes(info.schema.metadata[b"sqluice.begun"])


def test_a_small_answer_comes_with_its_schema(raw: RawClient) -> None:
    want = raw.reader(raw.start(MASKED)).read_all().to_pylist()
    info = ask(raw, MASKED, SPOKEN)
    assert rows(info) == want and not info.endpoints
    assert info.schema.metadata[b"sqluice.masked"] == b'["operations.departures.flights.tailnum"]'
    assert rows(ask(raw, "select 1 as one", SPOKEN)) == [{"one": 1}]
    empty = "select carrier from network.reference.airlines where false"
    assert rows(ask(raw, empty, SPOKEN)) == []


def test_who_does_not_say_that_he_reads_it_gets_no_rows_there(raw: RawClient) -> None:
    info = ask(raw, MASKED, values("B6"))
    assert len(info.endpoints) == 1
    assert not {b"sqluice.rows", b"sqluice.begun"} & set(info.schema.metadata)
    assert raw.reader(info).read_all().num_rows == 3


def test_values_come_with_the_call(raw: RawClient) -> None:
    answers = [rows(ask(raw, FEW, SPOKEN, values(one))) for one in ("AA", "B6", None)]
    found = [[one["carrier"] for one in answer] for answer in answers]
    assert found == [["9E"], ["9E", "AA", "AS"], []]


@pytest.mark.parametrize("sent", [b"no base64", b64encode(b"no stream"), b"eA"])
def test_values_that_are_none_are_refused(raw: RawClient, sent: bytes) -> None:
    with pytest.raises(FAULTS) as caught:
        ask(raw, FEW, SPOKEN, (b"x-sqluice-values", sent))
    assert code_in(caught.value) == "parse_error"


def test_a_large_answer_is_fetched_as_ever_and_once(raw: RawClient) -> None:
    want = raw.reader(raw.start(LARGE)).read_all()
    assert want.nbytes > MAXIMUM_BYTES
    first = ask(raw, LARGE, SPOKEN)
    assert b"sqluice.rows" not in first.schema.metadata
    again = ask(raw, "", SPOKEN, (b"x-sqluice-begun", begun(first)))
    assert raw.reader(again).read_all().equals(want)
    with pytest.raises(FAULTS) as caught:
        ask(raw, "", SPOKEN, (b"x-sqluice-begun", begun(first)))
    assert code_in(caught.value) == "unknown_table"


def test_what_another_has_begun_is_nobody_elses(raw: RawClient, gateway: Served) -> None:
    handle = begun(ask(raw, LARGE, SPOKEN))
    with RawClient(gateway.flight, "otto") as other:
        with pytest.raises(FAULTS) as caught:
            ask(other, "", SPOKEN, (b"x-sqluice-begun", handle))
        assert code_in(caught.value) == "unknown_table"
        ask(other, "", SPOKEN, (b"x-sqluice-left", handle))
    assert raw.reader(ask(raw, "", SPOKEN, (b"x-sqluice-begun", handle))).read_all().num_rows


def test_what_is_left_ends_at_its_source(raw: RawClient, gateway: Served) -> None:
    handle = begun(ask(raw, MANY, SPOKEN))
    assert gateway.is_busy()
    ask(raw, "", SPOKEN, (b"x-sqluice-left", handle))
    assert within(2, gateway.is_idle)


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_what_is_compressed_is_not_taken(kind: pa.DataType) -> None:
    """Few bytes of it may be very many; the control is the same row as it is."""
    row = pa.record_batch([pa.array(["x" * 100_000], kind)], names=["0"])
    for compression in ("zstd", None):
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_stream(sink, row.schema, options=options) as writer:
            writer.write_batch(row)
        content = sink.getvalue().to_pybytes()
        messages = list(pa.ipc.MessageReader.open_stream(content))
        kinds = [is_compressed(one.metadata.to_pybytes()) for one in messages]
        assert any(kinds) == (compression is not None)
        direct = Direct(True, b64encode(content).decode())
        if compression is None:
            assert values_of(direct) == ("x" * 100_000,)
            assert len(content) > 100_000
            continue
        assert len(content) < 10_000
        with pytest.raises(ParseError, match="Compressed"):
            values_of(direct)
        sent_by_put = [flight_data(one) for one in messages]
        with pytest.raises(ParseError, match="Compressed"):
            list(sent(sent_by_put)[1])


@pytest.mark.parametrize("header", [b"", b"\xff" * 40, bytes(8), b"\x10\0\0\0" + bytes(12)])
def test_a_header_that_is_none_is_refused_or_plain(header: bytes) -> None:
    try:
        assert not is_compressed(header)
    except ParseError as error:
        assert "no record batches" in error.message
