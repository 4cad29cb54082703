"""What sqlglot would write in a way that its target does not take.

Takes: a statement and a dialect. Gives: its text. Never decides what may be sent.
"""

from __future__ import annotations

from sqlglot import exp

from gateway.trees import last_text


def written(statement: exp.Expression, dialect: str) -> str:
    """The text of a statement that nobody needs any longer: writing it may change it.

    MySQL and MariaDB have no FILTER of an aggregate.
    """
    if dialect == "mysql" and statement.find(exp.Filter):
        statement = statement.transform(_filtered)
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
