"""The dialect over the sample mesh: names, metadata, statements, what a person may see."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine, make_url

import sqluice
from gateway.serve.flight.server import FlightEndpoint
from sqluice.sqlalchemy.address import arguments_of
from sqluice.sqlalchemy.types import Named, type_of
from sqluice.types import type_code
from tests.client.test_types import CODES
from tests.sample import CONF, SampleMesh


@pytest.fixture(scope="module")
def host(sample: SampleMesh) -> Iterator[str]:
    """Where the sample mesh is served."""
    endpoint = FlightEndpoint(sample.opened, "127.0.0.1", 0)
    yield f"127.0.0.1:{endpoint.start()}"
    endpoint.stop()


@pytest.fixture
def engine(host: str) -> Iterator[Engine]:
    """An engine that stands in the domain operations, as nora."""
    made = sa.create_engine(f"sqluice://nora:nora-demo@{host}/operations", pool_pre_ping=True)
    yield made
    made.dispose()


def asked(engine: Engine) -> list[str]:
    """The statements that the engine sends from now on."""
    found: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    return found


def test_names(engine: Engine) -> None:
    inspector = sa.inspect(engine)
    assert inspector.get_schema_names() == ["departures"]
    assert inspector.get_table_names() == ["departures"]
    assert inspector.get_table_names("departures") == ["flights"]
    assert set(inspector.get_table_names("network.reference")) == {"airlines", "airports"}
    assert inspector.get_view_names() == []
    assert inspector.has_table("departures") and inspector.has_table("flights", "departures")
    assert not inspector.has_table("nothing", "departures")
    with pytest.raises(sa.exc.NoSuchTableError):
        inspector.get_columns("nothing", "departures")


def test_without_a_domain_schemas_have_two_parts(host: str) -> None:
    engine = sa.create_engine(f"sqluice://nora:nora-demo@{host}/")
    names = sa.inspect(engine).get_schema_names()
    assert {"operations.departures", "network.reference"} <= set(names)
    table = sa.Table("airports", sa.MetaData(), schema="network.reference", autoload_with=engine)
    with engine.connect() as connection:
        sql = sa.select(sa.func.count()).select_from(table).where(table.c.faa == "JFK")
        assert connection.scalar(sql) == 1
    engine.dispose()


def test_columns_and_keys(engine: Engine) -> None:
    inspector = sa.inspect(engine)
    columns = {one["name"]: one for one in inspector.get_columns("flights", "departures")}
    assert isinstance(columns["flight_id"]["type"], sa.BIGINT)
    assert columns["time_hour"]["type"].timezone  # type: ignore[attr-defined]  # a TIMESTAMP
    assert str(columns["tailnum"]["comment"]).endswith("[masked: pseudonym]")
    key = inspector.get_pk_constraint("flights", "departures")
    assert key["constrained_columns"] == ["flight_id"]
    keys = {one["name"]: one for one in inspector.get_foreign_keys("flights", "departures")}
    weather = keys["flights_origin_fkey"]
    assert weather["constrained_columns"] == weather["referred_columns"] == ["origin", "time_hour"]
    assert weather["referred_schema"] == "weather.observations"
    assert str(inspector.get_table_comment("departures")["text"]).startswith("One row for each")
    assert inspector.get_indexes("departures") == []


def test_a_schema_is_one_statement(engine: Engine) -> None:
    with engine.connect() as connection:
        statements = asked(engine)
        metadata = sa.MetaData()
        metadata.reflect(connection, schema="network.reference", resolve_fks=False)
    assert len(metadata.tables) == 2
    assert statements == ['SHOW COLUMNS FROM "network"."reference"']


def test_one_table_is_one_statement(engine: Engine) -> None:
    with engine.connect() as connection:
        statements = asked(engine)
        sa.Table("flights", sa.MetaData(), schema="departures", autoload_with=connection,
                 resolve_fks=False)  # fmt: skip
    assert statements == ['SHOW COLUMNS FROM "operations"."departures"."flights"']


def test_each_sees_what_he_may(host: str) -> None:
    found = {}
    for user in ("nora", "ola"):
        engine = sa.create_engine(f"sqluice://{user}:{user}-demo@{host}/operations")
        found[user] = sa.inspect(engine).has_table("flights", "departures")
        with engine.connect() as connection:
            rows = connection.execute(sa.text("SHOW COLUMNS FROM operations")).all()
        assert bool(rows) is found[user]
        engine.dispose()
    assert found == {"nora": True, "ola": False}


def test_columns_are_those_that_describe_shows(sample: SampleMesh) -> None:
    shown: dict[str, set[tuple[str, ...]]] = {}
    for user in ("nora", "carl", "mara", "petra", "otto"):
        rows = sample.ask(user, "SHOW COLUMNS").to_pylist()
        tables = {f'{one["domain"]}."{one["product"]}".{one["table"]}' for one in rows}
        listed = sample.ask(user, "SHOW TABLES").to_pylist()
        assert len(tables) == len(listed)
        for table in tables:
            described = sample.ask(user, f"DESCRIBE {table}").to_pylist()
            names = [one["column"] for one in rows if table.endswith(f".{one['table']}")
                     and table.startswith(f'{one["domain"]}."{one["product"]}"')]  # fmt: skip
            assert names == [one["column_name"] for one in described], (user, table)
        shown[user] = {(one["domain"], one["table"], one["column"], one["masked"]) for one in rows}
    # The comparison bites: what they see differs, in columns and in masks.
    assert len({frozenset(one) for one in shown.values()}) > 2


def test_statements(engine: Engine) -> None:
    table = sa.Table("departures", sa.MetaData(), autoload_with=engine)
    origin = table.c.origin
    with engine.connect() as connection:
        for where in (
            origin.contains("W"), origin.startswith("EW"), origin.endswith("WR"),
            origin.ilike("ewr"), origin.icontains("w"), origin.in_(["EWR"]),
            origin.regexp_match("^E"), origin.is_distinct_from("JFK") & (origin != "LGA"),
        ):  # fmt: skip
            sql = sa.select(origin).where(where).distinct()
            assert connection.scalars(sql).all() == ["EWR"], str(where)
        assert connection.scalars(sa.select(origin).where(origin.in_([]))).all() == []
        ids = sa.select(table.c.flight_id).order_by(table.c.flight_id)
        first = connection.scalars(ids.limit(3)).all()
        assert connection.scalars(ids.limit(2).offset(1)).all() == first[1:]
        # A second value of the same statement comes from the cache and is not the first one's.
        for text, count in (("EW", 1), ("J", 1), ("XX", 0)):
            sql = sa.select(origin).where(origin.startswith(text)).distinct()
            assert len(connection.scalars(sql).all()) == count


def test_bits(engine: Engine) -> None:
    six = sa.literal(6)
    signs = (six.bitwise_xor(3), six.bitwise_and(3), six.bitwise_or(3), six.bitwise_lshift(1))
    with engine.connect() as connection:
        assert tuple(connection.execute(sa.select(*signs)).one()) == (5, 2, 7, 12)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.date(2013, 1, 2), "DATE '2013-01-02'"),
        (datetime.time(1, 2, 3), "TIME '01:02:03'"),
        (datetime.datetime(2013, 1, 2, 3), "TIMESTAMP '2013-01-02 03:00:00'"),
        (b"\x00\xff", "from_hex('00ff')"),
        (datetime.timedelta(hours=1), "INTERVAL '3600000000 microseconds'"),
        ("o'clock", "'o''clock'"),
    ],
)
def test_literals(engine: Engine, value: object, text: str) -> None:
    sql = sa.select(sa.literal(value).label("x"))
    compiled = sql.compile(engine, compile_kwargs={"literal_binds": True})
    assert text in str(compiled)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(str(compiled)).scalar() is not None
        assert connection.scalar(sql) == value


@pytest.mark.parametrize(("arrow", "name", "group"), CODES, ids=[one[1] for one in CODES])
def test_every_type_has_its_own(arrow: pa.DataType, name: str, group: object) -> None:
    made = type_of(type_code(arrow))
    assert not isinstance(made, sa.types.NullType)
    nested = ("STRUCT", "MAP", "NULL")
    assert isinstance(made, Named) == (name.split("(", maxsplit=1)[0] in nested), name


def test_a_statement_has_a_time_of_its_own(engine: Engine) -> None:
    table = sa.Table("departures", sa.MetaData(), autoload_with=engine)
    one, two, three = (table.alias(name) for name in "abc")
    endless = sa.select(sa.func.count()).where(
        one.c.dep_delay + two.c.arr_delay < three.c.air_time
    )
    with engine.connect() as connection:
        with pytest.raises(sa.exc.OperationalError, match=r"longer than 0\.5 seconds") as caught:
            connection.execute(endless.execution_options(sqluice_timeout=0.5))
        assert caught.value.orig.code == "timeout"  # type: ignore[union-attr]  # ours
        assert not caught.value.connection_invalidated
        # It is that statement's alone, wherever it is said.
        assert asked_seconds(connection, sa.text("SELECT 1")) is None
        later = sa.text("SELECT 1").execution_options(sqluice_timeout=30)
        assert asked_seconds(connection, later) == 30.0
        with pytest.raises(sa.exc.InterfaceError, match="seconds"):
            connection.execute(sa.text("SELECT 1").execution_options(sqluice_timeout="long"))
    timed = engine.execution_options(sqluice_timeout=0.5)
    late = pytest.raises(sa.exc.OperationalError, match=r"0\.5 seconds")
    with timed.connect() as connection, late:
        connection.execute(endless)


def asked_seconds(connection: sa.engine.Connection, statement: Any) -> float | None:
    """With what time of its own a statement runs."""
    answer = connection.execute(statement)
    cursor: Any = answer.cursor
    seconds: float | None = cursor.query_timeout
    answer.all()
    return seconds


def test_isolation_and_transactions(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert connection.get_isolation_level() == "AUTOCOMMIT"
        connection.execute(sa.text("SELECT 1"))
        connection.commit()
        connection.rollback()
    refused = pytest.raises((sqluice.NotSupportedError, sa.exc.ArgumentError))
    with engine.connect() as connection, refused:
        connection.execution_options(isolation_level="SERIALIZABLE")


def test_what_is_a_disconnect(host: str, engine: Engine) -> None:
    gone = sa.create_engine("sqluice://nora:nora-demo@127.0.0.1:9/")
    with pytest.raises(sa.exc.OperationalError) as caught:
        gone.connect()
    assert gone.dialect.is_disconnect(caught.value.orig, None, None)  # type: ignore[arg-type]
    with engine.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError) as wrong:
            connection.execute(sa.text("SELECT nothing FROM departures"))
        assert not wrong.value.connection_invalidated
        assert wrong.value.orig is not None
        assert wrong.value.orig.code == "unknown_column"  # type: ignore[attr-defined]  # ours


def test_in_process(sample: SampleMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLUICE_DATA", str(sample.data))
    engine = sa.create_engine(f"sqluice:///{CONF}?user=nora&domain=operations")
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM departures")) > 0
    assert sa.inspect(engine).get_table_names() == ["departures"]
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "target", "named"),
    [
        ("sqluice://a:b%40@h:7/d?purpose=p&tls=false", "grpc://h:7",
         {"user": "a", "password": "b@", "domain": "d", "purpose": "p", "tls": False}),
        ("sqluice://h/?token=t&tls=/ca.pem&query_timeout=5", "grpc://h",
         {"token": "t", "tls": "/ca.pem", "query_timeout": 5.0}),
        ("sqluice:///conf?user=a", "conf/", {"user": "a"}),
    ],
)  # fmt: skip
def test_urls(url: str, target: str, named: dict[str, object]) -> None:
    assert arguments_of(make_url(url)) == (target, named)


@pytest.mark.parametrize(
    "url", ["sqluice://h/?hello=1", "sqluice://", "sqluice://h/?query_timeout=x"]
)
def test_urls_that_say_nothing_known(url: str) -> None:
    with pytest.raises(sa.exc.ArgumentError):
        arguments_of(make_url(url))
