"""Does one condition imply another, for every row and every subject?

Takes: two bound conditions. Gives: True where whatever makes the first true makes the second true,
NULLs counted. Never guesses: what it does not understand is a value of its own, about which it
knows only that equal texts are equal; what grows too large is not proven.

A condition becomes a formula of two truths over *spans*: `a < 5 is true` is "a lies in (-inf, 5)",
`a < 5 is false` is "a lies in [5, inf)", and NULL lies in neither. The first implies the second
iff the first and the negation of the second cannot both hold; each way to hold both must leave
some variable without a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import product

from sqlglot import exp

from gateway.constants import INTEGERS, family
from gateway.decision import CompiledCondition

_MOST_WAYS = 400
# A cut lies before (0) or after (1) a value, or at an end.
Cut = tuple[object, ...]
_LOWEST: Cut = (-1,)
_HIGHEST: Cut = (1,)
_BOOLEANS = (exp.Like, exp.ILike, exp.Escape, exp.Case, exp.Coalesce, exp.Column, exp.Func)
_MIRRORED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.LT: exp.GT, exp.GT: exp.LT, exp.LTE: exp.GTE, exp.GTE: exp.LTE,
}


@dataclass(frozen=True, slots=True)
class Values:
    """Values between cuts, and perhaps NULL."""

    spans: tuple[tuple[Cut, Cut], ...]
    null: bool = False

    def both(self, other: Values) -> Values:
        """What lies in both."""
        found = [
            (max(low, start), min(high, end))
            for low, high in self.spans for start, end in other.spans
            if max(low, start) < min(high, end)
        ]  # fmt: skip
        return Values(tuple(sorted(found)), self.null and other.null)

    def others(self, whole: Values) -> Values:
        """What of the whole lies outside."""
        cuts = [_LOWEST, *(cut for span in self.spans for cut in span), _HIGHEST]
        gaps = tuple((low, high) for low, high in zip(cuts[::2], cuts[1::2], strict=True)
                     if low < high)  # fmt: skip
        return Values(gaps, not self.null).both(whole)

    @property
    def is_empty(self) -> bool:
        """Whether no value is left."""
        return not self.spans and not self.null


_ANY = Values(((_LOWEST, _HIGHEST),))
_NULL = Values((), True)


@dataclass(frozen=True, slots=True)
class _Lies:
    """A variable lies in some values. `whole` is all that it can be, NULL included."""

    variable: str
    values: Values
    whole: Values


@dataclass(frozen=True, slots=True)
class _All:
    parts: tuple[_Formula, ...]


@dataclass(frozen=True, slots=True)
class _Some:
    parts: tuple[_Formula, ...]


_Formula = _Lies | _All | _Some
_ALWAYS, _NEVER = _All(()), _Some(())
Way = dict[str, Values]


class _TooManyError(Exception):
    """More ways than are looked at."""


def implies(first: CompiledCondition | None, second: CompiledCondition | None) -> bool:
    """Whether it is proven that the first implies the second. None is true of every row."""
    if second is None:
        return True
    opposite = _not(_holds(second.expression, True))
    held = _ALWAYS if first is None else _holds(first.expression, True)
    try:
        ours, theirs = _ways(held), _ways(opposite)
        return all(_joined(one, other) is None for one, other in product(ours, theirs))
    except (_TooManyError, TypeError):
        # A TypeError compares values of two types: the columns differ, and nothing is proven.
        return False


def _ways(formula: _Formula) -> list[Way]:
    """The alternatives, each with the values that its variables may have."""
    match formula:
        case _Lies(variable, values, _):
            return [] if values.is_empty else [{variable: values}]
        case _Some(parts):
            found = [way for one in parts for way in _ways(one)]
        case _All(parts):
            found = [{}]
            for one in parts:
                joint = (_joined(ours, theirs) for ours, theirs in product(found, _ways(one)))
                found = [way for way in joint if way is not None]
                _bounded(found)
    _bounded(found)
    return found


def _bounded(found: list[Way]) -> None:
    if len(found) > _MOST_WAYS:
        raise _TooManyError


def _joined(ours: Way, theirs: Way) -> Way | None:
    """Both at once; None where a variable has no value left."""
    made = dict(ours)
    for variable, values in theirs.items():
        left = values.both(made[variable]) if variable in made else values
        if left.is_empty:
            return None
        made[variable] = left
    return made


def _not(formula: _Formula) -> _Formula:
    match formula:
        case _Lies(variable, values, whole):
            return _Lies(variable, values.others(whole), whole)
        case _All(parts):
            return _Some(tuple(_not(one) for one in parts))
        case _Some(parts):
            return _All(tuple(_not(one) for one in parts))


def _holds(node: exp.Expr, wanted: bool) -> _Formula:
    """When a condition is true, or with `wanted` False when it is false: never where it is NULL."""
    if node.args.get("negate"):
        # `a NOT LIKE b` is one node.
        plain = node.copy()
        plain.set("negate", None)
        return _holds(plain, not wanted)
    match node:
        case exp.Paren():
            return _holds(node.this, wanted)
        case exp.Not():
            return _holds(node.this, not wanted)
        case exp.And() | exp.Or():
            parts = (_holds(node.this, wanted), _holds(node.expression, wanted))
            return _All(parts) if isinstance(node, exp.And) is wanted else _Some(parts)
        case exp.Boolean():
            return _ALWAYS if bool(node.this) is wanted else _NEVER
        case exp.Null():
            return _NEVER
        case exp.Is():
            found = _is(node)
            return found if wanted else _not(found)
        case exp.In():
            return _in(node, wanted)
        case exp.Between() if not node.args.get("symmetric"):
            low = exp.GTE(this=node.this, expression=node.args["low"])
            high = exp.LTE(this=node.this, expression=node.args["high"])
            return _holds(exp.And(this=low, expression=high), wanted)
        case _:
            return _leaf(node, wanted) or _opaque(node, wanted)


def _leaf(node: exp.Expr, wanted: bool) -> _Formula | None:
    """What compares a variable with constants; None where that is not understood."""
    match node:
        case exp.NullSafeEQ() | exp.NullSafeNEQ():
            return _distinct(node, isinstance(node, exp.NullSafeEQ) is wanted)
        case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            return _comparison(node, wanted)
        case exp.Like() | exp.StartsWith():
            return _beginning(node, wanted)
        case _:
            return None


def _opaque(node: exp.Expr, wanted: bool) -> _Formula:
    """A truth of which only its text is known: true, false or NULL."""
    found: _Formula = _Lies(_text(node), _point(wanted), _truths())
    if isinstance(node, exp.Like | exp.ILike):
        found = _All((found, _Lies(_text(node.this), _ANY, _whole(node.this))))
    return found


def _truths() -> Values:
    return Values((_point(False).spans[0], _point(True).spans[0]), True)


def _is(node: exp.Is) -> _Formula:
    if isinstance(node.expression, exp.Boolean):
        return _holds(node.this, bool(node.expression.this))
    inner = node.this.unnest()
    if isinstance(inner, _BOOLEANS) or not isinstance(inner, exp.Condition):
        return _Lies(_text(inner), _NULL, _whole(inner))
    # A comparison is NULL where it is neither true nor false.
    return _All((_not(_holds(inner, True)), _not(_holds(inner, False))))


def _in(node: exp.In, wanted: bool) -> _Formula:
    """Among constants; an attribute of the subject is a truth of its own."""
    asked = [one.unnest() for one in node.expressions]
    lists = [one for one in asked if isinstance(one, exp.Placeholder)]
    plain = [_lying(node.this, exp.EQ, one) for one in asked if one not in lists]
    if not all(plain) or (lists and not wanted):
        return _opaque(node, wanted)
    found = [one for one in plain if one is not None]
    if not wanted:
        whole = _whole(node.this)
        return _All(tuple(
            _Lies(one.variable, one.values.others(_known(whole)), whole) for one in found
        ))
    members = [
        _opaque(exp.In(this=node.this.copy(), expressions=[one.copy()]), True) for one in lists
    ]
    given = _Lies(_text(node.this), _ANY, _whole(node.this))
    return _Some((*found, *(_All((one, given)) for one in members)))


def _distinct(node: exp.Expr, is_same: bool) -> _Formula:
    if isinstance(node.expression, exp.Null) or isinstance(node.this, exp.Null):
        return _opaque(node, isinstance(node, exp.NullSafeEQ) is is_same)
    found = _lying(node.this, exp.EQ, node.expression) or _lying(
        node.expression, exp.EQ, node.this
    )
    if found is None:
        return _opaque(node, isinstance(node, exp.NullSafeEQ) is is_same)
    return found if is_same else _not(found)


def _comparison(node: exp.Expr, wanted: bool) -> _Formula | None:
    kind = type(node)
    found = _lying(node.this, kind, node.expression) or _lying(
        node.expression, _MIRRORED.get(kind, kind), node.this
    )
    if found is None or wanted:
        return found
    return _Lies(found.variable, found.values.others(_known(found.whole)), found.whole)


def _lying(variable: exp.Expr, kind: type[exp.Expr], constant: exp.Expr) -> _Lies | None:
    """A comparison of a variable with a constant, true; None where it is something else."""
    value = _value(constant)
    if value is None or _value(variable) is not None or not _is_ordered(variable):
        return None
    before, after = (0, value, 0), (0, value, 1)
    if _is_whole(variable) and isinstance(value, int):
        after = (0, value + 1, 0)
    spans: dict[type[exp.Expr], tuple[tuple[Cut, Cut], ...]] = {
        exp.EQ: ((before, after),), exp.NEQ: ((_LOWEST, before), (after, _HIGHEST)),
        exp.LT: ((_LOWEST, before),), exp.LTE: ((_LOWEST, after),),
        exp.GT: ((after, _HIGHEST),), exp.GTE: ((before, _HIGHEST),),
    }
    whole = _whole(variable)
    return _Lies(_text(variable), Values(spans[kind]).both(whole), whole)


def _beginning(node: exp.Expr, wanted: bool) -> _Formula | None:
    """LIKE 'abc%' and starts_with are an interval: text is ordered by its bytes."""
    constant = node.expression
    if not (isinstance(constant, exp.Literal) and constant.is_string and constant.name):
        return None
    text = constant.name
    if isinstance(node, exp.Like):
        if text.rstrip("%") == "" or set("%_\\") & set(text.rstrip("%")):
            return None
        if not text.endswith("%"):
            return _comparison(exp.EQ(this=node.this, expression=constant), wanted)
        text = text.rstrip("%")
    if ord(text[-1]) >= 0x10FFFF or not _is_ordered(node.this):
        return None
    whole = _whole(node.this)
    end = text[:-1] + chr(ord(text[-1]) + 1)
    values = Values((((0, text, 0), (0, end, 0)),))
    if not wanted:
        values = values.others(_known(whole))
    return _Lies(_text(node.this), values, whole)


def _known(whole: Values) -> Values:
    return Values(whole.spans)


def _point(value: object) -> Values:
    return Values((((0, value, 0), (0, value, 1)),))


def _whole(variable: exp.Expr) -> Values:
    """All that something can be."""
    is_truth = _type(variable) == "BOOLEAN"
    return _truths() if is_truth else Values(_ANY.spans, True)


def _type(node: exp.Expr) -> str:
    inner = node.unnest()
    if isinstance(inner, exp.Like | exp.ILike | exp.Escape):
        return "BOOLEAN"
    return str(inner.meta.get("type", "")) if isinstance(inner, exp.Column) else ""


def _is_whole(variable: exp.Expr) -> bool:
    return family(_type(variable)) in INTEGERS or _type(variable) == "DATE"


def _is_ordered(variable: exp.Expr) -> bool:
    """Whether its constants sort as its values do. The time of the request is written as text."""
    return not isinstance(variable.unnest(), exp.Placeholder) or variable.name != "request.now"


def _text(node: exp.Expr) -> str:
    return node.unnest().sql("duckdb")


def _value(node: exp.Expr) -> object | None:
    """A constant as a value that sorts like it; None for anything else."""
    inner = node.unnest()
    match inner:
        case exp.Boolean():
            return bool(inner.this)
        case exp.Literal():
            return str(inner.name) if inner.is_string else _number(inner.name)
        case exp.Neg() if isinstance(inner.this, exp.Literal) and not inner.this.is_string:
            number = _number(inner.this.name)
            return None if number is None else -number
        case exp.Cast() if not isinstance(inner, exp.TryCast):
            return _cast(inner)
        case _:
            return None


def _number(text: str) -> int | Decimal | None:
    try:
        value = Decimal(text)
    except ArithmeticError:
        return None
    return int(value) if text.isdigit() else value


def _cast(node: exp.Cast) -> object | None:
    value = _value(node.this)
    kind = node.to.sql("duckdb")
    if kind == "DOUBLE" and isinstance(value, int | Decimal):
        return float(value)
    if kind.startswith("DECIMAL") and isinstance(value, int | Decimal):
        return Decimal(value)
    try:
        if kind == "DATE" and isinstance(value, str):
            return date.fromisoformat(value).toordinal()
        if kind in ("TIMESTAMP", "TIMESTAMPTZ") and isinstance(value, str):
            return datetime.fromisoformat(value)
    except ValueError:
        return None
    return None


def joined(conditions: Iterable[CompiledCondition]) -> CompiledCondition | None:
    """All of the conditions as one; None where there is none."""
    held: Iterator[CompiledCondition] = iter(conditions)
    first = next(held, None)
    if first is None:
        return None
    for one in held:
        both = exp.And(
            this=exp.Paren(this=first.expression.copy()),
            expression=exp.Paren(this=one.expression.copy()),
        )
        needed = first.entitlements | one.entitlements
        first = CompiledCondition(first.policy, both, both.sql("duckdb"), needed)
    return first
