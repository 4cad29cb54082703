"""How a source has to be told what would else mean something else there.

Takes: an expression that a source may evaluate, the DuckDB types of its parts. Gives: the types of
sums and products of decimals as the merge engine has them, and the expression with casts, zones and
divisions written out. Never decides whether a source may evaluate it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp

from gateway.computed import ZONED
from gateway.doubles import (
    common_type,
    in_one_type,
    is_mean_of_numbers,
    is_of_all_rows,
    is_plain_number,
    mean_form,
    quotient,
)

TypeName = Callable[[exp.Expression], str | None]
# Parts of a date or a moment that are whole numbers and the same everywhere, and their functions.
PARTS = frozenset({"YEAR", "QUARTER", "MONTH", "DAY", "HOUR", "MINUTE"})
UNITS = frozenset({"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"})
PART_FUNCTIONS = (exp.Year, exp.Quarter, exp.Month, exp.Day, exp.Hour, exp.Minute)
TRUNCATIONS = (exp.TimestampTrunc, exp.DateTrunc)
ARITHMETIC = (exp.Add, exp.Sub, exp.Mul)
ORDERINGS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
# Casts that no value fails.
TOTAL_CASTS = frozenset(
    f"{source}>{target}"
    for source, targets in {
        "BOOLEAN": ("INTEGER", "VARCHAR"),
        "SMALLINT": ("INTEGER", "BIGINT", "DOUBLE", "VARCHAR"),
        "INTEGER": ("BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR"),
        "BIGINT": ("DOUBLE", "VARCHAR"),
        "DECIMAL": ("DOUBLE",),
        "UUID": ("VARCHAR",),
    }.items()
    for target in targets
)
_DIGITS = {"SMALLINT": 5, "INTEGER": 10, "BIGINT": 19}
_DECIMAL = re.compile(r"(0|[1-9]\d*)\.\d+")
_SMALL, _LARGE = 18, 38
_ONE_TEXT = re.compile(r"(%?)([^%_\\\0]+)%")


def name_of(node: exp.Expression) -> str:
    """The name under which abilities list a node."""
    if isinstance(node, PART_FUNCTIONS):
        return "Extract"
    return "TimestampTrunc" if isinstance(node, TRUNCATIONS) else type(node).__name__


def part_of(node: exp.Expression) -> tuple[str, exp.Expression] | None:
    """What part of what, for EXTRACT and for functions such as year()."""
    if isinstance(node, exp.Extract):
        return node.this.name.upper(), node.expression
    if isinstance(node, PART_FUNCTIONS):
        return type(node).__name__.upper(), node.this
    return None


def form_refusal(node: exp.Expression) -> str | None:
    """Why this form of a function is not the one that was proved; None where it is."""
    part = part_of(node)
    proved = True
    if part is not None:
        proved = part[0] in PARTS
    elif isinstance(node, TRUNCATIONS):
        proved = node.args["unit"].name.upper() in UNITS
    elif isinstance(node, exp.Substring):
        start, length = node.args.get("start"), node.args.get("length")
        proved = _is_count(start, 1) and (length is None or _is_count(length, 0))
    elif isinstance(node, exp.Like):
        # Not every dialect reads a backslash as itself.
        proved = "\\" not in node.expression.name
    elif isinstance(node, exp.Div):
        proved = all(is_plain_number(one.unnest()) for one in (node.this, node.expression))
    return None if proved else "function_not_identical"


def as_position(node: exp.Expression) -> exp.Expression | None:
    """LIKE as where a text begins in another, for sources with another LIKE.

    None for a pattern that is more than one text, at the beginning or anywhere.
    """
    pattern = node.args.get("expression")
    if not isinstance(node, exp.Like) or not isinstance(pattern, exp.Literal):
        return None
    found = _ONE_TEXT.fullmatch(pattern.name)
    if found is None or not pattern.is_string:
        return None
    place = exp.StrPosition(this=node.this.copy(), substr=exp.Literal.string(found[2]))
    made = exp.GT if found[1] else exp.EQ
    told = made(this=place, expression=exp.Literal.number(0 if found[1] else 1))
    return exp.Paren(this=exp.Not(this=told) if node.args.get("negate") else told)


def _is_count(node: exp.Expression | None, least: int) -> bool:
    whole = isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit()
    return whole and node is not None and int(node.name) >= least


def decimal_result(node: exp.Expression, type_name: TypeName) -> tuple[str, bool] | None:
    """The type of a sum, difference or product of decimals, and whether it is bounded.

    A bounded one is narrower than what its operands could give: the engine fails beyond it.
    """
    shapes = [_shape(one, type_name) for one in (node.this, node.expression)]
    one, other = shapes
    if one is None or other is None or not (one[2] or other[2]):
        return None
    if isinstance(node, exp.Mul):
        width, scale = one[0] + other[0], one[1] + other[1]
        if scale >= _SMALL:
            return None
        if width > _SMALL and max(one[0], other[0]) <= _SMALL:
            return f"DECIMAL({_SMALL},{scale})", True
    else:
        scale = max(one[1], other[1])
        width = max(one[0] - one[1], other[0] - other[1]) + scale + 1
    return f"DECIMAL({min(width, _LARGE)},{scale})", width > _LARGE


def _shape(node: exp.Expression, type_name: TypeName) -> tuple[int, int, bool] | None:
    """Digits, digits after the point, and whether it is a decimal of its own."""
    inner = node
    while isinstance(inner, exp.Paren | exp.Neg):
        inner = inner.this
    if isinstance(inner, exp.Literal) and not inner.is_string:
        if inner.name.isdigit():
            return (10 if int(inner.name) < 2**31 else 19, 0, False)
        if not _DECIMAL.fullmatch(inner.name):
            return None
        whole, _, after = inner.name.partition(".")
        return len(whole) + len(after), len(after), True
    name = type_name(node) or ""
    if name in _DIGITS:
        return _DIGITS[name], 0, False
    if not name.startswith("DECIMAL("):
        return None
    width, scale = name[8:-1].split(",")
    return int(width), int(scale), True


def spelled(root: exp.Expression, type_name: TypeName, has_doubles: bool = False) -> None:
    """Write out, in place, what the source would else read in its own way; `root` stays.

    `has_doubles`: decimals become the same doubles there, so that means may be divisions.
    """
    found = []
    for node in root.walk():
        told = _told(node, type_name, has_doubles) if node is not root else None
        if told is not None:
            found.append((node, told))
    # Inner ones first, so that outer ones hold what became of them.
    for node, name in reversed(found):
        if isinstance(node, ARITHMETIC):
            node.replace(exp.cast(node.copy(), name))
        elif isinstance(node, exp.Div):
            node.replace(quotient(node))
        elif isinstance(node, exp.Avg):
            node.replace(mean_form(node))
        elif isinstance(node, exp.Binary):
            node.replace(in_one_type(node, name, type_name))
        elif isinstance(node, TRUNCATIONS):
            node.replace(_truncation(node, name))
        elif isinstance(node, exp.Cast):
            node.replace(exp.cast(_in_utc(node.this), node.to.copy()))
        elif isinstance(node, exp.Expression):
            node.replace(_part(node, name))


def _told(node: exp.Expr, type_name: TypeName, has_doubles: bool) -> str | None:
    """The type that has to be written out; None where the node may stay as it is."""
    if isinstance(node, exp.Div):
        return "DOUBLE"
    if isinstance(node, exp.Avg):
        due = has_doubles and is_of_all_rows(node) and is_mean_of_numbers(node, type_name)
        return "DOUBLE" if due else None
    if isinstance(node, ORDERINGS):
        one, other = type_name(node.this), type_name(node.expression)
        return None if one is None or other is None else common_type(one, other)
    if isinstance(node, ARITHMETIC):
        result = decimal_result(node, type_name)
        return result[0] if result is not None and result[1] else None
    if isinstance(node, TRUNCATIONS):
        name = type_name(node.this)
        return name if name in ("DATE", ZONED) else None
    if isinstance(node, exp.Cast):
        return ZONED if type_name(node.this) == ZONED else None
    part = part_of(node) if isinstance(node, exp.Expression) else None
    return type_name(part[1]) if part is not None else None


def _in_utc(node: exp.Expression) -> exp.Expression:
    held = node.copy() if isinstance(node, exp.Column) else exp.Paren(this=node.copy())
    return exp.Paren(this=exp.AtTimeZone(this=held, zone=exp.Literal.string("UTC")))


def _as_moment(node: exp.Expression, name: str | None) -> exp.Expression:
    return _in_utc(node) if name == ZONED else exp.cast(node.copy(), "TIMESTAMP")


def _truncation(node: exp.Expression, name: str) -> exp.Expression:
    unit = exp.Var(this=node.args["unit"].name.upper())
    made = exp.TimestampTrunc(this=_as_moment(node.this, name), unit=unit)
    return made if name == "DATE" else _in_utc(made)


def _part(node: exp.Expression, name: str) -> exp.Expression:
    found = part_of(node)
    assert found is not None, "it is one of the functions that give a part"
    part, value = found
    if name == ZONED:
        value = _in_utc(value)
    elif name == "DATE" and part in ("HOUR", "MINUTE"):
        value = exp.cast(value.copy(), "TIMESTAMP")
    extracted = _extracted(part, value)
    if part != "YEAR":
        return exp.cast(extracted, "BIGINT")
    # The year before 1 is 0, not -1 as the standard has it; infinity has no year, as no month.
    infinite = exp.Is(this=_extracted("MONTH", value), expression=exp.null())
    before = exp.LT(this=extracted.copy(), expression=exp.Literal.number(0))
    later = exp.Add(this=extracted.copy(), expression=exp.Literal.number(1))
    branches = [exp.If(this=infinite, true=exp.null()), exp.If(this=before, true=later)]
    made: exp.Expression = exp.Case(ifs=branches, default=extracted)
    return exp.cast(made, "BIGINT")


def _extracted(part: str, value: exp.Expression) -> exp.Expression:
    made: exp.Expression = exp.Extract(this=exp.Var(this=part), expression=value.copy())
    return made
