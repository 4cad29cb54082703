"""What follows from a predicate for the columns of one relation alone.

Takes: a predicate that has to be true, which columns are meant, a checker. Gives: predicates that
are true wherever it is, each able to stand beside a policy (DESIGN 5, barrier rule 2). They say
less than the predicate, so it has to be applied again. Never reads a masked column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from sqlglot import exp

from gateway.computed import ZONED
from gateway.constants import fold, value_of
from gateway.moments import truncated
from gateway.pushable import Checker
from gateway.safe_predicates import is_safe
from gateway.trees import text_of

# Longer ones would cost more than they save.
_MOST_ARMS = 100
_LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xE000)
_UNITS = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")
_TURNED: dict[type[exp.Expr], type[exp.Binary]] = {
    exp.EQ: exp.EQ, exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reader:
    """The columns of one relation that may be read, by a checker that knows their types."""

    reads: Callable[[exp.Column], bool]
    checker: Checker


def bare(node: exp.Expression) -> exp.Expression:
    """What stands in the brackets."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def flat(node: exp.Expression, kind: type[exp.Connector]) -> Iterator[exp.Expression]:
    """What AND, or OR, puts together, whatever the brackets."""
    inner = bare(node)
    if isinstance(inner, kind):
        yield from flat(inner.this, kind)
        yield from flat(inner.expression, kind)
    else:
        yield node


def implied(predicate: exp.Expression, reader: Reader) -> tuple[exp.Expression, ...]:
    """Weaker predicates over the reader's columns; none where nothing follows."""
    node = bare(predicate)
    match node:
        case exp.And():
            found = (implied(one, reader) for one in flat(node, exp.And))
            return tuple(each for one in found for each in one)
        case exp.Or():
            return _any_of(list(flat(node, exp.Or)), reader)
        case exp.Not() if isinstance(bare(node.this), exp.And | exp.Or):
            return implied(_negated(bare(node.this)), reader)
        case _ if is_safe(node, reader.reads, reader.checker):
            return (node,)
        case _:
            return _ranges(node, reader)


def _negated(node: exp.Expression) -> exp.Expression:
    """NOT of an AND or an OR, by De Morgan."""
    kind = exp.Or if isinstance(node, exp.And) else exp.And
    made: exp.Expression = kind(
        this=exp.Not(this=exp.Paren(this=node.this.copy())),
        expression=exp.Not(this=exp.Paren(this=node.expression.copy())),
    )
    return made


def _any_of(arms: list[exp.Expression], reader: Reader) -> tuple[exp.Expression, ...]:
    if len(arms) > _MOST_ARMS:
        return ()
    found = []
    for arm in arms:
        weaker = implied(arm, reader)
        if not weaker:
            return ()
        found.append({text_of(one): one for one in weaker})
    shared = [text for text in found[0] if all(text in one for one in found)]
    common = tuple(found[0][text] for text in shared)
    rests = [[one for text, one in each.items() if text not in shared] for each in found]
    if not all(rests):
        return common
    together = {text_of(one): one for one in map(all_of, rests)}
    return (*common, any_of(list(together.values())))


def all_of(predicates: list[exp.Expression]) -> exp.Expression:
    """One predicate of several by AND."""
    return reduce(lambda a, b: exp.And(this=a, expression=_held(b)), map(_held, predicates))


def any_of(predicates: list[exp.Expression]) -> exp.Expression:
    """One predicate of several by OR, in brackets."""
    made = reduce(lambda a, b: exp.Or(this=a, expression=_held(b)), map(_held, predicates))
    return exp.Paren(this=made) if isinstance(made, exp.Or) else made


def _held(node: exp.Expression) -> exp.Expression:
    made = node.copy()
    return exp.Paren(this=made) if isinstance(made, exp.Connector) else made


def _ranges(node: exp.Expression, reader: Reader) -> tuple[exp.Expression, ...]:
    """Ranges of a column, for a comparison of what grows with it."""
    made: exp.Expression | None = None
    match node:
        case exp.Like() if not node.args.get("negate"):
            made = _of_pattern(node)
        case exp.StartsWith():
            made = _of_prefix(node.this, node.expression)
        case exp.Between() if not node.args.get("symmetric"):
            parts = [
                _compared(exp.GTE, node.this, node.args["low"], reader),
                _compared(exp.LTE, node.this, node.args["high"], reader),
            ]
            known = [one for one in parts if one is not None]
            made = all_of(known) if known else None
        case exp.In() if node.expressions and len(node.expressions) <= _MOST_ARMS:
            found = [_compared(exp.EQ, node.this, one, reader) for one in node.expressions]
            each = [one for one in found if one is not None]
            made = any_of(each) if len(each) == len(found) else None
        case exp.EQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            left, right = node.this, node.expression
            made = _compared(type(node), left, right, reader) or _compared(
                _TURNED[type(node)], right, left, reader
            )
    if made is None or not is_safe(made, reader.reads, reader.checker):
        return ()
    return tuple(flat(made, exp.And))


def _compared(
    kind: type[exp.Expr], left: exp.Expression, right: exp.Expression, reader: Reader
) -> exp.Expression | None:
    """The range of the column in `left` where it compares so with a constant."""
    left, right = bare(left), bare(right)
    checker = reader.checker
    if value_of(right, checker.parameters, checker.timezone) is None:
        return None
    if isinstance(left, exp.Left | exp.Substring):
        return _of_beginning(left, right) if kind is exp.EQ else None
    found = _steps(left, right, reader)
    if found is None:
        return None
    column, first, after, is_step = found
    low = exp.GTE(this=column.copy(), expression=first)
    high = exp.LT(this=column.copy(), expression=after)
    if kind is exp.EQ:
        return exp.And(this=low, expression=high)
    if kind is exp.GTE or (kind is exp.GT and not is_step):
        return low
    if kind is exp.GT:
        return exp.GTE(this=column.copy(), expression=after)
    if kind is exp.LT and is_step:
        return exp.LT(this=column.copy(), expression=first)
    return high


def _steps(
    left: exp.Expression, right: exp.Expression, reader: Reader
) -> tuple[exp.Expression, exp.Expression, exp.Expression, bool] | None:
    """A column, where it begins to have that year, day or period, where it ends to.

    Last: whether the constant is the beginning of one; for parameters only where any would be.
    """
    match left:
        case exp.Year() | exp.Extract():
            column = left.this if isinstance(left, exp.Year) else left.expression
            if isinstance(left, exp.Extract) and left.this.name.upper() != "YEAR":
                return None
            zoned = "ZONE" in (_type(column, reader) or "")
            return None if zoned else (column, _new_year(right), _new_year(_plus(right, 1)), True)
        case exp.Cast() if text_of(left.to) == "DATE":
            day = _typed(right, "DATE")
            return left.this, day, _plus(day, _interval("DAY")), True
        case exp.TimestampTrunc() | exp.DateTrunc():
            unit = left.args["unit"].name.upper()
            zoned = "ZONE" in (_type(left.this, reader) or "")
            if unit not in _UNITS or (zoned and reader.checker.timezone != "UTC"):
                return None
            moment = _typed(right, ZONED if zoned else "TIMESTAMP")
            end = _plus(moment, _interval(unit))
            return left.this, moment, end, _begins(unit, moment, ZONED if zoned else "TIMESTAMP")
        case _:
            return None


def _type(node: exp.Expression, reader: Reader) -> str | None:
    return reader.checker.type_of(node) if isinstance(node, exp.Column) else None


def _begins(unit: str, moment: exp.Expression, type_name: str) -> bool:
    """Whether a constant is the beginning of a period; a parameter may be another next time."""
    if moment.find(exp.Parameter) is not None:
        return False
    made = fold(moment, type_name, (), "UTC")
    value = None if made is None else datetime.fromisoformat(made.this.name)
    return value is not None and truncated(unit, value, "UTC") == value


def _new_year(year: exp.Expression) -> exp.Expression:
    one = exp.Literal.number(1)
    return exp.DateFromParts(year=year.copy(), month=one, day=one.copy())


def _plus(left: exp.Expression, right: exp.Expression | int) -> exp.Expression:
    added = exp.Literal.number(right) if isinstance(right, int) else right
    return exp.Add(this=left.copy(), expression=added)


def _interval(unit: str, count: int = 1) -> exp.Expression:
    return exp.Interval(this=exp.Literal.string(str(count)), unit=exp.Var(this=unit))


def _typed(constant: exp.Expression, type_name: str) -> exp.Expression:
    """A bare text in the type that it is compared in."""
    plain = isinstance(constant, exp.Literal) and constant.is_string
    return exp.cast(constant.copy(), type_name) if plain else constant.copy()


def _of_pattern(node: exp.Like) -> exp.Expression | None:
    pattern = node.expression
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        return None
    text = str(pattern.this)
    places = [place for place in (text.find("%"), text.find("_")) if place >= 0]
    if not places:
        return exp.EQ(this=node.this.copy(), expression=pattern.copy())
    return _of_prefix(node.this, exp.Literal.string(text[: min(places)]))


def _of_beginning(
    node: exp.Left | exp.Substring, constant: exp.Expression
) -> exp.Expression | None:
    """A text whose beginning is known begins so."""
    start = node.args.get("start")
    begins = isinstance(node, exp.Left) or (
        isinstance(start, exp.Literal) and start.name == "1" and node.args.get("length") is not None
    )
    return _of_prefix(node.this, constant) if begins else None


def _of_prefix(column: exp.Expression, prefix: exp.Expression) -> exp.Expression | None:
    """Texts are ordered by their characters' numbers, which is the order of their bytes."""
    if not (isinstance(prefix, exp.Literal) and prefix.is_string and prefix.this):
        return None
    text = str(prefix.this)
    low = exp.GTE(this=column.copy(), expression=prefix.copy())
    following = ord(text[-1]) + 1
    if _SURROGATES[0] <= following < _SURROGATES[1]:
        following = _SURROGATES[1]
    if following > _LAST:
        return low
    after = exp.Literal.string(text[:-1] + chr(following))
    return exp.And(this=low, expression=exp.LT(this=column.copy(), expression=after))
