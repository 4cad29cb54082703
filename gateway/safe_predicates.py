"""What may stand inside a barrier.

Takes: a predicate, which columns are clear for the caller, their types. Gives: whether it may stand
beside a policy (DESIGN 5, barrier rule 2). Never changes the predicate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sqlglot import exp

from gateway.constants import fold

TypeOf = Callable[[exp.Column], str | None]

COMPARISONS = (
    exp.EQ,
    exp.NEQ,
    exp.LT,
    exp.LTE,
    exp.GT,
    exp.GTE,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
)


class Typed(Protocol):
    """What constants mean, and the DuckDB type of a column, None where unknown."""

    @property
    def type_of(self) -> TypeOf:
        """Of a column."""

    @property
    def parameters(self) -> tuple[object, ...]:
        """The values of `$1`, `$2` ..."""

    @property
    def timezone(self) -> str:
        """Of the session."""


def is_safe(
    predicate: exp.Expression, is_clear: Callable[[exp.Column], bool], checker: Typed
) -> bool:
    """Barrier rule 2: cannot fail on any row, and sees clear columns only."""
    match predicate:
        case exp.Paren() | exp.Not():
            return is_safe(predicate.this, is_clear, checker)
        case exp.And() | exp.Or():
            return is_safe(predicate.this, is_clear, checker) and is_safe(
                predicate.expression, is_clear, checker
            )
        case exp.Is():
            return _clear(predicate.this, is_clear) and isinstance(predicate.expression, exp.Null)
        case exp.In():
            plain = not (predicate.args.get("query") or predicate.args.get("unnest"))
            return (
                plain
                and bool(predicate.expressions)
                and _against_constants(predicate.this, predicate.expressions, is_clear, checker)
            )
        case exp.Between():
            bounds = [predicate.args["low"], predicate.args["high"]]
            return not predicate.args.get("symmetric") and _against_constants(
                predicate.this, bounds, is_clear, checker
            )
        case _ if isinstance(predicate, COMPARISONS):
            left, right = predicate.this, predicate.expression
            return _against_constants(left, [right], is_clear, checker) or _against_constants(
                right, [left], is_clear, checker
            )
        case _:
            return False


def _clear(node: exp.Expression, is_clear: Callable[[exp.Column], bool]) -> bool:
    return isinstance(node, exp.Column) and is_clear(node)


def _against_constants(
    column: exp.Expression,
    constants: list[exp.Expression],
    is_clear: Callable[[exp.Column], bool],
    checker: Typed,
) -> bool:
    if not (isinstance(column, exp.Column) and is_clear(column)):
        return False
    type_name = checker.type_of(column)
    if type_name is None:
        return False
    return all(
        fold(one, type_name, checker.parameters, checker.timezone) is not None for one in constants
    )
