"""The parameters of a text: `?` and `$1` become one form, `$n`.

Takes: a text, its words, its tree. Gives: words and nodes in which every parameter has its
number. Never looks at a value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from gateway.errors import UnsupportedSql
from gateway.places import refusal, refused

MAXIMUM_PARAMETERS = 10_000
# The tokenizer takes `$1,$` for the beginning of a text in dollars. A character of private use in
# the dollar's place makes one word of the parameter.
_MARK = "\ue000"
_DOLLAR = re.compile(r"(?<![$\w])\$(?=[0-9])")
_MARKED = re.compile(rf"{_MARK}[0-9]{{1,9}}")


def mark(sql: str) -> str:
    """The text, as long as before, in which `$1` can be read as one word."""
    if _MARK in sql:
        raise UnsupportedSql("The character U+E000 is not served.")
    return _DOLLAR.sub(_MARK, sql)


def unmark(tokens: Sequence[Token]) -> list[Token]:
    """The words of a marked text: `$` and the number, and all else as it was."""
    made: list[Token] = []
    anonymous: Token | None = None
    for token in tokens:
        quoted = token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)
        if not quoted and _MARKED.fullmatch(token.text):
            made += _parameter(token, token.text[1:])
        elif not quoted and token.text.startswith(_MARK):
            name = token.text.replace(_MARK, "$")[:100]
            raise refused(f"The parameter {name}", token, "Use ? or $1, $2 ...")
        elif not quoted and token.text in ("?", "?::"):
            anonymous = anonymous or token
            made.append(token)
        else:
            if _MARK in token.text:
                token.text = token.text.replace(_MARK, "$")
            made.append(token)
    if anonymous is not None and len(made) > len(tokens):
        raise refused("? beside $n", anonymous, "Use one kind of parameter.")
    return made if anonymous is None else _numbered(made)


def _numbered(tokens: Sequence[Token]) -> list[Token]:
    """Each `?` as `$n` in the order of the text, which the tree does not keep."""
    made: list[Token] = []
    number = 0
    for token in tokens:
        quoted = token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)
        if quoted or token.text not in ("?", "?::"):
            made.append(token)
            continue
        number += 1
        made += _parameter(token, str(number))
        if token.text == "?::":
            # The tokenizer takes both for one word.
            made.append(_instead(token, TokenType.DCOLON, "::"))
    return made


def _parameter(token: Token, number: str) -> tuple[Token, Token]:
    return _instead(token, TokenType.PARAMETER, "$"), _instead(token, TokenType.NUMBER, number)


def _instead(token: Token, token_type: TokenType, text: str) -> Token:
    return Token(token_type, text, token.line, token.col, token.start, token.end, [])


def number_parameters(tree: exp.Expression) -> int:
    """Make every parameter of a tree `$n`; gives how many values are needed."""
    highest = 0
    holders: dict[tuple[int, str], exp.Expr] = {}
    for node in tree.find_all(exp.Placeholder, exp.Parameter):
        highest = max(highest, _number(node))
        if node.parent is not None and node.arg_key is not None:
            holders[id(node.parent), node.arg_key] = node.parent
    # List by list: to replace them one by one takes a time that grows with the square.
    for (_, key), holder in holders.items():
        value = holder.args[key]
        made = [_canonical(one) for one in value] if isinstance(value, list) else _canonical(value)
        holder.set(key, made)
    return highest


def _canonical(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Placeholder | exp.Parameter):
        return exp.Parameter(this=exp.Literal.number(_number(node)))
    return node


def _number(node: exp.Expr) -> int:
    held = node.args.get("this")
    name = held.name if isinstance(held, exp.Expr) else str(held or "")
    if not re.fullmatch(r"[0-9]{1,9}", name) or int(name) == 0:
        raise refusal(f"The parameter {name[:100]!r} has no number", node, "Use ? or $1, $2 ...")
    if int(name) > MAXIMUM_PARAMETERS:
        raise UnsupportedSql(f"There are more than {MAXIMUM_PARAMETERS} parameters.")
    return int(name)


def count_of(tokens: Sequence[Token]) -> int:
    """The highest number among the words: a translation may leave a parameter out."""
    numbers = [
        int(tokens[position + 1].text)
        for position, token in enumerate(tokens[:-1])
        if token.token_type == TokenType.PARAMETER
        and token.text == "$"
        and re.fullmatch(r"[0-9]{1,9}", tokens[position + 1].text)
    ]
    return max(numbers, default=0)
