"""What is served becomes this; what is not is refused by this code, here, in these words.

Takes: accepted.yaml and refused.yaml. Gives: a failure for each statement that parse now reads
otherwise.
"""

from __future__ import annotations

import pytest

from gateway.errors import SqluiceError, TypeMismatch, UnsupportedSql
from gateway.parse import check_patterns
from tests.parse.asking import Case, cases, parsed

ACCEPTED = cases("accepted.yaml")
REFUSED = cases("refused.yaml")


def _name(case: Case) -> str:
    return f"{case.get('dialect', '')}{' ' if 'dialect' in case else ''}{case['sql'][:60]}"


@pytest.mark.parametrize("case", ACCEPTED, ids=_name)
def test_accepted(case: Case) -> None:
    made = parsed(case["sql"], case.get("dialect", "duckdb"))
    assert made.kind == case.get("kind", "query")
    assert (made.tree.sql("duckdb") if made.tree is not None else None) == case.get("becomes")
    assert (made.argument, made.value) == (case.get("argument"), case.get("value"))
    assert made.parameters == case.get("parameters", 0)
    assert made.form == case.get("form", "text")


@pytest.mark.parametrize("case", REFUSED, ids=_name)
def test_refused(case: Case) -> None:
    with pytest.raises(SqluiceError) as caught:
        parsed(case["sql"], case.get("dialect", "duckdb"))
    error = caught.value
    place = None if error.line is None else [error.line, error.column]
    assert (error.code, place, error.message) == (case["code"], case.get("at"), case["says"])
    assert "\x1b" not in error.message + (error.hint or "")


@pytest.mark.parametrize("case", ACCEPTED, ids=_name)
def test_what_is_accepted_is_accepted_again(case: Case) -> None:
    """What parse writes, it reads as the same."""
    if case.get("kind", "query") not in ("set", "show", "describe", "kill"):
        tree = parsed(case["becomes"]).tree
        assert tree is not None
        assert tree.sql("duckdb") == case["becomes"]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("SELECT * FROM t WHERE a LIKE ? ESCAPE '$'", "x$"),
        ("SELECT * FROM t WHERE a LIKE ?", 7),
        ("SELECT * FROM t WHERE a ~ ?", "("),
        ("SELECT * FROM t WHERE a SIMILAR TO ?", "(?=x)"),
        ("SELECT regexp_replace(a, ?, 'x') FROM t", "["),
        ("SELECT regexp_split_to_array(a, ?) FROM t", "*"),
        ("SELECT * FROM t WHERE a LIKE 'x' ESCAPE ?", "ab"),
        ("SELECT repeat(a, ?) FROM t", 10**9),
        ("SELECT lpad(a, ?, ' ') FROM t", 10**9),
        ("SELECT * FROM range(?)", 10**12),
        ("SELECT * FROM generate_series(1, ?)", -(10**12)),
        ("SELECT printf(?, a) FROM t", "%1000000000d"),
    ],
)
def test_parameters_are_checked_at_each_execute(sql: str, value: object) -> None:
    tree = parsed(sql).tree
    assert tree is not None
    with pytest.raises((TypeMismatch, UnsupportedSql)):
        check_patterns(tree, (value,))
    check_patterns(tree, (None,))


def test_parameters_that_are_well_formed_pass() -> None:
    tree = parsed("SELECT repeat(a, $2) FROM t WHERE a LIKE $1 AND a ~ $3").tree
    assert tree is not None
    check_patterns(tree, ("x%", 3, "[a-z]+"))


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("SELECT upper(a), count(*) FROM t WHERE id = ? AND b IS NULL GROUP BY 1", 0),
        ("SELECT a FROM t WHERE a LIKE ? OR b NOT ILIKE ?", 2),
        ("SELECT a FROM t WHERE a LIKE ? ESCAPE ?", 2),
        ("SELECT repeat(a, ?), lpad(a, ?, ' '), printf(?, a) FROM t WHERE a ~ ?", 4),
    ],
)
def test_a_statement_knows_what_is_checked_again(sql: str, count: int) -> None:
    assert len(parsed(sql).checked) == count


def test_no_comment_reaches_a_source() -> None:
    made = parsed("SELECT /*! 40000 */ a /* b */, -- c\n b FROM t /*+ d */")
    assert made.tree is not None
    assert made.tree.sql("mysql") == "SELECT a, b FROM t"


def test_there_are_enough_cases() -> None:
    assert len(ACCEPTED) + len(REFUSED) >= 500
