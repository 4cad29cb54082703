"""Columns as matrices of bytes: one row a value, and a mask of what counts.

Takes: numpy matrices, Arrow columns. Gives: Arrow columns of bytes that share the nulls of the
column they come from. Never walks over rows in Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Matrix = np.ndarray[Any, np.dtype[np.uint8]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
# Values of one width, in the order of bytes of the wire; NULL is any value.
Field = np.ndarray[Any, np.dtype[Any]]
_ZERO = ord("0")


def integers(column: pa.Array) -> Integers:
    """The values as 64-bit integers, NULL as 0: of integers, dates, times and timestamps."""
    if pa.types.is_date32(column.type) or pa.types.is_time32(column.type):
        column = column.cast(pa.int32())
    whole = column.cast(pa.int64())
    if whole.null_count:
        whole = whole.fill_null(0)
    return whole.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]  # pyarrow has no types


def validity(column: pa.Array) -> pa.Buffer | None:
    """Which values are not NULL, as a bitmap that begins at its first bit; None: all of them."""
    return pc.is_valid(column).buffers()[1] if column.null_count else None


def of_bytes(data: bytes | memoryview, offsets: Integers, column: pa.Array) -> pa.Array:
    """A column of bytes with the nulls of another."""
    places = offsets.astype(np.int32)
    buffers = [validity(column), pa.py_buffer(places), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(column), buffers, column.null_count)


def of_matrix(matrix: Matrix, column: pa.Array, mask: Mask | None = None) -> pa.Array:
    """Each row of a matrix as bytes, without what the mask leaves out."""
    rows, width = matrix.shape
    offsets = np.zeros(rows + 1, np.int64)
    if mask is None:
        offsets[1:] = width
        data = np.ascontiguousarray(matrix)
    else:
        offsets[1:] = mask.sum(axis=1)
        data = matrix[mask]
    np.cumsum(offsets, out=offsets)
    return of_bytes(data.tobytes(), offsets, column)


def of_fixed(values: Field, column: pa.Array) -> pa.Array:
    """Numbers of one width as their bytes; the caller has chosen the order of the bytes."""
    width = values.dtype.itemsize
    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(width)
    buffers = [validity(column), pa.py_buffer(offsets), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.binary(), len(column), buffers, column.null_count)


def write_digits(matrix: Matrix, place: int, width: int, numbers: Integers) -> None:
    """Write numbers that are not negative into columns of a matrix, with leading zeros."""
    left = numbers
    for column in range(place + width - 1, place - 1, -1):
        left, digit = np.divmod(left, 10)
        matrix[:, column] = digit + _ZERO


def without_leading_zeros(matrix: Matrix, place: int, width: int, kept: int) -> Mask:
    """Which of these columns are more than leading zeros; at least the last `kept` are."""
    shown: Mask = matrix[:, place : place + width] != _ZERO
    np.logical_or.accumulate(shown, axis=1, out=shown)
    shown[:, width - kept :] = True
    return shown


def without_trailing_zeros(matrix: Matrix, place: int, width: int) -> Mask:
    """Which of these columns are more than trailing zeros."""
    shown: Mask = matrix[:, place : place + width] != _ZERO
    backward = shown[:, ::-1]
    np.logical_or.accumulate(backward, axis=1, out=backward)
    return shown
