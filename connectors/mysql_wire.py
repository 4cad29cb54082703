"""Values as MariaDB writes and reads them.

Takes: a fragment, and what reads bytes once its answer has begun in the text protocol. Gives: the
statement with its bound values as literals that have one reading under any setting, the columns of
the answer as the server wrote them, and Arrow values of them. Never rounds or guesses a value.

Rows are taken from the driver's socket, and the values of a batch by numpy, column by column: the
driver's own are ten times slower. connectorx holds the interpreter while it waits, reads ahead
without bound and is in a session of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pymysql.err import OperationalError, raise_mysql_exception

from connectors.arrow import cast_exactly, decimals, parameters_of
from connectors.base import ConnectorError, Fragment, load_tables
from connectors.key_texts import as_json

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
# What stands before a longer value, and how many bytes then say how long it is.
_WIDE = ((252, 2), (253, 3), (254, 8))
# Bytes of a value, in the mean, up to which a column is copied at once.
_NARROW = 24


class Rows:
    """The rows of one answer; `ended` tells that the server has nothing more to say."""

    def __init__(self, read: Callable[[int], bytes], width: int) -> None:
        """`read` gives at most so many bytes, and none where the connection is gone."""
        self._read = read
        self._width = width
        self._rest = b""
        self.ended = False

    def take(self, limit: int) -> list[pa.Array]:
        """The columns of at least `limit` rows, of fewer where they are long or at the end."""
        pieces: list[bytes] = []
        starts: list[int] = []
        size = 0
        while not self.ended and len(starts) < limit and size < BATCH_BYTES:
            data = self._next()
            stop = self._split(data, size, starts)
            pieces.append(data[:stop])
            size += stop
            self._rest = data[stop:]
        rows = np.asarray(starts, dtype=np.int64)
        # Each row is followed by the next one, the last by what is no row any more.
        return _columns(b"".join(pieces), rows, self._width)

    def _next(self) -> bytes:
        data = self._read(CHUNK)
        if not data:
            raise OperationalError(2013, "the connection broke in the middle of an answer")
        return self._rest + data

    def _split(self, data: bytes, before: int, starts: list[int]) -> int:
        """Add where whole rows in `data` begin, so many bytes being before it; gives its end."""
        add = starts.append
        place, end = 0, len(data)
        while place + 4 < end:
            size = data[place] | data[place + 1] << 8 | data[place + 2] << 16
            stop = place + 4 + size
            if size == _LONGEST:
                raise OperationalError(2020, "a row is longer than 16 MB")
            if stop > end:
                break
            if data[place + 4] >= _END:
                kind = data[place + 4]
                if kind == _ERROR or size < 9:
                    self.ended, self._rest = True, b""
                    if kind == _ERROR:
                        raise_mysql_exception(data[place + 4 : stop])
                    return place
            add(before + place)
            place = stop
        return place


def _columns(data: bytes, starts: npt.NDArray[np.int64], width: int) -> list[pa.Array]:
    """The values of rows that begin at these places, column by column and all rows at once."""
    found = []
    octets = np.frombuffer(data, dtype=np.uint8)
    stops = np.append(starts[1:], len(data))
    at = starts + 4
    for _ in range(width):
        if len(at) and int(at.max()) >= len(data):
            raise _malformed()
        head = octets[at]
        at = at + 1
        sizes = head.astype(np.int64)
        nulls = head == _NULL
        if len(head) and int(head.max()) > _SHORT:
            sizes[nulls] = 0
            _read_wide(octets, head, at, sizes)
        if bool(((sizes < 0) | (at + sizes > stops)).any()):
            raise _malformed()
        found.append(_values(data, octets, at, sizes, nulls))
        at = at + sizes
    if bool((at != stops).any()):
        raise _malformed()
    return found


def _malformed() -> OperationalError:
    return OperationalError(2027, "the server sent what is no row")


def _read_wide(
    octets: npt.NDArray[np.uint8],
    head: npt.NDArray[np.uint8],
    at: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
) -> None:
    """Two, three or eight bytes say how long a value is: put that into `sizes`, move `at`."""
    for mark, width in _WIDE:
        (rows,) = np.nonzero(head == mark)
        if not len(rows):
            continue
        first = at[rows]
        if int(first.max()) + width > len(octets):
            raise _malformed()
        size = np.zeros(len(rows), dtype=np.int64)
        for place in range(width):
            size |= octets[first + place].astype(np.int64) << (8 * place)
        sizes[rows] = size
        at[rows] += width


def _values(
    data: bytes,
    octets: npt.NDArray[np.uint8],
    at: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    nulls: npt.NDArray[np.bool_],
) -> pa.Array:
    """The bytes of each value."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    if total > _NARROW * len(sizes):
        # Copied one by one: the places of their bytes would take more room than the bytes.
        pairs = zip(at.tolist(), (at + sizes).tolist(), nulls.tolist(), strict=True)
        values = [None if is_null else data[low:high] for low, high, is_null in pairs]
        return pa.array(values, pa.binary())
    offsets = np.zeros(len(sizes) + 1, dtype=np.int32)
    offsets[1:] = ends
    places = np.repeat((at - offsets[:-1]).astype(np.int32), sizes)
    places += np.arange(total, dtype=np.int32)
    valid = np.packbits(~nulls, bitorder="little") if bool(nulls.any()) else None
    buffers = [
        None if valid is None else pa.py_buffer(valid), pa.py_buffer(offsets),
        pa.py_buffer(octets[places]),
    ]  # fmt: skip
    return pa.Array.from_buffers(pa.binary(), len(sizes), buffers)


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
