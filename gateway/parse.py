"""Text to one read-only statement, by an allow-list over the whole tree (stage 1).

Takes: a `Request`. Gives: a `ParsedStatement`. Never executes, never looks a name up, and never
lets through what it does not know (DESIGN 4.4).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError as SqlglotParseError
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from gateway.allowed import check_patterns, check_tree
from gateway.errors import ParseError, UnsupportedSql
from gateway.request import Request

# It warns of what it reads as a command, with the caller's text; such statements are refused.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

MAXIMUM_LENGTH = 1_000_000
MAXIMUM_NESTING = 120
MAXIMUM_TOKENS = 100_000

_EXPLAINED = {
    "ANALYZE": "explain_analyze",
    "ANALYSE": "explain_analyze",
    "POLICY": "explain_policy",
}
_SHOWN = {
    "databases": "catalogs",
    "domains": "catalogs",
    "products": "schemas",
    "time": "timezone",
    "all": "tables",
}
# What sqlglot reads and drops, or reads as something harmless; found before it parses.
_REFUSED_PAIRS = {
    ("AT", "("): "AT (VERSION ...)",
    ("FOR", "UPDATE"): "FOR UPDATE",
    ("FOR", "SHARE"): "FOR SHARE",
    ("FOR", "NO"): "FOR NO KEY UPDATE",
    ("FOR", "KEY"): "FOR KEY SHARE",
    ("FROM", "ONLY"): "ONLY",
    ("JOIN", "ONLY"): "ONLY",
    ("USING", "SAMPLE"): "USING SAMPLE",
    ("USING", "KEY"): "USING KEY",
}
_REFUSED_WORDS = {
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


@dataclass(frozen=True, slots=True)
class ParsedStatement:
    """One statement that passed the allow-list.

    kind: `query` (SELECT, WITH, VALUES, set operations), `explain`, `explain_analyze`,
      `explain_policy`, `describe`, `show`, `set`.
    tree: the query, in DuckDB's dialect, for the first four; for `describe` an exp.Table (or a
      query); None for `show` and `set`.
    argument: for `show` what to show (`tables`, `schemas`, `catalogs`, `purposes`, or a setting's
      name); for `set` the setting's name.
    value: for `set` the new value as text; None resets.
    parameters: how many parameters the query has.
    """

    kind: str
    tree: exp.Expression | None = None
    argument: str | None = None
    value: str | None = None
    parameters: int = 0


def parse(request: Request) -> ParsedStatement:
    """One statement of the request's text.

    Raises ParseError with line and column, UnsupportedSql for what is not served, TypeMismatch
    for a pattern that is not well formed.
    """
    if len(request.sql) > MAXIMUM_LENGTH:
        raise UnsupportedSql(f"The statement is longer than {MAXIMUM_LENGTH} characters.")
    tokens = _tokens(request.sql, request.dialect)
    if not tokens:
        raise ParseError("The statement is empty.", hint="Send one SELECT.")
    word = tokens[0].text.upper()
    if tokens[0].token_type in (TokenType.STRING, TokenType.IDENTIFIER):
        word = ""
    match word:
        case "SHOW":
            return _show(tokens)
        case "SET" | "RESET":
            return _set(tokens)
        case "EXPLAIN":
            return _explain(request, tokens)
        case "DESCRIBE" | "DESC":
            return _describe(request, tokens)
        case _:
            return _query("query", request.sql, request.dialect, 0)


def parse_query(sql: str, dialect: str = "duckdb") -> ParsedStatement:
    """A query without the statements around it."""
    return _query("query", sql, dialect, 0)


def _tokens(sql: str, dialect: str) -> list[Token]:
    try:
        tokens = list(sqlglot.tokenize(sql, read=dialect))
    except TokenError as error:
        raise _token_error(sql, error) from None
    if len(tokens) > MAXIMUM_TOKENS:
        raise UnsupportedSql(f"The statement has more than {MAXIMUM_TOKENS} words.")
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    _check_tokens(tokens)
    return tokens


def _token_error(sql: str, error: TokenError) -> ParseError:
    line = sql.count("\n") + 1
    return ParseError(
        f"The text breaks off inside a string, a quoted name or a comment (line {line}).",
        line=line,
        column=len(sql) - sql.rfind("\n"),
        private=str(error),
    )


def _check_tokens(tokens: list[Token]) -> None:
    depth = 0
    for number, token in enumerate(tokens):
        if token.token_type == TokenType.SEMICOLON:
            raise _refused("a second statement", token, "Send one statement a request.")
        quoted = token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)
        text = "" if quoted else token.text.upper()
        after = tokens[number + 1] if number + 1 < len(tokens) else None
        pair = (text, "" if after is None else after.text.upper())
        if pair in _REFUSED_PAIRS:
            raise _refused(_REFUSED_PAIRS[pair], token)
        if text in _REFUSED_WORDS and not _is_name(tokens, number):
            raise _refused(_REFUSED_WORDS[text], token)
        if text in ("(", "[", "{", "CASE"):
            depth += 1
        elif text in (")", "]", "}", "END"):
            depth -= 1
        if depth > MAXIMUM_NESTING:
            raise _refused(f"nesting deeper than {MAXIMUM_NESTING} levels", token)


def _is_name(tokens: list[Token], number: int) -> bool:
    """Whether a word such as `pivot` is only a name here: after a dot or AS, or before a dot."""
    before = tokens[number - 1].text.upper() if number else ""
    after = tokens[number + 1].text if number + 1 < len(tokens) else ""
    return before in (".", "AS") or after == "."


def _refused(what: str, token: Token, hint: str | None = None) -> UnsupportedSql:
    return UnsupportedSql(
        f"{what} is not served (line {token.line}, column {_column(token)}).",
        line=token.line,
        column=_column(token),
        hint=hint,
    )


def _column(token: Token) -> int:
    """sqlglot counts to a token's end; people look for its start."""
    return max(1, token.col - len(token.text) + 1)


def _query(kind: str, sql: str, dialect: str, offset: int) -> ParsedStatement:
    tree = _tree(sql[offset:], dialect)
    if dialect != "duckdb":
        # Other dialects are translated once, so that every later stage knows one language.
        _require_query(tree)
        tree = _tree(tree.sql("duckdb"), "duckdb")
    _require_query(tree)
    count = _number_parameters(tree)
    check_tree(tree)
    check_patterns(tree, None)
    return ParsedStatement(kind, tree, parameters=count)


def _tree(sql: str, dialect: str) -> exp.Expression:
    try:
        found = [one for one in sqlglot.parse(sql, read=dialect) if one is not None]
    except SqlglotParseError as error:
        raise _parse_error(error) from None
    except TokenError as error:
        raise _token_error(sql, error) from None
    except RecursionError:
        raise UnsupportedSql("The statement is nested too deeply.") from None
    if len(found) != 1:
        raise ParseError("One statement a request, please.", hint="Send them one by one.")
    return cast("exp.Expression", found[0])


def _parse_error(error: SqlglotParseError) -> ParseError:
    first = error.errors[0] if error.errors else {}
    line, column = first.get("line"), first.get("col")
    word = str(first.get("highlight") or "").strip()
    reason = str(first.get("description") or "The statement is no SQL").rstrip(".")
    place = f" (line {line}, column {column})" if line is not None else ""
    near = f" near {word!r}" if word else ""
    return ParseError(f"{reason}{near}{place}.", line=line, column=column)


def _require_query(tree: exp.Expression) -> None:
    if isinstance(tree, exp.Select | exp.SetOperation | exp.Values):
        return
    if isinstance(tree, exp.Subquery) and isinstance(tree.unnest(), exp.Query):
        return
    name = tree.name.upper() if isinstance(tree, exp.Command) else tree.key.upper()
    raise UnsupportedSql(
        f"{name} is not served: the gateway only reads.",
        hint="Send SELECT, WITH, VALUES, EXPLAIN, DESCRIBE, SHOW or SET.",
    )


def _number_parameters(tree: exp.Expression) -> int:
    """Make every parameter `$n`; gives how many values are needed."""
    anonymous = 0
    highest = 0
    for node in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        name = str(node.args.get("this") or "")
        if isinstance(node, exp.Parameter):
            name = node.this.name
        if not name:
            anonymous += 1
            number = anonymous
        elif name.isdigit() and 0 < int(name) <= 10_000:
            number = int(name)
        else:
            raise UnsupportedSql(f"The parameter {name!r} has a name.", hint="Use ? or $1, $2 ...")
        highest = max(highest, number)
        node.replace(exp.Parameter(this=exp.Literal.number(number)))
    if anonymous and highest > anonymous:
        raise UnsupportedSql("? and $n are mixed.", hint="Use one kind of parameter.")
    return highest


def _explain(request: Request, tokens: list[Token]) -> ParsedStatement:
    # The tokenizer takes all behind EXPLAIN for one text, so that is read anew.
    start = tokens[0].end + 1
    rest = _tokens(request.sql[start:], request.dialect)
    kind = "explain"
    if rest and rest[0].text.upper() in _EXPLAINED:
        kind = _EXPLAINED[rest[0].text.upper()]
        start += rest[0].end + 1
        rest = rest[1:]
    if not rest:
        raise ParseError("EXPLAIN of nothing.", hint="Write EXPLAIN SELECT ...")
    return _query(kind, request.sql, request.dialect, start)


def _describe(request: Request, tokens: list[Token]) -> ParsedStatement:
    if len(tokens) == 1:
        raise ParseError("DESCRIBE of nothing.", hint="Write DESCRIBE domain.product.table.")
    word = tokens[1].text.upper()
    start = tokens[2 if word == "TABLE" and len(tokens) > 2 else 1].start
    if word in ("SELECT", "WITH", "FROM", "VALUES", "("):
        return _query("describe", request.sql, request.dialect, start)
    made = _query("describe", "SELECT * FROM " + request.sql[start:], request.dialect, 0)
    select = made.tree
    extra = {key for key, value in (select.args if select else {}).items() if value}
    table = select.args["from_"].this if select is not None and "from_" in select.args else None
    if not isinstance(table, exp.Table) or extra - {"expressions", "from_"}:
        raise ParseError("DESCRIBE takes the name of a table or a query.")
    return ParsedStatement("describe", table)


def _show(tokens: list[Token]) -> ParsedStatement:
    words = [token.text for token in tokens[1:]]
    if not words:
        raise ParseError("SHOW of nothing.", hint="SHOW TABLES, SCHEMAS, CATALOGS, PURPOSES.")
    name = words[0].casefold()
    if len(words) > 1 and (name, words[1].casefold()) not in (("time", "zone"), ("all", "tables")):
        raise UnsupportedSql(
            f"SHOW {' '.join(words)} is not served.",
            hint="SHOW TABLES, SCHEMAS, CATALOGS, PURPOSES or a setting.",
        )
    return ParsedStatement("show", argument=_SHOWN.get(name, name))


def _set(tokens: list[Token]) -> ParsedStatement:
    words = [token.text for token in tokens]
    if words[0].upper() == "RESET":
        if len(words) != 2:
            raise ParseError("RESET takes one setting, or ALL.")
        return ParsedStatement("set", argument=words[1].casefold())
    body = words[1:]
    if body and body[0].upper() in ("SESSION", "LOCAL") and len(body) > 2:
        body = body[1:]
    if [one.upper() for one in body[:2]] == ["TIME", "ZONE"]:
        body = ["timezone", "=", *body[2:]]
    if len(body) == 4 and body[2] == "-":
        body = [*body[:2], "-" + body[3]]
    if len(body) != 3 or body[1].upper() not in ("=", "TO"):
        raise ParseError("SET takes a setting, = and one value.", hint="SET purpose = 'name'")
    is_default = body[2].upper() == "DEFAULT" and tokens[-1].token_type != TokenType.STRING
    return ParsedStatement(
        "set", argument=body[0].casefold(), value=None if is_default else body[2]
    )


__all__ = ["ParsedStatement", "check_patterns", "parse", "parse_query"]
