"""Rows out of cells: neighbouring cells of one width are written at once, as a matrix.

Takes: for each column cells of one width (numpy) or of any (Arrow). Gives: the bytes of all rows,
one behind the other. Never walks over more than a few rows in Python.

A join costs by the number of its pieces. So lengths, heads and cells of one width become one piece
up to the next cell whose width differs from row to row; texts that happen to be as wide as one
another (dates, whole seconds, numbers of as many digits) are cells of one width too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.serve.pgwire.encoding.matrices import Field

# All of one width and none of them NULL, or of any width.
Cells: TypeAlias = Field | pa.Array
_LENGTH = ">i4"
# So many rows cost less one by one than whole columns of them.
_FEW = 4
_NULL = b"\xff\xff\xff\xff"
# Wider texts are joined as they are: in a matrix their bytes would be written twice.
_MOST_WIDTH = 64
_MOST_PLACES = 1 << 31


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the cells of a row.

    head: a byte; behind it the length of all that follows in four bytes, itself too. lead: what
    then comes before the cells.
    """

    head: bytes
    lead: bytes


def packed(frame: Frame, columns: Sequence[Cells], rows: int) -> pa.Buffer:
    """All rows; each cell behind its length in four bytes, NULL with the length -1."""
    if rows <= _FEW:
        return pa.py_buffer(b"".join(_row(frame, columns, at) for at in range(rows)))
    sizes = np.full(rows, 4 + len(frame.lead) + 4 * len(columns), np.int32)
    measured = [_measured(cells, sizes) for cells in columns]
    lead = [_same(frame.lead)] if frame.lead else []
    block: list[Field] = [_same(frame.head), sizes, *lead]
    pieces: list[pa.Array] = []
    for length, cells in measured:
        block.append(length)
        if isinstance(cells, np.ndarray):
            block.append(cells)
        else:
            pieces += [_written(block, rows), cells]
            block = []
    if not pieces:
        return _matrix(block, rows)
    if block:
        pieces.append(_written(block, rows))
    return joined(pieces)


def _row(frame: Frame, columns: Sequence[Cells], at: int) -> bytes:
    """One row of them."""
    parts = [frame.lead]
    for cells in columns:
        if isinstance(cells, np.ndarray):
            # No scalar: those of numpy have the machine's own order of bytes.
            cell = cells[at : at + 1]
            content = (cell.astype(_LENGTH) if cell.dtype == np.int32 else cell).tobytes()
        else:
            held = cells[at].as_buffer()
            if held is None:
                parts.append(_NULL)
                continue
            content = held.to_pybytes()
        parts += (len(content).to_bytes(4, "big"), content)
    size = 4 + sum(map(len, parts))
    return b"".join((frame.head, size.to_bytes(4, "big"), *parts))


def _measured(cells: Cells, sizes: Field) -> tuple[Field, Cells]:
    """What stands before each cell, and the cells; their sizes are added to those of the rows."""
    if isinstance(cells, np.ndarray):
        sizes += cells.dtype.itemsize
        return np.array(cells.dtype.itemsize, _LENGTH), cells
    found = pc.binary_length(cells)
    if cells.null_count:
        sizes += found.fill_null(0).to_numpy(zero_copy_only=False)
        return found.fill_null(-1).to_numpy(zero_copy_only=False), cells
    lengths: Field = found.to_numpy(zero_copy_only=False)
    sizes += lengths
    width = int(lengths[0]) if len(lengths) else 0
    if not 0 < width <= _MOST_WIDTH or int(lengths.min()) != width or int(lengths.max()) != width:
        return lengths, cells
    _, offsets, data = cells.buffers()
    start = int(np.frombuffer(offsets, np.int32)[cells.offset])
    same = np.frombuffer(data, f"V{width}", len(cells), start)
    return np.array(width, _LENGTH), same


def joined(pieces: Sequence[pa.Array]) -> pa.Buffer:
    """The bytes of all rows, of each its pieces one behind the other; NULL is nothing."""
    rows = len(pieces[0])
    # Of all pieces in one column: the first of each, then the second of each, and so on.
    count = rows * len(pieces)
    kind = np.int32 if count < _MOST_PLACES else np.int64
    order = np.arange(count, dtype=kind).reshape(len(pieces), rows).T.ravel()
    whole = pa.concat_arrays(pieces).take(pa.array(order))
    offsets = np.frombuffer(whole.buffers()[1], np.int32)
    return whole.buffers()[2].slice(0, int(offsets[len(whole)]))


def _same(content: bytes) -> Field:
    return np.array(content, f"V{len(content)}")


def _written(block: Sequence[Field], rows: int) -> pa.Array:
    """A block as one value a row."""
    if len(block) == 1 and block[0].ndim:
        data, width = pa.py_buffer(block[0].astype(_LENGTH)), 4
    else:
        data = _matrix(block, rows)
        width = data.size // max(rows, 1)
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), data])


def _matrix(block: Sequence[Field], rows: int) -> pa.Buffer:
    """Fields side by side; what is the same for all rows is written as one."""
    # Turned round before: into a field that begins anywhere numpy turns numbers one by one.
    turned = [one.astype(_LENGTH) if one.dtype == np.int32 else one for one in block]
    kind = np.dtype([(str(at), one.dtype) for at, one in enumerate(turned)])
    row = np.zeros((), kind)
    for at, one in enumerate(turned):
        if one.ndim == 0:
            row[str(at)] = one
    table = np.empty((rows, kind.itemsize), np.uint8)
    table[:] = np.frombuffer(row.tobytes(), np.uint8)
    fields = table.view(kind)[:, 0]
    for at, one in enumerate(turned):
        if one.ndim:
            fields[str(at)] = one
    return pa.py_buffer(table)
