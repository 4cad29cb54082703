"""Values as MariaDB writes and reads them.

Takes: a fragment, and what reads bytes once its answer has begun in the text protocol. Gives: the
statement with its bound values as literals that have one reading under any setting, the columns of
the answer as the server wrote them, and Arrow values of them. Never rounds or guesses a value.

Rows are taken from the driver's socket: the driver's own are five times slower. connectorx is
faster, but it holds the interpreter while it waits, reads ahead without bound and is in a session
of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pymysql.err import OperationalError, raise_mysql_exception

from connectors.arrow import as_json, cast_exactly, decimals, parameters_of
from connectors.base import ConnectorError, Fragment, load_tables

TABLES = load_tables("mysql")
COLLATION = "utf8mb4_nopad_bin"
# Quoted texts and names, comments, and the places of bound values.
_TOKENS = re.compile(
    r"""'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*"|`(?:[^`]|``)*`|(/\*.*?\*/)|\?(\d+)""", re.S
)
_NUMBERS = re.compile(r"\[[-0-9,]*\]")
CHUNK, BATCH_BYTES = 1 << 18, 1 << 24
_LONGEST = 0xFFFFFF
_NO_TEXT = 63  # the character set of bytes
_SHORT, _NULL, _END, _ERROR = 250, 251, 254, 255
Column = list[bytes | None]


class Rows:
    """The rows of one answer; `ended` tells that the server has nothing more to say."""

    def __init__(self, read: Callable[[int], bytes], width: int) -> None:
        """`read` gives at most so many bytes, and none where the connection is gone."""
        self._read = read
        self._width = width
        self._rest = b""
        self.ended = False

    def take(self, limit: int) -> list[Column]:
        """The columns of at least `limit` rows, of fewer where they are long or at the end."""
        columns: list[Column] = [[] for _ in range(self._width)]
        size = 0
        while not self.ended and len(columns[0]) < limit and size < BATCH_BYTES:
            data = self._next()
            size += len(data)
            self._rest = data[self._split(data, columns) :]
        return columns

    def _next(self) -> bytes:
        data = self._read(CHUNK)
        if not data:
            raise OperationalError(2013, "the connection broke in the middle of an answer")
        return self._rest + data

    def _split(self, data: bytes, columns: list[Column]) -> int:
        """Add the whole rows in `data` to the columns; gives where the rest begins."""
        adds = [one.append for one in columns]
        place, end = 0, len(data)
        while place + 4 <= end:
            size = data[place] | data[place + 1] << 8 | data[place + 2] << 16
            at, stop = place + 4, place + 4 + size
            if size == _LONGEST:
                raise OperationalError(2020, "a row is longer than 16 MB")
            if stop > end:
                break
            if data[at] == _ERROR or (data[at] == _END and size < 9):
                self.ended = True
                if data[at] == _ERROR:
                    raise_mysql_exception(data[at:stop])
                return stop
            for add in adds:
                size = data[at]
                at += 1
                if size > _SHORT:
                    if size == _NULL:
                        add(None)
                        continue
                    # Two, three or eight bytes say how long the value is.
                    wide = at + (2, 3, 8)[size - 252]
                    size, at = int.from_bytes(data[at:wide], "little"), wide
                add(data[at : at + size])
                at += size
            place = stop
        return place


def bound(fragment: Fragment) -> str:
    """The statement with its values in it, and without comments."""
    row = parameters_of(fragment, as_json)
    values = list(row.to_pylist()[0].values()) if row is not None else []
    literals = [
        literal(value, name) for value, name in zip(values, fragment.parameter_types, strict=True)
    ]

    def place(found: re.Match[str]) -> str:
        if found[1]:
            return " "  # what a caller wrote in one could be a statement to MariaDB
        return literals[int(found[2]) - 1] if found[2] else found[0]

    return _TOKENS.sub(place, fragment.sql)


def literal(value: object, name: str) -> str:
    """A value as SQL: numbers and dates by their digits, everything else by its bytes."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).upper()
        case int():
            return str(value)
        case Decimal():
            return format(value, "f")
        case float():
            if value - value != 0:
                raise ConnectorError(f"MariaDB has no {value}")
            return repr(value) if "e" in repr(value) else f"{value!r}e0"
        case bytes():
            return f"x'{value.hex()}'"
        case str() if name.endswith("[]") and _NUMBERS.fullmatch(value):
            return f"'{value}'"
        case str():
            return f"(_utf8mb4 x'{value.encode().hex()}' COLLATE {COLLATION})"
        case datetime():
            plain = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return f"TIMESTAMP'{plain.isoformat(' ', 'microseconds')}'"
        case date():
            return f"DATE'{value}'"
        case time():
            return f"TIME'{value}'"
    raise ConnectorError(f"MariaDB has no values of type {name}")


def family_of(target: pa.DataType) -> str:
    """The name of a type's family in the table of what may become it."""
    for name in ("boolean", "integer", "decimal", "float64", "date", "timestamp", "time", "binary"):
        if getattr(pa.types, f"is_{name}")(target):
            return name
    return "text" if pa.types.is_string(target) else "none"


def read_texts(array: pa.Array, kind: str, target: pa.DataType) -> pa.Array:
    """A column as the server wrote it in the type that it must have."""
    if kind == "null":
        return pa.nulls(len(array), target)
    family = family_of(target)
    if kind not in TABLES["reads"].get(family, "").split(", "):
        raise ConnectorError(f"the source's type is {kind}")
    if family == "binary":
        return array
    if kind == "bit":
        numbers = [one if one is None else int.from_bytes(one) for one in array.to_pylist()]
        array = pa.array([one if one is None else str(one) for one in numbers], pa.string())
    if kind == family == "integer":
        return pc.cast(array.cast(pa.string()), target)
    return _typed(array.cast(pa.string()), family, target)


def _typed(text: pa.Array, family: str, target: pa.DataType) -> pa.Array:
    if family == "integer":
        return cast_exactly(cast_exactly(text, pa.decimal128(38, 0)), target)
    if family == "decimal":
        return cast_exactly(text, target)
    if family == "time":
        moment = pc.binary_join_element_wise("1970-01-01", text, " ")
        return pc.cast(pc.cast(moment, pa.timestamp("us")), target)
    if family == "timestamp":
        moment = pc.cast(text, pa.timestamp("us"))
        return pc.cast(pc.assume_timezone(moment, "UTC") if target.tz else moment, target)
    return pc.cast(text, target)


def field_of(one: Any) -> pa.Field:  # noqa: ANN401  # the driver's, of no declared shape
    """A column of an answer, with the family of its type; texts and bytes share theirs."""
    kind = TABLES["wire"].get(str(one.type_code), "unknown")
    kind = "binary" if kind == "text" and one.charsetnr == _NO_TEXT else kind
    return pa.field(one.name, pa.binary(), metadata={"kind": kind})


def contract_types(
    kind: str, shown: str, texts: str | None, precision: int | None, scale: int | None
) -> frozenset[str]:
    """What a contract may say of a column: its type, as a word and as it is shown, its texts."""
    if kind == "decimal":
        return decimals(precision or 0, scale or 0)
    if texts is not None and texts not in TABLES["texts"]["sets"].split(", "):
        return frozenset()
    plain = " ".join(re.sub(r"\(\d+\)|zerofill", "", shown).split())
    types = TABLES["types"]
    names = types.get(shown.replace(" unsigned", ""), types.get(plain, types.get(kind, "")))
    return frozenset(names.split(", ")) - {""}
