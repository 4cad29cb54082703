"""The index that EXPLAIN names lets a real database find rows by the keys that are sent.

Takes: the hints for a column of text. Gives: the plan of the database itself.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg

from connectors.base import load_abilities
from gateway.demo.postgres import Server
from gateway.hints import index_hint


def indexed(kind: str) -> tuple[str, str]:
    """The columns of the index that the hint names, and the predicate over keys of texts."""
    abilities = load_abilities(kind)
    hint = index_hint("t", "s", "VARCHAR", abilities)
    column = '(CAST("s" AS TEXT) COLLATE "C")' if kind == "postgres" else '("s" COLLATE BINARY)'
    keys = abilities.keys.format(
        column=column, keys="?1" if kind == "sqlite" else "ARRAY['a']", type="text"
    )
    return hint[hint.index("(") : hint.index(")") + 1], keys


def test_the_index_serves_in_sqlite() -> None:
    columns, keys = indexed("sqlite")
    with closing(sqlite3.connect(":memory:")) as made:
        made.execute("CREATE TABLE t (s TEXT, n INTEGER)")
        made.execute(f"CREATE INDEX found ON t {columns}")
        plan = made.execute(f"EXPLAIN QUERY PLAN SELECT n FROM t WHERE {keys}", ('["a"]',))
        assert any("INDEX found" in row[3] for row in plan)


def test_the_index_serves_in_postgres(server: Server) -> None:
    """And a plain one in another collation does not."""
    columns, keys = indexed("postgres")
    server.run("postgres", "CREATE DATABASE hints TEMPLATE template0 LOCALE 'C.UTF-8'")
    server.run(
        "hints",
        "CREATE TABLE t (s text, n integer)",
        f"CREATE INDEX found ON t {columns}",
        "CREATE INDEX plain ON t (s)",
        "INSERT INTO t SELECT i::text, i FROM generate_series(1, 20000) AS s(i)",
        "ANALYZE t",
    )
    sql = f"EXPLAIN SELECT n FROM public.t WHERE {keys}"
    with psycopg.connect(server.url("hints")) as opened:
        plan = " ".join(row[0] for row in opened.execute(sql).fetchall())
    assert "found" in plan and "plain" not in plan
