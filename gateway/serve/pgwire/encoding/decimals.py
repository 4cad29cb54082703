"""Decimals as PostgreSQL's numeric, in text and in binary.

Takes: Arrow columns. Gives: columns of bytes. Never walks over rows in Python, never rounds.

In binary a numeric is groups of four digits, none of which at either end is zero: how many, the
weight of the first, the sign, the digits behind the point, and the groups.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.serve.pgwire.encoding.matrices import Integers, of_bytes, of_matrix
from gateway.serve.pgwire.encoding.numbers import integer_text

_ZERO = ord("0")
_WIDEST = 38
# Arrow writes an exponent where the first digit stands behind so many places.
_PLAIN_SCALE = 6
# What eight bytes hold, with its places behind the point filled up to whole groups.
_SHORT, _SHORT_SCALE = 10**18, 16
_GROUP, _HEAD, _NEGATIVE = 10_000, 4, 0x4000
_Groups: TypeAlias = list[np.ndarray[Any, np.dtype[np.int16]]]


def decimal_text(column: pa.Array) -> pa.Array:
    """All digits, as many behind the point as the type has."""
    scale = column.type.scale
    if scale <= _PLAIN_SCALE:
        return column.cast(pa.string()).cast(pa.binary())
    texts = _unscaled(column).cast(pa.string())
    if scale:
        texts = pc.replace_substring_regex(texts, r"^(-?)(\d+)$", rf"\1{'0' * scale}\2")
        texts = pc.replace_substring_regex(texts, rf"^(-?)0*?(\d+)(\d{{{scale}}})$", r"\1\2.\3")
        texts = pc.replace_substring_regex(texts, r"^(-?)0+(\d+\.)", r"\1\2")
    return texts.cast(pa.binary())


def decimal_binary(column: pa.Array) -> pa.Array:
    """Groups of four digits, without those at either end that are zero."""
    short = _short(column)
    return _long_binary(column) if short is None else _short_binary(short, column)


def _short(column: pa.Array) -> Integers | None:
    """The numbers without their point, NULL as 0; None where one has more than eighteen digits."""
    if column.type.scale > _SHORT_SCALE:
        return None
    wide = column.cast(pa.decimal128(_WIDEST, column.type.scale))
    held = np.frombuffer(wide.buffers()[1] or b"", np.int64).reshape(-1, 2)
    low: Integers
    low, high = held[wide.offset : wide.offset + len(wide)].T
    if column.null_count:
        is_there = pc.is_valid(column).to_numpy(zero_copy_only=False)
        low, high = np.where(is_there, low, 0), np.where(is_there, high, 0)
    if np.any(high != low >> 63) or (len(low) and max(int(low.max()), -int(low.min())) >= _SHORT):
        return None
    return low


def _short_binary(numbers: Integers, column: pa.Array) -> pa.Array:
    """The cells, each group of all of them at once."""
    scale = column.type.scale
    whole, groups = _groups(np.abs(numbers), scale)
    # Behind the last group where there is none but zeros.
    first = np.full(len(numbers), len(groups), np.int64)
    last = np.full(len(numbers), -1, np.int64)
    for place in range(len(groups)):
        last[groups[place] != 0] = place
        first[groups[-1 - place] != 0] = len(groups) - 1 - place
    count = np.maximum(last - first + 1, 0)
    starts = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(count + _HEAD, out=starts[1:])
    cells = np.empty(int(starts[-1]), np.int16)
    begun = starts[:-1]
    cells[begun] = count
    cells[begun + 1] = np.where(count == 0, 0, whole - 1 - first)
    cells[begun + 2] = np.where(numbers < 0, _NEGATIVE, 0)
    cells[begun + 3] = scale
    begun = begun + _HEAD - first
    for place, group in enumerate(groups):
        shown = (first <= place) & (place <= last)
        cells[begun[shown] + place] = group[shown]
    return of_bytes(cells.byteswap(inplace=True).tobytes(), 2 * starts, column)


def _groups(numbers: Integers, scale: int) -> tuple[int, _Groups]:
    """How many groups stand before the point, and all, of numbers that are not negative."""
    behind = -(-scale // 4)
    left = numbers // 10**scale
    fraction = (numbers - left * 10**scale) * 10 ** (4 * behind - scale)
    before = -(-len(str(int(left.max(initial=0)))) // 4)
    found: _Groups = []
    for part, count in ((fraction, behind), (left, before)):
        for _ in range(count):
            rest = part // _GROUP
            found.append((part - rest * _GROUP).astype(np.int16))
            part = rest  # noqa: PLW2901 - what is left of it
    return before, found[::-1]


def _long_binary(column: pa.Array) -> pa.Array:
    """The same by their digits as text."""
    scale = column.type.scale
    texts = _unscaled(column).cast(pa.string())
    negative = pc.starts_with(texts, "-").fill_null(False).to_numpy(zero_copy_only=False)
    fraction = -(-scale // 4)
    whole = -(-(_WIDEST - scale) // 4)
    width = 4 * whole + scale
    digits = pc.ascii_lpad(pc.replace_substring_regex(texts, "^-", ""), width, "0")
    digits = pc.ascii_rpad(digits, 4 * (whole + fraction), "0").fill_null(
        "0" * 4 * (whole + fraction)
    )
    # All as wide as one another, so that they lie in their buffer as a matrix.
    text = np.frombuffer(digits.buffers()[2] or b"", np.uint8)[
        : len(column) * 4 * (whole + fraction)
    ]
    groups = text.reshape(len(column), whole + fraction, 4).astype(np.int16) - _ZERO
    values = groups @ np.array([1000, 100, 10, 1], np.int16)
    return _numeric(values, whole, negative, scale, column)


def _numeric(
    values: np.ndarray[tuple[int, int], np.dtype[np.int16]],
    whole: int,
    negative: np.ndarray[tuple[int], np.dtype[np.bool_]],
    scale: int,
    column: pa.Array,
) -> pa.Array:
    """Number of groups, weight of the first, sign, scale, and the groups themselves."""
    rows, count = values.shape
    used = values != 0
    forward = np.logical_or.accumulate(used, axis=1)
    backward = np.logical_or.accumulate(used[:, ::-1], axis=1)[:, ::-1]
    shown = forward & backward
    first = count - forward.sum(axis=1)
    is_zero = first == count
    table = np.empty((rows, count + 4), ">i2")
    table[:, 0] = shown.sum(axis=1)
    table[:, 1] = np.where(is_zero, 0, whole - 1 - first)
    table[:, 2] = np.where(negative & ~is_zero, 0x4000, 0)
    table[:, 3] = scale
    table[:, 4:] = values
    mask = np.ones(table.shape, np.bool_)
    mask[:, 4:] = shown
    matrix = table.view(np.uint8).reshape(rows, 2 * (count + 4))
    return of_matrix(matrix, column, np.repeat(mask, 2, axis=1))


def unsigned_text(column: pa.Array) -> pa.Array:
    """Of 64 bits, which PostgreSQL holds as numeric."""
    return integer_text(column)


def unsigned_binary(column: pa.Array) -> pa.Array:
    """The same as numeric."""
    return decimal_binary(column.cast(pa.decimal128(20, 0)))


def _unscaled(column: pa.Array) -> pa.Array:
    """The same numbers without their point: Arrow writes exponents where there are many places."""
    wide = column.cast(pa.decimal128(_WIDEST, column.type.scale))
    buffers = wide.buffers()
    return pa.Array.from_buffers(
        pa.decimal128(_WIDEST, 0), len(wide), buffers, wide.null_count, wide.offset
    )
