"""An open answer, read piece by piece.

Takes: results of the pipeline, or a table of what the session itself knows. Gives: rows as bytes,
at most so many, in whatever thread asks. Never holds more than a batch, and behind a large answer's
first what a thread reads ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from gateway.errors import SqluiceError
from gateway.result import Result, cast_batch
from gateway.serve.pgwire.encoding.types import wire_type
from gateway.serve.pgwire.faults import WireError

_PIECE_BYTES = 1_048_576
# Small batches are sent together, so that a small answer takes one turn.
_FEW_ROWS, _GATHERED_BYTES = 1_024, 65_536
# Who takes so much may want more: that much is read while the rows before it are written.
_LARGE_BYTES, _AHEAD_BYTES = 262_144, 4_194_304
Encode = Callable[[pa.RecordBatch], pa.Buffer]


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows for the wire; `ended`: there are no more."""

    buffers: tuple[pa.Buffer, ...]
    rows: int
    ended: bool


class Answer:
    """The rows of one statement. Used by one thread at a time."""

    def __init__(
        self, result: Result, shape: pa.Schema | None = None, schema: pa.Schema | None = None
    ) -> None:
        """`shape` is what the client was told before; the rows are cast to it.

        `schema` is the result's, with other names.
        """
        self.query_id = result.query_id
        self.schema = schema or result.schema
        if shape is not None:
            _require_same(self.schema, shape)
            self.schema = shape
        self._result = result
        self._batches: Iterator[pa.RecordBatch] = result.batches()
        self._left: pa.RecordBatch | None = None
        self._taken = 0
        self._closed = False
        self.ended = False

    @property
    def truncated(self) -> bool:
        """Whether the session's row_limit has cut it."""
        return self.ended and self._result.truncated

    def read(self, encode: Encode, most: int | None = None) -> Piece:
        """The next rows, at most so many."""
        if (reason := self._result.held_back()) is not None:
            # What was cut off a batch may lie here for long.
            raise reason
        buffers: list[pa.Buffer] = []
        rows = size = 0
        while not self.ended and (most is None or rows < most):
            batch = self._next(None if most is None else most - rows)
            if batch is None:
                break
            buffers.append(encode(batch))
            rows += batch.num_rows
            size += buffers[-1].size
            if batch.num_rows >= _FEW_ROWS or size >= _GATHERED_BYTES:
                break
        return Piece(tuple(buffers), rows, self.ended)

    def cancel(self, reason: SqluiceError) -> None:
        """Stop it from another thread; whoever reads meets the reason."""
        self._result.cancel(reason)

    def close(self) -> None:
        """Stop what still runs."""
        if not self._closed:
            self._closed = True
            self.ended = True
            self._left = None
            self._result.close()

    def _next(self, most: int | None) -> pa.RecordBatch | None:
        batch, self._left = self._left, None
        if batch is None:
            batch = self._taken_from_source(most)
            if batch is None:
                self.ended = True
                return None
            if self.schema is not self._result.schema:
                batch = cast_batch(batch, self.schema)
        count = max(1, batch.num_rows * _PIECE_BYTES // max(batch.nbytes, 1))
        if most is not None:
            count = min(count, most)
        if count < batch.num_rows:
            self._left = batch.slice(count)
            batch = batch.slice(0, count)
        return batch

    def _taken_from_source(self, most: int | None) -> pa.RecordBatch | None:
        """Whoever asks for a part may want no more than that: no row is read ahead for him yet."""
        if self._taken >= _LARGE_BYTES:
            self._result.read_ahead(_AHEAD_BYTES)
        batch = next(self._batches, None)
        self._taken += 0 if batch is None else batch.nbytes
        if most is None and self._taken >= _LARGE_BYTES:
            self._result.read_ahead(_AHEAD_BYTES)
        return batch


def of_table(table: pa.Table, shape: pa.Schema | None = None, query_id: str = "") -> Answer:
    """The answer that is this table; `shape` is what the client was told before."""
    return Answer(Result(query_id, table.schema, iter(table.to_batches())), shape)


def _require_same(found: pa.Schema, told: pa.Schema) -> None:
    """The answer may have narrower types than was told, no other columns."""
    kinds = [(wire_type(one), wire_type(other)) for one, other in zip(found, told, strict=False)]
    families = [(_family(one.oid), _family(other.oid)) for one, other in kinds]
    if found.names != told.names or any(one != other for one, other in families):
        raise WireError(
            "0A000", "The columns of the answer are others than when the statement was prepared.",
            "Prepare the statement again.",
        )  # fmt: skip


def _family(oid: int) -> int:
    """One number for all types of numbers."""
    return 20 if oid in (20, 21, 23, 700, 701, 1700) else oid
