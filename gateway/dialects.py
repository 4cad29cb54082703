"""What sqlglot would write in a way that its target does not take, or takes for something else.

Takes: a statement and a dialect. Gives: its text. Never decides what may be sent.
"""

from __future__ import annotations

import math
import re
from datetime import datetime

from sqlglot import exp

from gateway.moments import moment_of
from gateway.spelling import as_position
from gateway.trees import last_text

_MOMENTS = ("timestamp", "timestampntz", "datetime")
_ZONED = ("timestamptz", "timestampltz")
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def written(statement: exp.Expression, dialect: str) -> str:
    """The text of a statement that nobody needs any longer: writing it may change it.

    MySQL and MariaDB have no FILTER of an aggregate and no MATERIALIZED, keep no part of a second
    where a cast does not say so, know no offset from UTC, and round long decimals before they are
    floats. SQLite's LIKE tells no small letters from large ones.
    """
    if dialect == "sqlite" and statement.find(exp.Like):
        statement = statement.transform(lambda node: as_position(node) or node, copy=False)
    if dialect == "mysql":
        for one in statement.find_all(exp.CTE):
            one.set("materialized", None)
        if statement.find(exp.Filter):
            statement = statement.transform(_filtered)
        if statement.find(exp.Cast):
            statement = statement.transform(_exact, copy=False)
    return last_text(statement, dialect)


def _filtered(node: exp.Expression) -> exp.Expression:
    """An aggregate over the rows that a condition picks: all of them ignore NULL."""
    if not isinstance(node, exp.Filter):
        return node
    condition: exp.Expression = node.expression.this
    aggregate: exp.Expression = node.this.copy()
    distinct = aggregate.this if isinstance(aggregate.this, exp.Distinct) else None
    value = distinct.expressions[0] if distinct is not None else aggregate.this
    picked = exp.Literal.number(1) if isinstance(value, exp.Star) else value.copy()
    case = exp.Case().when(condition.copy(), picked)
    if distinct is not None:
        distinct.set("expressions", [case])
    else:
        aggregate.set("this", case)
    return aggregate


def _exact(node: exp.Expression) -> exp.Expression:
    """A cast that loses nothing, or the constant that it makes."""
    if not isinstance(node, exp.Cast):
        return node
    kind, text = node.to, _constant_text(node.this)
    constant = None if text is None else _constant(text, kind)
    if constant is not None:
        return exp.Var(this=constant)
    if kind.is_type(*_MOMENTS, "time") and not kind.expressions:
        kind.set("expressions", [exp.DataTypeParam(this=exp.Literal.number(6))])
    return node


def _constant_text(node: exp.Expression) -> str | None:
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
        return f"-{node.this.name}"
    return node.name if isinstance(node, exp.Literal) else None


def _constant(text: str, kind: exp.DataType) -> str | None:
    """A float or a moment as MySQL reads it; None for what it has no constant for."""
    if kind.is_type("double"):
        return _float(float(text)) if _NUMBER.fullmatch(text) else None
    if not kind.is_type(*_MOMENTS, *_ZONED):
        return None
    # An offset counts whatever the type is.
    moment = moment_of(text, True, "UTC")
    return None if moment is None else f"TIMESTAMP'{_plain(moment)}'"


def _float(number: float) -> str | None:
    if not math.isfinite(number):
        return None
    return repr(number) if "e" in repr(number) else f"{number!r}e0"


def _plain(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")
