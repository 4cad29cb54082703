"""The library that reads the text changes it on the way; here nothing of its meaning is lost.

Takes: same_answer.yaml, and every served function of DuckDB with sample arguments. Gives: a
failure where DuckDB answers the caller's text and what parse made of it differently.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml

from gateway.errors import SqluiceError
from gateway.functions import functions
from tests.parse.asking import parsed

SAME = yaml.safe_load(Path(__file__).with_name("same_answer.yaml").read_text(encoding="utf-8"))
STATEMENTS = [f"SELECT {one}" for one in SAME["expressions"]] + SAME["queries"]
TABLE = """
CREATE TABLE t AS SELECT * FROM (VALUES
    (1, 10, 'x', DATE '2024-01-31', 1.50::DECIMAL(10, 2), {'a': 1, 'b': 'q'}, [1, 2, 3]),
    (2, NULL, 'Y', DATE '2024-02-29', 2.25, {'a': 2, 'b': NULL}, [4]),
    (3, 30, NULL, NULL, -1.00, NULL, [])) v(i, n, s, d, m, st, l)
"""
# One value or two of each type; what is not here is asked with those of ANY.
SAMPLES = {
    "VARCHAR": ("'abc'", "'2024-03-10 11:12:13'", "'[1,2]'", "'day'"),
    "BIGINT": ("2", "-3"),
    "INTEGER": ("3",),
    "DOUBLE": ("0.5", "-2.5::DOUBLE"),
    "DATE": ("DATE '2024-03-10'",),
    "TIMESTAMP": ("TIMESTAMP '2024-03-10 11:12:13'",),
    "TIMESTAMP WITH TIME ZONE": ("TIMESTAMPTZ '2024-03-10 11:12:13+02'",),
    "TIME": ("TIME '11:12:13'",),
    "INTERVAL": ("INTERVAL 2 DAY", "INTERVAL '5 hours'"),
    "BOOLEAN": ("true",),
    "BLOB": ("'ab'::BLOB",),
    "JSON": ("""'{"a":[1,2]}'::JSON""",),
    "BIT": ("'0101'::BIT",),
    "UUID": ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID",),
    "HUGEINT": ("7::HUGEINT",),
    "ANY": ("3", "'x'"),
    "LAMBDA": ("lambda x: x", "lambda x, y: x"),
}
LISTS = ("[3, 1, 2]", "['a', 'b']")
# The clock goes on between two statements; DuckDB adds whole numbers by this name too.
EXCEPTED = {"current_localtime", "current_localtimestamp", "get_current_time", "now", "date_add",
            "get_current_timestamp", "transaction_timestamp", "current_time"}  # fmt: skip

Answer = tuple[list[str], str] | None


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(TABLE)
        yield connection


def _answer(database: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    try:
        found = database.execute(sql)
        return [str(one[1]) for one in found.description or ()], repr(found.fetchall())
    except duckdb.Error:
        return None


@pytest.mark.parametrize("sql", STATEMENTS)
def test_same_answer(sql: str, database: duckdb.DuckDBPyConnection) -> None:
    expected = _answer(database, sql)
    assert expected is not None
    tree = parsed(sql).tree
    assert tree is not None
    assert _answer(database, tree.sql("duckdb")) == expected


def _samples(kind: str | None) -> tuple[str, ...]:
    kind = kind or "ANY"
    if kind.endswith("]"):
        return LISTS
    if kind.startswith("MAP"):
        return ("MAP {'a': 1}",)
    if kind.startswith(("STRUCT", "UNION")):
        return ("{'a': 1, 'b': 2}",)
    if kind in ("T", "K", "V"):
        return SAMPLES["ANY"] + LISTS
    return SAMPLES.get(re.split(r"[(]", kind)[0], SAMPLES["ANY"])


def _calls(database: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, str]]:
    rows = database.execute(
        "SELECT function_name, parameter_types, varargs FROM duckdb_functions() "
        "WHERE function_type IN ('scalar', 'aggregate') ORDER BY ALL"
    ).fetchall()
    for name, kinds, more in rows:
        if name.casefold() not in functions() - EXCEPTED:
            continue
        samples = map(_samples, [*kinds, *([more] * 2 if more else [])])
        for arguments in itertools.islice(itertools.product(*samples), 8):
            yield name, f"SELECT {name}({', '.join(arguments)})"


def test_every_function_means_what_it_means_in_duckdb(
    database: duckdb.DuckDBPyConnection,
) -> None:
    answered, wrong = set(), []
    for name, sql in sorted(set(_calls(database))):
        expected = _answer(database, sql)
        if expected is None:
            continue
        try:
            tree = parsed(sql).tree
        except SqluiceError as error:
            if not sql.endswith("()"):
                wrong.append((sql, error.message))
            continue
        assert tree is not None
        answered.add(name)
        if _answer(database, tree.sql("duckdb")) != expected:
            wrong.append((sql, tree.sql("duckdb")))
    assert not wrong
    assert len(answered) > 380
