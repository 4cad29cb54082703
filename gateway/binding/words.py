"""What bind says when a name cannot be bound.

Takes: names and scopes. Gives: errors. Never mentions anything but names that the caller wrote
or may see.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from sqlglot import exp

from gateway.binding.scopes import Relation, Scope
from gateway.errors import AmbiguousName, UnknownColumn, UnsupportedSql


def place_of(node: exp.Expression | None) -> tuple[int | None, int | None]:
    """Line and column where the node begins in the caller's text, where it is known."""
    if node is None:
        return None, None
    meta = node.meta
    line = meta.get("line")
    if line is None:
        return None, None
    return line, max(1, meta["col"] - (meta["end"] - meta["start"]))


def _at(node: exp.Expression | None) -> str:
    line, column = place_of(node)
    return "" if line is None else f" (line {line}, column {column})"


def unknown(message: str, node: exp.Expression | None, hint: str | None = None) -> UnknownColumn:
    """An error for a name that means nothing."""
    line, column = place_of(node)
    return UnknownColumn(f"{message}{_at(node)}.", line=line, column=column, hint=hint)


def ambiguous(message: str, node: exp.Expression | None, hint: str) -> AmbiguousName:
    """An error for a name that means two things."""
    line, column = place_of(node)
    return AmbiguousName(f"{message}{_at(node)}.", line=line, column=column, hint=hint)


def unsupported(
    message: str, node: exp.Expression | None = None, hint: str | None = None
) -> UnsupportedSql:
    """An error for what is not served."""
    line, column = place_of(node)
    return UnsupportedSql(f"{message}{_at(node)}.", line=line, column=column, hint=hint)


def unknown_name(parts: Sequence[exp.Identifier], scope: Scope) -> UnknownColumn:
    """The error for a column that no scope knows."""
    path = tuple(one.name.casefold() for one in parts)
    names = ".".join(one.name for one in parts)
    if len(path) == 1 and path[0] in scope.pending:
        return unknown(f"{names} is named before the SELECT list defines it", parts[0])
    for one in _relations(scope):
        for length in range(len(path) - 1, 0, -1):
            if one.is_called(path[:length]):
                offered = [output.name for output in one.columns]
                return unknown(
                    f"{'.'.join(p.name for p in parts[:length])} has no column "
                    f"{parts[length].name}",
                    parts[length], did_you_mean(parts[length].name, offered),
                )
    if len(path) > 1:
        tables = [one.called for one in _relations(scope) if one.called]
        return unknown(
            f"{names} names no table of this statement", parts[0],
            did_you_mean(parts[-2].name, tables),
        )
    offered = [output.name for one in _relations(scope) for output in one.columns]
    return unknown(f"There is no column {names}", parts[0], did_you_mean(names, offered))


def _relations(scope: Scope | None) -> Iterator[Relation]:
    while scope is not None:
        yield from scope.relations
        scope = scope.parent


def did_you_mean(name: str, offered: Iterable[str]) -> str | None:
    """A hint where one of the names is close."""
    folded = {one.casefold(): one for one in offered}
    found = difflib.get_close_matches(name.casefold(), list(folded), 1, 0.7)
    return f"Did you mean {folded[found[0]]}?" if found else None
