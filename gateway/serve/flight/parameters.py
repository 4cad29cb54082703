"""The values that a client binds to a prepared statement.

Takes: the record batches of a DoPut. Gives: one row as Python values. Never reads on after a
second row, and never rounds a value.
"""

from __future__ import annotations

import pyarrow as pa
from pyarrow import flight

from gateway.errors import TypeMismatch, UnsupportedSql


def read_parameters(reader: flight.MetadataRecordBatchReader) -> tuple[object, ...] | None:
    """The row's values; None where no row came. UnsupportedSql for more than one row."""
    values: tuple[object, ...] | None = None
    for chunk in reader:
        batch = chunk.data
        if batch is None or not batch.num_rows:
            continue
        if values is not None or batch.num_rows > 1:
            raise UnsupportedSql(
                "A query takes one row of parameters.", hint="Execute it once for each row."
            )
        values = tuple(_value(column, place) for place, column in enumerate(batch.columns, 1))
    return values


def _value(column: pa.Array, place: int) -> object:
    """Python has no nanoseconds: such a value must be one of whole microseconds."""
    kind = column.type
    try:
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            column = column.cast(pa.timestamp("us", kind.tz))
        elif pa.types.is_time64(kind) and kind.unit == "ns":
            column = column.cast(pa.time64("us"))
        return column[0].as_py()
    except (pa.ArrowException, ValueError, OverflowError):
        raise TypeMismatch(
            f"Parameter {place} is of type {kind}, which holds more than the gateway can take.",
            hint="Send times in microseconds, within the years 1 to 9999.",
        ) from None
