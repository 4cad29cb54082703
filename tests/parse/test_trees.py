"""What is noted at the nodes of a tree survives copies and is shared by none."""

from __future__ import annotations

import pytest
from sqlglot import exp, parse_one

from gateway.parse import parse_query
from gateway.trees import DUCKDB, Notes, copied, noted, put, text_of, with_cheap_notes

_PREDICATES = (
    "a = 1", "t.a <> -2 AND (\"b c\" < 1.5 OR NOT b >= 'it''s')", "a BETWEEN $1 AND 2 + 3 * 4 - 1",
    "a IN (1, 2, NULL) AND b IS NOT NULL AND c NOT LIKE '%x'", "a LIKE 'x' ESCAPE '!'",
    "a > DATE '1994-01-01' AND b <= CAST('1.50' AS DECIMAL(15, 2))", "a IS TRUE OR FALSE",
    "a IN (SELECT b FROM u)", "a IN ($1, $2) OR x[1] = 'z' OR a > ALL (SELECT 1)",
    "date_trunc('month', a) = TIMESTAMP '2024-01-01 00:00:00' AND b->>'k' = 'v'",
    "extract(year FROM a) = 2 AND substring(b, 1, 2) IN ('a', 'b') AND (a, b) = (1, 2)",
)  # fmt: skip


def test_copies_keep_places_and_share_nothing() -> None:
    read = parse_one("SELECT a,\n b FROM t")
    assert isinstance(read, exp.Expression)
    tree = with_cheap_notes(read)
    column = tree.find(exp.Column)
    assert column is not None
    column.this.meta["list"] = ["kept"]
    copied = tree.copy().find(exp.Column)
    assert copied is not None
    assert dict(copied.this.meta) == dict(column.this.meta)
    assert isinstance(copied.this.meta, Notes)
    copied.this.meta["line"] = 7
    copied.this.meta["list"].append("changed")
    assert column.this.meta["line"] == 1
    assert column.this.meta["list"] == ["kept"]


def test_a_parsed_statement_has_them() -> None:
    """All that has a place; else copies would be as dear as sqlglot's own."""
    tree = parse_query("SELECT a, sum(b) FROM t WHERE c > 1 GROUP BY a").tree
    assert tree is not None
    placed = [node.meta for node in tree.walk() if node.meta_get("line") is not None]
    assert placed
    assert {type(one) for one in placed} == {Notes}


def _nodes(tree: exp.Expr) -> list[tuple[object, ...]]:
    return [
        (
            type(one), type(one.parent), one.arg_key, one.index, dict(one._meta or {}),
            tuple(one.args),
        )
        for one in tree.walk()
    ]  # fmt: skip


def test_a_copy_that_shares_its_notes_is_a_copy() -> None:
    tree = parse_query(
        "WITH c AS (SELECT a, /* said */ b FROM t) SELECT sum(b) AS s, "
        "CASE WHEN a IN (1, 2) THEN 1 END FROM c LEFT JOIN u USING (a) "
        "WHERE b > DATE '2024-01-01' GROUP BY ALL ORDER BY 1 LIMIT 3"
    ).tree
    assert tree is not None
    before = _nodes(tree)
    made = copied(tree)
    assert made == tree
    assert _nodes(made) == before
    assert made.sql(DUCKDB) == tree.sql(DUCKDB)
    for one in list(made.find_all(exp.Column)):
        noted(one, bound=True)
        one.replace(exp.Literal.number(1))
    assert _nodes(tree) == before


@pytest.mark.parametrize("text", _PREDICATES)
def test_a_text_is_the_one_of_a_copy_and_changes_nothing(text: str) -> None:
    tree = parse_one(text, dialect=DUCKDB)
    before = _nodes(tree)
    assert text_of(tree) == tree.copy().sql(DUCKDB)
    assert text_of(tree) == tree.copy().sql(DUCKDB)
    assert _nodes(tree) == before


@pytest.mark.parametrize("sql", ["SELECT 1 IN (2, 3, 4)", "SELECT f(2, 3)", "SELECT 3 + 2"])
def test_what_is_put_in_a_place_stands_there(sql: str) -> None:
    """As `replace` would have it: with its parent and its number, and findable."""
    for number in range(len(list(parse_one(sql).find_all(exp.Literal)))):
        ours, theirs = parse_one(sql), parse_one(sql)
        node, other = (list(one.find_all(exp.Literal))[number] for one in (ours, theirs))
        place, same = exp.Var(this="$1"), exp.Var(this="$1")
        put(node, place)
        other.replace(same)
        assert ours == theirs and node.parent is None
        assert (place.arg_key, place.index) == (same.arg_key, same.index)
        # And what is there can be put away again.
        put(place, exp.Literal.number(9))
        assert "$1" not in ours.sql() and "9" in ours.sql()
