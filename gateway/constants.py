"""Constants of a query folded to exactly the type of the column they meet.

Takes: a constant expression (literal, typed literal, parameter, sums and casts of those) and a
DuckDB type name. Gives: the same constant as a literal of exactly that type, or None where it
cannot be had exactly (DESIGN 5, barrier rule 2c). Never rounds, never guesses.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from uuid import UUID

from sqlglot import exp

from gateway.computed import ZONED, TypedText, computed, name_of_type
from gateway.moments import day_of, moment_of
from gateway.trees import as_type, noted

_INTEGER_BITS = {
    "TINYINT": 8,
    "SMALLINT": 16,
    "INTEGER": 32,
    "BIGINT": 64,
    "HUGEINT": 128,
}
INTEGERS = frozenset(_INTEGER_BITS)
# Whole numbers of one sign and up to so many bits have one type in the merge engine.
_BITS = (31, 63, 64, 127, 128)
_EXAMPLES = (1.0, "x", b"x", timedelta(1), date(2000, 1, 1), UUID(int=1))
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def family(type_name: str) -> str:
    """A type without its arguments: `DECIMAL(12,2)` is DECIMAL."""
    return type_name.split("(", maxsplit=1)[0].strip()


def decimal_shape(type_name: str) -> tuple[int, int]:
    """Precision and scale of `DECIMAL(p,s)`."""
    precision, scale = type_name.removeprefix("DECIMAL(").removesuffix(")").split(",")
    return int(precision), int(scale)


def value_of(
    expression: exp.Expression, parameters: tuple[object, ...], timezone: str = "UTC"
) -> object | None:
    """The Python value of a constant; None for NULL and for what is no constant.

    A text literal inside a cast to a date or time is returned as text: folding parses it.
    """
    match expression:
        case exp.Paren():
            return value_of(expression.this, parameters, timezone)
        case exp.Parameter():
            if "value" in expression.meta:
                return None
            return parameters[int(expression.name) - 1]
        case exp.Neg():
            inner = value_of(expression.this, parameters, timezone)
            return -inner if isinstance(inner, int | Decimal) else None
        case exp.Boolean():
            return bool(expression.this)
        case exp.Literal():
            return str(expression.this) if expression.is_string else _number(expression.name)
        case exp.Cast() if _is_typed_literal(expression):
            return _typed_literal(expression)
        case _:
            return computed(
                expression, lambda one: value_of(one, parameters, timezone), timezone
            )


def _number(text: str) -> object | None:
    if text.isdigit():
        return int(text)
    try:
        return float(text) if "e" in text.lower() else Decimal(text)
    except (InvalidOperation, ValueError):
        return None


def _is_typed_literal(cast: exp.Cast) -> bool:
    """A text under a type that folding parses; what is a number is computed."""
    is_text = isinstance(cast.this, exp.Literal) and cast.this.is_string
    return is_text and not isinstance(cast, exp.TryCast) and (
        name_of_type(cast.to) not in _INTEGER_BITS
    )


def _typed_literal(cast: exp.Cast) -> TypedText:
    name = name_of_type(cast.to)
    return TypedText(cast.this.name, name)


def type_of_value(value: object) -> str | None:
    """The type that the merge engine gives a parameter; None for what has more than one value."""
    match value:
        case None | bool() | float() | str() | bytes() | timedelta() | UUID():
            return type(value).__name__
        case time():
            return "time" if value.tzinfo is None else "time with zone"
        case int():
            bits = (value if value >= 0 else ~value).bit_length()
            return f"int {next((one for one in _BITS if bits <= one), bits)} {value < 0}"
        case Decimal():
            _, digits, exponent = value.as_tuple()
            return f"Decimal {len(digits)} {exponent}"
        case datetime():
            return "datetime" if value.tzinfo is None else "datetime with zone"
        case date():
            return "date"
        case _:
            return None


def example_of(value: object) -> object:
    """Another value of the same `type_of_value`, the same one whatever the value is.

    It fits wherever most of its type do: what is chosen by it is chosen by the type.
    """
    match value:
        case bool():
            return True
        case int():
            bits = (value if value >= 0 else ~value).bit_length()
            shorter = max((one for one in _BITS if one < bits), default=0)
            return (1 << shorter) if value >= 0 else ~(1 << shorter)
        case Decimal():
            exponent = value.as_tuple().exponent
            return Decimal((0, (0,), exponent if isinstance(exponent, int) else 0))
        case datetime():
            return datetime(2000, 1, 1, tzinfo=None if value.tzinfo is None else UTC)
        case time():
            return time(tzinfo=None if value.tzinfo is None else UTC)
        case _:
            return next((one for one in _EXAMPLES if isinstance(value, type(one))), None)


def fold(
    expression: exp.Expression, type_name: str, parameters: tuple[object, ...], timezone: str
) -> exp.Expression | None:
    """The constant as an expression of exactly `type_name`, or None.

    `timezone` is what a text without an offset means for TIMESTAMP WITH TIME ZONE.
    """
    found = _folded(expression, type_name, parameters, timezone)
    if found is None:
        return None
    value, literal, is_parameter = found
    if not is_parameter:
        return literal
    return bound_parameter(expression, _bound_value(value, type_name), type_name)


def _folded(
    expression: exp.Expression, type_name: str, parameters: tuple[object, ...], timezone: str
) -> tuple[object, exp.Expression, bool] | None:
    """The constant's value, the same as a literal, and whether parameters are part of it."""
    value = value_of(expression, parameters, timezone)
    if value is None:
        return None
    is_parameter = expression.find(exp.Parameter) is not None
    if is_parameter and isinstance(expression.unnest(), exp.Parameter):
        value = _of_its_own_type(value, type_name)
    elif isinstance(value, date | TypedText):
        value = _timed(value, family(type_name), timezone)
    if value is None:
        return None
    literal = _literal(value, type_name, is_parameter, timezone)
    return None if literal is None else (value, literal, is_parameter)


def _of_its_own_type(value: object, type_name: str) -> object | None:
    """A bare parameter as it is: another value in its place need not be a day or a midnight."""
    if not isinstance(value, date):
        return value
    kind = "DATE"
    if isinstance(value, datetime):
        kind = "TIMESTAMP" if value.tzinfo is None else ZONED
    return value if kind == family(type_name) else None


def _timed(value: object, kind: str, timezone: str) -> object | None:
    """A date or a moment as what a column of dates or moments is compared with.

    The merge engine compares a date with a moment as midnight, and a moment without a zone with
    one that has it by the clocks of the time zone.
    """
    if kind not in ("DATE", "TIMESTAMP", ZONED):
        return value
    if isinstance(value, TypedText):
        if value.type_name == kind:
            return value
        if value.type_name not in ("DATE", "TIMESTAMP"):
            return None
        value = day_of(str(value)) if value.type_name == "DATE" else moment_of(
            str(value), False, timezone
        )
    if value is None or (isinstance(value, datetime) and value.tzinfo is not None):
        return value if kind == ZONED else None
    moment = moment_of(value, kind == ZONED, timezone)
    if kind != "DATE" or moment is None:
        return moment
    return moment.date() if moment.time() == time() else None


def bound_parameter(expression: exp.Expression, value: object, type_name: str) -> exp.Parameter:
    """A parameter that is bound at the source, never spliced into its text.

    It remembers the constant that it came from: other values of the same types take its place
    when a plan is used again. `type_name` '' leaves the type to the value itself.
    """
    bound = exp.Parameter(this=exp.Literal.number(0))
    noted(bound, value=value, type=type_name, constant=expression.copy())
    return bound


def value_at_source(
    constant: exp.Expression, type_name: str, parameters: tuple[object, ...], timezone: str
) -> object | None:
    """What is bound for a constant when the parameters have other values; None: it does not fit."""
    if not type_name:
        return parameters[int(constant.name) - 1]
    found = _folded(constant, type_name, parameters, timezone)
    return None if found is None else _bound_value(found[0], type_name)


def _bound_value(value: object, type_name: str) -> object:
    kind = family(type_name)
    if kind == "DOUBLE":
        return float(str(value))
    if kind == "DECIMAL":
        return Decimal(str(value)).quantize(Decimal(1).scaleb(-decimal_shape(type_name)[1]))
    if kind == "UUID":
        return str(value)
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value


def _literal(
    value: object, type_name: str, is_parameter: bool, timezone: str
) -> exp.Expression | None:
    kind = family(type_name)
    if kind in INTEGERS:
        return _fold_integer(value, kind)
    if kind in ("DOUBLE", "REAL"):
        return _fold_double(value, kind)
    if kind == "DECIMAL":
        return _fold_decimal(value, type_name)
    if kind == "VARCHAR":
        plain = isinstance(value, str) and getattr(value, "type_name", "VARCHAR") == "VARCHAR"
        return exp.Literal.string(str(value)) if plain and "\0" not in str(value) else None
    if kind == "BOOLEAN":
        return exp.Boolean(this=value) if isinstance(value, bool) else None
    if isinstance(value, str) and is_parameter:
        return None
    if kind == "UUID":
        return _fold_uuid(value)
    return _fold_time(value, kind, timezone)


def _fold_integer(value: object, kind: str) -> exp.Expression | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    least, most = integer_bounds(kind)
    return _signed(str(value)) if least <= value <= most else None


def integer_bounds(kind: str) -> tuple[int, int]:
    """The least and the greatest of a type of whole numbers."""
    bound = 1 << (_INTEGER_BITS[kind] - 1)
    return -bound, bound - 1


def _signed(text: str) -> exp.Expression:
    if text.startswith("-"):
        return exp.Neg(this=exp.Literal.number(text[1:]))
    return exp.Literal.number(text)


def _fold_double(value: object, kind: str) -> exp.Expression | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, int) and abs(value) >= 2**53:
        return None
    number = float(value)
    if not math.isfinite(number):
        # Not every source has them, and not in the same order.
        return None
    # Up to 15 digits every engine rounds a decimal to the same double.
    digits = len(Decimal(value).as_tuple().digits)
    exact = isinstance(value, float) or digits <= 15
    if kind == "REAL" or not exact or abs(number) >= 2**53:
        return None
    text = repr(number) if "e" not in repr(number) else format(Decimal(number), "f")
    return as_type(_signed(text), "DOUBLE")


def _fold_decimal(value: object, type_name: str) -> exp.Expression | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    precision, scale = decimal_shape(type_name)
    number = Decimal(value)
    if not number.is_finite():
        return None
    scaled = number.scaleb(scale)
    if scaled != scaled.to_integral_value() or abs(scaled) >= Decimal(10) ** precision:
        return None
    return as_type(_signed(format(number.quantize(Decimal(1).scaleb(-scale)), "f")), type_name)


def _fold_uuid(value: object) -> exp.Expression | None:
    declared = getattr(value, "type_name", "UUID")
    if declared != "UUID" or not _UUID.fullmatch(str(value)):
        return None
    return as_type(exp.Literal.string(str(value).lower()), "UUID")


def _fold_time(value: object, kind: str, timezone: str) -> exp.Expression | None:
    declared = getattr(value, "type_name", None)
    if declared not in (None, kind):
        return None
    if kind == "DATE":
        return _fold_date(value)
    if kind in ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
        moment = _moment(value, kind, timezone)
        if moment is None:
            return None
        text = moment.replace(tzinfo=None).isoformat(sep=" ")
        suffix = "+00:00" if kind != "TIMESTAMP" else ""
        return as_type(exp.Literal.string(text + suffix), kind)
    return None


def _fold_date(value: object) -> exp.Expression | None:
    day = day_of(value)
    return None if day is None else as_type(exp.Literal.string(day.isoformat()), "DATE")


def _moment(value: object, kind: str, timezone: str) -> datetime | None:
    """The moment in UTC for zoned types, as written for TIMESTAMP; None for another type's."""
    zoned = kind != "TIMESTAMP"
    if isinstance(value, datetime) and (value.tzinfo is not None) != zoned:
        return None
    return moment_of(value, zoned, timezone) if isinstance(value, datetime | str) else None


def literal_text(value: object, type_name: str) -> str | None:
    """A value as the merge engine's SQL, which has no escapes but the doubled quote; None: none."""
    if value is None:
        return f"CAST(NULL AS {type_name})" if type_name else None
    if isinstance(value, datetime | time):
        is_zoned = value.tzinfo is not None
        text = value.isoformat() if is_zoned == ("ZONE" in type_name) else None
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, int | float | Decimal | str | date | UUID):
        text = str(value)
    else:
        text = None
    if text is None or not type_name or "\0" in text:
        return None
    quoted = text.replace("'", "''")
    return f"CAST('{quoted}' AS {type_name})"
