"""Trees that are cheap to make, copy and write.

Takes: trees. Gives: the same trees with what sqlglot notes of places in the text in a `Notes`, or
without it; casts; DuckDB's dialect, made once. Never changes what a tree means.

Each stage copies the tree that it changes, and sqlglot copies notes with `copy.deepcopy`, which
looks into every number: four of them a node were a tenth of the time of planning, and to copy what
was noted of a table or a bound value took longer than the node itself. Nor does it
remember a dialect or a type by its name: it makes them anew each time.
"""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from typing import Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

_CHANGING = (exp.Expr, list, dict, set)

DUCKDB = Dialect.get_or_raise("duckdb")


class Notes(dict[str, Any]):
    """A node's notes; of a copy, what can change is copied too."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Notes:
        """A copy that shares nothing that can change."""
        made = Notes(self)
        for name, value in self.items():
            if isinstance(value, _CHANGING):
                made[name] = deepcopy(value, memo)
        return made


def with_cheap_notes(tree: exp.Expression) -> exp.Expression:
    """The same tree; the notes of its nodes cost little to copy."""
    for node in tree.walk():
        if node.meta_get("line") is not None:
            node._meta = Notes(node.meta)
    return tree


def without_notes(tree: exp.Expression, but: str) -> exp.Expression:
    """The same tree; of what was noted at its nodes only one thing is left."""
    for node in tree.walk():
        if node._meta is not None:
            node._meta = Notes({but: node._meta[but]}) if but in node._meta else None
    return tree


def noted(node: exp.Expr, **notes: object) -> None:
    """Add to a node's notes; they cost little to copy."""
    node._meta = Notes({**(node._meta or {}), **notes})


def text_in(tree: exp.Expression, dialect: str) -> str:
    """The text of a tree in a dialect by its name."""
    return tree.sql(_dialect(dialect))


def last_text(tree: exp.Expression, dialect: str = "duckdb") -> str:
    """The text of a tree that nobody needs any longer: writing it may change it."""
    made = _dialect(dialect)
    return made.generate(tree, copy=False)


@lru_cache
def _dialect(name: str) -> Dialect:
    return Dialect.get_or_raise(name)


def as_type(value: exp.Expression, type_name: str) -> exp.Expression:
    """The value as that type; it becomes part of the cast, unless it is such a cast itself."""
    if isinstance(value, exp.Cast):
        return exp.cast(value, type_name, copy=False)
    return exp.Cast(this=value, to=_type_named(type_name).copy())


@lru_cache(maxsize=1024)
def _type_named(name: str) -> exp.DataType:
    return exp.DataType.build(name)


def read_below(select: exp.Expr) -> dict[str, set[str]]:
    """The names of columns that a query and what stands in it read, by the alias before them."""
    found: dict[str, set[str]] = {}
    for column in select.find_all(exp.Column):
        found.setdefault(column.table, set()).add(column.name)
    return found
