"""The words of a text, read as far as the endpoint itself has to: where statements end, which
statement it is.

Takes: a text. Gives: its words with their places. Never decides what may run: the pipeline reads
the text again, with its own eyes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.errors import ParseError

_WORD = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
    |(?P<comment>/\*)
    |(?P<escaped>[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z))
    |(?P<string>'(?:[^']|'')*(?:'|\Z))
    |(?P<quoted>"(?:[^"]|"")*(?:"|\Z))
    |(?P<dollar>\$(?:[^\W\d]\w*)?\$)
    |(?P<parameter>\$\d+)
    |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_BACKSLASH = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_MOST_OPEN = 100


@dataclass(frozen=True, slots=True)
class Word:
    """kind: word (value in small letters), quoted, string, number, parameter or mark."""

    kind: str
    value: str
    start: int
    end: int

    def is_word(self, *values: str) -> bool:
        """Whether it is one of these words, or marks, without quotes."""
        return self.kind in ("word", "mark") and self.value in values


def read_words(sql: str) -> tuple[Word, ...]:
    """All words of a text but comments."""
    return tuple(_words(sql))


def statements(sql: str) -> tuple[tuple[Word, ...], ...]:
    """The words of each statement of a text; without those that are empty."""
    made: list[tuple[Word, ...]] = []
    current: list[Word] = []
    for word in _words(sql):
        if word.kind == "mark" and word.value == ";":
            made.append(tuple(current))
            current = []
        else:
            current.append(word)
    made.append(tuple(current))
    return tuple(one for one in made if one)


def text_of(sql: str, words: Sequence[Word]) -> str:
    """The text from the first to the last of these words."""
    return sql[words[0].start : words[-1].end] if words else ""


def _words(sql: str) -> Iterator[Word]:
    place, opened = 0, 0
    while place < len(sql):
        found = _WORD.match(sql, place)
        assert found is not None and found.lastgroup is not None
        kind, text, end = found.lastgroup, found[0], found.end()
        if kind == "comment":
            place = _end_of_comment(sql, end)
            continue
        if kind == "dollar":
            closing = sql.find(text, end)
            if closing >= 0:
                yield Word("string", sql[end:closing], place, closing + len(text))
                place = closing + len(text)
                continue
            opened += 1
            if opened > _MOST_OPEN:
                raise ParseError("The text opens more quotes with $ than it closes.")
            kind = "mark"
        if kind != "space":
            yield Word(*_read(kind, text), place, end)
        place = end


def _read(kind: str, text: str) -> tuple[str, str]:
    if kind == "word":
        return kind, text.lower()
    if kind == "string":
        return kind, text[1:-1].replace("''", "'")
    if kind == "escaped":
        plain = text[2:-1].replace("''", "'")
        return "string", _BACKSLASH.sub(lambda found: _ESCAPES.get(found[1], found[1]), plain)
    if kind == "quoted":
        return kind, text[1:-1].replace('""', '"')
    return kind, text


def _end_of_comment(sql: str, place: int) -> int:
    """Behind the end of a comment, in which others may lie."""
    depth = 1
    for found in re.finditer(r"/\*|\*/", sql[place:]):
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return place + found.end()
    return len(sql)
