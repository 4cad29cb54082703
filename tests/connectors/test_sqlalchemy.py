"""Any SQLAlchemy dialect: PostgreSQL through psycopg, SQLite; exact, bounded, cancellable."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

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
from connectors.sqlalchemy import SqlalchemyConnection
from gateway.demo.postgres import Server
from tests.connectors.conformance.samples import Sample, in_postgres
from tests.connectors.conformance.test_abilities import PROBES, check
from tests.connectors.test_adbc import LARGE, running, shown, some
from tests.connectors.test_cancel import LONG, check_cancel, works
from tests.connectors.test_types import MATRIX, arrives
from tests.small_mesh import SmallMesh, answer, opened_mesh


def opened(url: str, dialect: str, **settings: str) -> SqlalchemyConnection:
    """A connection."""
    made = load_connector("sqlalchemy").connect({"url": url, "dialect": dialect, **settings})
    assert isinstance(made, SqlalchemyConnection)
    return made


def by_psycopg(server: Server, database: str = "postgres") -> str:
    """The server's address as SQLAlchemy writes it."""
    return server.url(database).replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(scope="module")
def postgres(server: Server) -> Iterator[SqlalchemyConnection]:
    """PostgreSQL, through psycopg."""
    with closing(opened(by_psycopg(server), "postgres")) as connection:
        yield connection


@pytest.fixture(scope="module")
def postgres_sample(server: Server) -> Iterator[Sample]:
    """The rows in PostgreSQL, with what the kind postgres declares declared."""
    made = in_postgres(server, "varchar")
    made.connection.close()
    with closing(opened(by_psycopg(server, "rows_varchar"), "postgres")) as connection:
        yield Sample("postgres", "varchar", "public.probe", connection, made.reference)
    made.reference.close()


@pytest.fixture(scope="module")
def oracle() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB, to say what a value is."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


# Values that psycopg, or Python, has in no exact form are errors.
REFUSED = (
    "DATE '0044-03-15 BC'", "1.23" + "0" * 76 + "::numeric", "TIME '24:00:00'",
    "INTERVAL '1 month 2 days 3.5 seconds'", "'NaN'::numeric",
)  # fmt: skip
# What it gives otherwise, without saying so: named in docs/sources.md.
OTHERWISE = ("::char(", "::money", "0.1::float", "::timetz", "'2024-02-29'",
             "::json", "INTERVAL", "\\", "'1.5'::text")
CASES = [
    {key: one[key] for key in ("sql", "type", "gives") if key in one
     and not (key == "gives" and one["sql"] in REFUSED)}
    for one in MATRIX["postgres"] if not any(text in one["sql"] for text in OTHERWISE)
]  # fmt: skip


@pytest.mark.parametrize("case", some(CASES, 3), ids=shown)
def test_types_of_postgres(
    postgres: Connection, oracle: duckdb.DuckDBPyConnection, case: dict[str, Any]
) -> None:
    """Exact, or an error."""
    arrives(postgres, case, oracle)


SQLITE = [
    {"sql": "1", "type": "BOOLEAN", "gives": "TRUE"},
    {"sql": "2", "type": "BOOLEAN"},
    {"sql": "-9223372036854775807 - 1", "type": "BIGINT", "gives": "-9223372036854775808"},
    {"sql": "3000000000", "type": "INTEGER"},
    {"sql": "1.5", "type": "INTEGER"},
    {"sql": "'5'", "type": "INTEGER"},
    {"sql": "9007199254740993", "type": "DOUBLE"},
    {"sql": "0.1", "type": "DOUBLE", "gives": "0.1"},
    {"sql": "0.1", "type": "FLOAT", "gives": "0.1"},
    {"sql": "0.1234567891", "type": "FLOAT"},
    {"sql": "0.1", "type": "DECIMAL(10,2)"},
    {"sql": "'1.25'", "type": "DECIMAL(10,2)", "gives": "1.25"},
    {"sql": "'1.255'", "type": "DECIMAL(10,2)"},
    {"sql": "'é:x'", "type": "VARCHAR", "gives": "'é:x'"},
    {"sql": "'100% :p1 %s ::'", "type": "VARCHAR", "gives": "'100% :p1 %s ::'"},
    {"sql": "5", "type": "VARCHAR"},
    {"sql": "x'00ff'", "type": "BLOB", "gives": "'\\x00\\xFF'::BLOB"},
    {"sql": "'2024-02-29'", "type": "DATE", "gives": "'2024-02-29'"},
    {"sql": "'2024-02-30'", "type": "DATE"},
    {"sql": "'2024-02-29 10:11:12.5'", "type": "TIMESTAMP", "gives": "'2024-02-29 10:11:12.5'"},
    {"sql": "'2024-02-29 10:11:12Z'", "type": "TIMESTAMP"},
    {"sql": "'2024-02-29 10:11:12+02:00'", "type": "TIMESTAMP WITH TIME ZONE",
     "gives": "'2024-02-29 08:11:12+00'"},
    {"sql": "'2024-02-29 10:11:12'", "type": "TIMESTAMP WITH TIME ZONE"},
    {"sql": "'10:11:12.25'", "type": "TIME", "gives": "'10:11:12.25'"},
    {"sql": "'10:11:12+01'", "type": "TIME"},
    {"sql": "'25:00:00'", "type": "TIME"},
    *({"sql": "NULL", "type": one, "gives": "NULL"} for one in
      ("BOOLEAN", "INTEGER", "FLOAT", "DECIMAL(10,2)", "VARCHAR", "DATE", "TIME", "BLOB")),
]  # fmt: skip


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlalchemyConnection]:
    """A SQLite file with one table."""
    path = tmp_path_factory.mktemp("sqlalchemy") / "a.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE t (i INTEGER NOT NULL, s TEXT, m NUMERIC(10, 2), d DATE)")
        made.executemany("INSERT INTO t VALUES (?, ?, ?, ?)",
                         [(1, "a", "1.25", "2024-02-29"), (2, "?1 :p1", None, None)])
        made.commit()
    with closing(opened(f"sqlite:///{path}", "sqlite")) as connection:
        yield connection


@pytest.mark.parametrize("case", some(SQLITE, 3), ids=shown)
def test_types_of_sqlite(
    sqlite: Connection, oracle: duckdb.DuckDBPyConnection, case: dict[str, Any]
) -> None:
    arrives(sqlite, case, oracle)


# Moments before the year 1 are errors here, and `date_trunc` is asked for some.
SINCE_YEAR_1 = [one for one in PROBES if not one.startswith("functions.TimestampTrunc")]


@pytest.mark.parametrize("name", some(SINCE_YEAR_1, 45))
def test_what_postgres_declares_holds(postgres_sample: Sample, name: str) -> None:
    """Neither more nor less, if an owner declares what the kind of its own does."""
    check(postgres_sample, PROBES[name])


def test_nothing_is_declared_by_the_kind() -> None:
    plain = load_abilities("sqlalchemy").under({"dialect": "oracle"})
    assert (plain.dialect, plain.is_unproven, plain.barrier) == ("oracle", True, None)
    assert not any(getattr(plain, name) for name in plain.__slots__ if name.startswith("can_"))


def test_live_columns(sqlite: Connection, postgres_sample: Sample) -> None:
    found = {one.name: one for one in sqlite.columns("t")}
    assert [(one.type, one.nullable) for one in found.values()] == [
        ("INTEGER", False), ("TEXT", True), ("NUMERIC(10, 2)", True), ("DATE", True),
    ]  # fmt: skip
    assert "DECIMAL(10,2)" in found["m"].contract_types
    assert "BIGINT" in found["i"].contract_types and "DATE" in found["d"].contract_types
    assert sqlite.columns("nothing") == ()
    described = postgres_sample.reference.execute("DESCRIBE probe").fetchall()
    kinds = {row[0]: row[1] for row in described if row[1] != "HUGEINT"}
    live = {one.name: one.contract_types for one in postgres_sample.connection.columns(
        "public.probe")}  # fmt: skip
    assert all(kind in live[name] for name, kind in kinds.items()), live


PARAMETERS = (
    (1, "INTEGER"), (2**40, "BIGINT"), ("it's :p1 % ?1", "VARCHAR"), (None, "VARCHAR"),
    (1.5, "DOUBLE"), (True, "BOOLEAN"),
)  # fmt: skip


@pytest.mark.parametrize(("value", "kind"), PARAMETERS)
def test_parameters_are_bound(postgres: Connection, value: object, kind: str) -> None:
    """And what looks like one inside of a text is none."""
    columns = (FragmentColumn("v", kind), FragmentColumn("s", "VARCHAR"))
    cast = {"INTEGER": "int4", "BIGINT": "int8", "VARCHAR": "text", "DOUBLE": "float8",
            "BOOLEAN": "bool"}[kind]  # fmt: skip
    sql = f"SELECT CAST(?1 AS {cast}) AS v, '?1 :p1 %s \"'::text AS s"
    (batch,) = postgres.stream(Fragment(sql, columns, (), (value,), (kind,)))
    assert batch.to_pylist() == [{"v": value, "s": '?1 :p1 %s "'}]


def test_memory_is_bounded(server: Server, postgres: SqlalchemyConnection) -> None:
    """Rows come by a cursor at the server, and wait there until they are asked for."""
    sql = "SELECT a::int8, repeat('x', 4000) FROM generate_series(1, 200000) AS a"  # 800 MB
    columns = (FragmentColumn("x", "BIGINT"), FragmentColumn("s", "VARCHAR"))
    batches = postgres.stream(Fragment(sql, columns, ()))
    seen = sum(next(batches).num_rows for _ in range(2))
    process = postgres._process
    assert process is not None
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        (line,) = [one for one in status.read_text().splitlines() if one.startswith("VmHWM")]
        assert int(line.split()[1]) < 400_000, line
    batches.close()  # type: ignore[attr-defined]  # a generator
    assert 0 < seen < 100_000
    assert running(server) == 0


@pytest.mark.parametrize("place", [0, pytest.param(1, marks=pytest.mark.long)])
def test_cancel_postgres(server: Server, postgres: Connection, place: int) -> None:
    check_cancel(postgres, Fragment(LONG["postgres"][place], LARGE, ()))
    assert running(server) == 0


def test_close_postgres(server: Server, postgres: Connection) -> None:
    batches = postgres.stream(Fragment(LONG["postgres"][1], LARGE, ()))
    assert next(batches).num_rows > 0
    batches.close()  # type: ignore[attr-defined]  # a generator
    assert running(server) == 0
    works(postgres)


@pytest.mark.parametrize("place", [0, pytest.param(1, marks=pytest.mark.long)])
def test_cancel_sqlite(sqlite: Connection, place: int) -> None:
    check_cancel(sqlite, Fragment(LONG["sqlite"][place], LARGE, ()))


def test_a_session_begins_with_its_statements(server: Server) -> None:
    made = opened(by_psycopg(server), "postgres",
                  session="SET default_transaction_read_only = on\nSET TIME ZONE 'Asia/Tokyo'")
    with closing(made) as connection:
        sql = "SELECT current_setting('TimeZone') AS x"
        for _ in range(2):
            (batch,) = connection.stream(Fragment(sql, (FragmentColumn("x", "VARCHAR"),), ()))
            assert batch.to_pydict() == {"x": ["Asia/Tokyo"]}
        shown = "SELECT current_setting('default_transaction_read_only') AS x"
        (batch,) = connection.stream(Fragment(shown, (FragmentColumn("x", "VARCHAR"),), ()))
        assert batch.to_pydict() == {"x": ["on"]}


def test_a_session_that_ended_is_not_made_anew(server: Server) -> None:
    """The next one would have none of its settings."""
    told = "SET application_name = 'of the session'"
    fragment = Fragment(
        "SELECT current_setting('application_name') AS x", (FragmentColumn("x", "VARCHAR"),), ()
    )
    with closing(opened(by_psycopg(server), "postgres", session=told)) as connection:
        (batch,) = connection.stream(fragment)
        assert batch.to_pydict() == {"x": ["of the session"]}
        server.run(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'of the session'",
        )
        for _ in range(2):
            with pytest.raises(ConnectorUnavailable):
                list(connection.stream(fragment))


WRONG: tuple[dict[str, str], ...] = (
    {},
    {"url": "sqlite://", "dialect": "sqlit"},
    {"url": "sqlite://"},
    {"url": "sqlite://", "dialect": "sqlite", "options": "x"},
    {"url": "sqlite://", "dialect": "sqlite", "abilities": "barrier = 'LIMIT -1'"},
    {"url": "postgresql+psycopg://u:p@db.example/x", "dialect": "postgres"},
    {"url": "postgresql+psycopg://u:p@192.0.2.1/x?connect_timeout=1", "dialect": "postgres"},
)


@pytest.mark.parametrize("settings", WRONG)
def test_settings_that_make_no_sense(settings: dict[str, str]) -> None:
    """Passwords go encrypted to other machines, or where the settings say that they do not."""
    with pytest.raises(ConnectorError) as caught:
        load_connector("sqlalchemy").connect(settings)
    assert not isinstance(caught.value, ConnectorUnavailable)


@pytest.mark.parametrize("url", ["postgresql+psycopg://127.0.0.1:1/x", "nodialect://x"])
def test_a_server_that_is_not_there(url: str) -> None:
    with pytest.raises(ConnectorUnavailable):
        opened(url, "postgres", tls="false")


def test_policies_hold_over_it(tmp_path: Path) -> None:
    """As a product: rows of the policy, and errors of hidden ones met by nobody."""
    (tmp_path / "data").mkdir()
    path = tmp_path / "data/rows.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE t (id INTEGER, tenant TEXT, note TEXT)")
        made.executemany("INSERT INTO t VALUES (?, ?, ?)",
                         [(1, "a", "10"), (2, "b", "word"), (3, "a", "30")])
        made.commit()
    mesh = SmallMesh(
        domain="shop",
        source={"connector": "sqlalchemy", "secrets": {"url": "URL"},
                "settings": {"dialect": "sqlite"}},
        tables={"notes": ("t", {"id": "INTEGER", "tenant": "VARCHAR", "note": "VARCHAR"})},
        users={"amy": {}},
        grants=({"product": "notes", "subjects": [{"users": ["amy"]}], "scope": "tenant = 'a'"},),
    )  # fmt: skip
    (tmp_path / "data/secrets/shop").mkdir(parents=True)
    (tmp_path / "data/secrets/shop/URL").write_text(f"sqlite:///{path}")
    gateway = opened_mesh(tmp_path, mesh)
    try:
        sql = "SELECT sum(CAST(note AS INTEGER)) AS n FROM shop.notes WHERE id > 0"
        assert answer(gateway, "amy", sql)["n"].to_pylist() == [40]
        assert answer(gateway, "amy", "SELECT count(*) AS n FROM shop.notes WHERE id = ?",
                      parameters=(2,))["n"].to_pylist() == [0]  # fmt: skip
    finally:
        gateway.close()


@pytest.mark.parametrize("mark", ["?1", "$1"])
def test_parameters_as_the_owner_declares_them(postgres: Connection, mark: str) -> None:
    """`parameter_style = "dollar"` is declared for PostgreSQL; a text or name keeps its own."""
    sql = f"""SELECT {mark} AS n WHERE '{mark}' <> '' AND {mark} > 1"""
    (batch,) = postgres.stream(Fragment(sql, LARGE, (), (7,), ("BIGINT",)))
    assert batch.column(0).to_pylist() == [7]
