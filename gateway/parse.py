"""Text to one read-only statement, by an allow-list over the whole tree (stage 1).

Takes: a `Request`. Gives: a `ParsedStatement`. Never executes, never looks a name up, and never
lets through what it does not know (DESIGN 4.4).
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import cast

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ErrorLevel, TokenError
from sqlglot.errors import ParseError as SqlglotParseError
from sqlglot.errors import UnsupportedError as SqlglotUnsupported
from sqlglot.tokenizer_core import Token, TokenType

from gateway.allowed import check_each, check_parts, check_patterns, check_tree, checked_nodes
from gateway.errors import ParseError, UnsupportedSql
from gateway.parameters import count_of, mark, number_parameters, unmark
from gateway.places import column_of, refusal
from gateway.request import Request
from gateway.tokens import MAXIMUM_LENGTH, MAXIMUM_TOKENS, check_tokens
from gateway.trees import with_cheap_notes

# Texts up to this length are parsed once, as long as they are among the last ones.
REMEMBERED_LENGTH, _REMEMBERED = 10_000, 512

# It warns of what it reads as a command, with the caller's text; such statements are refused.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

_EXPLAINED = {
    "ANALYZE": "explain_analyze",
    "ANALYSE": "explain_analyze",
    "POLICY": "explain_policy",
}
# What clients of other databases say that they do not want.
_NOT_HERE = frozenset(
    "VERBOSE COSTS SETTINGS GENERIC_PLAN BUFFERS SERIALIZE WAL TIMING SUMMARY MEMORY".split()
)
_ON, _OFF = ("", "TRUE", "ON", "1"), ("FALSE", "OFF", "0")
FORMATS = ("text", "json", "mermaid")
_SHOWN = {
    "databases": "catalogs",
    "domains": "catalogs",
    "products": "schemas",
    "time": "timezone",
    "all": "tables",
}
_QUERY_WORDS = ("SELECT", "WITH", "FROM", "VALUES", "TABLE", "(")
# Long chains of AND and OR are balanced, so that what walks the tree does not go as deep.
_LONG_CHAIN = 16
_FAILURES = (AttributeError, IndexError, KeyError, TypeError, ValueError)


# sqlglot reads the arguments of these in another order than DuckDB; by the other name it leaves
# them alone.
_RENAMED = {"REDUCE": "list_reduce"}


class Served(DuckDB):
    """DuckDB's dialect, with the paths into JSON left as they are written: `'a.b'` is one key."""

    def to_json_path(self, path: exp.Expr | None) -> exp.Expr | None:
        """The path itself."""
        return path


@dataclass(frozen=True, slots=True)
class ParsedStatement:
    """One statement that passed the allow-list.

    kind: `query` (SELECT, WITH, VALUES, set operations), `explain`, `explain_analyze`,
      `explain_policy`, `describe`, `show`, `set`, `kill`.
    tree: the query, in DuckDB's dialect, for the first four; for `describe` an exp.Table (or a
      query); None for `show`, `set` and `kill`.
    argument: for `show` what to show (`tables`, `columns`, `schemas`, `catalogs`, `purposes`, or a
      setting's name); for `set` the setting's name; for `kill` the query's id.
    value: for `set` the new value as text; None resets. For `show` of columns the domain, product
      or table whose columns are meant, its parts joined by dots; None: all.
    parameters: how many parameters the query has.
    form: for the statements that explain: `text`, `json` or `mermaid`.
    checked: the nodes whose arguments are checked again once the parameters have values.
    """

    kind: str
    tree: exp.Expression | None = None
    argument: str | None = None
    value: str | None = None
    parameters: int = 0
    form: str = "text"
    checked: tuple[exp.Expr, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class _Text:
    """A text and its words. Words keep their places in the caller's text."""

    sql: str
    dialect: str
    tokens: tuple[Token, ...]

    def without(self, count: int) -> _Text:
        """The text with its first words blanked out, read anew: places stay as they are."""
        end = self.tokens[count - 1].end + 1
        blank = re.sub(r"[^\n]", " ", self.sql[:end])
        return _read(blank + self.sql[end:], self.dialect)

    def word(self, number: int) -> str:
        """A word in capitals; empty where there is none, or where it is quoted."""
        if number >= len(self.tokens):
            return ""
        token = self.tokens[number]
        quoted = token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)
        return "" if quoted else token.text.upper()


def parse(request: Request) -> ParsedStatement:
    """One statement of the request's text.

    Raises ParseError with line and column, UnsupportedSql for what is not served, TypeMismatch
    for a pattern that is not well formed.
    """
    short = len(request.sql) <= REMEMBERED_LENGTH
    return (_remembered if short else _parsed)(request.sql, request.dialect)


def _parsed(sql: str, dialect: str) -> ParsedStatement:
    text = _read(sql, dialect)
    if not text.tokens:
        raise ParseError("The statement is empty.", hint="Send one SELECT.")
    match text.word(0):
        case "SHOW":
            return _show(text)
        case "KILL":
            return _kill(text)
        case "SET" | "RESET":
            return _set(text)
        case "EXPLAIN":
            return _explain(text)
        case "DESCRIBE" | "DESC":
            return _describe(text)
        case _:
            return _query("query", text)


# Whoever changes a tree copies it first.
_remembered = functools.lru_cache(maxsize=_REMEMBERED)(_parsed)


def parse_query(sql: str, dialect: str = "duckdb") -> ParsedStatement:
    """A query without the statements around it."""
    return _query("query", _read(sql, dialect))


def _read(sql: str, dialect: str) -> _Text:
    if len(sql) > MAXIMUM_LENGTH:
        raise UnsupportedSql(f"The statement is longer than {MAXIMUM_LENGTH} characters.")
    try:
        tokens = unmark(Dialect.get_or_raise(dialect).tokenize(mark(sql)))
    except TokenError as error:
        raise _broken_off(sql, error) from None
    if len(tokens) > MAXIMUM_TOKENS:
        raise UnsupportedSql(f"The statement has more than {MAXIMUM_TOKENS} words.")
    # Athena's reader marks whose turn it is with a word that nobody wrote.
    if tokens and tokens[0].token_type == TokenType.HIVE_TOKEN_STREAM:
        tokens = tokens[1:]
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    check_tokens(tokens)
    return _Text(sql, dialect, tuple(tokens))


def _broken_off(sql: str, error: TokenError) -> ParseError:
    line = sql.count("\n") + 1
    return ParseError(
        f"The text breaks off inside a string, a quoted name or a comment (line {line}).",
        line=line,
        column=len(sql) - sql.rfind("\n"),
        private=str(error),
    )


def _query(kind: str, text: _Text) -> ParsedStatement:
    tree = _tree(text)
    _require_query(tree, text)
    _refuse_texts_as_tables(tree, text.tokens)
    count = max(number_parameters(tree), count_of(text.tokens))
    if text.dialect != "duckdb":
        # Other dialects are translated once, so that every later stage knows one language.
        check_parts(tree)
        tree = _translated(tree)
        count = max(count, number_parameters(tree))
    tree = with_cheap_notes(_simplified(tree))
    check_tree(tree)
    checked = checked_nodes(tree)
    check_each(checked, None)
    return ParsedStatement(kind, tree, parameters=count, checked=checked)


def _translated(tree: exp.Expression) -> exp.Expression:
    try:
        sql = tree.sql("duckdb", comments=False, unsupported_level=ErrorLevel.RAISE)
    except SqlglotUnsupported as error:
        raise UnsupportedSql(
            "The statement has no equal in the dialect of the gateway.", private=str(error)
        ) from None
    except RecursionError:
        raise _too_deep() from None
    except _FAILURES as error:
        raise _unreadable(error) from None
    text = _read(sql, "duckdb")
    made = _tree(text)
    _require_query(made, text)
    _refuse_texts_as_tables(made, text.tokens)
    for node in made.walk():
        # Places in a text that the caller never saw would mislead him.
        node.meta.clear()
    return made


def _tree(text: _Text) -> exp.Expression:
    is_served = text.dialect == "duckdb"
    if is_served:
        _rename_functions(text.tokens)
    dialect = Served() if is_served else Dialect.get_or_raise(text.dialect)
    parser = dialect.parser(error_message_context=0)
    try:
        found = [one for one in parser.parse(list(text.tokens), text.sql) if one is not None]
    except SqlglotParseError as error:
        raise _parse_error(error) from None
    except TokenError as error:
        raise _broken_off(text.sql, error) from None
    except RecursionError:
        raise _too_deep() from None
    except _FAILURES as error:
        raise _unreadable(error) from None
    if len(found) != 1:
        raise ParseError("One statement a request, please.", hint="Send them one by one.")
    return cast("exp.Expression", found[0])


def _too_deep() -> UnsupportedSql:
    return UnsupportedSql("The statement is nested too deeply.")


def _unreadable(error: Exception) -> ParseError:
    """The library stumbled over a text that it should have refused."""
    return ParseError("The statement cannot be read as SQL.", private=repr(error))


def _parse_error(error: SqlglotParseError) -> ParseError:
    first = error.errors[0] if error.errors else {}
    line, column = first.get("line"), first.get("col")
    word = str(first.get("highlight") or "").strip()
    if column is not None and "\n" not in word:
        column = max(1, column - len(word) + 1)
    description = str(first.get("description") or "")
    reason = "The statement cannot be read"
    if description.startswith("Expecting "):
        reason = f"{description.removeprefix('Expecting ')} is missing"
    elif description.startswith(("Required", "Expected")):
        reason = "Something is missing"
    near = f" near {word[:100]!r}" if word else ""
    place = f" (line {line}, column {column})" if line is not None else ""
    return ParseError(f"{reason}{near}{place}.", line=line, column=column, private=description)


def _require_query(tree: exp.Expression, text: _Text) -> None:
    if isinstance(tree, exp.Select | exp.SetOperation | exp.Values):
        return
    if isinstance(tree, exp.Subquery) and isinstance(tree.unnest(), exp.Query):
        return
    token = text.tokens[0]
    name = token.text.upper()
    if name == "WITH" or token.token_type in (TokenType.STRING, TokenType.L_PAREN):
        name = tree.key.upper()
    raise UnsupportedSql(
        f"{name[:100]} is not served: the gateway only reads.",
        line=token.line,
        column=column_of(token),
        hint="Send SELECT, WITH, VALUES, EXPLAIN, DESCRIBE, SHOW or SET.",
    )


def _refuse_texts_as_tables(tree: exp.Expression, tokens: Sequence[Token]) -> None:
    """`FROM 'x'` reads a file in DuckDB; the tree holds it as a name."""
    texts = {token.start for token in tokens if token.token_type == TokenType.STRING}
    for table in tree.find_all(exp.Table) if texts else ():
        if any(part.meta.get("start") in texts for part in table.parts):
            raise refusal(
                "A text as a table is not served", table, "A table is named domain.product.table."
            )


def _rename_functions(tokens: Sequence[Token]) -> None:
    for token, after in pairwise(tokens):
        if after.token_type == TokenType.L_PAREN and token.token_type == TokenType.VAR:
            token.text = _RENAMED.get(token.text.upper(), token.text)


def _simplified(tree: exp.Expression) -> exp.Expression:
    """The same statement with fewer forms: plain strings, LIMIT, shallow chains, no comments."""
    for node in list(tree.walk()):
        # A comment would reach the sources, and some read commands in comments.
        node.comments = None
        if isinstance(node, exp.RawString):
            node.replace(exp.Literal.string(node.this))
        elif isinstance(node, exp.JarowinklerSimilarity):
            # It would be written in capitals, since elsewhere case does not matter to it.
            arguments = [one for one in node.args.values() if isinstance(one, exp.Expr)]
            node.replace(exp.Anonymous(this="jaro_winkler_similarity", expressions=arguments))
        elif isinstance(node, exp.ToMap) and not node.this.expressions and not node.this.this:
            # Inside of a cast it would be written as no SQL.
            node.replace(exp.Map(keys=exp.Array(), values=exp.Array()))
        elif isinstance(node, exp.Fetch) and not _has_options(node):
            node.replace(exp.Limit(expression=node.args.get("count") or exp.Literal.number(1)))
        elif isinstance(node, exp.And | exp.Or) and type(node.parent) is not type(node):
            operands = list(node.flatten(unnest=False))
            if len(operands) > _LONG_CHAIN:
                node.replace(_balanced(type(node), operands))
    return tree


def _has_options(fetch: exp.Fetch) -> bool:
    options = fetch.args.get("limit_options")
    return options is not None and any(options.args.get(one) for one in ("percent", "with_ties"))


def _balanced(kind: type[exp.And | exp.Or], operands: Sequence[exp.Expr]) -> exp.Expr:
    if len(operands) == 1:
        return operands[0]
    middle = len(operands) // 2
    return kind(
        this=_balanced(kind, operands[:middle]), expression=_balanced(kind, operands[middle:])
    )


def _explain(text: _Text) -> ParsedStatement:
    # The tokenizer takes all behind EXPLAIN for one text, so that is read anew.
    rest = text.without(1)
    kind, form = _EXPLAINED.get(rest.word(0), "explain"), "text"
    if kind != "explain":
        rest = rest.without(1)
    if rest.word(0) == "(" and rest.word(1) not in _QUERY_WORDS:
        kinds, form, count = _explain_options(rest)
        kinds |= {kind} - {"explain"}
        if len(kinds) > 1:
            raise _no_option(rest.tokens[0], "ANALYZE beside POLICY")
        kind, rest = next(iter(kinds), "explain"), rest.without(count)
    if not rest.tokens:
        raise ParseError("EXPLAIN of nothing.", hint="Write EXPLAIN SELECT ...")
    if kind == "explain_policy" and form == "mermaid":
        raise _no_option(text.tokens[0], "POLICY as a picture")
    return replace(_query(kind, rest), form=form)


def _explain_options(text: _Text) -> tuple[set[str], str, int]:
    """What `(ANALYZE, FORMAT json)` asks for, as kinds and a form, and how many words it has."""
    kinds: set[str] = set()
    form, place = "text", 1
    while True:
        words: list[Token] = []
        while place < len(text.tokens) and text.word(place) not in (",", ")"):
            words.append(text.tokens[place])
            place += 1
        if place == len(text.tokens) or not words:
            raise ParseError("The options of EXPLAIN break off.", hint="EXPLAIN (FORMAT json) ...")
        name, value = words[0].text.upper(), _value_of_option(words)
        if name == "FORMAT" and value.casefold() in FORMATS:
            form = value.casefold()
        elif name in _EXPLAINED and value in _ON + _OFF:
            kinds |= {_EXPLAINED[name]} if value in _ON else set()
        elif name not in _NOT_HERE or value not in _OFF:
            raise _no_option(words[0], " ".join(one.text for one in words))
        place += 1
        if text.word(place - 1) == ")":
            return kinds, form, place


def _value_of_option(words: list[Token]) -> str:
    """What stands behind a name, with = or without; several words are no value."""
    values = [one.text.upper() for one in words[1:]]
    if values[:1] == ["="]:
        values = values[1:]
    return values[0] if len(values) == 1 else " ".join(values)


def _no_option(token: Token, option: str) -> UnsupportedSql:
    return UnsupportedSql(
        f"EXPLAIN has no option {option[:100]}.",
        line=token.line,
        column=column_of(token),
        hint="EXPLAIN (ANALYZE, FORMAT text | json | mermaid) query, or EXPLAIN (POLICY, FORMAT "
        "text | json) query.",
    )


def _describe(text: _Text) -> ParsedStatement:
    if len(text.tokens) == 1:
        raise ParseError("DESCRIBE of nothing.", hint="Write DESCRIBE domain.product.table.")
    is_table = text.word(1) == "TABLE" and len(text.tokens) > 2
    if text.word(1) in _QUERY_WORDS and not is_table:
        return _query("describe", text.without(1))
    name = text.without(2 if is_table else 1)
    prefix = Dialect.get_or_raise(text.dialect).tokenize("SELECT * FROM")
    made = _query("describe", _Text(name.sql, name.dialect, (*prefix, *name.tokens)))
    select = cast("exp.Expression", made.tree)
    extra = {key for key, value in select.args.items() if value} - {"expressions", "from_"}
    table = select.args["from_"].this if "from_" in select.args else None
    if not isinstance(table, exp.Table) or extra or table.args.get("joins"):
        raise ParseError(
            "DESCRIBE takes the name of a table or a query.",
            line=name.tokens[0].line,
            column=column_of(name.tokens[0]),
        )
    return ParsedStatement("describe", table)


def _show(text: _Text) -> ParsedStatement:
    words = [token.text for token in text.tokens[1:]]
    hint = "SHOW TABLES, COLUMNS, SCHEMAS, CATALOGS, PURPOSES"
    if not words:
        raise ParseError("SHOW of nothing.", hint=f"{hint}.")
    name = words[0].casefold()
    if name == "columns" and (len(words) == 1 or words[1].upper() in ("FROM", "IN")):
        path = words[2:]
        if len(words) == 1 or (len(path) % 2 and all(one == "." for one in path[1::2])):
            return ParsedStatement("show", argument=name, value="".join(path) or None)
    if len(words) > 1 and (name, words[1].casefold()) not in (("time", "zone"), ("all", "tables")):
        raise UnsupportedSql(
            f"SHOW {' '.join(words)[:100]} is not served.",
            line=text.tokens[0].line,
            column=column_of(text.tokens[0]),
            hint=f"{hint} or a setting.",
        )
    return ParsedStatement("show", argument=_SHOWN.get(name, name))


def _kill(text: _Text) -> ParsedStatement:
    last = text.tokens[-1]
    if len(text.tokens) != 3 or text.word(1) != "QUERY" or last.token_type != TokenType.STRING:
        raise UnsupportedSql(
            "KILL takes the id of one query.",
            line=text.tokens[0].line,
            column=column_of(text.tokens[0]),
            hint="Write KILL QUERY 'q_...'.",
        )
    return ParsedStatement("kill", argument=last.text)


def _set(text: _Text) -> ParsedStatement:
    words = [token.text for token in text.tokens]
    line, column = text.tokens[0].line, column_of(text.tokens[0])
    if words[0].upper() == "RESET":
        # All behind RESET is one word to the tokenizer.
        if len(words) != 2 or len(words[1].split()) != 1:
            raise ParseError("RESET takes one setting, or ALL.", line=line, column=column)
        return ParsedStatement("set", argument=words[1].strip(" \"'").casefold())
    body = words[1:]
    if body and body[0].upper() in ("SESSION", "LOCAL") and len(body) > 2:
        body = body[1:]
    if [one.upper() for one in body[:2]] == ["TIME", "ZONE"]:
        body = ["timezone", "=", *body[2:]]
    if len(body) == 4 and body[2] == "-":
        body = [*body[:2], "-" + body[3]]
    if len(body) != 3 or body[1].upper() not in ("=", "TO"):
        raise ParseError(
            "SET takes a setting, = and one value.",
            line=line,
            column=column,
            hint="SET purpose = 'name'",
        )
    last = text.tokens[-1].token_type
    is_default = body[2].upper() == "DEFAULT" and last != TokenType.STRING
    return ParsedStatement(
        "set", argument=body[0].casefold(), value=None if is_default else body[2]
    )


__all__ = ["ParsedStatement", "check_patterns", "parse", "parse_query"]
