"""What may stand in a statement: node classes, their parts, functions, types.

Takes: a tree. Gives: nothing, or an error that names the construct and its place. Never guesses:
an unknown class, an unknown part or an unknown function is refused (DESIGN 4.4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType

from sqlglot import exp
from sqlglot.errors import ErrorLevel
from sqlglot.errors import UnsupportedError as SqlglotUnsupported
from sqlglot.tokenizer_core import Token, TokenType

from gateway.arguments import check_each, check_patterns, checked_nodes, name_of_call
from gateway.errors import ParseError, SqluiceError, UnsupportedSql
from gateway.functions import (
    is_allowed,
    is_collation,
    is_function_node,
    is_table_function,
    is_type,
    name_of,
    parts_of,
)
from gateway.places import place_of, refusal
from gateway.trees import DUCKDB, copied

MAXIMUM_DEPTH = 250

# Words that may stand before a parenthesis without being the name of a function.
_WORDS = frozenset(
    """
    ALL AND ANTI ANY ARRAY AS BETWEEN BIT BY CASE CHAR COLUMNS CROSS CUBE DECIMAL DISTINCT ELSE
    END ENUM ESCAPE EXCEPT EXCLUDE EXISTS FILTER FROM GLOB GROUP GROUPING HAVING ILIKE IN
    INTERSECT INTERVAL IS ISNULL JOIN KEY LATERAL LIKE LIMIT MAP MATERIALIZED NOT NOTNULL NUMERIC
    OFFSET ON OR ORDER OVER PARTITION QUALIFY RECURSIVE RENAME REPLACE RETURNING ROLLUP SELECT
    SEMI SETS SIMILAR SOME STRUCT TEXT THEN TIME TIMESTAMP TO UNION USING VALUES VARCHAR WHEN
    WHERE WINDOW WITH WITHIN ZONE
    """.split()
)
# Names that DuckDB would read a file for; a version after an @ is no ending of a file.
_FILE = re.compile(
    r"[/\\*?]|\.(csv|tsv|txt|parquet|jsonl?|ndjson|xlsx?|arrow|feather|duckdb|db|sqlite|gz|zst)$",
    re.IGNORECASE,
)
_SOURCES = (exp.Table, exp.Subquery, exp.Values, exp.Unnest, exp.Lateral)
_TABLE_FUNCTIONS = (exp.GenerateSeries, exp.Explode, exp.Unnest)


def check_parts(tree: exp.Expression) -> None:
    """Raise UnsupportedSql for a part that a translation would drop."""
    for node in tree.walk():
        parts = parts_of(type(node).__name__)
        if parts is not None and isinstance(node, exp.Query | exp.Table | exp.Join | exp.With):
            _check_parts(node, parts)


def check_tree(tree: exp.Expression) -> None:
    """Raise UnsupportedSql for anything that is not on the lists."""
    depth = 0
    level: list[exp.Expr] = [tree]
    while level:
        depth += 1
        if depth > MAXIMUM_DEPTH:
            raise UnsupportedSql(f"The statement is nested deeper than {MAXIMUM_DEPTH} levels.")
        below: list[exp.Expr] = []
        for node in level:
            _check_node(node)
            below.extend(node.iter_expressions())
        level = below
    for name in _called(_written(tree)):
        if not is_allowed(name):
            raise _unknown_function(name, _node_of(tree, name))


def _written(tree: exp.Expression) -> str:
    """The text that DuckDB would get, provided that nothing has to be left out of it."""
    try:
        return DUCKDB.generate(copied(tree), copy=False, unsupported_level=ErrorLevel.RAISE)
    except SqlglotUnsupported as error:
        raise UnsupportedSql(
            "The statement holds something that cannot be written in DuckDB's dialect.",
            private=str(error),
        ) from None
    except RecursionError:
        raise UnsupportedSql("The statement is nested too deeply.") from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # The library parsed what it cannot write: it is no SQL.
        raise ParseError("The statement cannot be read as SQL.", private=repr(error)) from None


def _check_node(node: exp.Expr) -> None:
    name = type(node).__name__
    if not _is_known(name):
        raise _unknown_node(node)
    parts = parts_of(name)
    if parts is not None:
        _check_parts(node, parts)
    check = _CHECKS.get(type(node))
    if check is not None:
        check(node)


@cache
def _is_known(name: str) -> bool:
    """Whether nodes of a class are served at all."""
    return parts_of(name) is not None or is_function_node(name)


def _unknown_node(node: exp.Expr) -> SqluiceError:
    name = type(node).__name__
    if isinstance(node, exp.Func):
        return _unknown_function(name_of_call(node) or node.sql_name(), node)
    called = name_of(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).upper()
    return refusal(f"{called} is not served", node)


def _unknown_function(name: str, node: exp.Expr | None) -> UnsupportedSql:
    return refusal(
        f"The function {name[:100].lower()} is not served",
        node,
        "docs/sql.md says which functions are.",
    )


def _node_of(tree: exp.Expression, name: str) -> exp.Expr | None:
    called = (one for one in tree.find_all(exp.Func) if name_of_call(one) == name.casefold())
    return next(called, None)


def _check_parts(node: exp.Expr, parts: frozenset[str]) -> None:
    for key, value in node.args.items():
        if value and key not in parts:
            called = name_of(key) or key.rstrip("_").upper()
            raise refusal(f"{called} is not served here", node)


def _check_table(table: exp.Expr) -> None:
    if not isinstance(table, exp.Table):
        return
    if isinstance(table.this, exp.Func):
        _check_table_function(table.this, table)
        if table.args.get("db"):
            raise refusal("A table function with a schema is not served", table)
        return
    if table.args.get("ordinality"):
        raise refusal("WITH ORDINALITY of a table is not served", table)
    for part in table.parts:
        if not isinstance(part, exp.Identifier):
            raise refusal("A table is named domain.product.table; this", table)
        if not part.name:
            raise refusal("An empty name is not served", table)
    if len(table.parts) == 1 and _FILE.search(table.name):
        raise refusal(
            "A file as a table is not served", table, "A table is named domain.product.table."
        )


def _check_table_function(function: exp.Func, place: exp.Expr) -> None:
    if isinstance(function, _TABLE_FUNCTIONS):
        return
    name = name_of_call(function) or function.sql_name().lower()
    if not is_table_function(name):
        raise refusal(
            f"The table function {name[:100]} is not served",
            place,
            "Only unnest, range and generate_series are.",
        )


def _check_lateral(lateral: exp.Expr) -> None:
    if isinstance(lateral.this, exp.Func):
        _check_table_function(lateral.this, lateral)
    elif not isinstance(lateral.this, exp.Subquery):
        raise refusal("LATERAL of this is not served", lateral)


def _check_source(clause: exp.Expr) -> None:
    if not isinstance(clause.this, _SOURCES):
        raise refusal("FROM of this is not served", clause)


def _check_select(select: exp.Expr) -> None:
    if not select.args.get("expressions"):
        raise _empty("SELECT", select)


def _check_group(group: exp.Expr) -> None:
    if not any(group.args.values()):
        raise _empty("GROUP BY", group.parent)


def _empty(clause: str, node: exp.Expr | None) -> ParseError:
    line, column = (None, None) if node is None else place_of(node)
    return ParseError(f"{clause} of nothing.", line=line, column=column)


def _check_dot(dot: exp.Expr) -> None:
    if isinstance(dot.expression, exp.Func) or not isinstance(
        dot.expression, exp.Identifier | exp.Star
    ):
        raise refusal(
            "A function after a dot is not served",
            dot,
            "Write function(value) instead of value.function().",
        )


def _check_type(data_type: exp.Expr) -> None:
    if not isinstance(data_type.this, exp.DType) or not is_type(data_type.this.name):
        name = data_type.sql(DUCKDB)[:100]
        raise refusal(f"The type {name} is not served", data_type.parent)


def _check_collation(node: exp.Expr) -> None:
    name = node.expression.name
    if not is_collation(name):
        raise refusal(f"The collation {name[:100]} is not served", node)


def _check_name(call: exp.Expr) -> None:
    if not isinstance(call.this, str) or not is_allowed(call.this):
        raise _unknown_function(call.name, call)


_CHECKS: Mapping[type[exp.Expr], Callable[[exp.Expr], None]] = MappingProxyType(
    {
        exp.Select: _check_select,
        exp.Group: _check_group,
        exp.Table: _check_table,
        exp.Lateral: _check_lateral,
        exp.From: _check_source,
        exp.Join: _check_source,
        exp.Dot: _check_dot,
        exp.DataType: _check_type,
        exp.Collate: _check_collation,
        exp.Anonymous: _check_name,
    }
)


def _called(sql: str) -> Iterator[str]:
    """Names before an opening parenthesis in the SQL that DuckDB would get."""
    # Parameters as numbers: the tokenizer takes `$1,$` for the beginning of a text.
    tokens = DUCKDB.tokenize(re.sub(r"\$([0-9]+)", r"\1", sql))
    for position in range(len(tokens) - 1):
        token = tokens[position]
        if tokens[position + 1].token_type != TokenType.L_PAREN:
            continue
        if token.token_type == TokenType.STRING:
            continue
        if token.token_type != TokenType.IDENTIFIER and (
            token.text.upper().split()[-1] in _WORDS or not _is_word(token.text)
        ):
            continue
        # A name with a list of columns behind it is an alias, not a call.
        if not _is_alias(tokens, position):
            yield token.text


def _is_word(text: str) -> bool:
    return bool(text) and (text[0].isalpha() or text[0] == "_")


def _is_alias(tokens: Sequence[Token], position: int) -> bool:
    before = tokens[position - 1] if position else None
    text = "" if before is None or before.token_type in _QUOTED else before.text.upper()
    if text in ("AS", "WITH", "RECURSIVE"):
        return True
    return text == "," and _closes_into_as(tokens, position)


_QUOTED = (TokenType.STRING, TokenType.IDENTIFIER)


def _closes_into_as(tokens: Sequence[Token], position: int) -> bool:
    """`, name (a, b) AS (` is a further CTE."""
    depth = 0
    for number in range(position + 1, len(tokens)):
        depth += (tokens[number].token_type == TokenType.L_PAREN) - (
            tokens[number].token_type == TokenType.R_PAREN
        )
        if depth == 0:
            after = [one.text.upper() for one in tokens[number + 1 : number + 4]]
            return after[:2] in (["AS", "("], ["AS", "MATERIALIZED"]) or after == [
                "AS", "NOT", "MATERIALIZED",
            ]  # fmt: skip
    return False


__all__ = ["check_each", "check_parts", "check_patterns", "check_tree", "checked_nodes"]
