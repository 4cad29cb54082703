"""Trees that are cheap to make, copy and write.

Takes: trees. Gives: the same trees with what sqlglot notes of places in the text in a `Notes`, or
without it; casts; DuckDB's dialect, made once. Never changes what a tree means.

Each stage copies the tree that it changes, and sqlglot copies notes with `copy.deepcopy`, which
looks into every number: four of them a node were a tenth of the time of planning, and to copy what
was noted of a table or a bound value took longer than the node itself. Nor does it
remember a dialect or a type by its name: it makes them anew each time.
"""

from __future__ import annotations

import threading
from copy import deepcopy
from functools import lru_cache
from typing import Any, TypeVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

_CHANGING = (exp.Expr, list, dict, set)
# What the generator writes without changing it.
_LEAVES = frozenset({exp.Column, exp.Literal, exp.Null, exp.Boolean, exp.Parameter})
_PLAIN = frozenset({
    exp.Paren, exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Is,
    exp.Between, exp.In, exp.Like, exp.Cast, exp.Neg, exp.Add, exp.Sub, exp.Mul,
})  # fmt: skip
_writing = threading.local()
TreeT = TypeVar("TreeT", bound=exp.Expr)

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


def text_of(tree: exp.Expr) -> str:
    """DuckDB's text of a part of a tree; plain predicates take a quarter of the time."""
    if not _is_plain(tree):
        return tree.sql(DUCKDB)
    generator = getattr(_writing, "generator", None)
    if generator is None:
        generator = _writing.generator = DUCKDB.generator()
    text: str = generator.generate(tree, copy=False)
    return text


def _is_plain(node: exp.Expr) -> bool:
    """Whether it is written as it stands: the generator changes nothing of it."""
    kind = type(node)
    if kind in _LEAVES:
        return True
    if kind is exp.DataType:
        return not node.expressions
    if kind not in _PLAIN:
        return False
    for value in node.args.values():
        if type(value) is list:
            if not all(_is_plain(one) for one in value):
                return False
        elif isinstance(value, exp.Expr) and not _is_plain(value):
            return False
    return True


def copied(tree: TreeT) -> TreeT:
    """As `copy`, for a tree whose nodes have notes, which both share: in half of its time."""
    made = tree.__class__()
    args = made.args
    # `noted` makes other notes, it changes none.
    made._meta = tree._meta if isinstance(tree._meta, Notes) else deepcopy(tree._meta)
    if tree.comments is not None:
        made.comments = list(tree.comments)
    if tree._type is not None:
        made._type = deepcopy(tree._type)
    made._hash = tree._hash
    for key, value in tree.args.items():
        if isinstance(value, exp.Expr):
            args[key] = below = copied(value)
            below.parent, below.arg_key = made, key
        elif type(value) is list:
            args[key] = several = list(value)
            for place, each in enumerate(value):
                if isinstance(each, exp.Expr):
                    several[place] = below = copied(each)
                    below.parent, below.arg_key, below.index = made, key, place
        else:
            args[key] = value
    return made


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


def put(node: exp.Expr, place: exp.Expr) -> None:
    """Put another expression in the place of one, at a price that does not hang on its neighbours.

    `replace` looks at all of a list for each one that changes: thousands of values took seconds.
    """
    parent, key, index = node.parent, node.arg_key, node.index
    if parent is None or key is None or index is None or parent._hash is not None:
        node.replace(place)
        return
    parent.args[key][index] = place
    place.parent, place.arg_key, place.index = parent, key, index
    node.parent = node.arg_key = node.index = None
