"""Any ADBC driver: PostgreSQL's, SQLite's, DuckDB's own; what is declared, and what is not.

Each runs in a process of its own, and is asked what the kind that knows its database is asked.
"""

from __future__ import annotations

import importlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from connectors.adbc import AdbcConnection
from connectors.base import (
    Connection,
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    FragmentColumn,
    load_abilities,
    load_connector,
)
from gateway.demo.postgres import Server
from tests.connectors.conformance.samples import Sample, in_duckdb, in_postgres
from tests.connectors.conformance.test_abilities import ITSELF, PROBES, check, difference
from tests.connectors.test_cancel import LONG, check_cancel, check_close
from tests.connectors.test_types import MATRIX, arrives

ONE = (FragmentColumn("x", "INTEGER"),)
LARGE = (FragmentColumn("x", "BIGINT"),)


def opened(driver: str, dialect: str, **options: str) -> AdbcConnection:
    """A connection; `option_x` is the driver's option x."""
    settings = {name.replace("option_", "option."): one for name, one in options.items()}
    made = load_connector("adbc").connect({"driver": driver, "dialect": dialect, **settings})
    assert isinstance(made, AdbcConnection)
    return made


@pytest.fixture(scope="module")
def postgres(server: Server) -> Iterator[AdbcConnection]:
    """PostgreSQL, by its driver."""
    with closing(opened("postgresql", "postgres", uri=server.url("postgres"))) as connection:
        yield connection


@pytest.fixture(scope="module")
def duckdb_sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """The rows in a DuckDB file, by DuckDB's own entry point."""
    folder = tmp_path_factory.mktemp("adbc")
    made = in_duckdb(folder)
    made.connection.close()
    options = {"path": str(folder / "rows.duckdb"), "option_access_mode": "read_only"}
    with closing(opened("duckdb", "duckdb", **options)) as connection:
        yield Sample("duckdb", "", "main.probe", connection, made.reference)
    made.reference.close()


@pytest.fixture(scope="module")
def postgres_sample(server: Server) -> Iterator[Sample]:
    """The rows in PostgreSQL, by its driver, with what the kind postgres declares declared."""
    made = in_postgres(server, "linguistic")
    made.connection.close()
    with closing(opened("postgresql", "postgres", uri=server.url("rows_linguistic"))) as one:
        yield Sample("postgres", "linguistic", "public.probe", one, made.reference)
    made.reference.close()


@pytest.fixture(scope="module")
def oracle() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB, to say what a value is."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def some(names: Sequence[Any], step: int) -> list[Any]:
    """All in the long run, every so manieth in the short one."""
    return [
        pytest.param(name, marks=() if number % step == 0 else pytest.mark.long)
        for number, name in enumerate(names)
    ]


def shown(case: dict[str, Any]) -> str:
    """A case as the report names it."""
    return f"{case['sql'][:30]} {case['type']}"


# Only the kind postgres knows what to do with these: here they are errors.
REFUSED = ("'ab'::char(5)", "NULL::char(3)", "DATE '0044-03-15 BC'")
# A text that is a number is one here; the kind postgres asks for a number's type.
EXACT_ANYHOW = ("'1.5'::text",)
CASES = [
    {key: one[key] for key in ("sql", "type", "gives") if key in one
     and not (key == "gives" and one["sql"] in REFUSED)}
    for one in MATRIX["postgres"] if one["sql"] not in EXACT_ANYHOW
]  # fmt: skip


@pytest.mark.parametrize("case", some(CASES, 3), ids=shown)
def test_types_of_postgres(
    postgres: Connection, oracle: duckdb.DuckDBPyConnection, case: dict[str, Any]
) -> None:
    """Exact, or an error."""
    arrives(postgres, case, oracle)


# An infinity is refused, whatever the driver, since none says which of its values is one.
FINITE = [
    one for one in MATRIX["duckdb"] if not any(text in one["sql"] for text in ("infinity", "BC"))
]


@pytest.mark.parametrize("case", some(FINITE, 3), ids=shown)
def test_types_of_duckdb(
    duckdb_sample: Sample, oracle: duckdb.DuckDBPyConnection, case: dict[str, Any]
) -> None:
    arrives(duckdb_sample.connection, case, oracle)


@pytest.mark.parametrize("name", some(ITSELF, 12))
def test_duckdb_answers_as_itself(duckdb_sample: Sample, name: str) -> None:
    assert difference(duckdb_sample, PROBES[name]) is None


# Moments before the year 1 are errors here, and `date_trunc` is asked for some.
SINCE_YEAR_1 = [one for one in PROBES if not one.startswith("functions.TimestampTrunc")]


@pytest.mark.parametrize("name", some(SINCE_YEAR_1, 45))
def test_what_postgres_declares_holds_by_its_driver(postgres_sample: Sample, name: str) -> None:
    """Neither more nor less, if an owner declares what the kind of its own does."""
    check(postgres_sample, PROBES[name])


def test_nothing_is_declared_by_the_kind() -> None:
    """Columns and no more, in the dialect that the source's settings say."""
    plain = load_abilities("adbc").under({"dialect": "bigquery"})
    assert (plain.dialect, plain.is_unproven, plain.barrier) == ("bigquery", True, None)
    assert not any(getattr(plain, name) for name in plain.__slots__ if name.startswith("can_"))
    said = 'can_filter = true\ncomparable = ["INTEGER"]\n[functions]\nAbs = ["INTEGER"]'
    made = load_abilities("adbc").under({"dialect": "snowflake", "abilities": said})
    assert made.can_filter and made.comparable == {"INTEGER"} and made.is_unproven
    assert dict(made.functions) == {"Abs": ("INTEGER",)}
    fewer = replace(made, comparable=frozenset())
    assert fewer.under({"dialect": "snowflake", "abilities": said}) == fewer


WRONG = (
    "barrier = 'OFFSET 0'",
    "is_reference = true",
    "is_unproven = false",
    "keyed_hash = 'md5({value})'",
    "in_place = {}",
    "can_filter = 1",
    "comparable = 'INTEGER'",
    "comparable = [1]",
    "functions = {Abs = 'INTEGER'}",
    "no toml",
)


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_declared(text: str) -> None:
    """Nothing that a policy rests upon; the connector says so, and the plan takes none of it."""
    settings = {"driver": "duckdb", "dialect": "duckdb", "abilities": text}
    with pytest.raises(ConnectorError, match="abilities"):
        load_connector("adbc").connect(settings)
    assert load_abilities("adbc").under(settings) == load_abilities("adbc")


SETTINGS: tuple[dict[str, str], ...] = (
    {"driver": "./libother.so"},
    {"driver": "profile://x"},
    {"driver": "sqlite", "option.driver": "./libother.so"},
    {"driver": "sqlite", "option.entrypoint": "exit"},
    {"driver": "sqlite", "dialect": "sqlit"},
    {"driver": "sqlite", "dialect": ""},
    {"driver": "sqlite", "ur1": "file:x"},
    {"driver": "nosuchdriver"},
    {},
)


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_that_make_no_sense(settings: dict[str, str]) -> None:
    """A domain's file says which installed driver, never which library."""
    with pytest.raises(ConnectorError):
        load_connector("adbc").connect({"dialect": "sqlite", **settings})


def test_a_driver_by_its_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the gateway writes where the library lies, and how it begins."""
    library = importlib.import_module("_duckdb").__file__
    (tmp_path / "lake.toml").write_text(
        "manifest_version = 1\nname = 'lake'\n[Driver]\nentrypoint = 'duckdb_adbc_init'\n"
        f"shared = '{library}'\n"
    )
    monkeypatch.setenv("ADBC_DRIVER_PATH", str(tmp_path))
    with closing(opened("lake", "duckdb")) as connection:
        (batch,) = connection.stream(Fragment("SELECT 7 AS x", ONE, ()))
        assert batch.to_pydict() == {"x": [7]}


def test_sqlite_by_its_driver(tmp_path: Path) -> None:
    """Values in their storage classes; parameters by position, and no mark inside a text."""
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as made:
        made.execute("CREATE TABLE t (i INTEGER, s TEXT)")
        made.executemany("INSERT INTO t VALUES (?, ?)", [(1, "a"), (2, "?1"), (3, None)])
        made.commit()
    with closing(opened("sqlite", "sqlite", uri=f"file:{tmp_path}/a.sqlite?mode=ro")) as one:
        assert [column.name for column in one.columns("t")] == ["i", "s"]
        assert one.columns("nothing") == ()
        columns = (FragmentColumn("i", "BIGINT"), FragmentColumn("s", "VARCHAR"))
        sql = "SELECT i, s FROM t WHERE i >= ?1 AND s IN ('?1', ?2) ORDER BY i"
        batches = one.stream(Fragment(sql, columns, ("t",), (1, "a"), ("BIGINT", "VARCHAR")))
        assert [row for batch in batches for row in batch.to_pylist()] == [
            {"i": 1, "s": "a"}, {"i": 2, "s": "?1"},
        ]  # fmt: skip
        with pytest.raises(ConnectorError):  # it is read only, and one statement
            list(one.stream(Fragment("DELETE FROM t", (), ("t",))))
        one.ping()


@pytest.mark.parametrize("place", [0, pytest.param(1, marks=pytest.mark.long)])
def test_cancel_postgres(server: Server, postgres: Connection, place: int) -> None:
    """The driver is told first, so that nothing goes on at the server."""
    check_cancel(postgres, Fragment(LONG["postgres"][place], LARGE, ()))
    assert running(server) == 0


def test_close_postgres(server: Server, postgres: Connection) -> None:
    check_close(postgres, Fragment(LONG["postgres"][1], LARGE, ()))
    assert running(server) == 0


def running(server: Server) -> int:
    """Statements that still run, after a moment."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series%' "
        "AND state = 'active' AND pid <> pg_backend_pid()"
    )
    with closing(load_connector("postgres").connect({"url": server.url("postgres")})) as other:
        for _ in range(1200):
            (batch,) = other.stream(Fragment(sql, LARGE, ()))
            if not batch.column(0)[0].as_py():
                return 0
            time.sleep(0.05)
    return 1


@pytest.mark.parametrize("place", [0, pytest.param(1, marks=pytest.mark.long)])
def test_cancel_duckdb(duckdb_sample: Sample, place: int) -> None:
    check_cancel(duckdb_sample.connection, Fragment(LONG["duckdb"][place], LARGE, ()))


def test_close_duckdb(duckdb_sample: Sample) -> None:
    check_close(duckdb_sample.connection, Fragment(LONG["duckdb"][1], LARGE, ()))


def test_cancel_what_cannot_be_interrupted(tmp_path: Path) -> None:
    """SQLite's driver cannot: the end of its process does."""
    with closing(opened("sqlite", "sqlite", uri=f"file:{tmp_path}/b.sqlite")) as connection:
        for sql in LONG["sqlite"]:
            check_cancel(connection, Fragment(sql, LARGE, ()))


def test_no_process_is_left(postgres: AdbcConnection, server: Server) -> None:
    """Closed is gone; and a server that is not there is told as such."""
    connection = opened("postgresql", "postgres", uri=server.url("postgres"))
    process = connection._process
    assert process is not None and process.poll() is None
    connection.close()
    assert process.poll() is not None
    with pytest.raises(ConnectorUnavailable):
        opened("postgresql", "postgres", uri="postgresql://127.0.0.1:1/x")


def test_the_process_knows_nothing_of_the_gateways(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Other domains' secrets are not in the environment of a driver that one domain chose."""
    monkeypatch.setenv("SQLUICE_SECRET_OTHER_PASSWORD", "not yours")
    with closing(opened("sqlite", "sqlite", uri=f"file:{tmp_path}/c.sqlite")) as connection:
        assert connection._process is not None
        held = Path(f"/proc/{connection._process.pid}/environ")
        if not held.exists():
            pytest.skip("this system does not show the environment of a process")
        assert b"PATH=" in held.read_bytes()
        assert b"SQLUICE" not in held.read_bytes()


def test_a_driver_that_dies(duckdb_sample: Sample) -> None:
    """Is an error, no end of the rows; the next statement has another process."""
    connection = duckdb_sample.connection
    assert isinstance(connection, AdbcConnection)
    batches = connection.stream(Fragment(LONG["duckdb"][1], LARGE, ()))
    next(batches)
    assert connection._process is not None
    connection._process.kill()
    with pytest.raises(ConnectorError, match="ended"):
        for _ in batches:
            pass
    connection.ping()
