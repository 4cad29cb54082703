"""Columns that nobody reads leave the tree, and the answer stays what it was.

Takes: pairs of statements. Gives: the form of each, and its answer in DuckDB before and after.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import yaml
from sqlglot import exp, parse_one

from gateway.unread import drop_unread

CASES: list[dict[str, str]] = yaml.safe_load(
    Path(__file__).with_name("unread.yaml").read_text(encoding="utf-8")
)
TABLES = """
CREATE TABLE t AS SELECT i % 4 AS a, 1 + i % 3 AS b, i AS c FROM range(7) AS r(i);
CREATE TABLE u AS SELECT i % 3 AS a, i % 2 AS b, i AS c FROM range(5) AS r(i);
"""


def dropped(sql: str) -> str:
    tree = parse_one(sql, dialect="duckdb")
    assert isinstance(tree, exp.Expression)
    drop_unread(tree)
    return tree.sql("duckdb")


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["of"])
def test_form(case: dict[str, str]) -> None:
    want = parse_one(case.get("after", case["sql"]), dialect="duckdb").sql("duckdb")
    assert dropped(case["sql"]) == want


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["of"])
def test_the_answer_is_the_same(case: dict[str, str]) -> None:
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        before, after = (
            sorted(connection.execute(sql).fetchall(), key=repr)
            if "1 / u.a" not in sql
            else connection.execute(sql).fetchall()
            for sql in (case["sql"], dropped(case["sql"]))
        )
    assert before == after


def test_pruning_twice_changes_nothing_more() -> None:
    for case in CASES:
        once = dropped(case["sql"])
        assert dropped(once) == once
