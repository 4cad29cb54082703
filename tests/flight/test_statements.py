"""Sign-in, statements, prepared statements, tickets, refusals: Flight SQL on a real socket."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial

import adbc_driver_manager
import pyarrow as pa
import pytest
from adbc_driver_flightsql import DatabaseOptions, dbapi
from pyarrow import flight

from gateway.serve.flight.messages import make, pack
from sqluice.codes import CODES
from sqluice.details import facts_of
from tests.flight.raw import FAULTS, RawClient
from tests.served import MANY, Served, basic, within

ONE = "select carrier from network.reference.airlines order by carrier limit 2"
PRIVATE = re.compile(r"Traceback|File \"|\.py\b|/\w+/\w+/|postgresql://")
# A value, or an Arrow array of one; what comes back, and of which type.
VALUES: dict[str, tuple[object, pa.DataType, object]] = {
    "integer": (1, pa.int32(), 1),
    "bigint": (2**40, pa.int64(), 2**40),
    "boolean": (True, pa.bool_(), True),
    "double": (1.5, pa.float64(), 1.5),
    "text": ("é'\"", pa.string(), "é'\""),
    "bytes": (b"\x00\xff", pa.binary(), b"\x00\xff"),
    "date": (date(2013, 1, 31), pa.date32(), date(2013, 1, 31)),
    "time": (time(1, 2, 3, 4), pa.time64("us"), time(1, 2, 3, 4)),
    "timestamp": (datetime(2013, 1, 2, 3, 4), pa.timestamp("us"), datetime(2013, 1, 2, 3, 4)),
    "zoned": (
        datetime(2013, 1, 2, 3, 4, tzinfo=UTC),
        pa.timestamp("us", "UTC"),
        datetime(2013, 1, 2, 3, 4, tzinfo=UTC),
    ),
    "decimal": (
        pa.array([Decimal("1.50")], pa.decimal128(12, 2)), pa.decimal128(3, 2), Decimal("1.50"),
    ),
    "wide decimal": (
        pa.array([Decimal(10**37)], pa.decimal128(38, 0)), pa.decimal128(38, 0), Decimal(10**37),
    ),
    "int8": (pa.array([-3], pa.int8()), pa.int32(), -3),
    "uint64": (pa.array([2**63], pa.uint64()), pa.uint64(), 2**63),
    "float": (pa.array([0.5], pa.float32()), pa.float64(), 0.5),
    "large text": (pa.array(["x"], pa.large_string()), pa.string(), "x"),
    "text view": (pa.array(["x"], pa.string_view()), pa.string(), "x"),
    "dictionary": (pa.array(["x"]).dictionary_encode(), pa.string(), "x"),
    "date64": (pa.array([date(2013, 1, 1)], pa.date64()), pa.date32(), date(2013, 1, 1)),
    "nanoseconds": (
        pa.array([1_000], pa.timestamp("ns")), pa.timestamp("us"), datetime(1970, 1, 1, 0, 0, 0, 1),
    ),
    "list": (pa.array([[1, 2]]), pa.list_(pa.int32()), [1, 2]),
    "struct": (pa.array([{"a": 1}]), pa.struct([("a", pa.int32())]), {"a": 1}),
}  # fmt: skip


@pytest.fixture(scope="module")
def raw(gateway: Served) -> Iterator[RawClient]:
    """Nora, by hand."""
    with RawClient(gateway.flight, "nora") as client:
        yield client


@pytest.fixture(scope="module")
def connection(gateway: Served) -> Iterator[dbapi.Connection]:
    """Nora, by the stock driver."""
    with gateway.connect() as made:
        yield made


def code_in(text: object) -> str:
    """The code of an error's text, in which nothing is private."""
    assert not PRIVATE.search(str(text)), text
    found = [one for one in re.findall(r"([a-z_]+): ", str(text)) if one in CODES]
    assert found, text
    return str(found[0])


def test_a_handshake_gives_a_token_that_signs_in(gateway: Served) -> None:
    raw = RawClient(gateway.flight, "nora")
    assert raw.token[0] == b"authorization" and raw.token[1].startswith(b"Bearer ")
    bearer = gateway.ask("/v1/query", {"sql": ONE}, Authorization=raw.token[1].decode())
    assert bearer.json["rows"] == [["9E"], ["AA"]]
    options = {DatabaseOptions.AUTHORIZATION_HEADER.value: raw.token[1].decode()}
    with (
        dbapi.connect(gateway.flight, db_kwargs=options, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(ONE)
        assert cursor.fetchall() == [("9E",), ("AA",)]
    with raw, pytest.raises(flight.FlightUnauthenticatedError):
        raw.start(ONE)  # the driver has closed the session


@pytest.mark.parametrize(
    ("user", "password"), [("nora", "guessed-it"), ("nora", ""), ("nobody", "nora-demo"), ("", "")]
)
def test_a_wrong_password(gateway: Served, user: str, password: str) -> None:
    with pytest.raises(flight.FlightUnauthenticatedError) as caught:
        RawClient(gateway.flight, user, password)
    assert code_in(caught.value) == "unauthenticated"
    assert not password or password not in str(caught.value)


# What is no sign-in at all; a token that is none counts as a failed one, and each is slowed.
UNSIGNED = ["", "Basic !", "Digest x"]


@pytest.mark.parametrize("header", [*UNSIGNED, "Bearer x", "Bearer"])
def test_calls_without_a_sign_in(gateway: Served, header: str) -> None:
    headers = [(b"authorization", header.encode())] if header else []
    options = flight.FlightCallOptions(headers=headers)
    command = pack(make("CommandStatementQuery", query=ONE))
    with flight.FlightClient(gateway.flight) as client:
        calls: list[Callable[[], object]] = [
            lambda: client.get_flight_info(flight.FlightDescriptor.for_command(command), options),
            lambda: client.do_get(flight.Ticket(command), options).read_all(),
            lambda: list(client.do_action(flight.Action("CreatePreparedStatement", b""), options)),
            lambda: list(client.list_actions(options)),
        ]
        for call in calls if header in UNSIGNED else calls[:1]:
            with pytest.raises(flight.FlightUnauthenticatedError) as caught:
                call()
            assert code_in(caught.value) == "unauthenticated"


def test_a_closed_session_is_over(gateway: Served) -> None:
    with RawClient(gateway.flight, "nora") as client:
        assert len(client.act("CloseSession")) == 1
        with pytest.raises(flight.FlightUnauthenticatedError):
            client.start(ONE)


def test_a_statement(raw: RawClient) -> None:
    info = raw.start("select tailnum, year from fleet.aircraft limit 3")
    assert info.schema.metadata[b"sqluice.query_id"].startswith(b"q_")
    assert info.schema.metadata[b"sqluice.masked"] == b'["fleet.aircraft.planes.tailnum"]'
    found = raw.reader(info).read_all()
    assert found.schema.equals(info.schema, check_metadata=False)
    assert found.num_rows == 3
    assert all(one.as_py().startswith("p_") for one in found["tailnum"])


def test_get_schema_tells_the_shape_and_runs_nothing(raw: RawClient, gateway: Served) -> None:
    command = pack(make("CommandStatementQuery", query=MANY))
    found = raw.client.get_schema(flight.FlightDescriptor.for_command(command), raw.options)
    assert found.schema.names == ["one", "other"]
    assert within(60, lambda: gateway.running() == 0)
    sql = "select nothing from network.reference.airlines"
    wrong = pack(make("CommandStatementQuery", query=sql))
    with pytest.raises(FAULTS) as caught:
        raw.client.get_schema(flight.FlightDescriptor.for_command(wrong), raw.options)
    assert code_in(caught.value) == "unknown_column"


def test_a_ticket_is_used_once(raw: RawClient) -> None:
    info = raw.start(ONE)
    assert raw.reader(info).read_all().num_rows == 2
    with pytest.raises(FAULTS) as caught:
        raw.reader(info).read_all()
    assert code_in(caught.value) == "unknown_table"


def test_a_ticket_belongs_to_its_principal(raw: RawClient, gateway: Served) -> None:
    info = raw.start(ONE)
    with RawClient(gateway.flight, "carl") as other:
        with pytest.raises(FAULTS) as caught:
            other.reader(info).read_all()
        assert code_in(caught.value) == "unknown_table"
        assert other.cancel(info) == 3
    assert raw.reader(info).read_all().num_rows == 2


def test_a_prepared_statement_belongs_to_its_session(raw: RawClient, gateway: Served) -> None:
    handle = raw.prepare(ONE).prepared_statement_handle
    query = "CommandPreparedStatementQuery"
    assert raw.read(query, prepared_statement_handle=handle).num_rows == 2
    with RawClient(gateway.flight, "nora") as other, pytest.raises(FAULTS):
        other.info(query, prepared_statement_handle=handle)
    raw.act(
        "ClosePreparedStatement",
        pack(make("ActionClosePreparedStatementRequest", prepared_statement_handle=handle)),
    )
    with pytest.raises(FAULTS) as caught:
        raw.info(query, prepared_statement_handle=handle)
    assert code_in(caught.value) == "unknown_table"


def test_preparing_tells_both_schemas_and_runs_nothing(raw: RawClient) -> None:
    made = raw.prepare("select flight_id, ? as x from operations.departures where month = ?")
    answer = pa.ipc.read_schema(pa.py_buffer(made.dataset_schema))
    assert (answer.names, answer.types[0]) == (["flight_id", "x"], pa.int64())
    parameters = pa.ipc.read_schema(pa.py_buffer(made.parameter_schema))
    assert parameters.names == ["1", "2"]
    with pytest.raises(FAULTS) as caught:
        raw.info(
            "CommandPreparedStatementQuery",
            prepared_statement_handle=made.prepared_statement_handle,
        )
    assert code_in(caught.value) == "unsupported_sql"


def test_execution_again_with_other_values(connection: dbapi.Connection) -> None:
    sql = "select count(*) as n from operations.departures where month = ? and origin = ?"
    with connection.cursor() as cursor:
        cursor.adbc_prepare(sql)
        counts = []
        for values in ((1, "EWR"), (1, "JFK"), (2, "EWR"), (1, None)):
            cursor.execute(sql, values)
            counts.append(cursor.fetchall()[0][0])
        assert counts[3] == 0 and len(set(counts)) == 4
        cursor.execute(sql, (1, "EWR"))
        assert cursor.fetchall()[0][0] == counts[0]


@pytest.mark.parametrize("name", VALUES)
def test_parameters_of_every_type(connection: dbapi.Connection, name: str) -> None:
    given, kind, wanted = VALUES[name]
    array = given if isinstance(given, pa.Array) else pa.array([given])
    with connection.cursor() as cursor:
        for values, expected in ((array, wanted), (pa.nulls(1, array.type), None)):
            cursor.execute("select ? as x", pa.record_batch([values], names=["1"]))
            found = cursor.fetch_arrow_table()
            assert found["x"].to_pylist() == [expected]
            if expected is not None:
                assert found.schema.field("x").type == kind


def test_a_parameter_finer_than_the_gateway_can_hold(connection: dbapi.Connection) -> None:
    values = pa.record_batch([pa.array([1], pa.timestamp("ns"))], names=["1"])
    with connection.cursor() as cursor, pytest.raises(adbc_driver_manager.Error) as caught:
        cursor.execute("select ? as x", values)
    assert code_in(caught.value) == "type_error"


def test_many_rows_of_parameters_are_refused(connection: dbapi.Connection) -> None:
    with connection.cursor() as cursor, pytest.raises(adbc_driver_manager.Error):
        cursor.executemany("select ? as x", [(1,), (2,)])
    two = pa.record_batch([pa.array([1, 2])], names=["1"])
    with connection.cursor() as cursor, pytest.raises(adbc_driver_manager.Error) as caught:
        cursor.execute("select ? as x", two)
    assert code_in(caught.value) == "unsupported_sql"


@pytest.mark.parametrize(
    "command",
    ["CommandStatementUpdate", "CommandStatementIngest", "CommandPreparedStatementUpdate"],
)
def test_writes_are_refused_on_every_path(raw: RawClient, command: str) -> None:
    fields: dict[str, object] = {
        "CommandStatementUpdate": {"query": "delete from fleet.aircraft"},
        "CommandStatementIngest": {"table": "planes"},
        "CommandPreparedStatementUpdate": {
            "prepared_statement_handle": raw.prepare(ONE).prepared_statement_handle
        },
    }
    with pytest.raises(FAULTS) as caught:
        raw.put(command, pa.table({"a": [1]}), **fields[command])  # type: ignore[arg-type]
    assert code_in(caught.value) == "unsupported_sql"


@pytest.mark.parametrize(
    "share",
    [
        "quantile_disc(lat, ?)", "quantile_cont(lat, [0.1, ?])[2]",
        "approx_quantile(lat, ?::float)",
        "percentile_cont(?) within group (order by lat)", "quantile_cont(lat, ? order by lat)",
        "quantile(lat, ?::double)",
    ],
)  # fmt: skip
def test_the_share_of_a_quantile_is_a_parameter(connection: dbapi.Connection, share: str) -> None:
    """It is prepared before its value is known, and no binder takes NULL there."""
    sql = f"select {share} from (values (1.0::double), (2.0), (3.0)) as t (lat)"
    with connection.cursor() as cursor:
        cursor.execute(sql, [0.99])
        assert cursor.fetchall()[0][0] > 2.9


@pytest.mark.parametrize(
    "sql",
    [
        "delete from fleet.aircraft",
        "insert into fleet.aircraft select * from fleet.aircraft",
        "create table x as select 1",
        "with d as (delete from fleet.aircraft returning *) select * from d",
    ],
)
def test_writes_are_refused_as_statements(raw: RawClient, sql: str) -> None:
    for call in (raw.start, raw.prepare):
        with pytest.raises(FAULTS) as caught:
            call(sql)
        assert code_in(caught.value) == "unsupported_sql"


def test_the_stock_driver_cannot_write(connection: dbapi.Connection) -> None:
    with connection.cursor() as cursor, pytest.raises(adbc_driver_manager.Error) as caught:
        cursor.adbc_ingest("planes", pa.table({"a": [1]}), mode="append")
    assert code_in(caught.value) == "unsupported_sql"
    with connection.cursor() as cursor, pytest.raises(adbc_driver_manager.Error):
        cursor.executescript("delete from fleet.aircraft")


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("selec 1", "parse_error"),
        ("select * from no.such.thing", "unknown_table"),
        ("select * from loyalty.members", "unknown_table"),
        ("select wings from fleet.aircraft", "unknown_column"),
        ("select cast(model as integer) from fleet.aircraft", "type_error"),
        ("drop table fleet.aircraft", "unsupported_sql"),
    ],
)
def test_the_error_contract(connection: dbapi.Connection, sql: str, code: str) -> None:
    with connection.cursor() as cursor:
        with pytest.raises(adbc_driver_manager.Error) as caught:
            cursor.execute(sql)
        error = caught.value
        assert code_in(error) == code
        facts = facts_of(error.details)
        assert facts["code"] == code
        assert facts["sqlstate"] == CODES[code].sqlstate
        assert facts["class"] == CODES[code].pep249
        assert facts["retryable"] == str(CODES[code].retryable).lower()
        assert facts["message"] and facts["remedy"]
        assert not any(PRIVATE.search(one) for one in facts.values())
        cursor.execute("select 1")
        assert cursor.fetchall() == [(1,)]


@pytest.mark.parametrize("body", [b"", b"\xff\xff", b"\x0a\x05wrong\x12\x00"])
def test_bytes_that_make_no_sense(raw: RawClient, body: bytes) -> None:
    actions = (
        "CreatePreparedStatement", "ClosePreparedStatement", "CancelQuery", "CancelFlightInfo",
        "SetSessionOptions", "NoSuchAction",
    )  # fmt: skip
    calls: list[Callable[[], object]] = [
        lambda: raw.client.get_flight_info(flight.FlightDescriptor.for_command(body), raw.options),
        lambda: raw.client.do_get(flight.Ticket(body), raw.options).read_all(),
        lambda: raw.client.get_flight_info(flight.FlightDescriptor.for_path("x"), raw.options),
        lambda: list(raw.client.list_flights(options=raw.options)),
        *(partial(raw.act, one, body) for one in actions),
    ]
    failed = 0
    for call in calls:
        try:
            call()
        except FAULTS as error:
            assert code_in(error) in ("parse_error", "unsupported_sql", "unknown_table")
            failed += 1
    assert failed >= 7
    assert raw.read("CommandStatementQuery", query=ONE).num_rows == 2


@pytest.mark.parametrize("letter", ["x", "ä", "🦆"])
def test_a_long_error_arrives(raw: RawClient, gateway: Served, letter: str) -> None:
    """Clients take so much of what stands behind an answer, and no more."""
    sql = f'select "{letter * 20_000}" from network.reference.airlines'
    with pytest.raises(FAULTS) as caught:
        raw.start(sql)
    assert code_in(caught.value) == "unknown_column"
    with gateway.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(dbapi.ProgrammingError, match="unknown_column") as told:
            cursor.execute(sql)
        assert told.value.details


def test_exchange_is_refused(raw: RawClient) -> None:
    descriptor = flight.FlightDescriptor.for_command(b"x")
    with pytest.raises(FAULTS) as caught:
        writer, reader = raw.client.do_exchange(descriptor, raw.options)
        with writer:
            writer.done_writing()
            reader.read_all()
    assert code_in(caught.value) == "unsupported_sql"


def test_every_action_is_listed(raw: RawClient) -> None:
    assert {one.type for one in raw.client.list_actions(raw.options)} == {
        "CreatePreparedStatement", "ClosePreparedStatement", "BeginTransaction", "EndTransaction",
        "CancelQuery", "CancelFlightInfo", "CloseSession", "GetSessionOptions",
        "SetSessionOptions",
    }  # fmt: skip


def test_settings_as_headers_and_as_statements(gateway: Served) -> None:
    header = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value + "x-sqluice-"
    options = {f"{header}purpose": "privacy-review", f"{header}row-limit": "3"}
    show, members = "show purpose", "select member_id from loyalty.members"
    with gateway.connect("petra", **options) as connection, connection.cursor() as cursor:
        cursor.execute(members)
        assert len(cursor.fetchall()) == 3
        cursor.execute("set purpose = 'other'")
        cursor.fetchall()
        cursor.execute(show)
        assert cursor.fetchall() == [("other",)]
        with pytest.raises(adbc_driver_manager.Error) as caught:
            cursor.execute(members)
        assert code_in(caught.value) == "purpose_required"
    wrong = {f"{header}timezone": "Mars/Olympus"}
    with pytest.raises(adbc_driver_manager.Error, match="type_error"), gateway.connect(**wrong):
        pass


def test_session_options(gateway: Served) -> None:
    with gateway.connect() as connection:
        connection.adbc_current_catalog = "operations"
        assert connection.adbc_current_catalog == "operations"
        with connection.cursor() as cursor:
            cursor.execute("select count(*) from departures")
            assert cursor.fetchall()[0][0] > 0


def test_a_schema_is_the_product_of_short_names(gateway: Served) -> None:
    with gateway.connect() as connection:
        connection.adbc_current_catalog = "network"
        connection.adbc_current_db_schema = "reference"
        assert connection.adbc_current_catalog == "network"
        assert connection.adbc_current_db_schema == "reference"
        with connection.cursor() as cursor:
            cursor.execute("select count(*) from airlines")
            assert cursor.fetchall()[0][0] > 0
            connection.adbc_current_catalog = "operations"
            assert connection.adbc_current_db_schema == ""
            with pytest.raises(adbc_driver_manager.ProgrammingError, match="unknown_table"):
                cursor.execute("select count(*) from airlines")
    with gateway.connect() as connection, pytest.raises(adbc_driver_manager.Error):
        connection.adbc_current_db_schema = "reference"


def test_basic_is_not_needed_twice(gateway: Served) -> None:
    """A call may carry the password itself; it gets a token like a handshake."""
    command = pack(make("CommandStatementQuery", query=ONE))
    options = flight.FlightCallOptions(headers=[(b"authorization", basic("nora").encode())])
    with flight.FlightClient(gateway.flight) as client:
        info = client.get_flight_info(flight.FlightDescriptor.for_command(command), options)
        assert client.do_get(info.endpoints[0].ticket, options).read_all().num_rows == 2
