"""The smallest statement that still tells.

Takes: a statement and a question about statements. Gives: a statement for which the answer is
still yes, with everything taken out that could go. Never tries more often than a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sqlglot
from sqlglot import exp

from gateway.probe.statements import Statement

_TRIES = 150
_CLAUSES = ("where", "having", "qualify", "order", "limit", "offset", "distinct", "joins", "group")


def shrunk(statement: Statement, still: Callable[[Statement], bool]) -> Statement:
    """Delta debugging over the tree: take parts out while the question stays answered by yes."""
    best, tries = statement, 0
    progress = True
    while progress and tries < _TRIES:
        progress = False
        for sql in _smaller(best.sql):
            tries += 1
            candidate = Statement(sql, best.parameters, best.tables)
            if still(candidate):
                best, progress = candidate, True
                break
            if tries >= _TRIES:
                break
    return best


def _smaller(sql: str) -> Iterator[str]:
    """The statement with one part fewer, the largest parts first."""
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    for make in (_unwrapped, _without_clauses, _without_items, _simpler_conditions):
        for candidate in list(make(tree)):
            text = candidate.sql("duckdb")
            if len(text) < len(sql):
                yield text


def _unwrapped(tree: exp.Expr) -> Iterator[exp.Expr]:
    """A query inside instead of the whole."""
    for query in tree.find_all(exp.Select, exp.SetOperation):
        if query is not tree:
            yield query


def _without_clauses(tree: exp.Expr) -> Iterator[exp.Expr]:
    for place, node in enumerate(tree.find_all(exp.Select)):
        for clause in _CLAUSES:
            if node.args.get(clause):
                yield _edited(tree, place, clause, None)
        joins = node.args.get("joins") or []
        for number in range(len(joins)):
            yield _edited(tree, place, "joins", number)


def _without_items(tree: exp.Expr) -> Iterator[exp.Expr]:
    for place, node in enumerate(tree.find_all(exp.Select)):
        for number in range(len(node.expressions) if len(node.expressions) > 1 else 0):
            yield _edited(tree, place, "expressions", number)


def _edited(tree: exp.Expr, place: int, key: str, number: int | None) -> exp.Expr:
    """A copy in which a clause of one select is gone, or one of its items."""
    copy = tree.copy()
    node = list(copy.find_all(exp.Select))[place]
    if number is None:
        node.set(key, None)
    else:
        node.set(key, [one for at, one in enumerate(node.args[key]) if at != number])
    return copy


def _simpler_conditions(tree: exp.Expr) -> Iterator[exp.Expr]:
    for place, node in enumerate(tree.find_all(exp.And, exp.Or)):
        for side in ("this", "expression"):
            copy = tree.copy()
            target = list(copy.find_all(exp.And, exp.Or))[place]
            target.replace(target.args[side])
            if node is not tree:
                yield copy
