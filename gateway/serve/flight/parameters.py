"""The values that a client binds to a prepared statement, and the types he is asked for.

Takes: what a statement tells of its parameters; the record batches of a DoPut. Gives: a schema;
one row as Python values. Never reads on after a second row, and never rounds a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from connectors.base import ConnectorError, arrow_type
from gateway.errors import TypeMismatch, UnsupportedSql
from gateway.serve.flight.widening import is_java, widened


def parameter_schema(types: Sequence[str], agent: str) -> pa.Schema:
    """A field for each parameter, of DuckDB's type; '' is one of which nothing is known.

    Most clients send what they have. Arrow's JDBC driver writes into a column of the type told:
    nothing into one of type null, and milliseconds into times of whatever unit.
    """
    if not is_java(agent):
        return pa.schema([(str(n), _type(one, pa.null())) for n, one in enumerate(types, 1)])
    known = [(str(n), _type(one, pa.string())) for n, one in enumerate(types, 1)]
    return widened(pa.schema([(name, _in_milliseconds(kind)) for name, kind in known]), agent)


def _in_milliseconds(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("ms", kind.tz)
    return pa.time32("ms") if pa.types.is_time(kind) else kind


def _type(name: str, unknown: pa.DataType) -> pa.DataType:
    try:
        return arrow_type(name) if name else unknown
    except ConnectorError:
        return unknown


def read_parameters(
    batches: Iterable[pa.RecordBatch],
) -> tuple[tuple[object, ...] | None, int]:
    """The row's values, in how many bytes; None where no row came. UnsupportedSql for more rows."""
    values: tuple[object, ...] | None = None
    size = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        if values is not None or batch.num_rows > 1:
            raise UnsupportedSql(
                "A query takes one row of parameters.", hint="Execute it once for each row."
            )
        values = tuple(_value(column, place) for place, column in enumerate(batch.columns, 1))
        size = batch.nbytes
    return values, size


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
