"""Masks as total SQL expressions over the raw column.

Takes: a `ColumnDecision`. Gives: an expression in DuckDB's dialect that cannot fail for any
value. Never reads a policy (DESIGN 5, rules 4, 5 and 8).
"""

from __future__ import annotations

from typing import cast

import sqlglot
from sqlglot import exp

from gateway.constants import INTEGERS, family
from gateway.decision import ColumnDecision

PSEUDONYM = "PSEUDONYM"


def mask_expression(decision: ColumnDecision) -> exp.Expression:
    """The visible value of a column, over the raw column of the same name."""
    column = exp.column(decision.name, quoted=True)
    match decision.kind:
        case "clear":
            return column
        case "null":
            return exp.cast(exp.null(), decision.type)
        case "constant":
            literal = exp.Literal.string(decision.arguments.get("value", ""))
            return exp.cast(literal, decision.type)
        case "pseudonym":
            group = exp.Literal.string(decision.arguments["join_group"])
            return exp.Anonymous(this=PSEUDONYM, expressions=[column, group])
        case "partial":
            return _partial(column, decision)
        case "bucket":
            return _bucket(column, decision)
        case _:
            return exp.cast(exp.null(), decision.type)


def _partial(column: exp.Expression, decision: ColumnDecision) -> exp.Expression:
    """Keeps the ends; a value no longer than what it keeps is masked whole."""
    name = column.sql("duckdb")
    first, last = (int(decision.arguments[key]) for key in ("keep_first", "keep_last"))
    fill = exp.Literal.string(decision.arguments.get("fill", "*")).sql("duckdb")
    middle = f"REPEAT({fill}, LENGTH({name}) - {first + last})"
    return _sql(
        f"CASE WHEN LENGTH({name}) <= {first + last} THEN REPEAT({fill}, LENGTH({name})) "
        f"ELSE LEFT({name}, {first}) || {middle} || RIGHT({name}, {last}) END"
    )


def _bucket(column: exp.Expression, decision: ColumnDecision) -> exp.Expression:
    """The start of the period or interval; infinity and NaN become NULL."""
    name, kind = column.sql("duckdb"), family(decision.type)
    if kind in ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
        unit = exp.Literal.string(decision.arguments.get("unit", "year")).sql("duckdb")
        # In UTC, never in the caller's time zone: with others he would move the edges of the
        # periods, and see between which two of them a moment lies.
        zone = " AT TIME ZONE 'UTC'" if kind == "TIMESTAMP WITH TIME ZONE" else ""
        finite = f"CASE WHEN ISFINITE({name}) THEN {name} END"
        return _sql(f"CAST(DATE_TRUNC({unit}, ({finite}){zone}){zone} AS {decision.type})")
    size = decision.arguments.get("size", "1")
    value = f"CAST({name} AS DOUBLE)" if kind in INTEGERS or kind == "DECIMAL" else name
    return _sql(
        f"CASE WHEN ISFINITE({value}) THEN "
        f"TRY_CAST(FLOOR({value} / {size}) * {size} AS {decision.type}) END"
    )


def _sql(text: str) -> exp.Expression:
    return cast("exp.Expression", sqlglot.parse_one(text, dialect="duckdb"))
