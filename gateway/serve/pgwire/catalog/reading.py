"""A statement over the catalogs, read as PostgreSQL reads it.

Takes: a text. Gives: a tree in a plain form: names folded as PostgreSQL folds them, functions
without their schema, operators as nodes, texts without their escapes. Never decides what may run.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from gateway.errors import ParseError, UnsupportedSql
from gateway.serve.pgwire.catalog.database import unknown
from gateway.serve.pgwire.words import read_words

_SCHEMAS = frozenset({"pg_catalog", "information_schema"})
# Types that the parser reads only without brackets behind them.
_BARE = frozenset("oid name regclass regtype regproc regnamespace regrole".split())
_VERBS = ("select", "insert", "update", "delete")
_OPERATORS: Mapping[str, type[exp.Expr]] = {
    "=": exp.EQ, "<>": exp.NEQ, "!=": exp.NEQ, "<": exp.LT, "<=": exp.LTE, ">": exp.GT,
    ">=": exp.GTE, "~": exp.RegexpLike, "~*": exp.RegexpILike, "~~": exp.Like, "~~*": exp.ILike,
    "||": exp.DPipe, "+": exp.Add, "-": exp.Sub, "*": exp.Mul, "&": exp.BitwiseAnd,
}  # fmt: skip
# Names that are functions of the session, though they stand without parentheses.
_SESSION = frozenset("user current_role current_catalog current_schema".split())
_MOST_NODES = 40_000
# A tree takes a hundred times as much as its text: those of long ones are not kept.
_REMEMBERED, _MOST_REMEMBERED = 256, 10_000


def _parsed(sql: str) -> exp.Expression:
    try:
        found = sqlglot.parse(_spelled(sql), dialect="postgres")
    except (SqlglotError, RecursionError) as error:
        raise ParseError(
            "The question to the catalog cannot be read.", private=str(error)
        ) from None
    trees = [one for one in found if one is not None]
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query) or not isinstance(tree, exp.Expression):
        raise UnsupportedSql("The catalog answers queries only.", hint="Send SELECT.")
    return tree


_remembered = functools.lru_cache(maxsize=_REMEMBERED)(_parsed)


def read(sql: str) -> exp.Expression:
    """The tree of a statement, the caller's own to change."""
    tree = _remembered(sql).copy() if len(sql) <= _MOST_REMEMBERED else _parsed(sql)
    if sum(1 for _ in tree.walk()) > _MOST_NODES:
        raise UnsupportedSql("The question to the catalog is too long.")
    return _plain(tree)


def _spelled(sql: str) -> str:
    """The text with what the parser does not take in a form that it does.

    `oid[]` is the type `_oid`, and behind AS or a point SELECT is a name.
    """
    words = read_words(sql)
    made, place = [], 0
    for at, one in enumerate(words):
        before, rest = words[at - 1] if at else None, words[at + 1 : at + 3]
        is_array = one.value in _BARE and [each.value for each in rest] == ["[", "]"]
        if one.is_word("to_char") and rest and rest[0].is_word("("):
            # The parser would translate the pattern behind it.
            made += [sql[place : one.start], "pg_to_char"]
            place = one.end
        elif one.kind == "word" and is_array:
            made += [sql[place : one.start], f'"_{one.value}"']
            place = rest[1].end
        elif one.is_word(*_VERBS) and before is not None and before.is_word("as", "."):
            made += [sql[place : one.start], f'"{one.value}"']
            place = one.end
    return "".join([*made, sql[place:]])


def _plain(tree: exp.Expression) -> exp.Expression:
    for node in list(tree.walk(bfs=False))[::-1]:
        made = _plain_node(node)
        if made is not node:
            if node is tree:
                tree = made  # type: ignore[assignment]  # a query stays one
            else:
                node.replace(made)
    return tree


def _plain_node(node: exp.Expr) -> exp.Expr:
    match node:
        case exp.Identifier():
            if not node.args.get("quoted"):
                node.set("this", node.name.lower())
            node.set("quoted", True)
        case exp.Star() if any(node.args.values()):
            raise UnsupportedSql("PostgreSQL knows no EXCLUDE, REPLACE or RENAME behind *.")
        case exp.ByteString():
            return exp.Literal.string(node.this)
        case exp.Collate():
            return node.this  # type: ignore[no-any-return]  # a node, as all of its kind
        case exp.Operator():
            return _operator(node)
        case exp.Dot():
            return _without_schema(node)
        case exp.Column():
            return _column(node)
        case exp.Like() | exp.ILike():
            return _escaped(node)
        case exp.Anonymous() if node.name.lower() == "pg_to_char":
            node.set("this", "to_char")
        case exp.Anonymous() if node.name.lower() in ("any", "all", "some"):
            kind = exp.All if node.name.lower() == "all" else exp.Any
            return kind(this=node.expressions[0])
        case _:
            pass
    return node


def _operator(node: exp.Operator) -> exp.Expr:
    text = str(node.args["operator"]).rpartition(".")[2].strip()
    negated = text.startswith("!") and text != "!="
    kind = _OPERATORS.get(text[1:] if negated else text)
    if kind is None:
        raise unknown(f"the operator {text[:20]}")
    made = kind(this=node.this, expression=node.expression)
    if isinstance(made, exp.Like | exp.ILike):
        made = _escaped(made)
    return exp.Not(this=exp.Paren(this=made)) if negated else made


def _without_schema(node: exp.Dot) -> exp.Expr:
    left, right = node.this, node.expression
    if left.name in _SCHEMAS and isinstance(right, exp.Func):
        if isinstance(right, exp.Anonymous) and right.name != "to_char":
            # With its schema the parser knows no function by its name.
            return exp.func(right.name, *right.expressions, dialect="postgres")
        return right
    return node


def _column(node: exp.Column) -> exp.Expr:
    if not node.table and node.name in _SESSION and not isinstance(node.this, exp.Star):
        return exp.Anonymous(this=node.name)
    node.set("db", None)
    node.set("catalog", None)
    return node


def _escaped(node: exp.Like | exp.ILike) -> exp.Expr:
    """In PostgreSQL a backslash escapes where nothing else is said."""
    if isinstance(node.parent, exp.Escape) or isinstance(node.expression, exp.Any | exp.All):
        return node
    return exp.Escape(this=node, expression=exp.Literal.string("\\"))
