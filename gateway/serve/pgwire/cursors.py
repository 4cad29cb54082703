"""DECLARE, FETCH, MOVE and CLOSE.

Takes: the words of a statement. Gives: what they ask for. Never holds a cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import ParseError, UnsupportedSql
from gateway.serve.pgwire.words import Word, text_of


@dataclass(frozen=True, slots=True)
class Declare:
    """A cursor over a query. One `with hold` outlives its transaction."""

    name: str
    sql: str
    is_binary: bool = False
    with_hold: bool = False


@dataclass(frozen=True, slots=True)
class Fetch:
    """The next rows of a cursor; no count: all. `moves` drops them."""

    name: str
    count: int | None
    moves: bool = False


@dataclass(frozen=True, slots=True)
class CloseCursor:
    """Close a cursor; None: all."""

    name: str | None


def read_declare(words: Sequence[Word], whole: str) -> Declare:
    """DECLARE name [BINARY] [NO SCROLL] CURSOR [WITH HOLD] FOR query."""
    place = next((at for at, one in enumerate(words) if one.is_word("for")), 0)
    options = [one.value for one in words[2:place]]
    if place < 3 or "cursor" not in options or place + 1 >= len(words):
        raise ParseError("The cursor cannot be read.", hint="DECLARE name CURSOR FOR SELECT ...")
    if "scroll" in options and "no" not in options:
        raise UnsupportedSql("A cursor goes forward only.", hint="Leave SCROLL out.")
    return Declare(
        words[1].value,
        text_of(whole, words[place + 1 :]),
        "binary" in options,
        "hold" in options and "without" not in options,
    )


def read_fetch(words: Sequence[Word], whole: str) -> Fetch:
    """FETCH [NEXT | n | ALL | FORWARD [n | ALL]] [FROM | IN] name."""
    rest = [one for one in words[1:] if not one.is_word("from", "in")]
    if not rest:
        raise ParseError("The cursor is missing.", hint="FETCH 100 FROM name")
    *direction, name = rest
    moves = words[0].value == "move"
    said = [one.value for one in direction]
    if said[:1] in (["next"], ["forward"]):
        said = said[1:]
    if not said:
        return Fetch(name.value, 1, moves)
    if said == ["all"]:
        return Fetch(name.value, None, moves)
    if len(said) == 1 and said[0].isdigit() and len(said[0]) < 10 and int(said[0]):
        return Fetch(name.value, int(said[0]), moves)
    raise UnsupportedSql(
        f"FETCH {' '.join(said)[:50].upper()} is not served: a cursor goes forward only.",
        hint="FETCH NEXT, FETCH n or FETCH ALL.",
    )


def read_close(words: Sequence[Word], whole: str) -> CloseCursor:
    """CLOSE name, or ALL."""
    if len(words) != 2:
        raise ParseError("CLOSE takes the name of a cursor, or ALL.")
    return CloseCursor(None if words[1].is_word("all") else words[1].value)
