"""Calls that no template says in DuckDB: aggregates with all that belongs to them, patterns.

Takes: nodes of a plain tree, the types of their parts. Gives: nodes for DuckDB, with PostgreSQL's
type. Never lets one through that means something else there.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp

from gateway.serve.pgwire.catalog.building import as_type, twice
from gateway.serve.pgwire.catalog.formats import similar
from gateway.serve.pgwire.faults import WireError

TypeOf = Callable[[exp.Expr | None], str | None]
_WHOLE = frozenset({"int2", "int4", "int8"})
_JSON_AGG = "json_agg"


def outermost(node: exp.Expr) -> exp.Expr | None:
    """The call within FILTER and OVER; None where the node is itself a part of such."""
    if isinstance(node.parent, exp.Filter | exp.Window) and node.arg_key == "this":
        return None
    while isinstance(node, exp.Filter | exp.Window):
        node = node.this
    return node


def is_whole_sum(node: exp.Expr, type_of: TypeOf) -> bool:
    """Whether it is a sum of small whole numbers, with all that belongs to the call."""
    inner = outermost(node)
    return isinstance(inner, exp.Sum) and type_of(inner.this) in ("int2", "int4")


def aggregated(
    node: exp.Expr, type_of: TypeOf, written: Callable[[exp.Expr], exp.Expr]
) -> tuple[exp.Expr, str] | None:
    """avg and json_agg with their FILTER and OVER; `written`: a value as JSON is to show it."""
    inner = outermost(node)
    if isinstance(inner, exp.Avg):
        return _average(node, inner, type_of(inner.this))
    if isinstance(inner, exp.JSONArrayAgg) or _is_call(inner, _JSON_AGG):
        assert inner is not None
        held = inner.this if isinstance(inner, exp.JSONArrayAgg) else inner.expressions[0]
        return _listed(node, inner, held, written)
    return None


def is_waiting(node: exp.Expr) -> bool:
    """Whether it is such an aggregate whose FILTER or OVER is rewritten with it."""
    return outermost(node) is None and (
        isinstance(node, exp.Avg | exp.JSONArrayAgg) or _is_call(node, _JSON_AGG)
    )


def _is_call(node: exp.Expr | None, name: str) -> bool:
    return (
        isinstance(node, exp.Anonymous) and node.name.lower() == name
        and len(node.expressions) == 1
    )  # fmt: skip


def _average(node: exp.Expr, inner: exp.Avg, kind: str | None) -> tuple[exp.Expr, str]:
    if kind in ("float4", "float8"):
        return node, "float8"
    if kind not in _WHOLE:
        raise WireError("0A000", "avg is of numbers here.", "Cast what it is of: avg(x::int).")
    held = twice(inner.this)
    parts: list[exp.Expr] = [
        as_type(_within(node, inner, one), "VARCHAR")
        for one in (exp.Sum(this=as_type(_value(held), "BIGINT")), exp.Count(this=held.copy()))
    ]
    if isinstance(held, exp.Distinct):
        parts[0] = as_type(_within(node, inner, exp.Sum(this=held.copy())), "VARCHAR")
    text = exp.Anonymous(this="udf_average", expressions=parts)
    return as_type(text, "DECIMAL(38, 20)"), "numeric"


def _value(held: exp.Expr) -> exp.Expr:
    return held.expressions[0].copy() if isinstance(held, exp.Distinct) else held.copy()


def _listed(
    node: exp.Expr, inner: exp.Expr, held: exp.Expr, written: Callable[[exp.Expr], exp.Expr]
) -> tuple[exp.Expr, str]:
    value = held.this if isinstance(held, exp.Order) else held
    made = written(value)
    if value is not held:
        ordered = held.copy()
        ordered.set("this", made)
        made = ordered
    listed = _within(node, inner, exp.ArrayAgg(this=made))
    text = as_type(exp.Anonymous(this="to_json", expressions=[listed]), "VARCHAR")
    # Of no rows there is no list.
    return exp.Nullif(this=text, expression=exp.Literal.string("null")), "json"


def _within(node: exp.Expr, inner: exp.Expr, call: exp.Expr) -> exp.Expr:
    """Another call with the same FILTER and OVER."""
    if node is inner:
        return call
    copied = node.copy()
    place = copied
    while isinstance(place.this, exp.Filter | exp.Window):
        place = place.this
    place.set("this", call)
    return copied


def similar_to(node: exp.SimilarTo) -> exp.Expr:
    """SIMILAR TO a constant."""
    pattern = node.expression
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        raise WireError("0A000", "SIMILAR TO takes a constant here.", "Use LIKE or ~.")
    return exp.RegexpLike(this=node.this, expression=exp.Literal.string(similar(pattern.name)))


def is_pattern(start: exp.Expr | None, type_of: TypeOf) -> bool:
    """Whether `substring(x from y)` asks for what a pattern meets, not for a place."""
    return start is not None and not start.is_int and type_of(start) in ("text", "varchar", "name")


def matched(node: exp.Substring) -> exp.Expr:
    """What a pattern meets, or what its first parentheses do; NULL where it meets nothing."""
    pattern = node.args["start"]
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        raise WireError("0A000", "substring takes a constant pattern here.")
    group = 1 if re.search(r"(?<!\\)\((?!\?)", pattern.name) else 0
    parts = [twice(node.this).copy(), pattern.copy(), exp.Literal.number(group)]
    found = exp.Anonymous(this="regexp_extract", expressions=parts)
    meets = exp.RegexpLike(this=node.this.copy(), expression=pattern.copy())
    return exp.Case(ifs=[exp.If(this=meets, true=found)])


def series_of(call: exp.Func, type_of: TypeOf) -> tuple[exp.Expr, str]:
    """`generate_series` as a list, and the type of what is in it; of whole numbers only."""
    bounds = [call.args.get(one) for one in ("start", "end", "step")]
    kinds = ["int4" if one.is_int else type_of(one) for one in bounds if one is not None]
    if not all(kind in _WHOLE or kind is None for kind in kinds):
        raise WireError("0A000", "generate_series is of whole numbers here.")
    steps = [one.copy() if one is not None else exp.Literal.number(1) for one in bounds]
    parts: list[exp.Expr] = [as_type(one, "BIGINT") for one in steps]
    series = exp.Anonymous(this="udf_series", expressions=parts)
    if any(kind == "int8" for kind in kinds):
        return series, "int8"
    return as_type(series, "INTEGER[]"), "int4"
