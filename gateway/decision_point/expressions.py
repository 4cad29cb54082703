"""Expressions in Trino's SQL become conditions and masks of the gateway's own.

Takes: the text of an expression, a table of a contract, who asks. Gives: a `Condition` that has
passed the same check of total functions and exact types as every policy. Never accepts a node whose
meaning in DuckDB is not that in Trino: what it does not know it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from catalog.model import Table
from gateway.constants import family
from gateway.decision import CompiledCondition, Condition
from gateway.policies.conditions import ConditionError, compile_condition, compile_expression
from gateway.resolve import Address

RULE = "decision-point"
_LONGEST = 20_000
_DEEPEST = 200
# The allow-list: these mean in DuckDB what they mean in Trino. TRY_CAST, TRIM and REVERSE do not.
_SAME = (
    exp.Paren, exp.And, exp.Or, exp.Not, exp.Is, exp.In, exp.Between, exp.EQ, exp.NEQ, exp.LT,
    exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Like, exp.Escape, exp.Column,
    exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Neg, exp.Concat, exp.DPipe,
    exp.Substring, exp.StartsWith, exp.SplitPart, exp.Length, exp.Year, exp.Month, exp.Day,
    exp.Quarter, exp.IsNan, exp.Lower, exp.Upper, exp.Coalesce, exp.Nullif, exp.Case, exp.If,
    exp.Replace, exp.Cast, exp.DataType, exp.DataTypeParam,
)  # fmt: skip
_TYPED = ("VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "UUID", "DECIMAL")
_NAMES = {"TEXT": "VARCHAR", "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression stands: a table, as its contract has it, and who asks when."""

    address: Address
    table: Table
    user: str
    now: datetime


def condition(text: str, place: Place) -> Condition:
    """A row filter; raises ConditionError."""
    translated = _translated(text, place)
    return _finished(compile_condition(RULE, translated, place.table, remember=False))


def mask(text: str, type_name: str, place: Place) -> Condition:
    """A mask of exactly the type; raises ConditionError."""
    translated = _translated(text, place)
    return _finished(compile_expression(RULE, translated, place.table, type_name))


def _finished(made: CompiledCondition) -> Condition:
    if made.expression.find(exp.Placeholder) is not None:
        raise ConditionError("names what only policies of the mesh may ask for")
    return Condition(made.policy, made.expression, made.sql)


def _translated(text: str, place: Place) -> str:
    """The expression in DuckDB's SQL, its columns without a table."""
    if len(text) > _LONGEST:
        raise ConditionError(f"is longer than {_LONGEST} characters")
    try:
        trees = sqlglot.parse(text, dialect="trino")
    except (SqlglotError, RecursionError) as error:
        raise ConditionError(f"is no SQL of Trino's: {str(error).splitlines()[0]}") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Expression):
        raise ConditionError("is not one expression")
    holder = exp.Paren(this=trees[0])
    for node in list(holder.walk()):
        if node is not holder:
            _check(node, place)
    made: str = holder.this.sql("duckdb", comments=False)
    return made


def _check(node: exp.Expr, place: Place) -> None:
    made = _SESSION.get(type(node))
    if made is not None:
        node.replace(made(place))
        return
    if not isinstance(node, _SAME):
        raise ConditionError(f"{_at(node)}{node.key} is not served in an expression from outside")
    if node.depth > _DEEPEST:
        raise ConditionError("is nested too deeply")
    match node:
        case exp.Column():
            _column(node, place)
        case exp.Cast():
            _cast(node)
        case exp.In() if node.args.get("query") or node.args.get("unnest"):
            raise ConditionError(f"{_at(node)}IN takes constants")
        case exp.Substring():
            _substring(node)


# What stands for the session in Trino; times are the statement's, in UTC.
_SESSION: Mapping[type[exp.Expr], Callable[[Place], exp.Expression]] = {
    exp.CurrentUser: lambda place: exp.Literal.string(place.user),
    exp.CurrentCatalog: lambda place: exp.Literal.string(place.address.domain),
    exp.CurrentSchema: lambda place: exp.Literal.string(place.address.product),
    exp.CurrentDate: lambda place: exp.cast(
        exp.Literal.string(place.now.astimezone(UTC).date().isoformat()), "DATE"
    ),
    exp.CurrentTimestamp: lambda place: exp.cast(
        exp.Literal.string(place.now.astimezone(UTC).isoformat(sep=" ")), "TIMESTAMPTZ"
    ),
}


def _column(node: exp.Column, place: Place) -> None:
    """A column of the table itself; what stands before it must be the table's own name."""
    given = [part.name.casefold() for part in node.parts[:-1]]
    own = [place.address.domain, place.address.product, place.address.table]
    names = [one.casefold() for one in own]
    if given and given != names[-len(given) :]:
        raise ConditionError(f"{_at(node)}{node.sql('trino')} is no column of {place.address}")
    if not given and place.table.column(node.name) is None and node.name == "current_schema":
        node.replace(exp.Literal.string(place.address.product))
        return
    for key in ("table", "db", "catalog"):
        node.set(key, None)
    # Quoted: a name may be a word of DuckDB's.
    node.this.set("quoted", True)


def _cast(node: exp.Cast) -> None:
    """Casts of constants alone, to types without a length: Trino would cut the value."""
    if isinstance(node, exp.TryCast):
        raise ConditionError(f"{_at(node)}TRY_CAST reads text otherwise than Trino does")
    if isinstance(node.this, exp.Null):
        node.replace(exp.null())
        return
    kind = node.to.sql("duckdb")
    kind = _NAMES.get(kind, kind)
    bare = _NAMES.get(family(kind), family(kind))
    # The digits of a timestamp's literal are its own.
    sized = bare in ("VARCHAR", "UUID") and bool(node.to.expressions)
    if bare not in _TYPED or sized:
        raise ConditionError(f"{_at(node)}a cast to {kind} is not served")
    if not (isinstance(node.this, exp.Literal) and node.this.is_string):
        raise ConditionError(f"{_at(node)}casts take constants")
    if bare.startswith("TIMESTAMP") and node.to.expressions:
        node.to.set("expressions", None)
    if bare == "TIMESTAMP WITH TIME ZONE" and node.this.name.endswith(" UTC"):
        node.this.replace(exp.Literal.string(node.this.name.removesuffix(" UTC") + "+00:00"))


def _substring(node: exp.Substring) -> None:
    """Trino gives nothing for a start of 0 and for a negative length, DuckDB something."""
    start, length = node.args.get("start"), node.args.get("length")
    from_first = isinstance(start, exp.Literal) and start.name.isdigit() and int(start.name) > 0
    counted = length is None or (isinstance(length, exp.Literal) and length.name.isdigit())
    if not (from_first and counted):
        raise ConditionError(f"{_at(node)}substr takes a start from 1 on, and a length")


def _at(node: exp.Expr) -> str:
    starts = [one.meta["start"] for one in node.walk() if one.meta and "start" in one.meta]
    return f"character {min(starts) + 1}: " if starts else ""
