"""Stock clients, used as their own manuals say: ADBC's DB-API, polars, pandas."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterator
from decimal import Decimal

import adbc_driver_flightsql
import adbc_driver_manager
import pandas
import polars
import pyarrow as pa
import pytest
from adbc_driver_flightsql import dbapi

from tests.sample import SampleMesh
from tests.served import Served

COUNTS = (
    "select a.name, count(*) as n, avg(f.dep_delay) as late from operations.departures f "
    "join network.reference.airlines a using (carrier) group by a.name order by a.name"
)
MEMBERS = (
    "select member_id, tier, spend, birth_date, joined_at from loyalty.members order by member_id"
)


@pytest.fixture(scope="module")
def connection(gateway: Served) -> Iterator[dbapi.Connection]:
    """Nora's."""
    with gateway.connect() as made:
        yield made


def test_adbc_rows_and_description(connection: dbapi.Connection, sample: SampleMesh) -> None:
    want = sample.ask("nora", COUNTS)
    with connection.cursor() as cursor:
        cursor.execute(COUNTS)
        assert [one[0] for one in cursor.description or ()] == ["name", "n", "late"]
        first = cursor.fetchone()
        assert first is not None and first[0] == want["name"][0].as_py()
        assert [row[1] for row in (first, *cursor.fetchmany(3), *cursor.fetchall())] == want[
            "n"
        ].to_pylist()
        # One cursor, the next statement.
        cursor.execute("select 42 as x")
        assert cursor.fetchall() == [(42,)]


def test_adbc_arrow(connection: dbapi.Connection, sample: SampleMesh) -> None:
    want = sample.ask("nora", COUNTS)
    with connection.cursor() as cursor:
        cursor.execute(COUNTS)
        found = cursor.fetch_arrow_table()
    assert found.schema.types == want.schema.types
    assert found.select(["name", "n"]).equals(want.select(["name", "n"]))
    with connection.cursor() as cursor:
        assert cursor.adbc_execute_schema(COUNTS).types == want.schema.types


def test_adbc_connects_without_a_warning_and_commits_nothing(gateway: Served) -> None:
    signed = {"username": "nora", "password": "nora-demo"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with dbapi.connect(gateway.flight, db_kwargs=signed) as connection:
            with connection.cursor() as cursor:
                cursor.execute("select 1")
                assert cursor.fetchall() == [(1,)]
            connection.commit()
            connection.rollback()


def test_adbc_without_the_db_api(gateway: Served) -> None:
    signed = {"username": "nora", "password": "nora-demo"}
    with (
        adbc_driver_flightsql.connect(gateway.flight, signed) as database,
        adbc_driver_manager.AdbcConnection(database) as connection,
        adbc_driver_manager.AdbcStatement(connection) as statement,
    ):
        statement.set_sql_query("select carrier from network.reference.airlines order by carrier")
        stream, rows = statement.execute_query()
        assert rows == -1
        found = pa.RecordBatchReader.from_stream(stream).read_all()
    assert found["carrier"].to_pylist()[:2] == ["9E", "AA"]


def test_two_cursors_at_once(connection: dbapi.Connection) -> None:
    with connection.cursor() as one, connection.cursor() as other:
        one.execute("select flight_id from operations.departures order by flight_id")
        other.execute("select carrier from network.reference.airlines order by carrier")
        for _ in range(3):
            assert one.fetchone() and other.fetchone()


def test_polars(connection: dbapi.Connection, gateway: Served, sample: SampleMesh) -> None:
    frame = polars.read_database(COUNTS, connection)
    want = sample.ask("nora", COUNTS)
    assert frame.schema == {"name": polars.String, "n": polars.Int64, "late": polars.Float64}
    assert frame["n"].to_list() == want["n"].to_pylist()
    sql = "select count(*) as n from operations.departures where origin = ? and month = ?"
    asked = polars.read_database(sql, connection, execute_options={"parameters": ["EWR", 1]})
    assert 0 < asked["n"][0] < sum(frame["n"])
    purpose = {"adbc.flight.sql.rpc.call_header.x-sqluice-purpose": "privacy-review"}
    with gateway.connect("petra", **purpose) as petra:
        members = polars.read_database(MEMBERS, petra)
    assert members.schema["spend"] == polars.Decimal(12, 2)
    assert members.schema["birth_date"] == polars.Date
    assert members.schema["joined_at"] == polars.Datetime("us", "UTC")
    assert members.height == 800


def test_pandas(connection: dbapi.Connection, gateway: Served, sample: SampleMesh) -> None:
    frame = pandas.read_sql(COUNTS, connection)
    want = sample.ask("nora", COUNTS)
    assert list(frame.columns) == ["name", "n", "late"]
    assert frame["n"].tolist() == want["n"].to_pylist()
    purpose = {"adbc.flight.sql.rpc.call_header.x-sqluice-purpose": "privacy-review"}
    with gateway.connect("petra", **purpose) as petra:
        members = pandas.read_sql(MEMBERS, petra, dtype_backend="pyarrow")
    assert isinstance(members["spend"][0], Decimal)
    assert isinstance(members["birth_date"][0], datetime.date)
    assert len(members) == 800


def test_what_is_wrong_reaches_polars(connection: dbapi.Connection) -> None:
    with pytest.raises(adbc_driver_manager.Error, match=r"unknown_table: .*SHOW TABLES"):
        polars.read_database("select * from no.such.thing", connection)


def test_what_is_wrong_reaches_pandas(connection: dbapi.Connection) -> None:
    with pytest.raises(pandas.errors.DatabaseError, match=r"unknown_table: .*SHOW TABLES"):
        pandas.read_sql("select * from no.such.thing", connection)
