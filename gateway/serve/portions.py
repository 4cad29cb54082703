"""Batches in portions that a wire takes at once.

Takes: a batch, bytes. Gives: slices of it. Never copies a value.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa


def portions(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """Slices of at most so many bytes; a row that has more by itself comes alone."""
    count = max(1, -(-size_of(batch) // most))
    step = max(1, -(-batch.num_rows // count))
    for start in range(0, batch.num_rows, step):
        yield from _halved(batch.slice(start, step), most)


def size_of(batch: pa.RecordBatch) -> int:
    """Its bytes without dictionaries, which go once, however often it is cut."""
    return sum(
        one.indices.nbytes if pa.types.is_dictionary(one.type) else one.nbytes
        for one in batch.columns
    )


def _halved(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """A few rows may have most of all bytes."""
    if batch.num_rows < 2 or size_of(batch) <= most:
        yield batch
        return
    middle = batch.num_rows // 2
    yield from _halved(batch.slice(0, middle), most)
    yield from _halved(batch.slice(middle), most)
