"""The words of a text, before anything parses them.

Takes: tokens. Gives: nothing, or an error that names the construct and its place. Never parses:
it refuses what the parser would read and drop, and what would take it too deep or too long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sqlglot.tokenizer_core import Token, TokenType

from gateway.places import refused

MAXIMUM_LENGTH = 1_000_000
MAXIMUM_TOKENS = 100_000
MAXIMUM_NESTING = 120
# The compiled parser calls itself without a guard: these bounds keep it within a thread's stack.
MAXIMUM_RUN = 24
MAXIMUM_CHAIN = 32
MAXIMUM_OF_A_KIND: Mapping[str, int] = MappingProxyType(
    {"SELECT": 1_000, "FROM": 1_000, "JOIN": 500, "IF": 500, "UNION": 500, "OVER": 1_000}
)

# What sqlglot reads and drops, or reads as something harmless: words in a row, what to call
# them, and which of them to point at.
_REFUSED_ROWS: tuple[tuple[tuple[str, ...], str, int], ...] = (
    (("AT", "("), "AT (VERSION ...)", 0),
    (("FOR", "UPDATE"), "FOR UPDATE", 0),
    (("FOR", "SHARE"), "FOR SHARE", 0),
    (("FOR", "NO", "KEY"), "FOR NO KEY UPDATE", 0),
    (("FOR", "KEY", "SHARE"), "FOR KEY SHARE", 0),
    (("FROM", "ONLY"), "ONLY", 1),
    (("JOIN", "ONLY"), "ONLY", 1),
    (("USING", "SAMPLE"), "USING SAMPLE", 0),
    (("USING", "KEY"), "USING KEY", 0),
    (("(", "SHOW"), "SHOW inside a query", 1),
    (("(", "DESCRIBE"), "DESCRIBE inside a query", 1),
)
_ROWS_BY_FIRST: Mapping[str, tuple[tuple[tuple[str, ...], str, int], ...]] = MappingProxyType(
    {
        first: tuple(row for row in _REFUSED_ROWS if row[0][0] == first)
        for first in {row[0][0] for row in _REFUSED_ROWS}
    }
)
_REFUSED_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "PIVOT": "PIVOT",
        "PIVOT_WIDER": "PIVOT",
        "UNPIVOT": "UNPIVOT",
        "PIVOT_LONGER": "UNPIVOT",
        "SUMMARIZE": "SUMMARIZE",
        "TABLESAMPLE": "TABLESAMPLE",
        "|>": "pipe syntax",
        "#": "#n",
        "MATCH_RECOGNIZE": "MATCH_RECOGNIZE",
    }
)
_QUOTED = frozenset({TokenType.STRING, TokenType.IDENTIFIER})
_OPENING: Mapping[str, str] = MappingProxyType({"(": ")", "[": "]", "{": "}", "CASE": "END"})
# After these an operand has been given, so that what comes next is no longer a prefix.
_OPERANDS = frozenset(
    {
        TokenType.VAR, TokenType.IDENTIFIER, TokenType.STRING, TokenType.NUMBER, TokenType.NULL,
        TokenType.TRUE, TokenType.FALSE, TokenType.STAR, TokenType.PLACEHOLDER, TokenType.COMMA,
        TokenType.DOT, TokenType.EQ, TokenType.NEQ, TokenType.LT, TokenType.LTE, TokenType.GT,
        TokenType.GTE, TokenType.AND, TokenType.OR, TokenType.DPIPE, TokenType.SLASH,
        TokenType.L_PAREN, TokenType.R_PAREN, TokenType.L_BRACKET, TokenType.R_BRACKET,
        TokenType.L_BRACE, TokenType.R_BRACE, TokenType.END,
    }
)  # fmt: skip
_LINKS = frozenset(
    {
        TokenType.ARROW, TokenType.DARROW, TokenType.COLLATE, TokenType.DSTAR, TokenType.CARET,
        TokenType.NOT, TokenType.COLON, TokenType.FARROW,
    }
)  # fmt: skip
_UNLINKING = frozenset(
    {
        TokenType.COMMA, TokenType.AND, TokenType.OR, TokenType.SELECT, TokenType.FROM,
        TokenType.WHERE, TokenType.ON, TokenType.JOIN, TokenType.WHEN, TokenType.THEN,
        TokenType.ELSE, TokenType.UNION,
    }
)  # fmt: skip


def check_tokens(tokens: Sequence[Token]) -> None:
    """Raise UnsupportedSql for a word that is not served and for a shape that is too much."""
    shape = _Shape()
    for number, token in enumerate(tokens):
        if token.token_type == TokenType.SEMICOLON:
            raise refused("a second statement", token, "Send one statement a request.")
        text = "" if token.token_type in _QUOTED else token.text.upper()
        if text in _ROWS_BY_FIRST:
            for words, name, pointed in _ROWS_BY_FIRST[text]:
                following = tokens[number : number + len(words)]
                if tuple(one.text.upper() for one in following) == words:
                    raise refused(name, following[pointed])
        if text in _REFUSED_WORDS and not _is_name(tokens, number):
            raise refused(_REFUSED_WORDS[text], token)
        shape.take(token, text)


def _is_name(tokens: Sequence[Token], number: int) -> bool:
    """Whether a word such as `pivot` is only a name here: after a dot or AS, or before a dot."""
    before = tokens[number - 1].text.upper() if number else ""
    after = tokens[number + 1].text if number + 1 < len(tokens) else ""
    return before in (".", "AS") or after == "."


class _Shape:
    """How deep the words nest, and how long they go on without coming to anything."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._chains = [0]
        self._run = 0
        self._before: TokenType | None = None
        self._counts = dict.fromkeys(MAXIMUM_OF_A_KIND, 0)

    def take(self, token: Token, text: str) -> None:
        """Look at the next word."""
        kind = token.token_type
        if text in _OPENING or (self._open and text == self._open[-1]):
            self._nest(token, text)
        self._run = 0 if kind in _OPERANDS else self._run + 1
        if self._run > MAXIMUM_RUN:
            raise refused(f"more than {MAXIMUM_RUN} keywords in a row", token)
        if kind in _UNLINKING:
            self._chains[-1] = 0
        elif kind in _LINKS or kind == TokenType.L_BRACKET:
            self._link(token)
        if text in self._counts:
            self._counts[text] += 1
            if self._counts[text] > MAXIMUM_OF_A_KIND[text]:
                most = MAXIMUM_OF_A_KIND[text]
                raise refused(f"{text} more than {most} times in a statement", token)
        self._before = kind

    def _nest(self, token: Token, text: str) -> None:
        if text in _OPENING:
            self._open.append(_OPENING[text])
            self._chains.append(0)
            if len(self._open) > MAXIMUM_NESTING:
                raise refused(f"nesting deeper than {MAXIMUM_NESTING} levels", token)
        else:
            self._open.pop()
            self._chains.pop()

    def _link(self, token: Token) -> None:
        is_index = token.token_type == TokenType.L_BRACKET
        if is_index and self._before == TokenType.R_BRACKET and len(self._chains) > 1:
            # The bracket has opened a level of its own; the chain is the one outside it.
            self._chains[-2] += 1
        elif token.token_type in _LINKS:
            self._chains[-1] += 1
        if max(self._chains[-2:]) > MAXIMUM_CHAIN:
            raise refused(f"a chain of more than {MAXIMUM_CHAIN} operators", token)
