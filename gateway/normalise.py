"""A statement without its literals.

Takes: the text of a statement. Gives: the same text with every literal as `?`, comments dropped
and white space made one; fit for logs, listings and the audit. Never fails: a text that cannot
be cut into words gives an empty one, since no part of it is known to be free of values.
"""

from __future__ import annotations

from sqlglot import TokenType, tokenize
from sqlglot.errors import SqlglotError

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
    try:
        tokens = tokenize(sql, read=dialect)
    except (SqlglotError, ValueError):
        return ""
    words: list[str] = []
    last_end = -2
    after_literal = False
    for token in tokens:
        glued = token.start == last_end + 1
        last_end = token.end
        if token.token_type in _LITERALS:
            if not (after_literal and glued):
                words.append("?")
            after_literal = True
        elif not (after_literal and glued and token.token_type == TokenType.VAR):
            # `0xFF` comes as the number 0 and the word xFF: the word is part of the literal.
            words.append(sql[token.start : token.end + 1])
            after_literal = False
    return " ".join(words)
