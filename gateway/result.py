"""The answer to one request, and what bounds it.

Takes: batches. Gives: a `Result`; batches in their final schema, counted and cut where a limit
says so. Never holds more than one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from gateway.errors import Cancelled, LimitExceeded, SqluiceError, TypeMismatch
from gateway.request import Limits

_MOST_WHOLE = 10**38 - 1


@dataclass(slots=True)
class Took:
    """What one fragment took: bytes, seconds to its last batch, and the keys that it was sent.

    keys_of: the fragments that they came from. is_in_place: the merge read the rows where they lie,
    so that nobody counted them.
    waited: seconds of those in which nobody but the source was busy. is_narrowed: by keys of
    others, be they none, of which `ranges` are those that were sent as lowest and highest.
    is_whole: it was read to its end.
    """

    bytes: int = 0
    seconds: float = 0.0
    keys: int = 0
    keys_of: tuple[str, ...] = ()
    is_in_place: bool = False
    waited: float = 0.0
    ranges: int = 0
    is_narrowed: bool = False
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class ProductUse:
    """A product that a query reads. `freshness` is what its contract promises, by property."""

    product: str
    version: str
    contract: str
    freshness: Mapping[str, str]


class Result:
    """The answer to one request: a schema and one pass over its batches.

    `rows`, `bytes` and `truncated` are final once the batches have ended. `fetched` counts rows
    per fragment, `took` what else it cost, for the owners of the sources; `kept` are rows after the
    policy, for planning under the same decision. `masks` are the kinds of masks behind each output,
    `row_limit` is where the answer is cut if it is longer. `read_ahead` lets a thread read while
    others write, until it holds so many bytes; `whole` gives a small answer at once, or None.
    `held_back` tells why no more of it may leave, once it may not.
    """

    def __init__(
        self,
        query_id: str,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        masked: tuple[str, ...] = (),
    ) -> None:
        self.query_id = query_id
        self.schema = schema
        self.masked = masked
        self.rows = 0
        self.bytes = 0
        self.truncated = False
        self.fetched: dict[str, int] = {}
        self.took: dict[str, Took] = {}
        self.kept: dict[str, int] = {}
        self.columns_read: tuple[str, ...] = ()
        self.products: tuple[ProductUse, ...] = ()
        self.masks: Mapping[str, str] = {}
        self.row_limit: int | None = None
        self.stream = batches
        self.stop: Callable[[SqluiceError], None] = lambda _: None
        self.held_back: Callable[[], SqluiceError | None] = lambda: None
        self.read_ahead: Callable[[int], None] = lambda _: None
        self.whole: Callable[[int], tuple[pa.RecordBatch, ...] | None] = lambda _: None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches; closing the iterator stops the query at its sources."""
        return self.stream

    def cancel(self, reason: SqluiceError | None = None) -> None:
        """Stop it from another thread; the reader meets the reason."""
        self.stop(reason or Cancelled("The query was cancelled."))

    def close(self) -> None:
        """Stop whatever still runs; idempotent."""
        self.cancel()
        closer = getattr(self.stream, "close", None)
        if closer is not None:
            closer()


def cast_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch by position in the final schema; a value beyond its type is a type_error."""
    try:
        arrays = [
            column if column.type == field.type else column.cast(field.type)
            for column, field in zip(batch.columns, schema, strict=True)
        ]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TypeMismatch(
            "A value of the answer does not fit its type.",
            hint="Cast the column to a wider type.",
            private=str(error),
        ) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def whole_numbers(schema: pa.Schema) -> tuple[tuple[int, bool], ...]:
    """The columns whose values Arrow may have no digits for, and whether they have a sign."""
    kinds = [(field.metadata or {}).get(b"type", b"").partition(b"[")[0] for field in schema]
    return tuple(
        (place, kind == b"HUGEINT")
        for place, kind in enumerate(kinds) if kind in (b"HUGEINT", b"UHUGEINT")
    )  # fmt: skip


def require_digits(batch: pa.RecordBatch, columns: Sequence[tuple[int, bool]]) -> None:
    """TypeMismatch where a whole number has more than 38 digits, which it cannot leave with.

    DuckDB hands its bits over all the same: the largest of those without a sign would be -1.
    """
    for place, is_signed in columns:
        column = batch.column(place)
        while pa.types.is_nested(column.type):
            column = column.flatten()
        if column.null_count == len(column):
            continue
        found = pc.min_max(column)
        least, most = found["min"].as_py(), found["max"].as_py()
        if most > _MOST_WHOLE or least < (-_MOST_WHOLE if is_signed else 0):
            raise TypeMismatch(
                "A whole number of the answer has more than 38 digits.",
                hint="Cast the column to DOUBLE or VARCHAR.",
            )


def bounded(
    batches: Iterator[pa.RecordBatch], limits: Limits, result: Result
) -> Generator[pa.RecordBatch, None, None]:
    """The batches up to what the limits let; counts them in the result."""
    try:
        for whole in batches:
            batch = whole
            if limits.first is not None and result.rows + batch.num_rows > limits.first:
                batch = whole.slice(0, limits.first - result.rows)
                result.truncated = True
            result.rows += batch.num_rows
            result.bytes += batch.nbytes
            if limits.rows is not None and result.rows > limits.rows:
                raise _over(limits, "rows", f"{limits.rows} rows, the most you may take")
            if limits.bytes is not None and result.bytes > limits.bytes:
                raise _over(limits, "bytes", f"{limits.bytes} bytes")
            if batch.num_rows:
                yield batch
            if result.truncated:
                return
    finally:
        closer = getattr(batches, "close", None)
        if closer is not None:
            closer()


def _over(limits: Limits, bound: str, most: str) -> LimitExceeded:
    made = LimitExceeded(
        f"The answer has more than {most}.",
        hint="Narrow the query, add LIMIT, or ask for a higher limit.",
    )
    made.policy = limits.policy_of(bound)
    return made
