"""What may stand in a statement: node classes, their parts, functions, patterns.

Takes: a tree. Gives: nothing, or an error that names the construct. Never guesses: an unknown
class, an unknown part or an unknown function is refused (DESIGN 4.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from gateway.errors import TypeMismatch, UnsupportedSql
from gateway.functions import is_allowed, is_table_function, size_limit

MAXIMUM_DEPTH = 250

_NODES = frozenset(
    """
    Select Union Except Intersect Subquery With CTE From Join Where Group Having Qualify Order
    Ordered Limit Offset Distinct Lateral Unnest Values Tuple Table TableAlias Identifier Column
    Star Alias Paren Window WindowSpec WithinGroup Filter Cube Rollup GroupingSets IgnoreNulls
    RespectNulls Interval IntervalSpan Var DataType DataTypeParam ColumnDef Literal Null Boolean
    Parameter Neg Not And Or EQ NEQ LT LTE GT GTE Is In Between Like ILike SimilarTo Glob Escape
    NullSafeEQ NullSafeNEQ Add Sub Mul Div IntDiv Mod Pow DPipe BitwiseAnd BitwiseOr BitwiseXor
    BitwiseNot BitwiseLeftShift BitwiseRightShift Cast TryCast Case If Bracket Slice Dot Lambda
    Kwarg PropertyEQ Comprehension Exists Any All Array Struct AtTimeZone Extract Anonymous
    JSONPath JSONPathRoot JSONPathKey JSONPathSubscript Aliases Columns Fetch HexString
    """.split()
)
_PARTS = {
    exp.Select: {
        "with_",
        "expressions",
        "from_",
        "joins",
        "laterals",
        "where",
        "group",
        "having",
        "qualify",
        "windows",
        "distinct",
        "order",
        "limit",
        "offset",
        "kind",
    },
    exp.Table: {"this", "db", "catalog", "alias", "joins", "ordinality"},
    exp.Join: {"this", "on", "using", "side", "kind", "method", "expressions"},
    exp.Union: {"this", "expression", "distinct", "by_name", "with_", "order", "limit", "offset"},
    exp.Except: {"this", "expression", "distinct", "with_", "order", "limit", "offset"},
    exp.Intersect: {"this", "expression", "distinct", "with_", "order", "limit", "offset"},
    exp.Subquery: {"this", "alias", "with_", "order", "limit", "offset", "joins"},
    exp.With: {"expressions", "recursive"},
    exp.CTE: {"this", "alias", "materialized", "scalar"},
    exp.Ordered: {"this", "desc", "nulls_first"},
    exp.Star: {"except_", "replace", "rename"},
    exp.Column: {"this", "table", "db", "catalog", "join_mark"},
    exp.Limit: {"expression", "this", "offset"},
    exp.Offset: {"expression", "this"},
    exp.Distinct: {"expressions", "on"},
    exp.Lateral: {"this", "alias", "view", "outer", "ordinality"},
    exp.Cast: {"this", "to", "default"},
    exp.TryCast: {"this", "to", "requires_string", "safe"},
}
_WORDS = {
    "IN",
    "EXISTS",
    "VALUES",
    "OVER",
    "FILTER",
    "AND",
    "OR",
    "NOT",
    "SELECT",
    "FROM",
    "WHERE",
    "ON",
    "USING",
    "AS",
    "JOIN",
    "BY",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "UNION",
    "ALL",
    "EXCEPT",
    "INTERSECT",
    "DISTINCT",
    "LATERAL",
    "ANY",
    "SOME",
    "IS",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "HAVING",
    "QUALIFY",
    "LIMIT",
    "OFFSET",
    "SETS",
    "ROLLUP",
    "CUBE",
    "WITHIN",
    "GROUP",
    "RECURSIVE",
    "WITH",
    "MATERIALIZED",
    "INTERVAL",
    "ESCAPE",
    "GLOB",
    "RETURNING",
    "EXCLUDE",
    "REPLACE",
    "RENAME",
    "TO",
    "DECIMAL",
    "NUMERIC",
    "VARCHAR",
    "CHAR",
    "TEXT",
    "STRUCT",
    "MAP",
    "ARRAY",
    "COLUMNS",
    "SIMILAR",
    "BIT",
    "TIME",
    "TIMESTAMP",
    "ISNULL",
    "NOTNULL",
    "GROUPING SETS",
    "ZONE",
    "KEY",
    "END",
    "GROUPING",
    "WINDOW",
    "ORDER",
    "PARTITION",
    "SEMI",
    "ANTI",
    "CROSS",
}


def check_tree(tree: exp.Expression) -> None:
    """Raise UnsupportedSql for anything that is not on the lists."""
    depth = 0
    level = [tree]
    while level:
        depth += 1
        if depth > MAXIMUM_DEPTH:
            raise UnsupportedSql(f"The statement is nested deeper than {MAXIMUM_DEPTH} levels.")
        for node in level:
            _check_node(node)
        level = [child for node in level for child in node.iter_expressions()]
    for name in _called(tree.sql("duckdb")):
        if not is_allowed(name):
            raise UnsupportedSql(
                f"The function {name} is not served.", hint="docs/sql.md lists the functions."
            )


def _check_node(node: exp.Expression) -> None:
    known = type(node).__name__ in _NODES or isinstance(node, exp.Func)
    if not known:
        raise UnsupportedSql(f"{type(node).__name__} is not served.")
    parts = _PARTS.get(type(node))
    if parts is not None:
        extra = {key for key, value in node.args.items() if value} - parts
        if extra:
            raise UnsupportedSql(f"{sorted(extra)[0].rstrip('_').upper()} is not served here.")
    if isinstance(node, exp.Table):
        _check_table(node)
    elif isinstance(node, exp.Dot):
        _check_dot(node)
    elif isinstance(node, exp.Cast):
        _check_type(node.to)
    elif isinstance(node, exp.Func):
        _check_sizes(node)


def _check_table(table: exp.Table) -> None:
    if isinstance(table.this, exp.Func):
        name = next(iter(_called(table.this.sql("duckdb"))), "")
        if not is_table_function(name):
            raise UnsupportedSql(
                f"The table function {name} is not served.",
                hint="Only unnest, range and generate_series are.",
            )
        return
    for part in (table.this, table.args.get("db"), table.args.get("catalog")):
        if part is not None and not isinstance(part, exp.Identifier):
            raise UnsupportedSql("A table is named domain.product.table.")
    name = table.name
    if not table.db and (
        ("/" in name)
        or (
            "." in name
            and "@" not in name
            and " " not in name
            and name.rsplit(".", 1)[1].lower() in _FILES
        )
    ):
        raise UnsupportedSql(
            f"{name!r} looks like a file; files are not tables here.",
            hint="A table is named domain.product.table.",
        )


_FILES = {
    "csv",
    "tsv",
    "parquet",
    "json",
    "jsonl",
    "ndjson",
    "xlsx",
    "duckdb",
    "db",
    "gz",
    "zst",
    "arrow",
    "feather",
    "txt",
    "sqlite",
}


def _check_dot(dot: exp.Dot) -> None:
    if isinstance(dot.expression, exp.Func) or not isinstance(
        dot.expression, exp.Identifier | exp.Star
    ):
        raise UnsupportedSql(
            "A function after a dot is not served.",
            hint="Write function(value) instead of value.function().",
        )


def _check_type(data_type: exp.DataType) -> None:
    for node in data_type.find_all(exp.DataType):
        if node.this == exp.DataType.Type.USERDEFINED:
            raise UnsupportedSql(f"The type {node.sql('duckdb')} is not served.")


def _check_sizes(node: exp.Func) -> None:
    name = next(iter(_called(node.sql("duckdb"))), "")
    limit = size_limit(name)
    if limit is None:
        return
    first, most = limit
    for argument in list(_arguments(node))[first:]:
        if argument.find(exp.Column):
            raise UnsupportedSql(f"{name} takes constants only for its size.")
        value = argument.this if isinstance(argument, exp.Neg) else argument
        if isinstance(value, exp.Literal) and not value.is_string and float(value.name) > most:
            raise UnsupportedSql(f"{name} is served up to {most}.")


def _arguments(node: exp.Expr) -> Iterator[exp.Expression]:
    for value in node.args.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, exp.Expression):
                yield one


def _called(sql: str) -> Iterator[str]:
    """Names before an opening parenthesis in the SQL that DuckDB would get."""
    tokens = sqlglot.tokenize(sql, read="duckdb")
    for token, after in pairwise(tokens):
        if after.token_type != TokenType.L_PAREN or token.token_type == TokenType.STRING:
            continue
        quoted = token.token_type == TokenType.IDENTIFIER
        if not quoted and (token.text.upper() in _WORDS or not _is_word(token.text)):
            continue
        if quoted or _is_word(token.text):
            # A name with a list of columns behind it is an alias, not a call.
            if _is_alias(tokens, token):
                continue
            yield token.text


def _is_word(text: str) -> bool:
    return bool(text) and (text[0].isalpha() or text[0] == "_")


def _is_alias(tokens: Sequence[Token], token: Token) -> bool:
    position = next(i for i, one in enumerate(tokens) if one is token)
    before = tokens[position - 1] if position else None
    text = getattr(before, "text", "").upper()
    with_list = text in ("AS", "WITH", "RECURSIVE")
    comma = text == "," and _closes_into_as(tokens, position)
    return with_list or comma


def _closes_into_as(tokens: Sequence[Token], position: int) -> bool:
    """`, name (a, b) AS (` is a further CTE."""
    depth = 0
    for number in range(position + 1, len(tokens)):
        text = getattr(tokens[number], "text", "")
        depth += (text == "(") - (text == ")")
        if depth == 0:
            after = [getattr(one, "text", "").upper() for one in tokens[number + 1 : number + 3]]
            return after in (["AS", "("], ["AS", "MATERIALIZED"])
    return False


_PATTERN_FUNCTIONS = (
    exp.RegexpLike,
    exp.RegexpFullMatch,
    exp.RegexpExtract,
    exp.RegexpExtractAll,
    exp.RegexpReplace,
    exp.RegexpSplit,
    exp.RegexpILike,
)


def check_patterns(tree: exp.Expression, parameters: tuple[object, ...] | None) -> None:
    """Patterns are constants and well formed, else TypeMismatch.

    `parameters` None: those that are parameters are checked at each execute.
    """
    for node in tree.find_all(
        exp.Like, exp.ILike, exp.Escape, exp.SimilarTo, exp.Glob, *_PATTERN_FUNCTIONS
    ):
        if isinstance(node, exp.Escape):
            _check_escape(node, parameters)
        elif isinstance(node, exp.Like | exp.ILike | exp.Glob):
            _constant(node.expression, parameters)
        else:
            pattern = _constant(node.expression, parameters)
            if pattern is not None:
                _check_regular_expression(pattern)


def _check_escape(node: exp.Escape, parameters: tuple[object, ...] | None) -> None:
    escape = _constant(node.expression, parameters)
    like = node.this
    pattern = _constant(like.expression, parameters) if like.expression is not None else None
    if escape is None or pattern is None:
        return
    if len(escape) != 1:
        raise TypeMismatch("ESCAPE takes exactly one character.")
    position = 0
    while position < len(pattern):
        if pattern[position] == escape:
            position += 1
            if position == len(pattern):
                raise TypeMismatch(
                    "The LIKE pattern ends with its escape character.",
                    hint="Double the escape character to mean itself.",
                )
        position += 1


def _constant(node: exp.Expression | None, parameters: tuple[object, ...] | None) -> str | None:
    """The pattern's text; None where it is a parameter without a value, or NULL."""
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.Escape):
        node = node.this
    match node:
        case exp.Literal() if node.is_string:
            return str(node.this)
        case exp.Null() | None:
            return None
        case exp.Parameter():
            number = int(node.name)
            if parameters is None or number > len(parameters):
                return None
            value = parameters[number - 1]
            if value is not None and not isinstance(value, str):
                raise TypeMismatch(f"Parameter {number} is a pattern and must be text.")
            return value
        case exp.Any() | exp.All() | exp.Tuple() | exp.Array():
            raise UnsupportedSql("LIKE ANY and LIKE ALL are not served.")
        case _:
            raise TypeMismatch(
                "A pattern must be a constant or a parameter.",
                hint="Use contains(), starts_with() or = for values of columns.",
            )


def _check_regular_expression(pattern: str) -> None:
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise TypeMismatch(
            "The regular expression is not well formed (RE2 syntax).", private=str(error)
        ) from None
