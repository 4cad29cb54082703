"""The subject's and the request's values in conditions.

Takes: a compiled condition, a principal, a purpose, the time. Gives: the condition with typed
literals in their place. Never splices text: every value becomes a literal of exactly the type of
the column it meets, and one that has no such form matches nothing (DESIGN 5, rule 4).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, InvalidOperation

from sqlglot import exp

from gateway.constants import fold
from gateway.decision import CompiledCondition, Condition
from gateway.request import Principal


class SubjectValues:
    """Puts the subject's and the request's values into conditions, as typed literals."""

    def __init__(self, principal: Principal, purpose: str | None, now: datetime) -> None:
        self.principal = principal
        self.purpose = purpose
        self.now = now
        self.used_now = False

    def fill(self, condition: CompiledCondition) -> Condition:
        """The condition with literals for its placeholders."""
        holder = exp.Paren(this=condition.expression.copy())
        for node in list(holder.find_all(exp.Placeholder)):
            self._fill_one(node)
        made = holder.this
        return Condition(condition.policy, made, made.sql("duckdb"))

    def _fill_one(self, node: exp.Placeholder) -> None:
        parent = node.parent
        type_name = str(node.meta["type"])
        literals = [
            one
            for one in (
                fold(exp.Literal.string(value), type_name, (), "UTC")
                if not type_name.startswith(_NUMBERS)
                else _number(value, type_name)
                for value in self.values(node.name)
            )
            if one is not None
        ]
        if isinstance(parent, exp.In):
            others = [one for one in parent.expressions if one is not node]
            values = others + literals
            if values:
                parent.set("expressions", values)
            else:
                parent.replace(_nobody(parent))
        elif literals:
            node.replace(literals[0])
        else:
            node.replace(exp.cast(exp.null(), type_name))

    def values(self, name: str) -> tuple[str, ...]:
        """What stands for a placeholder such as `subject.region`."""
        kind, _, key = name.partition(".")
        if kind == "request":
            if key == "now":
                self.used_now = True
                return (self.now.isoformat(sep=" "),)
            return (self.purpose,) if self.purpose is not None else ()
        if kind == "entitlement":
            return tuple(self.principal.entitlements.get(key, ()))
        if key == "user":
            return (self.principal.user,)
        if key == "groups":
            return tuple(sorted(self.principal.groups))
        if key == "roles":
            return tuple(sorted(self.principal.roles))
        return tuple(self.principal.attributes.get(key, ()))


def _nobody(node: exp.Expression) -> exp.Expression:
    """An empty list matches no row: false, and below a negation NULL, which counts as false."""
    parent = node.parent
    while isinstance(parent, exp.And | exp.Or | exp.Paren):
        if parent.parent is None:
            return exp.false()
        parent = parent.parent
    return exp.null()


_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DOUBLE", "REAL", "DECIMAL")


def _number(text: str, type_name: str) -> exp.Expression | None:
    """A number written as text; None where it is none, since it can then match nothing."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not value.is_finite():
        return None
    literal = exp.Literal.number(format(abs(value), "f"))
    return fold(exp.Neg(this=literal) if value < 0 else literal, type_name, (), "UTC")
