"""Numbers that the merge engine computes as DOUBLE, and the types in which it compares them.

Takes: divisions, means and comparisons whose operands have known types. Gives: the type that two
numbers of different kinds meet in, and forms that give the same double, bit by bit: whole numbers
and decimals become doubles by rounding once, here and there. Never decides whether a source may.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from gateway.constants import INTEGERS, decimal_shape, family

TypeName = Callable[[exp.Expression], str | None]
DIVIDED = INTEGERS | {"DECIMAL"}
_DIGITS = {"SMALLINT": 5, "INTEGER": 10, "BIGINT": 19}
_LARGE = 38
# Up to 15 digits every engine rounds a decimal to the same double.
_EXACT = 15
# A column of a query below that holds a mean which is not the same double everywhere.
MEAN = "mean"


def common_type(one: str, other: str) -> str | None:
    """The type in which numbers of two kinds are compared, where nothing fails to become one."""
    if family(one) in ("DECIMAL", "DOUBLE") and family(other) in _DIGITS:
        one, other = other, one
    if family(one) == "DOUBLE":
        one, other = other, one
    if other == "DOUBLE":
        return other if family(one) in (*_DIGITS, "DECIMAL") else None
    if family(one) not in _DIGITS or family(other) != "DECIMAL":
        return None
    precision, scale = decimal_shape(other)
    width = max(precision - scale, _DIGITS[family(one)]) + scale
    return f"DECIMAL({width},{scale})" if width <= _LARGE else None


def is_plain_number(node: exp.Expression) -> bool:
    """Whether a literal is a number that has one double; what is no literal may be anything."""
    if not isinstance(node, exp.Literal):
        return True
    digits = node.name.replace(".", "", 1)
    return not node.is_string and digits.isdigit() and len(digits) <= _EXACT


def is_exact(node: exp.Expression, type_name: TypeName) -> bool:
    """Whether a value is the same double everywhere.

    Sums of doubles depend on their order. A mean of decimals is a sum by a count or not, as the
    merge engine finds it cheaper: which of them is certain only for one value over all rows.
    """
    if any(one.meta.get(MEAN) for one in node.find_all(exp.Column)):
        return False
    for one in node.find_all(exp.Sum, exp.Avg):
        kind = family(type_name(one.this) or "")
        whole = kind in INTEGERS
        certain = isinstance(one, exp.Sum) or (isinstance(one, exp.Avg) and is_of_all_rows(one))
        if not (whole or (kind == "DECIMAL" and certain)):
            return False
    return True


def is_of_all_rows(mean: exp.Avg) -> bool:
    """Whether a mean is that of a query without groups, and of all its rows."""
    select = mean.find_ancestor(exp.Select)
    held = isinstance(mean.parent, exp.Filter | exp.Window) or isinstance(mean.this, exp.Distinct)
    return select is not None and not held and select.args.get("group") is None


def is_mean_of_numbers(mean: exp.Avg, type_name: TypeName) -> bool:
    """Whether `mean_form` is due: whole numbers and decimals."""
    kind = None if isinstance(mean.this, exp.Distinct) else type_name(mean.this)
    return kind is not None and family(kind) in DIVIDED


def mean_form(mean: exp.Avg) -> exp.Expression:
    """The sum by the count, as doubles; no rows have none."""
    total, count = exp.Sum(this=mean.this.copy()), exp.Count(this=mean.this.copy(), big_int=True)
    return exp.Paren(this=_by(total, count))


def quotient(node: exp.Div) -> exp.Expression:
    """A division of doubles: by zero it is infinity, and zero by zero NaN."""
    divided, divisor = node.this, node.expression
    made = _by(divided, divisor)
    inner = divisor.unnest()
    if isinstance(inner, exp.Literal) and inner.name.strip("0."):
        return exp.Paren(this=made)
    limits = [
        exp.If(this=kind(this=_held(divided), expression=exp.Literal.number(0)), true=_double(text))
        for kind, text in ((exp.GT, "Infinity"), (exp.LT, "-Infinity"), (exp.EQ, "NaN"))
    ]
    by_zero = exp.EQ(this=_held(divisor), expression=exp.Literal.number(0))
    return exp.Case(ifs=[exp.If(this=by_zero, true=exp.Case(ifs=limits))], default=made)


def _by(divided: exp.Expression, divisor: exp.Expression) -> exp.Expression:
    # `typed`: as the operands are; else the generator adds casts by the types that it guesses.
    return exp.Div(
        this=exp.cast(divided.copy(), "DOUBLE"),
        expression=exp.cast(divisor.copy(), "DOUBLE"),
        typed=True, safe=False,
    )  # fmt: skip


def _held(node: exp.Expression) -> exp.Expression:
    made = node.copy()
    return exp.Paren(this=made) if isinstance(made, exp.Binary) else made


def _double(text: str) -> exp.Expression:
    return exp.cast(exp.Literal.string(text), "DOUBLE")


def in_one_type(node: exp.Expr, kind: str, type_name: TypeName) -> exp.Expr:
    """A comparison of two numbers with the side of another kind cast to `kind`."""
    made = node.copy()
    for key, side in (("this", node.this), ("expression", node.expression)):
        if family(type_name(side) or kind) != family(kind):
            made.set(key, exp.cast(made.args[key], kind))
    return made
