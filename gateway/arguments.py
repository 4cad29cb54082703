"""Arguments that must be constants: patterns, sizes, formats, names of aggregates.

Takes: a tree and, at execute, the values of its parameters. Gives: nothing, or an error before
anything runs: a pattern that fails only on some row would tell of that row (DESIGN 4.4), and a
size or a width that a row may choose has no bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from gateway.functions import is_aggregate, is_by_name, is_format, pattern_position, size_limit
from gateway.places import mismatch, refusal

Parameters = Sequence[object] | None

_PATTERN_NODES = (
    exp.RegexpLike,
    exp.RegexpFullMatch,
    exp.RegexpExtract,
    exp.RegexpExtractAll,
    exp.RegexpReplace,
    exp.RegexpSplit,
    exp.RegexpILike,
    exp.SimilarTo,
)
_NAMES: Mapping[type[exp.Expr], str] = MappingProxyType({
    exp.Repeat: "repeat",
    exp.Pad: "lpad",
    exp.GenerateSeries: "generate_series",
    exp.Format: "format",
})  # fmt: skip
_MATCHING = (exp.Escape, exp.Like, exp.ILike, exp.Glob, exp.Columns, *_PATTERN_NODES)
_CHECKED = (*_MATCHING, exp.Func)
_MAXIMUM_WIDTH = 9_999
# Steps of a day and longer keep a series of dates short, whatever its bounds.
_LONG_UNITS = ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR", "DECADE", "CENTURY", "MILLENNIUM")
_DATES = (
    exp.CurrentDate,
    exp.CurrentTimestamp,
    exp.Localtimestamp,
    exp.Interval,
    exp.Null,
)


def check_patterns(tree: exp.Expression, parameters: Parameters) -> None:
    """Patterns, sizes and formats are constants and well formed.

    Raises TypeMismatch for a pattern, UnsupportedSql for a size. `parameters` None: those that
    are parameters are checked at each execute.
    """
    check_each(checked_nodes(tree), parameters)


def checked_nodes(tree: exp.Expression) -> tuple[exp.Expr, ...]:
    """The nodes of which `check_each` may say something; most statements have none."""
    return tuple(one for one in tree.walk() if isinstance(one, _CHECKED) and _is_looked_at(one))


def check_each(nodes: Sequence[exp.Expr], parameters: Parameters) -> None:
    """`check_patterns` for a tree's `checked_nodes`."""
    for node in nodes:
        match node:
            case exp.Escape():
                _check_escape(node, parameters)
            case exp.Like() | exp.ILike() | exp.Glob():
                _constant(node.expression, node, parameters)
            case exp.Columns() if isinstance(node.this, exp.Literal):
                _check_regular_expression(node.this.name, node)
            case exp.Func() | exp.SimilarTo():
                _check_call(node, parameters)


def name_of_call(node: exp.Expr) -> str:
    """The function's name in small letters, as DuckDB would get it; empty for an operator."""
    if isinstance(node, exp.Anonymous):
        return node.name.casefold()
    if isinstance(node, exp.GenerateSeries) and node.args.get("is_end_exclusive"):
        return "range"
    if isinstance(node, exp.Pad) and not node.args.get("is_left"):
        return "rpad"
    if type(node) in _NAMES:
        return _NAMES[type(node)]
    match = re.match(r"\s*([A-Za-z_0-9]+)\(", node.sql("duckdb", comments=False))
    return match.group(1).casefold() if match else ""


def _is_looked_at(node: exp.Expr) -> bool:
    """Whether it is more than a function whose arguments may be anything."""
    is_function = isinstance(node, exp.Func) and not isinstance(node, _MATCHING)
    return not is_function or isinstance(node, exp.Anonymous) or type(node) in _NAMES


def _check_call(node: exp.Expr, parameters: Parameters) -> None:
    if isinstance(node, _PATTERN_NODES):
        _check_pattern(node.expression, node, parameters)
        return
    if not isinstance(node, exp.Anonymous) and type(node) not in _NAMES:
        return
    name = name_of_call(node)
    arguments = list(_arguments(node))
    position = pattern_position(name)
    if position is not None and len(arguments) > position:
        _check_pattern(arguments[position], node, parameters)
    limit = size_limit(name)
    if limit is not None:
        chosen = arguments if limit[0] < 0 else arguments[limit[0] : limit[0] + 1]
        if not (_are_small(chosen, limit[1], parameters) or _is_as_long(node)):
            raise refusal(
                f"{name} with more than {limit[1]}, or with what is not a constant, is not served",
                node,
                "Write the number, or a ? for it; series of dates go in steps of a day or more.",
            )
    if is_format(name) and arguments:
        _check_format(name, arguments[0], _constant(arguments[0], node, parameters))
    if is_by_name(name) and len(arguments) > 1:
        called = arguments[1]
        if not isinstance(called, exp.Literal) or not is_aggregate(called.name):
            raise refusal(f"{name} of anything but an aggregate is not served", node)


def _is_as_long(node: exp.Expr) -> bool:
    """Whether a text is made of as many letters as another has at most: so another gateway masks.

    That text is there already, and a letter has at most four bytes.
    """
    if not isinstance(node, exp.Repeat):
        return False
    letter, times = node.this, node.args["times"]
    less = times.expression if isinstance(times, exp.Sub) else None
    # Less a number that stands there without a sign, which could make it more.
    if isinstance(less, exp.Literal) and less.is_int and not less.is_string:
        times = times.this
    is_letter = isinstance(letter, exp.Literal) and letter.is_string and len(letter.name) <= 1
    return is_letter and isinstance(times, exp.Length)


def _arguments(node: exp.Expr) -> Iterator[exp.Expr]:
    for value in node.args.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, exp.Expression):
                yield one


def _are_small(arguments: Sequence[exp.Expr], most: int, parameters: Parameters) -> bool:
    step = arguments[-1] if len(arguments) == 3 else None
    if isinstance(step, exp.Interval) and _is_long(step):
        return True
    return all(_is_small(one, most, parameters) for one in arguments)


def _is_long(step: exp.Interval) -> bool:
    unit = step.args.get("unit")
    count = step.this.name if isinstance(step.this, exp.Literal) else "0"
    is_number = re.fullmatch(r"[0-9]{1,6}", count) is not None and int(count) > 0
    return unit is not None and unit.name.upper().removesuffix("S") in _LONG_UNITS and is_number


def _is_small(node: exp.Expr, most: int, parameters: Parameters) -> bool:
    match node:
        case exp.Paren() | exp.Neg():
            return _is_small(node.this, most, parameters)
        case exp.Literal() if node.is_string:
            return not _is_number(node.name) or float(node.name) <= most
        case exp.Literal():
            return float(node.name) <= most
        case exp.Cast():
            return _is_small(node.this, most, parameters)
        case exp.Add() | exp.Sub():
            # Sums of dates and intervals; of numbers they could pass the bound.
            return all(
                isinstance(one, _DATES) or (isinstance(one, exp.Cast) and one.this.is_string)
                for one in (node.this, node.expression)
            )
        case exp.Parameter():
            value = _value(node, parameters)
            return not isinstance(value, int | float) or abs(value) <= most
        case _:
            return isinstance(node, _DATES)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_format(name: str, node: exp.Expr, text: str | None) -> None:
    if text is None:
        return
    widths = (int(one) for one in re.findall(r"[0-9]{1,20}", text))
    variable = re.search(r"%[^A-Za-z%]*\*|\{[^}]*\{", re.sub(r"\{\{|%%", "", text))
    if variable or any(one > _MAXIMUM_WIDTH for one in widths):
        raise refusal(f"{name} of a width over {_MAXIMUM_WIDTH} or by argument is not served", node)


def _check_pattern(node: exp.Expr | None, place: exp.Expr, parameters: Parameters) -> None:
    pattern = _constant(node, place, parameters)
    if pattern is not None:
        _check_regular_expression(pattern, place)


def _check_escape(node: exp.Escape, parameters: Parameters) -> None:
    like = node.this
    if not isinstance(like, exp.Like | exp.ILike):
        raise refusal("ESCAPE behind anything but LIKE and ILIKE is not served", node)
    escape = _constant(node.expression, node, parameters)
    pattern = _constant(like.expression, node, parameters)
    if escape is not None and (len(escape) != 1 or not escape.isascii()):
        raise mismatch("ESCAPE takes exactly one character", node)
    if escape is None or pattern is None:
        return
    # Every escape character takes the next one with it; the last may not stand alone.
    if len(re.sub(f"{re.escape(escape)}.", "", pattern, flags=re.DOTALL).split(escape)) > 1:
        raise mismatch(
            "The LIKE pattern ends with its escape character",
            node,
            "Double the escape character to mean itself.",
        )


def _constant(
    node: exp.Expr | None, place: exp.Expr, parameters: Parameters
) -> str | None:
    """The pattern's text; None where it is a parameter without a value, or NULL."""
    while isinstance(node, exp.Paren | exp.Escape):
        node = node.this
    match node:
        case exp.Literal() if node.is_string:
            return str(node.this)
        case exp.Null() | None:
            return None
        case exp.Parameter():
            value = _value(node, parameters)
            if value is not None and not isinstance(value, str):
                raise mismatch(f"Parameter {node.name} is a pattern and must be text", place)
            return value
        case exp.Any() | exp.All() | exp.Tuple() | exp.Array():
            raise refusal("LIKE ANY or LIKE ALL is not served", place)
        case _:
            raise mismatch(
                "A pattern or a format must be a constant or a parameter",
                place,
                "Use contains(), starts_with() or = for values of columns.",
            )


def _value(node: exp.Parameter, parameters: Parameters) -> object:
    number = int(node.name)
    if parameters is None or number > len(parameters):
        return None
    return parameters[number - 1]


def _check_regular_expression(pattern: str, place: exp.Expr) -> None:
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        message = "The regular expression is not well formed (RE2 syntax)"
        raise mismatch(message, place, private=str(error)) from None
