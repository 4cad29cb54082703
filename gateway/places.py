"""Where a construct stands in the caller's text.

Takes: nodes and words. Gives: line and column, both counted from 1, and errors that carry them.
Never shows more of the text than the construct's name.
"""

from __future__ import annotations

from sqlglot import exp
from sqlglot.tokenizer_core import Token

from gateway.errors import TypeMismatch, UnsupportedSql


def column_of(token: Token) -> int:
    """sqlglot counts to a token's end; people look for its start."""
    return max(1, token.col - (token.end - token.start))


def place_of(node: exp.Expr) -> tuple[int | None, int | None]:
    """Line and column where the node begins, where that is known."""
    metas = [one.meta for one in node.walk() if "start" in one.meta]
    if not metas:
        return None, None
    meta = min(metas, key=lambda one: int(one["start"]))
    return int(meta["line"]), max(1, int(meta["col"]) - (int(meta["end"]) - int(meta["start"])))


def refused(what: str, token: Token, hint: str | None = None) -> UnsupportedSql:
    """The error for a word that is not served."""
    line, column = token.line, column_of(token)
    message = f"{what} is not served (line {line}, column {column})."
    return UnsupportedSql(message, line=line, column=column, hint=hint)


def refusal(message: str, node: exp.Expr | None, hint: str | None = None) -> UnsupportedSql:
    """The error for a node that is not served."""
    line, column = (None, None) if node is None else place_of(node)
    return UnsupportedSql(_placed(message, line, column), line=line, column=column, hint=hint)


def mismatch(
    message: str, node: exp.Expr, hint: str | None = None, private: str | None = None
) -> TypeMismatch:
    """The error for a constant that does not fit."""
    line, column = place_of(node)
    return TypeMismatch(
        _placed(message, line, column), line=line, column=column, hint=hint, private=private
    )


def _placed(message: str, line: int | None, column: int | None) -> str:
    return f"{message}." if line is None else f"{message} (line {line}, column {column})."
