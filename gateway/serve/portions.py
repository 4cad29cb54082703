"""Batches in portions that a wire takes at once.

Takes: a batch, bytes. Gives: slices of it. Never copies a value.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa


def portions(batch: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """Slices of at most about so many bytes, if rows are of one size."""
    count = max(1, -(-batch.nbytes // most))
    step = max(1, -(-batch.num_rows // count))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)
