"""psycopg, as people use it: text and binary, parameters, cursors, COPY, pipelines, refusals."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import psycopg
import pytest
from psycopg import errors, pq, sql

from tests.pgwire.conftest import Connect, Connection
from tests.sample import SampleMesh
from tests.served import Served

AIRLINES = "select carrier, name from network.reference.airlines order by carrier"
VALUES: dict[str, tuple[str, Any]] = {
    "boolean": ("boolean", True),
    "smallint": ("smallint", -3),
    "integer": ("integer", 70_000),
    "bigint": ("bigint", 2**40),
    "double": ("double", 0.1),
    "decimal": ("decimal(12,2)", Decimal("1.50")),
    "wide decimal": ("decimal(38,0)", Decimal(10**37)),
    "small decimal": ("decimal(38,20)", Decimal("-0.00000000000000000001")),
    "text": ("varchar", "é'\"\\ 漢字 😀"),
    "empty text": ("varchar", ""),
    "bytes": ("blob", b"\x00\xff\\"),
    "date": ("date", date(2013, 1, 31)),
    "time": ("time", time(1, 2, 3, 4)),
    "timestamp": ("timestamp", datetime(2013, 1, 2, 3, 4, 5, 6)),
    "zoned": ("timestamptz", datetime(2013, 1, 2, 3, 4, tzinfo=UTC)),
    "interval": ("interval", timedelta(days=3, hours=-4, microseconds=5)),
    "uuid": ("uuid", UUID("d3b07384-d9a0-4c9b-8a6d-1d1b1b1b1bff")),
    "list": ("integer[]", [1, None, 3]),
    "texts": ("varchar[]", ["", None, 'a"b\\c,{}', "NULL"]),
}
WRITES = [
    "delete from fleet.aircraft", "insert into fleet.aircraft values (1)", "create table x (a int)",
    "update fleet.aircraft set year = 1", "drop table fleet.aircraft", "truncate fleet.aircraft",
    "copy fleet.aircraft from stdin", "select * into x from fleet.aircraft", "lock table x",
    "select * from fleet.aircraft for update", "grant select on x to y", "vacuum", "call x()",
    "with gone as (delete from fleet.aircraft returning *) select * from gone",
]  # fmt: skip


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("name", VALUES)
def test_parameters_of_every_type(nora: Connection, name: str, binary: bool) -> None:
    kind, value = VALUES[name]
    mark = "%b" if binary else "%t"
    with nora.cursor(binary=binary) as cursor:
        for given in (value, None):
            cursor.execute(f"select {mark}::{kind} as x".encode(), [given])
            assert cursor.fetchall() == [(given,)]


def test_types_follow_from_the_statement(nora: Connection) -> None:
    sql_text = (
        b"select count(*) from operations.departures where month = $1 and origin = $2 "
        b"and time_hour > $3 and distance between $4 and $5 and carrier in ($6, 'AA') "
        b"and upper(origin) like $7 limit $8"
    )
    nora.pgconn.prepare(b"typed", sql_text)
    described = nora.pgconn.describe_prepared(b"typed")
    assert described.status == pq.ExecStatus.COMMAND_OK, described.error_message
    types = [described.param_type(at) for at in range(described.nparams)]
    assert types[1] == types[5] == types[6] == 25
    assert types[2] in (1114, 1184) and types[7] == 20
    assert {types[0], types[3], types[4]} <= {20, 21, 23, 700, 701, 1700}
    given: list[bytes] = [b"1", b"EWR", b"2013-01-01 00:00:00", b"0", b"10000", b"UA", b"E%", b"1"]
    ran = nora.pgconn.exec_prepared(b"typed", given)
    assert ran.status == pq.ExecStatus.TUPLES_OK, ran.error_message
    assert int(ran.get_value(0, 0) or b"0") > 0
    nora.execute("deallocate typed")


def test_what_was_told_of_a_prepared_statement_holds(nora: Connection) -> None:
    """A number for which DuckDB takes a narrower type comes in the type that was described."""
    text = b"select $1::bigint as a, $2 as b, $3 + 1 as c from network.reference.airlines limit 1"
    nora.pgconn.prepare(b"told", text, [0, 0, 20])
    described = nora.pgconn.describe_prepared(b"told")
    assert [described.ftype(one) for one in range(described.nfields)] == [20, 25, 20]
    for binary, wanted in ((0, b"2"), (1, (2).to_bytes(8, "big"))):
        given: list[bytes] = [b"1", b"x", b"1"]
        ran = nora.pgconn.exec_prepared(b"told", given, result_format=binary)
        assert ran.status == pq.ExecStatus.TUPLES_OK, ran.error_message
        assert ran.get_value(0, 2) == wanted
    nora.execute("deallocate told")


def test_prepared_statements(connect: Connect) -> None:
    connection = connect(prepare_threshold=0)
    for month in (1, 2, 1):
        found = connection.execute(
            "select count(*) from operations.departures where month = %s", [month]
        ).fetchone()
        assert found is not None and found[0] > 0
    connection.execute("discard all")
    assert connection.execute("select %s::int", [5]).fetchone() == (5,)


def test_a_server_side_cursor(connect: Connect) -> None:
    connection = connect(autocommit=False)
    with connection.cursor("reading", binary=True) as cursor:
        cursor.itersize = 3
        cursor.execute("select carrier from network.reference.airlines where carrier >= %s "
                       "order by carrier", ["0"])  # fmt: skip
        first = cursor.fetchmany(2)
        rest = cursor.fetchall()
    plain = connection.execute(AIRLINES).fetchall()
    assert [*first, *rest] == [row[:1] for row in plain]
    assert connection.info.transaction_status == pq.TransactionStatus.INTRANS
    connection.execute(f"declare held cursor with hold for {AIRLINES}")
    connection.commit()
    assert connection.execute("fetch 2 from held").fetchall() == plain[:2]
    assert connection.execute("move 1 in held").statusmessage == "MOVE 1"
    assert connection.execute("fetch held").fetchall() == plain[3:4]
    assert connection.execute("fetch all from held").fetchall() == plain[4:]
    connection.execute("close held")
    with pytest.raises(errors.InvalidCursorName):
        connection.execute("fetch held")


def test_a_cursor_lives_in_a_transaction(connect: Connect) -> None:
    connection = connect()
    with pytest.raises(errors.NoActiveSqlTransaction):
        connection.execute("declare c cursor for select 1")
    with connection.transaction():
        connection.execute("declare c cursor for select 1 as one")
        with connection.transaction():  # a savepoint
            assert connection.execute("fetch c").fetchall() == [(1,)]
    with pytest.raises(errors.InvalidCursorName):
        connection.execute("fetch c")


def test_a_pipeline(connect: Connect) -> None:
    connection = connect()
    with connection.pipeline() as pipeline:
        found = [connection.execute("select %s::int as x", [at]) for at in range(20)]
        pipeline.sync()
        assert [one.fetchone() for one in found] == [(at,) for at in range(20)]
    with pytest.raises(errors.UndefinedTable), connection.pipeline():
        connection.execute("select * from nothing.there")
        connection.execute("select 1")
    assert connection.execute("select 1").fetchone() == (1,)


def test_copy_in_all_forms(nora: Connection) -> None:
    rows = nora.execute(AIRLINES).fetchall()
    for form in ("text", "binary"):
        with nora.cursor() as cursor:
            with cursor.copy(f"copy ({AIRLINES}) to stdout (format {form})".encode()) as copy:
                copy.set_types(["text", "text"])
                assert list(copy.rows()) == rows
            assert cursor.rowcount == len(rows)
    table = b"copy network.reference.airlines (carrier) to stdout with csv header"
    with nora.cursor() as cursor, cursor.copy(table) as copy:
        assert b"".join(bytes(one) for one in copy).splitlines()[0] == b"carrier"


@pytest.mark.parametrize("statement", WRITES)
def test_a_write_is_refused_on_every_path(connect: Connect, statement: str) -> None:
    connection = connect()
    for run in (
        lambda: connection.execute(statement.encode()),
        lambda: connection.execute(statement.encode(), prepare=True),
        lambda: connection.pgconn.exec_(statement.encode()),
    ):
        try:
            result = run()
        except errors.ReadOnlySqlTransaction:
            continue
        assert isinstance(result, pq.PGresult) or hasattr(result, "error_field"), result
        assert result.error_field(pq.DiagnosticField.SQLSTATE) == b"25006"
    if "copy" not in statement:
        with pytest.raises(psycopg.Error):
            connection.execute(f"copy ({statement}) to stdout".encode())
        with connection.transaction(), pytest.raises(psycopg.Error):
            connection.execute(f"declare c cursor for {statement}".encode())


def test_errors_tell_what_to_do(nora: Connection) -> None:
    with pytest.raises(errors.UndefinedColumn) as caught:
        nora.execute("select carrier,\n nothing from network.reference.airlines")
    told = caught.value.diag
    assert told.severity == "ERROR" and told.message_hint
    assert told.statement_position == "18"
    assert "query q_" in str(told.message_detail)
    with pytest.raises(errors.UndefinedTable):
        nora.execute("select * from nothing.there")
    with pytest.raises(errors.SyntaxError):
        nora.execute("selec 1")
    with pytest.raises(errors.FeatureNotSupported):
        nora.execute("select * from pg_catalog.pg_authid")
    with pytest.raises(errors.UndefinedTable):
        nora.execute("select 'x'::regclass")


def test_settings(connect: Connect) -> None:
    connection = connect()
    for accepted in (
        "set extra_float_digits = 3", "set search_path to a, b", "set datestyle = 'ISO, DMY'",
        "set application_name = 'mine'", "set client_min_messages to warning", "set names 'utf8'",
        "set session characteristics as transaction read only", "set time zone 'Europe/Berlin'",
        "set statement_timeout = 5000", "set session timezone to 'UTC'", "reset all", "unlisten *",
        "set my.own = 'x'", "set transaction isolation level serializable", "discard plans",
    ):  # fmt: skip
        connection.execute(accepted.encode())
    connection.execute("set application_name = 'mine'")
    assert connection.info.parameter_status("application_name") == "mine"
    connection.execute("set timezone = 'Asia/Kolkata'")
    assert connection.info.parameter_status("TimeZone") == "Asia/Kolkata"
    zoned = "select (timestamptz '2013-01-01 00:00+00')::varchar as t"
    assert connection.execute(zoned.encode()).fetchone() == ("2013-01-01 05:30:00+05:30",)
    connection.execute("set statement_timeout = 5000")
    assert connection.execute("show query_timeout").fetchone() == ("5.0",)
    assert connection.execute("show transaction isolation level").fetchone() is not None
    assert len(connection.execute("show all").fetchall()) > 30
    for refused in ("set datestyle = 'German'", "set client_encoding = 'latin1'",
                    "set server_version = '1'", "set nonsense = 1", "set bytea_output = 'escape'",
                    "set role nora", "set session authorization nora"):  # fmt: skip
        with pytest.raises(psycopg.Error):
            connection.execute(refused.encode())


def test_probes_need_no_engine(nora: Connection) -> None:
    row = nora.execute(
        "select version(), current_user, pg_catalog.pg_backend_pid() as pid, current_schema(), 7"
    ).fetchone()
    assert row is not None
    assert row[0].startswith("PostgreSQL 15") and row[1] == "nora"
    assert row[2] == nora.info.backend_pid and row[4] == 7


def test_listings_and_plans(nora: Connection) -> None:
    assert nora.execute("show tables").fetchall()
    assert nora.execute("describe network.reference.airlines").fetchall()
    assert nora.execute("explain select 1 as x").fetchall()
    assert nora.execute("explain policy select * from fleet.aircraft").fetchall()


def test_a_default_domain_and_a_row_limit(connect: Connect) -> None:
    connection = connect(dbname="network")
    told: list[str | None] = []
    connection.add_notice_handler(lambda notice: told.append(notice.sqlstate))
    assert connection.execute("select current_database()").fetchone() == ("network",)
    connection.execute("set row_limit = 2")
    assert len(connection.execute("select * from reference.airlines").fetchall()) == 2
    assert told == ["01004"]


def test_two_people_read_different_rows(connect: Connect, sample: SampleMesh) -> None:
    text = "select carrier, count(*) as n from operations.departures group by carrier"
    seen: dict[str, list[Any]] = {}
    for user in ("nora", "carl"):
        wanted = sample.ask(user, text)
        pairs = zip(*(one.to_pylist() for one in wanted.columns), strict=True)
        for binary in (False, True):
            found = connect(user).cursor(binary=binary).execute(text.encode()).fetchall()
            assert sorted(found) == sorted(pairs if not binary else seen[user])
            seen[user] = sorted(found)
    assert seen["nora"] != seen["carl"]


def test_audit_and_queries_name_the_endpoint(connect: Connect, gateway: Served) -> None:
    connection = connect(application_name="the tests")
    connection.execute("select carrier from network.reference.airlines limit 1").fetchall()
    with pytest.raises(errors.UndefinedTable):
        connection.execute("select * from nothing.there")
    metrics = gateway.ask("/metrics").body.decode()
    assert 'sqluice_requests_total{endpoint="postgres",outcome="ok"}' in metrics
    assert 'sqluice_requests_total{endpoint="postgres",outcome="unknown_table"}' in metrics


def test_asyncpg(gateway: Served) -> None:
    async def ask() -> None:
        parts = urlsplit(gateway.pgwire)
        connection = await asyncpg.connect(
            host=parts.hostname, port=parts.port, user="nora", password="nora-demo",
            database="network",
        )  # fmt: skip
        found = await connection.fetch(
            "select carrier, name from reference.airlines where carrier = $1", "AA"
        )
        assert [tuple(one) for one in found] == [("AA", "American Airlines Inc.")]
        row = await connection.fetchrow(
            "select $1::bigint as a, $2::decimal(9,2) as b, $3::date as c, $4::varchar[] as d",
            5, Decimal("1.50"), date(2013, 1, 1), ["x", None],
        )  # fmt: skip
        assert tuple(row) == (5, Decimal("1.50"), date(2013, 1, 1), ["x", None])
        async with connection.transaction():
            cursor = await connection.cursor("select carrier from reference.airlines")
            assert len(await cursor.fetch(3)) == 3
        await connection.reset()
        await connection.close()

    asyncio.run(ask())


def test_composed_sql(nora: Connection) -> None:
    """psycopg writes literals itself."""
    made = sql.SQL("select {} as x, {} as y").format(sql.Literal("it's"), sql.Literal(1))
    assert nora.execute(made).fetchall() == [("it's", 1)]


def test_who_says_that_he_only_reads_is_believed(nora: Connection) -> None:
    """As psycopg2 does for a session that is read-only; that it writes is no answer's form."""
    for name in ("default_transaction_read_only", "transaction_read_only"):
        nora.execute(f"set {name} to 'on'".encode())
        assert nora.execute(f"show {name}".encode()).fetchone() == ("on",)
        with pytest.raises(psycopg.Error, match="always on"):
            nora.execute(f"set {name} to 'off'".encode())
