"""What PostgreSQL calls the outputs of a statement that have no name.

Takes: a statement in PostgreSQL's dialect that the pipeline has taken, the schema of its answer.
Gives: the schema with PostgreSQL's names for expressions without one: `?column?`, a function's, a
type's. Never renames a column, an alias or what a star stands for; never names what it is not sure
of.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from itertools import takewhile

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from gateway.request import Request
from gateway.serve.pgwire.words import Word, statements

DIALECT, UNNAMED = "postgres", "?column?"
_REMEMBERED_LENGTH, _REMEMBERED = 10_000, 512
_END = ("from", "where", "group", "having", "window", "union", "intersect", "except", "order",
        "limit", "offset", "fetch", "for", "into", ")")  # fmt: skip
_OPENING, _CLOSING = ("(", "[", "case"), (")", "]", "end")
# What may stand behind a call that is all of an expression.
_BEHIND = (")", ":", "over", "filter", "within", "[", ".", "collate", "as", "end", "ignore",
           "respect")  # fmt: skip
_TRIMMED = {"LEADING": "ltrim", "TRAILING": "rtrim"}
_TYPES = {
    exp.DType.INT: "int4", exp.DType.BIGINT: "int8", exp.DType.SMALLINT: "int2",
    exp.DType.BOOLEAN: "bool", exp.DType.FLOAT: "float4", exp.DType.DOUBLE: "float8",
    exp.DType.DECIMAL: "numeric", exp.DType.CHAR: "bpchar", exp.DType.NCHAR: "bpchar",
    exp.DType.VARCHAR: "varchar", exp.DType.TEXT: "text", exp.DType.VARBINARY: "bytea",
}  # fmt: skip
_FIXED: Mapping[type, tuple[str, bool]] = {
    exp.Interval: ("interval", False), exp.AtTimeZone: ("timezone", True),
    exp.Array: ("array", True), exp.Tuple: ("row", True),
}  # fmt: skip
_SINGLE_DIGITS = 24


def named(schema: pa.Schema, request: Request) -> pa.Schema:
    """The schema of an answer as PostgreSQL names it, where the session speaks its dialect."""
    if request.dialect != DIALECT:
        return schema
    look_up = _remembered if len(request.sql) <= _REMEMBERED_LENGTH else _outputs
    names = _spread(look_up(request.sql), schema.names)
    if names == schema.names:
        return schema
    return pa.schema(
        [field.with_name(name) for field, name in zip(schema, names, strict=True)], schema.metadata
    )


def _spread(outputs: tuple[str | None, ...], names: list[str]) -> list[str]:
    """Names with those of PostgreSQL in their places; None is a star, '' a name that stays."""
    stars = [at for at, one in enumerate(outputs) if one is None]
    if not outputs or (not stars and len(outputs) != len(names)):
        return names
    before = outputs[: stars[0]] if stars else outputs
    behind = outputs[stars[-1] + 1 :] if stars else ()
    # Between two stars nobody can tell where an expression stands.
    if len(before) + len(behind) > len(names):
        return names
    left = [""] * (len(names) - len(before) - len(behind))
    placed = [*before, *left, *behind]
    return [one or name for one, name in zip(placed, names, strict=True)]


def _outputs(sql: str) -> tuple[str | None, ...]:
    """The name of each item of the first SELECT list; nothing where it cannot be read."""
    try:
        found = sqlglot.parse_one(sql, dialect=DIALECT)
    except (SqlglotError, RecursionError):
        return ()
    tree: object = found
    while isinstance(tree, exp.SetOperation | exp.Subquery | exp.Paren):
        tree = tree.this
    if isinstance(tree, exp.Values):
        first = tree.expressions[0]
        width = len(first.expressions) if isinstance(first, exp.Tuple) else 1
        return tuple(f"column{at}" for at in range(1, width + 1))
    parts = statements(sql)
    if not isinstance(tree, exp.Select) or len(parts) != 1:
        return ()
    return _items(tree, parts[0])


_remembered = functools.lru_cache(maxsize=_REMEMBERED)(_outputs)


def _items(select: exp.Select, words: Sequence[Word]) -> tuple[str | None, ...]:
    items = _split(words)
    if len(items) != len(select.expressions):
        return ()
    pairs = zip(select.expressions, items, strict=True)
    return tuple(_item(node, text) for node, text in pairs)


def _item(node: exp.Expr, words: Sequence[Word]) -> str | None:
    if node.is_star:
        return None
    if isinstance(node, exp.Alias | exp.Column):
        return ""
    return _figured(node, words)[0] or UNNAMED


def _split(words: Sequence[Word]) -> list[list[Word]]:
    """The items of the first SELECT list."""
    rest = list(words)
    while rest and rest[0].is_word("("):
        rest = rest[1:]
    starts = (at for at, within in _outermost(rest) if not within and rest[at].is_word("select"))
    start = next(starts, None)
    if start is None:
        return []
    rest = rest[start + 1 :]
    if rest and rest[0].is_word("distinct", "all"):
        has_keys = len(rest) > 1 and rest[0].is_word("distinct") and rest[1].is_word("on")
        rest = rest[_closed(rest, 2) + 1 :] if has_keys else rest[1:]
    items: list[list[Word]] = [[]]
    for at, is_inside in _outermost(rest):
        word, before = rest[at], rest[at - 1] if at else None
        if not is_inside and word.is_word(","):
            items.append([])
            continue
        is_end = not is_inside and word.is_word(*_END)
        if is_end and not (before is not None and before.is_word("distinct")):
            break
        items[-1].append(word)
    return items


def _outermost(words: Sequence[Word]) -> list[tuple[int, bool]]:
    """Each word's place, and whether it stands inside of brackets or of a CASE."""
    made, depth = [], 0
    for at, word in enumerate(words):
        closes = word.is_word(*_CLOSING) and depth > 0
        made.append((at, depth > 0))
        depth += word.is_word(*_OPENING) - closes
    return made


def _closed(words: Sequence[Word], place: int) -> int:
    """Where the bracket closes that opens at a place; the last place where it does not."""
    depth = 0
    for at in range(place, len(words)):
        depth += words[at].is_word("(", "[") - words[at].is_word(")", "]")
        if depth == 0:
            return at
    return len(words) - 1


def _figured(node: object, words: Sequence[Word]) -> tuple[str, bool]:
    """A name, '' for none, and whether it outlives a cast (PostgreSQL's FigureColname).

    words: those of the expression, and maybe what stands behind it.
    """
    match node:
        case exp.Alias() | exp.Column() | exp.Dot():
            return _own(node), True
        case exp.Paren():
            return _figured(node.this, words[1:])
        case exp.Bracket() | exp.Collate() | exp.Filter() | exp.Window() | exp.WithinGroup() | (
            exp.IgnoreNulls() | exp.RespectNulls()
        ):
            return _figured(node.this, words)
        case exp.Cast():
            is_call = len(words) > 2 and words[0].is_word("cast") and words[1].is_word("(")
            found = _figured(node.this, words[2:] if is_call else words)
            return found if found[1] else (_type(node.to), False)
        case exp.Case():
            found = _figured(node.args.get("default"), _default(words))
            return found if found[1] else ("case", False)
        case exp.Subquery():
            return _of_query(node, words)
        case exp.Func() if type(node) not in _FIXED:
            return _called(node, words)
        case _:
            return _FIXED.get(type(node), ("", False))


def _own(node: exp.Expr) -> str:
    """The name of an alias, a column or a field."""
    name: exp.Expr = node.args[
        "alias" if isinstance(node, exp.Alias) else "expression" if isinstance(node, exp.Dot)
        else "this"
    ]  # fmt: skip
    return name.name if name.args.get("quoted") else name.name.lower()


def _default(words: Sequence[Word]) -> Sequence[Word]:
    """What stands behind the ELSE of a CASE."""
    inside = words[1:]
    places = [at for at, within in _outermost(inside) if not within and inside[at].is_word("else")]
    return inside[places[0] + 1 :] if places else ()


def _of_query(node: exp.Subquery, words: Sequence[Word]) -> tuple[str, bool]:
    tree: object = node.this
    while isinstance(tree, exp.SetOperation | exp.Subquery | exp.Paren):
        tree = tree.this
    items = _split(words)
    if not isinstance(tree, exp.Select) or len(items) != 1 or len(tree.expressions) != 1:
        return "", False
    return _figured(tree.expressions[0], items[0])


def _called(node: exp.Func, words: Sequence[Word]) -> tuple[str, bool]:
    """A call's name as it is written; operators are functions for the parser, too."""
    rest = list(words)
    while len(rest) > 2 and rest[0].kind in ("word", "quoted") and rest[1].is_word("."):
        rest = rest[2:]
    if not rest or rest[0].kind not in ("word", "quoted"):
        return "", False
    behind = rest[1:]
    if behind and behind[0].is_word("("):
        behind = behind[_closed(behind, 0) + 1 :]
    if behind and not behind[0].is_word(*_BEHIND):
        return "", False
    name = rest[0].value
    if isinstance(node, exp.Trim) and name == "trim":
        name = _TRIMMED.get(node.text("position").upper(), "btrim")
    return name, True


def _type(kind: exp.DataType) -> str:
    while kind.this == exp.DType.ARRAY and kind.expressions:
        kind = kind.expressions[0]
    sizes = [one.name for one in kind.expressions]
    if kind.this == exp.DType.DOUBLE and sizes and int(sizes[0]) <= _SINGLE_DIGITS:
        return "float4"
    text = kind.sql(DIALECT).lower()
    return _TYPES.get(kind.this, "".join(takewhile(lambda one: one not in "( ", text)))
