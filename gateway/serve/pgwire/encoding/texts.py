"""Text, bytes, uuids, intervals and what is nested, as PostgreSQL writes them.

Takes: Arrow columns. Gives: columns of bytes. Never walks over rows in Python.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.serve.pgwire.encoding.matrices import (
    Integers,
    Mask,
    Matrix,
    of_bytes,
    of_fixed,
    of_matrix,
    without_leading_zeros,
    write_digits,
)
from gateway.serve.pgwire.encoding.times import write_fraction

_HEX = np.array([f"{one:02x}".encode() for one in range(256)]).view(np.uint8).reshape(256, 2)
_NIBBLE = np.zeros(256, np.uint8)
for _digit in b"0123456789abcdefABCDEF":
    _NIBBLE[_digit] = int(chr(_digit), 16)
_UUID_TEXT = 36
_HYPHENS = (8, 13, 18, 23)
_NO_UUID = "00000000-0000-0000-0000-000000000000"
_INTERVAL = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanos", "<i8")])
_WIRE_INTERVAL = np.dtype([("micros", ">i8"), ("days", ">i4"), ("months", ">i4")])
_HOUR = 3_600_000_000


def plain(column: pa.Array) -> pa.Array:
    """UTF-8 as it is; the names of an enumeration."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.string()).cast(pa.binary())


def raw(column: pa.Array) -> pa.Array:
    """Bytes as they are."""
    return column.cast(pa.binary())


def hexadecimal(column: pa.Array) -> pa.Array:
    r"""`\x` and two digits a byte."""
    column = column.cast(pa.binary())
    lengths = pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(column) + 1, np.int64)
    np.cumsum(2 * lengths.astype(np.int64), out=offsets[1:])
    joined = b"" if not len(column) else _joined(column)
    data = _HEX[np.frombuffer(joined, np.uint8)]
    return pc.binary_join_element_wise(b"\\x", of_bytes(data.tobytes(), offsets, column), b"")


def _joined(column: pa.Array) -> pa.Buffer:
    whole = pa.ListArray.from_arrays(
        pa.array([0, len(column)], pa.int32()),
        column.fill_null(b"") if column.null_count else column,
    )
    return pc.binary_join(whole, b"")[0].as_buffer()


def uuid_binary(column: pa.Array) -> pa.Array:
    """Sixteen bytes."""
    texts = column.cast(pa.string()).fill_null(_NO_UUID)
    matrix = np.frombuffer(_joined(texts.cast(pa.binary())), np.uint8).reshape(-1, _UUID_TEXT)
    nibbles = _NIBBLE[np.delete(matrix, _HYPHENS, axis=1)]
    pairs: Matrix = (nibbles[:, ::2] << 4 | nibbles[:, 1::2]).astype(np.uint8)
    return of_matrix(pairs, column)


def bits_binary(column: pa.Array) -> pa.Array:
    """How many bits, then the bits, the first of a byte being its highest."""
    texts = column.cast(pa.string()).cast(pa.binary())
    lengths = pc.binary_length(texts).fill_null(0)
    sizes = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    filling = pc.binary_repeat(pa.scalar(b"0"), pa.array(-sizes % 8))
    filled = pc.binary_join_element_wise(texts, filling, b"")
    digits = np.frombuffer(_joined(filled) if len(column) else b"", np.uint8)
    offsets = np.zeros(len(column) + 1, np.int64)
    np.cumsum((sizes + 7) // 8, out=offsets[1:])
    packed = of_bytes(np.packbits(digits & 1).tobytes(), offsets, column)
    counts = of_fixed(sizes.astype(">i4"), column)
    return pc.binary_join_element_wise(counts, packed, b"")


def interval_binary(column: pa.Array) -> pa.Array:
    """Microseconds, days, months."""
    parts = _parts(column)
    made = np.empty(len(parts), _WIRE_INTERVAL)
    made["micros"] = parts["nanos"] // 1_000
    made["days"] = parts["days"]
    made["months"] = parts["months"]
    return of_fixed(made, column)


def interval_text(column: pa.Array) -> pa.Array:
    """`1 year 2 mons 3 days 04:05:06.5`, which is IntervalStyle `postgres`."""
    parts = _parts(column)
    months = parts["months"].astype(np.int64)
    years = np.sign(months) * (np.abs(months) // 12)
    pieces = (
        (years, "year"),
        (months - 12 * years, "mon"),
        (parts["days"].astype(np.int64), "day"),
    )
    text: pa.Array | None = None
    is_empty = np.ones(len(parts), np.bool_)
    is_before = np.zeros(len(parts), np.bool_)
    for values, unit in pieces:
        piece = _piece(values, unit, is_empty, is_before)
        text = piece if text is None else pc.binary_join_element_wise(text, piece, b"")
        is_empty &= values == 0
        is_before = np.where(values != 0, values < 0, is_before)
    clock = _clock(parts["nanos"] // 1_000, is_empty, is_before)
    whole = pc.binary_join_element_wise(text, clock, b"")
    return pc.if_else(pc.is_valid(column), whole, pa.scalar(None, pa.binary()))


def _parts(column: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Months, days, nanoseconds; zeros for NULL."""
    kind = column.type
    assert kind == pa.month_day_nano_interval()
    buffer = column.buffers()[1]
    held = np.frombuffer(buffer or b"", _INTERVAL)[column.offset : column.offset + len(column)]
    if not column.null_count:
        return held
    made = held.copy()
    made[pc.is_null(column).to_numpy(zero_copy_only=False)] = 0
    return made


def _piece(values: Integers, unit: str, is_empty: Mask, is_before: Mask) -> pa.Array:
    """` 3 days`, or nothing for 0; a sign that changes is told."""
    plus = np.where(is_before & (values > 0), b"+", b"")
    space = np.where(is_empty, b"", b" ")
    plural = np.where(values == 1, b"", b"s")
    text = pc.binary_join_element_wise(
        pa.array(space, pa.binary()), pa.array(plus, pa.binary()),
        pa.array(values).cast(pa.string()).cast(pa.binary()),
        pa.scalar(f" {unit}".encode()), pa.array(plural, pa.binary()), b"",
    )  # fmt: skip
    return pc.if_else(pa.array(values != 0), text, pa.scalar(b""))


def _clock(micros: Integers, is_empty: Mask, is_before: Mask) -> pa.Array:
    """` 04:05:06.5`, or nothing for 0 behind something else."""
    size = np.abs(micros)
    hours, rest = np.divmod(size, _HOUR)
    matrix: Matrix = np.empty((len(micros), 2 + 10 + 6 + 7), np.uint8)
    mask = np.ones(matrix.shape, np.bool_)
    matrix[:, 0] = ord(" ")
    mask[:, 0] = ~is_empty
    matrix[:, 1] = np.where(micros < 0, ord("-"), ord("+"))
    mask[:, 1] = (micros < 0) | is_before
    write_digits(matrix, 2, 10, hours)
    mask[:, 2:12] = without_leading_zeros(matrix, 2, 10, 2)
    seconds, fraction = np.divmod(rest, 1_000_000)
    minute, second = np.divmod(seconds, 60)
    matrix[:, 12] = matrix[:, 15] = ord(":")
    write_digits(matrix, 13, 2, minute)
    write_digits(matrix, 16, 2, second)
    write_fraction(matrix, mask, 18, fraction)
    mask[(micros == 0) & ~is_empty] = False
    return of_matrix(matrix, pa.nulls(0, pa.int8()) if not len(micros) else pa.array(micros), mask)
