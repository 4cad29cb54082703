"""A statement without its literals.

Takes: the text of a statement. Gives: the same text with every literal as `?`, comments dropped
and white space made one, fit for logs, listings and the audit; or the literals apart, for what may
have to forget them. Never fails: a text that cannot be cut into words gives an empty one, since no
part of it is known to be free of values.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import TokenType, tokenize
from sqlglot.errors import SqlglotError

_REMEMBERED_LENGTH, _REMEMBERED = 10_000, 1024
_LITERALS = frozenset(
    {
        TokenType.STRING,
        TokenType.NUMBER,
        TokenType.BIT_STRING,
        TokenType.BYTE_STRING,
        TokenType.HEX_STRING,
        TokenType.HEREDOC_STRING,
        TokenType.NATIONAL_STRING,
        TokenType.RAW_STRING,
        TokenType.UNICODE_STRING,
    }
)


def normalise(sql: str, dialect: str = "duckdb") -> str:
    """The statement with every literal as `?`; empty where it cannot be cut into words."""
    return cut(sql, dialect).normalised


@dataclass(frozen=True, slots=True)
class Cut:
    """A statement whose literals were cut out.

    `text` has `?` in the place of each and keeps where words touch; `literals` are (offset of its
    `?` in `text`, the literal as it was written). `normalised` has one space between all words.
    """

    text: str
    literals: tuple[tuple[int, str], ...]
    normalised: str = ""

    def filled(self, literals: Sequence[str | None]) -> str:
        """The statement with these literals in their places; None stays `?`."""
        text = self.text
        for (offset, _), literal in reversed(list(zip(self.literals, literals, strict=True))):
            if literal is not None:
                text = text[:offset] + literal + text[offset + 1 :]
        return text


def cut(sql: str, dialect: str = "duckdb") -> Cut:
    """The statement with its literals apart; one that cannot be cut into words is one literal."""
    return _remembered(sql, dialect) if len(sql) <= _REMEMBERED_LENGTH else _cut(sql, dialect)


def _cut(sql: str, dialect: str) -> Cut:
    if not sql:
        return Cut("", ())
    try:
        tokens = tokenize(sql, read=dialect)
    except (SqlglotError, ValueError):
        return Cut("?", ((0, sql),))
    words: list[str] = []
    parts: list[str] = []
    found: list[tuple[int, str]] = []
    length, end, after_literal = 0, -1, False
    for token in tokens:
        glued = token.start == end + 1
        is_literal = token.token_type in _LITERALS
        word = sql[token.start : token.end + 1]
        end = token.end
        # `0xFF` comes as the number 0 and the word xFF: the word is part of the literal.
        if after_literal and glued and (is_literal or token.token_type == TokenType.VAR):
            found[-1] = (found[-1][0], found[-1][1] + word)
            continue
        words.append("?" if is_literal else word)
        parts.append(words[-1] if glued or not parts else f" {words[-1]}")
        length += len(parts[-1])
        if is_literal:
            found.append((length - 1, word))
        after_literal = is_literal
    return Cut("".join(parts), tuple(found), " ".join(words))


# A statement is cut when it comes and when it is recorded, and so is the text of its plan.
_remembered = functools.lru_cache(maxsize=_REMEMBERED)(_cut)
