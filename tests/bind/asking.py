"""What DuckDB answers, and what must hold of a bound tree.

Takes: statements over the small mesh. Gives: answers to compare, and faults of a tree. Never
relies on the check that bind itself makes at its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
from sqlglot import exp

from gateway.bind import BoundQuery
from gateway.errors import SqluiceError
from tests.bind.mesh import Columns, bound, without

PARAMETERS = (10, "x")
_SOURCES = (exp.Table, exp.Subquery, exp.Unnest, exp.Values, exp.Lateral)


@dataclass(frozen=True, slots=True)
class Answer:
    """Names and types of the columns, and how often each row comes."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: Counter[str]


def answer(database: duckdb.DuckDBPyConnection, sql: str) -> Answer | None:
    """DuckDB's answer; None where it refuses."""
    values = list(PARAMETERS) if "$1" in sql else None
    try:
        found = database.execute(sql, values)
        described = found.description or []
        rows = Counter(repr(row) for row in found.fetchall())
    except duckdb.Error:
        return None
    return Answer(
        tuple(str(one[0]) for one in described), tuple(str(one[1]) for one in described), rows
    )


def attempt(
    sql: str, hidden: tuple[str, ...] = (), visible: Columns | None = None
) -> BoundQuery | SqluiceError:
    """What bind makes of the text for one who does not see some columns, or its refusal."""
    try:
        return bound(sql, without(*hidden) if visible is None else visible)
    except SqluiceError as error:
        return error


def shown(made: BoundQuery | SqluiceError) -> str:
    """All that a caller gets to see: the bound text and its names, or the error with its hint."""
    if isinstance(made, SqluiceError):
        return f"{made.code} {made.message} {made.hint} {made.line}:{made.column}"
    return f"{made.outputs} {made.tree.sql('duckdb')}"


def faults(made: BoundQuery) -> Iterator[str]:
    """Where a bound tree breaks its promise: links, stars, names, sources."""
    if made.tree.parent is not None:
        yield "the root has a parent"
    for node in made.tree.walk():
        yield from _broken_links(node)
        match node:
            case exp.Star() if not isinstance(node.parent, exp.Count):
                yield "a star"
            case exp.Columns() | exp.Pivot() | exp.PositionalColumn():
                yield f"left: {node.sql('duckdb')}"
            case exp.Join() if node.args.get("using") or node.method == "NATURAL":
                yield f"a join by name: {node.sql('duckdb')}"
            case exp.Column():
                yield from _of_column(node)
            case exp.Select():
                yield from (
                    f"no alias: {one.sql('duckdb')}" for one in node.expressions
                    if not isinstance(one, exp.Alias) or not one.args["alias"].args.get("quoted")
                )


def _broken_links(node: exp.Expr) -> Iterator[str]:
    for key, value in node.args.items():
        for position, one in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(one, exp.Expression):
                continue
            index = position if isinstance(value, list) else None
            if one.parent is not node or (one.arg_key, one.index) != (key, index):
                yield f"a broken link from {one.sql('duckdb')} to {node.sql('duckdb')}"


def _of_column(node: exp.Column) -> Iterator[str]:
    table = node.args.get("table")
    if not node.this.args.get("quoted") or node.args.get("db"):
        yield f"not bound: {node.sql('duckdb')}"
    elif table is None:
        if not node.find_ancestor(exp.Order, exp.Distinct):
            yield f"no source: {node.sql('duckdb')}"
    elif not table.args.get("quoted") or not _has_source(node, table.name):
        yield f"no source: {node.sql('duckdb')}"


def _has_source(node: exp.Column, name: str) -> bool:
    around = node.find_ancestor(exp.Select)
    while around is not None:
        if name in _aliases(around):
            return True
        around = around.find_ancestor(exp.Select)
    return False


def _aliases(select: exp.Select) -> set[str]:
    """The names of what stands in its FROM, parentheses looked through."""
    found = set()
    stack = [one for one in [select.args.get("from_"), *(select.args.get("joins") or [])] if one]
    while stack:
        one = stack.pop().this
        stack.extend(one.args.get("joins") or [])
        if isinstance(one, _SOURCES) and one.alias:
            found.add(one.alias)
        elif isinstance(one, exp.Subquery):
            stack.append(one)
    return found
