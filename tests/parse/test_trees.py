"""What is noted at the nodes of a tree survives copies and is shared by none."""

from __future__ import annotations

from sqlglot import exp, parse_one

from gateway.parse import parse_query
from gateway.trees import Notes, with_cheap_notes


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
