"""What sources that lie in files know of their tables, without reading them.

Takes: one table of 5000 rows in SQLite, before and after ANALYZE, in a DuckDB file, in two Parquet
files, and the indexes of one in PostgreSQL. Gives: rows, and of columns how many values they have
and their bounds. Never a part of a text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import duckdb
import pytest

from connectors.base import Sizing, SourceSize, load_connector
from gateway.demo.postgres import Server

ROWS = 5000
# 18262: 2020-01-01 as days since 1970. `free` has no index.
SQL = f"""
SELECT n::INTEGER AS id, (n % 100)::INTEGER AS k, DATE '2020-01-01' + (n % 28)::INTEGER AS d,
       'a secret ' || (n % 7) AS s, (n % 10)::INTEGER AS free
FROM range({ROWS}) AS given(n) ORDER BY n
"""
BOUNDS = {"id": (0, ROWS - 1), "k": (0, 99), "d": (18262, 18289)}


def _sizes(kind: str, settings: Mapping[str, str], table: str) -> SourceSize:
    connection = cast(Sizing, load_connector(kind).connect(settings))
    try:
        return connection.sizes([table])[table]
    finally:
        connection.close()


def _sqlite(path: Path, statements: tuple[str, ...]) -> SourceSize:
    held = sqlite3.connect(path)
    held.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, k INT, d DATE, s TEXT, free INT)")
    rows = [(n, k, str(d), s, free) for n, k, d, s, free in duckdb.execute(SQL).fetchall()]
    held.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
    held.execute("CREATE INDEX by_k ON t (k, d)")
    held.execute("CREATE INDEX by_d ON t (d)")
    held.execute("CREATE INDEX by_s ON t (s)")
    held.execute("CREATE INDEX by_part ON t (free) WHERE free > 3")
    for statement in statements:
        held.execute(statement)
    held.commit()
    held.close()
    return _sizes("sqlite", {"path": str(path)}, "t")


def test_sqlite_by_its_indices(tmp_path: Path) -> None:
    found = _sqlite(tmp_path / "a.sqlite", ())
    assert found.rows == ROWS
    assert found.columns["id"][0] == ROWS
    assert {name: found.columns[name][1:] for name in BOUNDS} == BOUNDS
    assert found.columns["k"][0] is None
    assert found.columns["s"] == (None, None, None)
    assert "free" not in found.columns


def test_sqlite_by_what_analyze_left(tmp_path: Path) -> None:
    found = _sqlite(tmp_path / "a.sqlite", ("ANALYZE",))
    distinct = {name: found.columns[name][0] for name in ("id", "k", "d", "s")}
    assert distinct == pytest.approx({"id": ROWS, "k": 100, "d": 28, "s": 7}, rel=0.01)


def test_duckdb_by_its_storage(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with duckdb.connect(path) as held:
        held.execute(f"CREATE TABLE t AS {SQL}")
        held.execute("CREATE TABLE nested AS SELECT {'a': 1} AS one, [1] AS two")
        held.execute("CREATE TABLE nothing (a INTEGER)")
    settings = {"path": str(path)}
    found = _sizes("duckdb", settings, "t")
    assert found.rows == ROWS
    assert {name: found.columns[name][1:] for name in BOUNDS} == BOUNDS
    assert found.columns["s"][1:] == (None, None)
    for name, values in {"id": ROWS, "k": 100, "d": 28, "s": 7, "free": 10}.items():
        assert values / 2 < (found.columns[name][0] or 0) < values * 2, name
    assert _sizes("duckdb", settings, "nested").rows == 1
    assert _sizes("duckdb", settings, "nothing") == SourceSize(0.0)


def test_parquet_by_its_footers(tmp_path: Path) -> None:
    for number, part in enumerate(("n < 2500", "n >= 2500")):
        target = tmp_path / f"{number}.parquet"
        duckdb.execute(f"COPY ({SQL.replace('ORDER', f'WHERE {part} ORDER')}) TO '{target}'")
    found = _sizes("files", {"path": str(tmp_path), "format": "parquet"}, "*.parquet")
    assert found.rows == ROWS
    assert {name: found.columns[name][1:] for name in BOUNDS} == BOUNDS
    # Both files have the same values of these.
    assert {name: found.columns[name][0] for name in ("k", "d", "s")} == {"k": 100, "d": 28, "s": 7}


def test_postgres_tells_which_columns_an_index_finds(server: Server) -> None:
    """The first of an index of all rows that is one of equality, by values as they are."""
    server.run("postgres", "CREATE DATABASE indexed")
    server.run(
        "indexed",
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int, hashed int, part int, brin int, "
        "made int)",
        "INSERT INTO t SELECT n, n, n, n, n, n, n FROM generate_series(1, 500) AS s(n)",
        "CREATE INDEX ON t (a, b)",
        "CREATE INDEX ON t USING hash (hashed)",
        "CREATE INDEX ON t (part) WHERE part > 3",
        "CREATE INDEX ON t USING brin (brin)",
        "CREATE INDEX ON t (abs(made))",
        "ANALYZE t",
    )
    found = _sizes("postgres", {"url": server.url("indexed")}, "public.t")
    assert found.indexed == {"id", "a", "hashed"}
    assert found.rows == 500 and found.columns["brin"][0] == 500
