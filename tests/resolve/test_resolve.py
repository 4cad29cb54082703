"""Which tables a text names.

Takes: cases.yaml: what a caller may know, and texts. Gives: a failure for each text that resolve
now reads otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlglot import exp

from gateway.errors import InternalError, SqluiceError, UnknownTable
from gateway.parse import ParsedStatement, parse_query
from gateway.resolve import Address, Directory, KnownProduct, resolve
from tests.parse.asking import parsed

Case = Mapping[str, Any]
DATA = yaml.safe_load(Path(__file__).with_name("cases.yaml").read_text(encoding="utf-8"))


def _known(row: Case) -> KnownProduct:
    tables = {major: tuple(names) for major, names in row["tables"].items()}
    return KnownProduct(
        domain=row["domain"],
        product=row["product"],
        tables=tables,
        default_tables=dict.fromkeys(tables, row.get("default")),
        preferred=row.get("preferred"),
    )


DIRECTORY = Directory(
    {(row["domain"].casefold(), row["product"].casefold()): _known(row)
     for row in DATA["directory"]}
)
RESOLVED = [case for case in DATA["resolved"] if "becomes" in case]
REFUSED = [case for case in DATA["resolved"] if "error" in case] + DATA["refused"]


@pytest.mark.parametrize("case", RESOLVED, ids=lambda case: case["sql"][:70])
def test_resolved(case: Case) -> None:
    made = resolve(parsed(case["sql"]), DIRECTORY, case.get("domain"))
    assert made.tree.sql("duckdb") == case["becomes"]
    assert [f"{one}@{one.major}" for one in made.tables] == case["tables"]
    for table in made.tree.find_all(exp.Table):
        if isinstance(table.this, exp.Func):
            continue
        assert ("address" in table.meta) != ("cte" in table.meta)
        assert "cte" not in table.meta or not table.args.get("db")


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["sql"][:70])
def test_refused(case: Case) -> None:
    with pytest.raises(SqluiceError) as caught:
        resolve(parsed(case["sql"]), DIRECTORY, case.get("domain"))
    error = caught.value
    assert (error.code, error.message) == (case["error"], case["says"])
    assert [error.line, error.column] == case["at"]


@pytest.mark.parametrize("case", DATA["hints"], ids=lambda case: case["name"])
def test_hints(case: Case) -> None:
    with pytest.raises(UnknownTable) as caught:
        resolve(parse_query(f"SELECT * FROM {case['name']}"), DIRECTORY, None)
    expected = case["means"]
    if expected is None:
        assert caught.value.hint is None
    else:
        assert caught.value.hint is not None
        assert caught.value.hint.startswith(f"Did you mean {expected}? ")


def test_nothing_is_known_of_what_is_not_in_the_directory() -> None:
    """The answer for a name is the same whether what it names exists for others or not."""
    empty = Directory({})
    answers = set()
    for directory in (empty, Directory({("x", "y"): _known(DATA["directory"][-1])})):
        with pytest.raises(UnknownTable) as caught:
            resolve(parse_query("SELECT * FROM sales.orders.lines"), directory, "sales")
        answers.add((caught.value.message, caught.value.hint, caught.value.line))
    assert len(answers) == 1


def test_what_the_tree_keeps() -> None:
    tree = resolve(
        parse_query('SELECT * FROM Sales."orders@1".Lines, "sales.orders".lines AS l'),
        DIRECTORY, None,
    ).tree
    first, second = tree.find_all(exp.Table)
    assert first.meta["address"] == Address("sales", "orders", "lines", 1)
    assert first.meta["written"] == ("Sales", "orders@1", "Lines")
    assert (first.meta["implicit_alias"], first.alias) == (True, "Lines")
    assert second.meta["written"] == ("sales.orders", "lines")
    assert (second.meta["implicit_alias"], second.alias) == (False, "l")


def test_the_statement_stays_as_it_was() -> None:
    statement = parse_query("SELECT * FROM sales.orders")
    resolve(statement, DIRECTORY, None)
    assert statement.tree is not None
    assert statement.tree.sql("duckdb") == "SELECT * FROM sales.orders"


def test_parameters_are_handed_on() -> None:
    assert resolve(parse_query("SELECT ?, ? FROM sales.orders"), DIRECTORY, None).parameters == 2


def test_a_statement_without_a_query_is_a_defect() -> None:
    with pytest.raises(InternalError):
        resolve(ParsedStatement("show", argument="tables"), DIRECTORY, None)


def test_there_are_enough_cases() -> None:
    assert len(RESOLVED) + len(REFUSED) >= 60
