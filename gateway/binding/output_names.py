"""The names that DuckDB gives to outputs without an alias.

Takes: an expression before it is bound. Gives: the text that DuckDB would write for it, such as
`sum(amount)`, `count_star()`, `CAST(x AS INTEGER)`, `(a + b)`. Where the tree no longer tells
what was written (another spelling of a function, a type's own spelling, a unary plus) the name is
that of the form which DuckDB would get; it is the same each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlglot import exp

from gateway.binding.query_names import order_text, query_text, quoted, star_text

_OPERATORS: dict[type[exp.Expression], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.IntDiv: "//", exp.Mod: "%",
    exp.Pow: "**", exp.DPipe: "||", exp.EQ: "=", exp.NEQ: "!=", exp.LT: "<", exp.LTE: "<=",
    exp.GT: ">", exp.GTE: ">=", exp.BitwiseAnd: "&", exp.BitwiseOr: "|",
    exp.BitwiseLeftShift: "<<", exp.BitwiseRightShift: ">>",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
    exp.JSONExtract: "->", exp.JSONExtractScalar: "->>",
}
_PATTERNS: dict[type[exp.Expression], tuple[str, str]] = {
    exp.Like: ("~~", "!~~"), exp.ILike: ("~~*", "!~~*"), exp.Glob: ("~~~", "!~~~"),
}
# `a > ALL (...)` is written as NOT `a <= ANY (...)`.
_OPPOSITES = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
# What DuckDB calls a type where its grammar knows it; all others are written as they came.
_TYPES = {"TEXT": "VARCHAR", "INT": "INTEGER", "REAL": "FLOAT", "TIMESTAMPTZ":
          "TIMESTAMP WITH TIME ZONE"}


def name_of(node: exp.Expression) -> str:
    """The output name of an expression that has no alias and is no plain column."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node.name if isinstance(node, exp.Column | exp.Identifier) else _text(node)


def _text(node: object) -> str:
    if not isinstance(node, exp.Expression):
        return "" if node is None else str(node)
    writer = _WRITERS.get(type(node))
    if writer is not None:
        return writer(node)
    operator = _OPERATORS.get(type(node))
    if isinstance(node, exp.Binary) and isinstance(node.expression, exp.All):
        opposite = _OPPOSITES.get(operator or "", "")
        return f"(NOT ({_text(node.this)} {opposite} ANY{_query(node.expression.this)}))"
    if operator is not None:
        return f"({_text(node.this)} {operator} {_text(node.expression)})"
    if type(node) in _PATTERNS:
        return _pattern(node, negate=bool(node.args.get("negate")))
    if isinstance(node, exp.Func):
        return _function(node)
    return node.sql("duckdb")


def _list(nodes: Sequence[exp.Expression]) -> str:
    return ", ".join(_text(one) for one in nodes)


def _pattern(node: exp.Expression, negate: bool) -> str:
    operator = _PATTERNS[type(node)][negate]
    return f"({_text(node.this)} {operator} {_text(node.expression)})"


def _function(node: exp.Expression) -> str:
    name, arguments = _called(node)
    if name == "grouping_id":
        return f"GROUPING({_arguments(arguments)})"
    return f"{quoted(name)}({_arguments(arguments)})"


def _called(node: exp.Expression) -> tuple[str, list[exp.Expression]]:
    """The function's name and its arguments in the order of the form that DuckDB gets."""
    if isinstance(node, exp.Anonymous):
        return node.name.lower(), list(node.expressions)
    written = node.meta.get("written")
    name = str(written) if written else node.sql("duckdb").partition("(")[0].strip()
    values = [one for key, value in node.args.items() if key not in _FLAGS for one in
              (value if isinstance(value, list) else [value]) if isinstance(one, exp.Expression)]
    if isinstance(node, exp.DateDiff | exp.DateTrunc | exp.TimestampTrunc):
        unit = node.args.get("unit")
        rest = [one for one in values if one is not unit]
        if isinstance(node, exp.DateDiff):
            rest.reverse()
        words = [exp.Literal.string(unit.name.lower())] if unit is not None else []
        values = words + rest
    return name.lower(), values


_FLAGS = {"dialect"}


def _arguments(arguments: Sequence[exp.Expression]) -> str:
    texts, tail = [], ""
    for one in arguments:
        match one:
            case exp.Distinct():
                texts.append("DISTINCT " + _list(one.expressions))
            case exp.Order():
                texts.append(_text(one.this))
                tail = " " + _order(one)
            case exp.IgnoreNulls():
                texts.append(f"{_text(one.this)} IGNORE NULLS")
            case _:
                texts.append(_text(one))
    return ", ".join(texts) + tail


def _order(node: exp.Expression) -> str:
    return order_text(node, _text)


def _column(node: exp.Expression) -> str:
    if "called" in node.meta:
        return ".".join(quoted(one) for one in node.meta["called"])
    keys = ("catalog", "db", "table", "this")
    return ".".join(
        _text(part) if isinstance(part, exp.Star) else quoted(part.name)
        for part in (node.args[key] for key in keys if node.args.get(key))
    )


def _columns(node: exp.Expression) -> str:
    text = f"COLUMNS({_text(node.this)})"
    return f"UNPACK({text})" if node.args.get("unpack") else text


def _literal(node: exp.Expression) -> str:
    return "'" + node.name.replace("'", "''") + "'" if node.is_string else node.name


def _cast(node: exp.Expression) -> str:
    word = "TRY_CAST" if isinstance(node, exp.TryCast) else "CAST"
    return f"{word}({_text(node.this)} AS {_type(node.args['to'])})"


def _type(node: exp.Expression) -> str:
    text = node.sql("duckdb")
    return _TYPES.get(text, text)


def _not(node: exp.Expression) -> str:
    inner = node.this
    match inner:
        case exp.Is() if isinstance(inner.expression, exp.Null):
            return f"({_text(inner.this)} IS NOT NULL)"
        case exp.Like() | exp.ILike() | exp.Glob():
            return _pattern(inner, negate=True)
        case _:
            text = _text(inner)
            return f"(NOT {text})"


def _is(node: exp.Expression) -> str:
    if isinstance(node.expression, exp.Null):
        return f"({_text(node.this)} IS NULL)"
    value = _text(node.expression)
    return f"(CAST({_text(node.this)} AS BOOLEAN) IS NOT DISTINCT FROM {value})"


def _in(node: exp.Expression) -> str:
    query = node.args.get("query")
    if query is not None:
        return f"({_text(node.this)} = ANY{_text(query)})"
    if node.args.get("field") is not None:
        return f"contains({_text(node.args['field'])}, {_text(node.this)})"
    return f"({_text(node.this)} IN ({_list(node.expressions)}))"


def _case(node: exp.Expression) -> str:
    subject = node.this
    parts = []
    for one in node.args["ifs"]:
        condition = _text(one.this)
        if subject is not None:
            condition = f"({_text(subject)} = {condition})"
        parts.append(f" WHEN ({condition}) THEN ({_text(one.args['true'])})")
    default = node.args.get("default")
    return f"CASE {''.join(parts)} ELSE {_text(default) if default is not None else 'NULL'} END"


def _if(node: exp.Expression) -> str:
    other = node.args.get("false")
    return f'"if"({_text(node.this)}, {_text(node.args["true"])}, {_text(other) or "NULL"})'


def _connector(word: str) -> Callable[[exp.Expression], str]:
    def write(node: exp.Expression) -> str:
        return f"({f' {word} '.join(_text(one) for one in _operands(node, type(node)))})"

    return write


def _operands(node: exp.Expression, kind: type[exp.Expression]) -> list[exp.Expression]:
    """`a AND (b AND c)` is written without inner parentheses."""
    while isinstance(node, exp.Paren):
        node = node.this
    if type(node) is not kind:
        return [node]
    return [*_operands(node.this, kind), *_operands(node.expression, kind)]


def _coalesce(node: exp.Expression) -> str:
    return f"COALESCE({_list([node.this, *node.expressions])})"


def _count(node: exp.Expression) -> str:
    if isinstance(node.this, exp.Star):
        return "count_star()"
    return f"count({_arguments([node.this, *node.expressions])})"


def _window(node: exp.Expression) -> str:
    inner = node.this.this if isinstance(node.this, exp.IgnoreNulls) else node.this
    function = _text(inner)
    if function == "count_star()":
        function = "count()"
    if inner is not node.this:
        function = f"{function[:-1]} IGNORE NULLS)"
    base = _named_window(node)
    partition = node.args.get("partition_by") or base.get("partition_by")
    order = node.args.get("order") or base.get("order")
    parts = [f"PARTITION BY {_list(partition)}"] if partition else []
    if order is not None:
        parts.append(_order(order))
    spec = node.args.get("spec") or base.get("spec")
    if spec is not None:
        parts.append(_frame(spec))
    return f"{function} OVER ({' '.join(parts)})"


def _named_window(node: exp.Expression) -> dict[str, Any]:
    """The parts of the window that a window builds on by name."""
    name = node.args.get("alias")
    select = node.find_ancestor(exp.Select) if name is not None else None
    if name is None or select is None:
        return {}
    for one in select.args.get("windows") or []:
        if one is not node and one.name.casefold() == name.name.casefold():
            return {**_named_window(one), **{k: v for k, v in one.args.items() if v}}
    return {}


def _frame(node: exp.Expression) -> str:
    def side(key: str) -> str:
        value = node.args.get(key)
        text = _text(value) if isinstance(value, exp.Expression) else str(value or "CURRENT ROW")
        return f"{text} {node.args.get(key + '_side') or ''}".strip()

    frame = f"{node.args.get('kind')} BETWEEN {side('start')} AND {side('end')}".upper()
    exclude = node.args.get("exclude")
    return f"{frame} EXCLUDE {str(exclude).upper()}" if exclude else frame


def _filter(node: exp.Expression) -> str:
    return f"{_text(node.this)} FILTER (WHERE {_text(node.expression.this)})"


def _within_group(node: exp.Expression) -> str:
    order = _order(node.expression)
    if isinstance(node.this, exp.PercentileCont | exp.PercentileDisc):
        kind = "cont" if isinstance(node.this, exp.PercentileCont) else "disc"
        return f"quantile_{kind}({_text(node.this.this)} {order})"
    return f"{_text(node.this)} WITHIN GROUP ( {order})"


def _struct(node: exp.Expression) -> str:
    fields = [
        f"{quoted(one.this.name)} := {_text(one.expression)}"
        if isinstance(one, exp.PropertyEQ) else _text(one)
        for one in node.expressions
    ]
    return f"struct_pack({', '.join(fields)})"


def _map(node: exp.Expression) -> str:
    inner = node.this
    if isinstance(inner, exp.Bracket):
        # The parser takes the index of a map for one of its entries.
        return f"{_map(exp.ToMap(this=inner.this.copy()))}[{_list(inner.expressions)}]"
    entries = inner.expressions
    if not all(isinstance(one, exp.PropertyEQ) for one in entries):
        return _function(node)
    keys = _list([one.this for one in entries])
    values = _list([one.expression for one in entries])
    return f'"map"(list_value({keys}), list_value({values}))'


def _array(node: exp.Expression) -> str:
    if len(node.expressions) == 1 and isinstance(node.expressions[0], exp.Comprehension):
        return _comprehension(node.expressions[0])
    if len(node.expressions) == 1 and type(node.expressions[0]) in (exp.Select, exp.Union):
        values = "array_agg(#1)"
        case = f"CASE  WHEN (({values} IS NULL)) THEN (list_value()) ELSE {values} END"
        return f"(SELECT {case} FROM {_query(node.expressions[0])})"
    return f"list_value({_list(node.expressions)})"


def _comprehension(node: exp.Expression) -> str:
    name, values = quoted(node.expression.name), _text(node.args["iterator"])
    result, condition = _text(node.this), node.args.get("condition")
    if condition is None:
        return f"list_apply({values}, (lambda {name}: {result}))"
    pair = f'struct_pack("filter" := {_text(condition)}, result := {result})'
    kept = f"list_filter(list_apply({values}, (lambda {name}: {pair}))"
    return (
        f"list_apply({kept}, (lambda elem: struct_extract(elem, 'filter'))), "
        "(lambda elem: struct_extract(elem, 'result')))"
    )


def _lambda(node: exp.Expression) -> str:
    names = ", ".join(quoted(one.name) for one in node.expressions)
    return f"(lambda {names}: {_text(node.this)})"


def _bracket(node: exp.Expression) -> str:
    # The generator knows the index's offset: its text behind the value is what was written.
    text = node.sql("duckdb")
    if any(one.find(exp.Column, exp.Func) for one in node.expressions):
        return f"{_text(node.this)}[{_list(node.expressions)}]"
    return _text(node.this) + text[text.rindex("[") :].replace(" ", "")


def _dot(node: exp.Expression) -> str:
    inner = node.this
    text = _text(inner)
    if not isinstance(inner, exp.Column | exp.Identifier):
        text = f"({text})"
    return f"{text}.{quoted(node.expression.name)}"


def _query(node: exp.Expression) -> str:
    return query_text(node, _text)


def _exists(node: exp.Expression) -> str:
    return f"EXISTS{_query(node.this)}"


def _any(node: exp.Expression) -> str:
    return f"ANY{_query(node.this)}"


def _between(node: exp.Expression) -> str:
    low, high = _text(node.args["low"]), _text(node.args["high"])
    return f"({_text(node.this)} BETWEEN {low} AND {high})"


def _path(node: exp.Expression) -> str:
    keys = [part for part in node.expressions if not isinstance(part, exp.JSONPathRoot)]
    if len(keys) == 1 and isinstance(keys[0], exp.JSONPathKey):
        return f"'{keys[0].this}'"
    return node.sql("duckdb")


_WRITERS: dict[type[exp.Expression], Callable[[exp.Expression], str]] = {
    exp.Paren: lambda node: _text(node.this),
    exp.Column: _column,
    exp.Identifier: lambda node: quoted(node.name),
    exp.Literal: _literal,
    exp.Null: lambda node: "NULL",
    exp.Boolean: lambda node: str(bool(node.this)).lower(),
    exp.Star: lambda node: star_text(node, _text),
    exp.Columns: _columns,
    exp.Parameter: lambda node: f"${node.name}",
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Not: _not,
    exp.Is: _is,
    exp.In: _in,
    exp.Between: _between,
    exp.Neg: lambda node: (
        f"-{_text(node.this)}" if isinstance(node.this, exp.Literal) else f"(-({_text(node.this)}))"
    ),
    exp.BitwiseNot: lambda node: f"(~({_text(node.this)}))",
    exp.And: _connector("AND"),
    exp.Or: _connector("OR"),
    exp.Case: _case,
    exp.If: _if,
    exp.Coalesce: _coalesce,
    exp.Count: _count,
    exp.Window: _window,
    exp.Filter: _filter,
    exp.WithinGroup: _within_group,
    exp.Struct: _struct,
    exp.ToMap: _map,
    exp.Array: _array,
    exp.Lambda: _lambda,
    exp.Bracket: _bracket,
    exp.Dot: _dot,
    exp.Subquery: _query,
    exp.Select: _query,
    exp.Exists: _exists,
    exp.Any: _any,
    exp.JSONPath: _path,
    exp.Tuple: lambda node: f'"row"({_list(node.expressions)})',
    exp.PropertyEQ: lambda node: f"{quoted(node.this.name)} := {_text(node.expression)}",
    exp.Explode: lambda node: f"unnest({_text(node.this)})",
    exp.Extract: lambda node: f"date_part('{node.name.upper()}', {_text(node.expression)})",
    exp.AtTimeZone: lambda node: f"timezone({_text(node.args['zone'])}, {_text(node.this)})",
    exp.RegexpLike: lambda node: f"regexp_matches({_text(node.this)}, {_text(node.expression)})",
    exp.SimilarTo: lambda node: f"regexp_full_match({_text(node.this)}, {_text(node.expression)})",
    exp.Grouping: lambda node: f"GROUPING({_list(node.expressions)})",
    exp.IgnoreNulls: lambda node: _text(node.this),
    exp.Nullif: lambda node: f'"nullif"({_text(node.this)}, {_text(node.expression)})',
    exp.CurrentDate: lambda node: "current_date",
    exp.CurrentTimestamp: lambda node: "current_timestamp",
}


def _interval(node: exp.Expression) -> str:
    unit, value = node.args.get("unit"), node.this
    word = unit.name.lower().rstrip("s") if isinstance(unit, exp.Var) else ""
    if word not in _WHOLE_UNITS or value is None:
        return node.sql("duckdb")
    number = value.name if isinstance(value, exp.Literal) else _text(value)
    whole = f"CAST(trunc(CAST({number} AS DOUBLE)) AS {_WHOLE_UNITS[word]})"
    return f"to_{word}s({whole})"


_WHOLE_UNITS = {
    "year": "INTEGER", "month": "INTEGER", "day": "INTEGER", "week": "INTEGER",
    "quarter": "INTEGER", "hour": "BIGINT", "minute": "BIGINT",
}


def _group_concat(node: exp.Expression) -> str:
    """`string_agg(a, ',' ORDER BY b)`: the order stands behind the separator."""
    inner, tail = node.this, ""
    if isinstance(inner, exp.Order):
        tail, inner = " " + _order(inner), inner.this
    name = str(node.meta.get("written") or "string_agg").lower()
    separator = node.args.get("separator")
    texts = [_arguments([inner])] + ([_text(separator)] if separator is not None else [])
    return f"{name}({', '.join(texts)}{tail})"


_WRITERS[exp.Interval] = _interval
_WRITERS[exp.GroupConcat] = _group_concat
