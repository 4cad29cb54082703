"""Values that a client binds, from the wire to Python.

Takes: bytes, their form (text or binary), the number of their type. Gives: values for the pipeline.
Never guesses: a form that cannot be read exactly is an error, as is a value the gateway's types
cannot hold.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import pyarrow as pa

from connectors.base import ConnectorError, arrow_type
from gateway.serve.pgwire.encoding.types import ARRAYS, MOST_DIMENSIONS, wire_type
from gateway.serve.pgwire.faults import WireError

_EPOCH_DAY, _EPOCH = date(2000, 1, 1), datetime(2000, 1, 1)
_TEXT = 25
_MOST_DIGITS = 38
_UNITS = {
    "day": 86_400_000_000, "hour": 3_600_000_000, "hr": 3_600_000_000, "minute": 60_000_000,
    "min": 60_000_000, "second": 1_000_000, "sec": 1_000_000, "week": 7 * 86_400_000_000,
}  # fmt: skip
_PART = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*([a-z]+)\s*")
_CLOCK = re.compile(r"\s*([+-]?)(\d+):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?\s*")
_ZONE = re.compile(r"([+-]\d{2})$")
_ELEMENT = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*|([^,{}"\\]+)', re.DOTALL)


class _Ragged(Exception):
    """Arrays within one array that differ in length: none of PostgreSQL's."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How values of a type are read, and a value of it for the binder."""

    text: Callable[[str], object]
    binary: Callable[[bytes], object]
    sample: object


def decode(value: bytes | None, form: int, oid: int, place: int) -> object:
    """One value; WireError where it is none of its type."""
    if value is None:
        return None
    try:
        return _read(value, form, oid)
    except _Ragged:
        raise WireError(
            "22P02",
            f"Parameter {place} is an array whose inner arrays differ in length, or one is NULL.",
            "Give those of a dimension one length, or send JSON such as [[1], [2, 3]] as text and "
            "cast it to the type of the list: $1::INTEGER[][].",
        ) from None
    except (ValueError, OverflowError, struct.error, InvalidOperation, IndexError):
        raise WireError(
            "22P03" if form else "22P02",
            f"Parameter {place} is no value of its type, or one beyond what the gateway holds.",
            "Send a value of the type that the statement's description tells.",
        ) from None


def sample(oid: int) -> object:
    """A value of a type, for the description of a statement."""
    if oid in _ELEMENTS:
        return [_KINDS[_ELEMENTS[oid]].sample]
    kind = _KINDS.get(oid)
    return None if kind is None else kind.sample


def oid_of(duckdb_type: str) -> int:
    """The number of a DuckDB type; that of text where nothing is known."""
    if not duckdb_type:
        return _TEXT
    try:
        kind = arrow_type(duckdb_type)
    except ConnectorError:
        return _TEXT
    return wire_type(pa.field("value", kind, True, {"type": duckdb_type})).oid


def _read(value: bytes, form: int, oid: int) -> object:
    if oid in _ELEMENTS:
        element = _ELEMENTS[oid]
        return _binary_array(value, element) if form else _text_array(value.decode(), element)
    kind = _KINDS.get(oid)
    if form:
        if kind is None:
            raise WireError(
                "0A000",
                f"Parameters of the type {oid} are not served in binary.",
                "Send the parameter as text.",
            )
        return kind.binary(value)
    text = value.decode()
    if "\0" in text:
        raise ValueError("zero byte")
    return text if kind is None else kind.text(text)


def _boolean(text: str) -> bool:
    folded = text.strip().lower()
    if folded in ("t", "true", "y", "yes", "on", "1"):
        return True
    if folded in ("f", "false", "n", "no", "off", "0"):
        return False
    raise ValueError("no boolean")


def _integer(bits: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if len(text) > 40:
            raise ValueError("too long")
        value = int(text)
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            raise OverflowError("beyond the type")
        return value

    return read


def _decimal(text: str) -> Decimal:
    value = Decimal(text.strip())
    if not value.is_finite():
        raise ValueError("numeric of the gateway has no NaN and no infinity")
    parts = value.as_tuple()
    assert isinstance(parts.exponent, int)
    if len(parts.digits) + max(parts.exponent, 0) > _MOST_DIGITS or parts.exponent < -_MOST_DIGITS:
        raise OverflowError("too many digits")
    return value.quantize(Decimal(1)) if parts.exponent > 0 else value


def _numeric(value: bytes) -> Decimal:
    count, weight, sign, scale = struct.unpack(">hhHh", value[:8])
    digits = struct.unpack(f">{count}h", value[8:])
    if sign not in (0, 0x4000) or any(not 0 <= one < 10_000 for one in digits):
        raise ValueError("numeric of the gateway has no NaN and no infinity")
    if abs(weight) > 100 or not 0 <= scale <= 1000:
        raise OverflowError("too many digits")
    whole = int("".join(f"{one:04d}" for one in digits) or "0")
    exponent = 4 * (weight + 1 - count)
    made = Decimal(f"{'-' if sign else ''}{whole}e{exponent}")
    fixed = f"{made:.{scale}f}"
    return _decimal(fixed)


def _bytes(text: str) -> bytes:
    if text.startswith("\\x"):
        return bytes.fromhex(text[2:])
    plain = re.sub(r"\\(\\|[0-7]{3})", lambda m: "\\" if m[1] == "\\" else chr(int(m[1], 8)), text)
    return plain.encode("latin-1")


def _date(text: str) -> date:
    return date.fromisoformat(text.strip().partition(" ")[0].partition("T")[0])


def _moment(text: str) -> datetime:
    stripped = text.strip()
    return datetime.fromisoformat(_ZONE.sub(r"\1:00", stripped) if ":" in stripped else stripped)


def _timestamp(text: str) -> datetime:
    return _moment(text).replace(tzinfo=None)


def _zoned(text: str) -> datetime:
    moment = _moment(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _interval(text: str) -> timedelta:
    """Days and smaller units; a month has no length of its own."""
    rest, micros = text.strip().lower(), Decimal(0)
    if not rest or len(rest) > 200:
        raise ValueError("no interval")
    while rest:
        clock = _CLOCK.match(rest)
        if clock is not None:
            sign, hours, minutes, seconds, fraction = clock.groups()
            size = (int(hours) * 60 + int(minutes)) * 60 + int(seconds or 0)
            size = size * 1_000_000 + int((fraction or "0").ljust(6, "0"))
            micros += -size if sign == "-" else size
            rest = rest[clock.end() :]
            continue
        part = _PART.match(rest)
        unit = _UNITS.get(part[2].removesuffix("s")) if part is not None else None
        if part is None or unit is None:
            raise ValueError("no interval of days and hours")
        micros += Decimal(part[1]) * unit
        rest = rest[part.end() :]
    return timedelta(microseconds=int(micros))


def _interval_binary(value: bytes) -> timedelta:
    micros, days, months = struct.unpack(">qii", value)
    if months:
        raise ValueError("months have no length of their own")
    return timedelta(days=days, microseconds=micros)


def _time(value: bytes) -> time:
    micros = struct.unpack(">q", value)[0]
    if not 0 <= micros < 86_400_000_000:
        raise OverflowError("beyond the day")
    return (datetime.min + timedelta(microseconds=micros)).time()


def _stamp(value: bytes) -> datetime:
    return _EPOCH + timedelta(microseconds=struct.unpack(">q", value)[0])


def _unpacked(form: str) -> Callable[[bytes], Any]:
    return lambda value: struct.unpack(form, value)[0]


def _utf8(value: bytes) -> str:
    text = value.decode()
    if "\0" in text:
        raise ValueError("zero byte")
    return text


def _flag(value: bytes) -> bool:
    if value not in (b"\0", b"\1"):
        raise ValueError("no boolean")
    return value == b"\1"


def _jsonb(value: bytes) -> str:
    if value[:1] != b"\1":
        raise ValueError("unknown version of jsonb")
    return _utf8(value[1:])


_WORDS = _Kind(str, _utf8, "")
_KINDS: dict[int, _Kind] = {
    16: _Kind(_boolean, _flag, True),
    17: _Kind(_bytes, bytes, b""),
    20: _Kind(_integer(64), _unpacked(">q"), 1 << 40),
    21: _Kind(_integer(16), _unpacked(">h"), 1),
    23: _Kind(_integer(32), _unpacked(">i"), 1),
    26: _Kind(_integer(64), _unpacked(">I"), 1),
    700: _Kind(float, _unpacked(">f"), 1.5),
    701: _Kind(float, _unpacked(">d"), 1.5),
    1082: _Kind(
        _date, lambda v: _EPOCH_DAY + timedelta(days=struct.unpack(">i", v)[0]), _EPOCH_DAY
    ),
    1083: _Kind(lambda text: time.fromisoformat(text.strip()), _time, time(1, 2, 3)),
    1114: _Kind(_timestamp, _stamp, _EPOCH),
    1184: _Kind(
        _zoned, lambda value: _stamp(value).replace(tzinfo=UTC), _EPOCH.replace(tzinfo=UTC)
    ),
    1186: _Kind(_interval, _interval_binary, timedelta(days=1)),
    1700: _Kind(_decimal, _numeric, Decimal("1.5")),
    2950: _Kind(lambda text: UUID(text.strip()), lambda value: UUID(bytes=value), UUID(int=0)),
    3802: _Kind(str, _jsonb, ""),
    **dict.fromkeys((18, 19, _TEXT, 114, 705, 1042, 1043), _WORDS),
}
_ELEMENTS = {array: element for element, array in ARRAYS.items()} | {1015: 1043, 3807: 3802}


def _text_array(text: str, element: int) -> list[object]:
    """`{1,NULL,"a b"}`, in each dimension."""
    body = text.strip()
    if body[:1] != "{":
        raise ValueError("no array")
    values, place = _braced(body, 0, element, MOST_DIMENSIONS)
    if place != len(body):
        raise ValueError("more than an array")
    return values


def _braced(body: str, place: int, element: int, deep: int) -> tuple[list[object], int]:
    """The values from a brace to its end, and the place behind that."""
    if not deep:
        raise ValueError("too many dimensions")
    values: list[object] = []
    place = _behind_blanks(body, place + 1)
    if body[place] == "}":
        return values, place + 1
    value: object
    while True:
        if body[place] == "{":
            value, place = _braced(body, place, element, deep - 1)
            place = _behind_blanks(body, place)
        else:
            value, place = _single(body, place, element)
        values.append(value)
        if body[place] == "}":
            _require_even(values)
            return values, place + 1
        if body[place] != ",":
            raise ValueError("no comma")
        place = _behind_blanks(body, place + 1)


def _single(body: str, place: int, element: int) -> tuple[object, int]:
    """A value that is no array, and the place behind it."""
    found = _ELEMENT.match(body, place)
    if found is None:
        raise ValueError("no value of an array")
    if found[1] is not None:
        return _KINDS[element].text(re.sub(r"(?s)\\(.)", r"\1", found[1])), found.end()
    plain = found[2].strip()
    return None if plain.lower() == "null" else _KINDS[element].text(plain), found.end()


def _behind_blanks(body: str, place: int) -> int:
    while body[place].isspace():
        place += 1
    return place


def _require_even(values: list[object]) -> None:
    """_Ragged where values are not all arrays of one shape, or none of them is one."""
    shapes = {_shape(one) for one in values}
    if len(shapes) > 1 and shapes != {()}:
        raise _Ragged


def _shape(value: object) -> tuple[int, ...]:
    """The lengths of a value's dimensions; of one that is no array nothing."""
    return (len(value), *_shape(value[0] if value else None)) if isinstance(value, list) else ()


def _binary_array(value: bytes, element: int) -> list[object]:
    dimensions, _, given = struct.unpack(">iii", value[:12])
    if dimensions == 0:
        return []
    if not 0 < dimensions <= MOST_DIMENSIONS or (given != element and given not in _KINDS):
        raise ValueError("no array")
    place = 12 + 8 * dimensions
    sizes = struct.unpack(f">{2 * dimensions}i", value[12:place])[::2]
    count = math.prod(sizes)
    # Each value has its length before it: no more of them than that is made.
    if min(sizes) < 0 or count * 4 > len(value) - place:
        raise ValueError("more values than bytes")
    values: list[object] = []
    for _ in range(count):
        (size,) = struct.unpack(">i", value[place : place + 4])
        place += 4
        values.append(None if size < 0 else _KINDS[given].binary(value[place : place + size]))
        place += max(size, 0)
    if place != len(value):
        raise ValueError("bytes are left")
    for size in reversed(sizes[1:] if count else ()):
        values = [values[at : at + size] for at in range(0, len(values), size)]
    return values
