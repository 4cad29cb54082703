"""Opening, settings, what is refused, and what is left after an error."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import adbc_driver_manager
import duckdb
import pytest

from connectors.base import (
    Connection,
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    FragmentColumn,
    load_abilities,
    load_connector,
)
from gateway.demo.postgres import NoPostgres, Server, find_server
from tests.connectors.conformance.samples import Sample

KINDS = ("duckdb", "files", "postgres", "sqlite")


def one(connection: Connection, sql: str, name: str, *values: tuple[object, str]) -> object:
    """The single value of a fragment, with bound values."""
    parameters = tuple(value for value, _ in values)
    types = tuple(kind for _, kind in values)
    fragment = Fragment(sql, (FragmentColumn("x", name),), (), parameters, types)
    batches = list(connection.stream(fragment))
    return batches[0].column(0)[0].as_py()


@pytest.fixture(scope="module")
def postgres(server: Server) -> Iterator[Connection]:
    """A connection to PostgreSQL."""
    connection = load_connector("postgres").connect({"url": server.url("postgres")})
    yield connection
    connection.close()


@pytest.mark.parametrize("kind", KINDS)
def test_abilities_can_be_read(kind: str) -> None:
    """Each kind has its file; a barrier inside a statement is for those that were proved."""
    abilities = load_abilities(kind)
    assert (abilities.barrier is None) == abilities.is_reference


def test_an_unknown_kind() -> None:
    """The error names the kinds that there are."""
    with pytest.raises(ConnectorError, match=r"duckdb, files, .*postgres, .*sqlite"):
        load_connector("oracle")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{}, {"path": "/no/such", "nonsense": "1"}])
def test_settings_that_make_no_sense(kind: str, settings: dict[str, str]) -> None:
    """Missing and unknown settings are errors."""
    with pytest.raises(ConnectorError):
        load_connector(kind).connect(settings)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("duckdb", {"path": "/no/such.duckdb"}),
        ("sqlite", {"path": "/no/such.sqlite"}),
        ("files", {"path": "/no/such", "format": "csv"}),
        ("postgres", {"url": "postgresql://reader:word@127.0.0.1:1/none"}),
    ],
)
def test_a_source_that_is_not_there(kind: str, settings: dict[str, str]) -> None:
    """It is unavailable, which may pass."""
    with pytest.raises(ConnectorUnavailable):
        load_connector(kind).connect(settings)


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_a_file_that_is_no_database(kind: str, tmp_path: Path) -> None:
    """An error, and nothing is left running."""
    path = tmp_path / "file"
    path.write_text("no database" * 1000)
    with pytest.raises(ConnectorError):
        load_connector(kind).connect({"path": str(path)})


def test_after_an_error(embedded: Sample) -> None:
    """The connection goes on."""
    for sql in ("SELECT nothing FROM nowhere", "SELECT", "SELECT 1; SELECT 2", "DROP TABLE probe"):
        with pytest.raises(ConnectorError):
            one(embedded.connection, sql, "BIGINT")
        assert one(embedded.connection, "SELECT 7", "BIGINT") == 7


def test_after_an_error_of_postgres(postgres: Connection) -> None:
    """The connection goes on, with bound values and without."""
    for sql in ("SELECT nothing FROM nowhere", "SELECT 1 / (1 - 1)", "SELECT 1; SELECT 2"):
        with pytest.raises(ConnectorError):
            one(postgres, sql, "BIGINT")
        with pytest.raises(ConnectorError):
            one(postgres, f"{sql} + $1", "BIGINT", (1, "BIGINT"))
        assert one(postgres, "SELECT 7::int8", "BIGINT") == 7


def test_closing_twice(embedded: Sample, server: Server) -> None:
    """Closing is idempotent; a closed connection says that it is of no use."""
    connection = load_connector("postgres").connect({"url": server.url("postgres")})
    connection.close()
    connection.close()
    with pytest.raises(ConnectorUnavailable):
        connection.ping()
    with pytest.raises(ConnectorUnavailable):
        one(connection, "SELECT 1", "BIGINT")


VALUES: list[tuple[object, str]] = [
    (5, "BIGINT"), (-5, "INTEGER"), (5, "SMALLINT"), (2.5, "DOUBLE"), ("é''\\", "VARCHAR"),
    (True, "BOOLEAN"), (None, "VARCHAR"), (None, "BIGINT"),
]  # fmt: skip
MORE: list[tuple[object, str]] = [
    (Decimal("1.50"), "DECIMAL(12,2)"), (Decimal("-99999999999999999999.5"), "DECIMAL(38,6)"),
    (date(2024, 2, 29), "DATE"), (datetime(2024, 2, 29, 1, 2, 3, 4), "TIMESTAMP"),
    (datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=UTC), "TIMESTAMP WITH TIME ZONE"),
    (time(1, 2, 3), "TIME"), (10**20, "HUGEINT"), ([1, 2], "BIGINT[]"), (["a"], "VARCHAR[]"),
    (float("inf"), "DOUBLE"),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES + MORE, ids=str)
def test_bound_values_of_postgres(postgres: Connection, value: tuple[object, str]) -> None:
    """A bound value comes back as it went."""
    assert one(postgres, "SELECT $1", value[1], value) == value[0]


@pytest.mark.parametrize("value", VALUES + MORE, ids=str)
def test_bound_values(embedded: Sample, value: tuple[object, str]) -> None:
    """A bound value comes back as it went; SQLite has fewer types."""
    if embedded.kind == "sqlite" and value not in VALUES:
        return
    mark = "?1" if embedded.abilities.parameter_style == "question" else "$1"
    assert one(embedded.connection, f"SELECT {mark}", value[1], value) == value[0]


def test_a_bound_value_that_does_not_fit(embedded: Sample, postgres: Connection) -> None:
    """It is refused before the source sees it."""
    for connection in (embedded.connection, postgres):
        with pytest.raises(ConnectorError):
            one(connection, "SELECT 1", "BIGINT", ("x", "BIGINT"))
        with pytest.raises(ConnectorError):
            one(connection, "SELECT 1", "BIGINT", (UUID(int=5), "NOPE"))


SESSION = {
    "TimeZone": "UTC", "DateStyle": "ISO, YMD", "transaction_read_only": "on",
    "search_path": "pg_catalog", "standard_conforming_strings": "on", "extra_float_digits": "3",
}  # fmt: skip


@pytest.mark.parametrize("name", SESSION)
def test_the_session_of_postgres(server: Server, name: str) -> None:
    """Settings hold whatever the database says."""
    server.run(
        "postgres",
        "ALTER DATABASE postgres SET TimeZone = 'Asia/Tokyo'",
        "ALTER DATABASE postgres SET DateStyle = 'German'",
        "ALTER DATABASE postgres SET standard_conforming_strings = off",
    )
    with closing(load_connector("postgres").connect({"url": server.url("postgres")})) as fresh:
        assert one(fresh, f"SELECT current_setting('{name}')", "VARCHAR") == SESSION[name]


def test_postgres_writes_nothing(server: Server, postgres: Connection) -> None:
    """Read-only, with bound values too."""
    server.run("postgres", "CREATE TABLE kept (i int8)", "CREATE SEQUENCE numbers")
    for sql in (
        "INSERT INTO public.kept VALUES (1) RETURNING i",
        "WITH x AS (INSERT INTO public.kept VALUES (1) RETURNING i) SELECT i FROM x",
        "SELECT nextval('public.numbers')",
    ):
        with pytest.raises(ConnectorError):
            one(postgres, sql, "BIGINT")
    assert one(postgres, "SELECT count(*) FROM public.kept", "BIGINT") == 0


def test_a_session_that_is_ended(server: Server) -> None:
    """The connection says that it broke, and stays broken."""
    broken = load_connector("postgres").connect({"url": server.url("postgres")})
    process = one(broken, "SELECT pg_backend_pid()", "INTEGER")
    server.run("postgres", f"SELECT pg_terminate_backend({process})")
    with pytest.raises(ConnectorUnavailable):
        one(broken, "SELECT 1", "INTEGER")
    with pytest.raises(ConnectorUnavailable):
        broken.ping()
    broken.close()


def test_a_database_without_an_encoding(server: Server) -> None:
    """Its texts may be anything; it is refused."""
    server.run(
        "postgres", "CREATE DATABASE bare TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
    )
    with pytest.raises(ConnectorError, match="SQL_ASCII"):
        load_connector("postgres").connect({"url": server.url("bare")})


def test_a_wrong_password(server: Server) -> None:
    """The server asks for one, and for the right one."""
    with pytest.raises(ConnectorError):
        load_connector("postgres").connect({"url": server.url("postgres", "postgres", "wrong")})


def test_tls(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Encrypted where the server can; to another machine nothing else is tried."""
    try:
        secure = find_server(tmp_path_factory.mktemp("tls"), tls=True, choices=("system",))
    except NoPostgres as error:
        pytest.skip(f"no server with TLS: {error}")
    with (
        secure,
        closing(load_connector("postgres").connect({"url": secure.url("postgres")})) as connection,
    ):
        sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert one(connection, sql, "BOOLEAN") is True
    secure.discard()


def test_plaintext_to_another_machine_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the settings say so."""
    seen: list[str] = []

    def connect(address: str, autocommit: bool) -> None:
        seen.append(address)
        raise adbc_driver_manager.OperationalError("stop", status_code=0)

    monkeypatch.setattr("connectors.postgres.dbapi.connect", connect)
    place = "postgresql://a:b@db.example/x"
    for settings in ({"url": place}, {"url": place, "tls": "false"},
                     {"url": "postgresql://a:b@127.0.0.1/x"}):  # fmt: skip
        with pytest.raises(ConnectorUnavailable):
            load_connector("postgres").connect(settings)
    assert ["sslmode=require" in address for address in seen] == [True, False, False]


LOCKED = (
    "SELECT count(*) FROM read_text('/etc/passwd')",
    "SELECT count(*) FROM glob('/etc/*')",
    "SELECT count(*) FROM '/etc/passwd'",
    "SELECT count(*) FROM read_csv('https://127.0.0.1/x.csv')",
    "COPY (SELECT 1) TO 'out.csv'",
    "ATTACH 'other.duckdb'",
    "SET threads = 1",
    "SET lock_configuration = false",
    "RESET TimeZone",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CREATE TABLE made (i INTEGER)",
    "PRAGMA database_list",
    "EXPLAIN SELECT 1",
)


@pytest.mark.parametrize("embedded", ["duckdb", "files"], indirect=True)
@pytest.mark.parametrize("sql", LOCKED)
def test_the_lock(embedded: Sample, sql: str) -> None:
    """No other file, no network, no setting, no statement but SELECT."""
    with pytest.raises(ConnectorError):
        one(embedded.connection, sql, "BIGINT")


@pytest.mark.parametrize("name", ["../rows/*.parquet", "/etc/passwd", "rows/../../x", "", "."])
@pytest.mark.parametrize("embedded", ["files"], indirect=True)
def test_names_that_lead_out(embedded: Sample, name: str) -> None:
    """A physical name stays below the folder."""
    with pytest.raises(ConnectorError):
        embedded.connection.columns(name)
    with pytest.raises(ConnectorError):
        columns = (FragmentColumn("x", "BIGINT"),)
        list(embedded.connection.stream(Fragment("SELECT 1", columns, (name,))))


def test_a_link_that_leads_out(tmp_path: Path) -> None:
    """What a link points to is not read."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.csv").write_text("a\n1\n")
    (inside / "one.csv").symlink_to(outside / "secret.csv")
    (inside / "folder").symlink_to(outside)
    settings = {"path": str(inside), "format": "csv"}
    with closing(load_connector("files").connect(settings)) as connection:
        for name in ("one.csv", "*.csv", "folder/secret.csv", "folder/*.csv"):
            with pytest.raises(ConnectorError, match="leads out"):
                connection.columns(name)


def test_types_of_files(tmp_path: Path) -> None:
    """What DuckDB would guess wrong can be said."""
    (tmp_path / "codes.csv").write_text("code,day\n007,2024-01-02\n")
    (tmp_path / "codes.json").write_text('{"code": "7", "day": "2024-01-02"}\n')
    (tmp_path / "part=1").mkdir()
    with duckdb.connect() as made:
        made.execute(f"COPY (SELECT 5 AS n) TO '{tmp_path}/part=1/x.parquet'")
    for form, name, types, wanted in (
        ("csv", "codes.csv", "code VARCHAR", {"code": "VARCHAR", "day": "DATE"}),
        ("csv", "codes.csv", "code SMALLINT, day VARCHAR", {"code": "SMALLINT", "day": "VARCHAR"}),
        ("json", "codes.json", "code VARCHAR, day DATE", {"code": "VARCHAR", "day": "DATE"}),
        ("parquet", "**/*.parquet", "part INTEGER", {"n": "INTEGER", "part": "INTEGER"}),
    ):
        settings = {"path": str(tmp_path), "format": form, "types": types}
        with closing(load_connector("files").connect(settings)) as connection:
            assert {one.name: one.type for one in connection.columns(name)} == wanted


def test_two_connections_to_one_duckdb_file(tmp_path: Path) -> None:
    """They share an instance and live alone; an open statement of one does not hinder the other."""
    path = tmp_path / "two.duckdb"
    with duckdb.connect(str(path)) as made:
        made.execute("CREATE TABLE t AS SELECT range AS i FROM range(300000)")
    first, second = (load_connector("duckdb").connect({"path": str(path)}) for _ in range(2))
    batches = first.stream(Fragment("SELECT i FROM t", (FragmentColumn("i", "BIGINT"),), ()))
    next(batches)
    assert one(second, "SELECT count(*) FROM t", "BIGINT") == 300_000
    first.close()
    assert one(second, "SELECT count(*) FROM t", "BIGINT") == 300_000
    second.close()


def test_sqlite_columns_of_a_view(tmp_path: Path) -> None:
    """A view is a table too; expressions have no declared type."""
    path = tmp_path / "views.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE t (i INTEGER NOT NULL, s VARCHAR(10))")
        made.execute("CREATE VIEW v AS SELECT i, s, i + 1 AS j FROM t")
    with closing(load_connector("sqlite").connect({"path": str(path)})) as connection:
        found = {one.name: one for one in connection.columns("v")}
    assert "BIGINT" in found["i"].contract_types and "VARCHAR" in found["s"].contract_types
    assert not found["j"].contract_types
