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
from gateway.trees import as_type

PSEUDONYM = "PSEUDONYM"


def mask_expression(decision: ColumnDecision) -> exp.Expression:
    """The visible value of a column, over the raw column of the same name."""
    column = exp.column(decision.name, quoted=True)
    match decision.kind:
        case "clear":
            return column
        case "null":
            return as_type(exp.null(), decision.type)
        case "constant":
            literal = exp.Literal.string(decision.arguments.get("value", ""))
            return as_type(literal, decision.type)
        case "pseudonym":
            group = exp.Literal.string(decision.arguments["join_group"])
            return exp.Anonymous(this=PSEUDONYM, expressions=[column, group])
        case "expression" if decision.expression is not None:
            # Typed at load; the cast only names the type, also of a constant NULL.
            return as_type(decision.expression.expression.copy(), decision.type)
        case "partial":
            return _partial(column, decision)
        case "bucket":
            return _bucket(column, decision)
        case _:
            return as_type(exp.null(), decision.type)


def _partial(column: exp.Expression, decision: ColumnDecision) -> exp.Expression:
    """Keeps a part; a value no longer than what is kept is masked whole."""
    name = column.sql("duckdb")
    first, last = (int(decision.arguments[key]) for key in ("keep_first", "keep_last"))
    fill = exp.Literal.string(decision.arguments.get("fill", "*")).sql("duckdb")
    whole = f"REPEAT({fill}, LENGTH({name}))"
    match decision.arguments.get("form", "ends"):
        case "email":
            return _email(name, first, fill)
        case "digits":
            head = f"LEFT({name}, GREATEST(LENGTH({name}) - {last}, 0))"
            masked = f"REGEXP_REPLACE({head}, '\\p{{Nd}}', {_replacement(fill)}, 'g')"
            return _sql(
                f"CASE WHEN LENGTH({name}) <= {last} THEN {whole} "
                f"ELSE {masked} || RIGHT({name}, {last}) END"
            )
    middle = f"REPEAT({fill}, LENGTH({name}) - {first + last})"
    return _sql(
        f"CASE WHEN LENGTH({name}) <= {first + last} THEN {whole} "
        f"ELSE LEFT({name}, {first}) || {middle} || RIGHT({name}, {last}) END"
    )


def _email(name: str, first: int, fill: str) -> exp.Expression:
    """Keeps the domain and some first characters; three fills hide how long the rest is.

    What has not exactly one @ is no address and is masked whole.
    """
    local, domain = f"SPLIT_PART({name}, '@', 1)", f"SPLIT_PART({name}, '@', 2)"
    kept = f"CASE WHEN LENGTH({local}) > {first} THEN LEFT({local}, {first}) ELSE '' END"
    return _sql(
        f"CASE WHEN {name} IS NULL THEN NULL "
        f"WHEN LENGTH({name}) - LENGTH(REPLACE({name}, '@', '')) = 1 "
        f"THEN {kept} || REPEAT({fill}, 3) || '@' || {domain} ELSE REPEAT({fill}, 3) END"
    )


def _replacement(fill: str) -> str:
    """A backslash means something in what a pattern is replaced by."""
    return fill.replace("\\", "\\\\")


def _bucket(column: exp.Expression, decision: ColumnDecision) -> exp.Expression:
    """The start of the period or interval; infinity, NaN and far years become NULL.

    Zoned times are cut in UTC, whatever the session's zone: by asking in several zones one could
    else find the value out.
    """
    name, kind = column.sql("duckdb"), family(decision.type)
    if kind in ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
        unit = exp.Literal.string(decision.arguments.get("unit", "year")).sql("duckdb")
        plain = f"({name} AT TIME ZONE 'UTC')" if kind == "TIMESTAMP WITH TIME ZONE" else name
        cut = f"CAST(DATE_TRUNC({unit}, {plain}) AS {'DATE' if kind == 'DATE' else 'TIMESTAMP'})"
        if kind == "TIMESTAMP WITH TIME ZONE":
            cut = f"{cut} AT TIME ZONE 'UTC'"
        # Outside these years cutting itself may fail.
        return _sql(f"CASE WHEN YEAR({plain}) BETWEEN 1 AND 9999 THEN {cut} END")
    size = decision.arguments.get("size", "1")
    value = f"CAST({name} AS DOUBLE)" if kind in INTEGERS or kind == "DECIMAL" else name
    return _sql(
        f"CASE WHEN ISFINITE({value}) THEN "
        f"TRY_CAST(FLOOR({value} / {size}) * {size} AS {decision.type}) END"
    )


def _sql(text: str) -> exp.Expression:
    return cast("exp.Expression", sqlglot.parse_one(text, dialect="duckdb"))
