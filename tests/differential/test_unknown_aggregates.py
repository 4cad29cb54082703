"""Aggregates that the parser has no class for: the passes take them for the aggregates they are.

Takes: two sources whose rows repeat. Gives: equality with plain DuckDB for each such aggregate in
each place where a pass could take it for a plain function.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest
from sqlglot import ErrorLevel, exp, parse_one

from gateway import functions
from tests.differential.compare import assert_same
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain

ROWS = [(number % 2, number % 3, "ab"[number % 2]) for number in range(120)]
CALLS = ("{f}()", "{f}(x)", "{f}(s)", "{f}(x, k)", "{f}(s, x)")
FORMS = (
    "select s, {call} as c from one.t group by s",
    "select {call} as c from one.t limit 1",
    "select count(*) as n from one.t where k in (select 1 from one.t group by s having {call} > 4)",
    "select b.k, {call} as c, count(*) as n from one.t a join two.u b on a.k = b.k group by b.k",
    # In an aggregate a name is the column, beside it the alias.
    "select k, 7 as x, k || 'z' as s from one.t group by k having {call} is not null and "
    "{call} < 1e9 and x = 7",
    "select k, count(*) as n, {call} as c from "
    "(select * from one.t union all select * from two.u) z group by k",
)
TYPES = {"k": "bigint", "x": "bigint", "s": "text"}
# Answers that hang on the order of rows; one wants statistics of a stored table, one a list.
ODD = frozenset(
    "arbitrary arg_max_null arg_min_null bitstring_agg histogram_exact json_group_array "
    "json_group_object".split()
)


@pytest.fixture(scope="module")
def reference() -> Iterator[duckdb.DuckDBPyConnection]:
    """The rows in one place."""
    with closing(duckdb.connect()) as made:
        for schema, table in (("one", "t"), ("two", "u")):
            made.execute(f"CREATE SCHEMA {schema}")
            made.execute(f"CREATE TABLE {schema}.{table} (k BIGINT, x BIGINT, s VARCHAR)")
            made.executemany(f"INSERT INTO {schema}.{table} VALUES (?, ?, ?)", ROWS)
        yield made


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainMesh]:
    """The same rows in two files of SQLite."""
    folder = tmp_path_factory.mktemp("aggregates")
    sources, tables = {}, []
    for domain, name in (("one", "t"), ("two", "u")):
        with closing(sqlite3.connect(folder / f"{domain}.db")) as made:
            made.execute(f"CREATE TABLE {name} (k INTEGER, x INTEGER, s TEXT)")
            made.executemany(f"INSERT INTO {name} VALUES (?, ?, ?)", ROWS)
            made.commit()
        sources[domain] = PlainSource("sqlite", {"path": str(folder / f"{domain}.db")}, {})
        tables.append(PlainTable(domain, name, name, TYPES))
    with closing(open_plain(folder, sources, tables)) as opened:
        yield opened


def unknown() -> list[str]:
    """The names; by what the installed parser makes of a call."""
    return sorted(
        name
        for name in functions._names("aggregate") - ODD
        if isinstance(
            parse_one(f"{name}(x)", dialect="duckdb", error_level=ErrorLevel.IGNORE), exp.Anonymous
        )
    )


def statements(name: str, reference: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Those of the forms that DuckDB itself takes."""
    for call in CALLS:
        for form in FORMS:
            written = call.format(f=name)
            if "two.u b" in form:
                written = written.replace("(", "(b.").replace(", ", ", b.").replace("(b.)", "()")
            sql = form.format(call=written)
            try:
                reference.execute(sql).fetchall()
            except duckdb.Error:
                continue
            yield sql


def test_there_are_some() -> None:
    assert {"count_star", "fsum", "mean", "product"} <= set(unknown())


@pytest.mark.parametrize("name", unknown())
def test_same_answer(
    name: str, mesh: PlainMesh, reference: duckdb.DuckDBPyConnection
) -> None:
    asked = 0
    for sql in statements(name, reference):
        want = reference.sql(sql).to_arrow_table()
        try:
            assert_same(mesh.ask(sql), want, False)
        except AssertionError as error:
            error.add_note(sql)
            raise
        asked += 1
    assert asked
