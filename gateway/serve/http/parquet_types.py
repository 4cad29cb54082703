"""What Parquet has no type for, in a form that it has.

Takes: schemas and batches of an answer. Gives: the same with each interval as a struct of its
months, days and nanoseconds. Never loses a value; what is nested stays as it is.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_INTERVAL = pa.month_day_nano_interval()
_PARTS = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
_STRUCT = pa.struct([("months", pa.int32()), ("days", pa.int32()), ("nanoseconds", pa.int64())])


def parquet_schema(schema: pa.Schema) -> pa.Schema:
    """The schema that the file has."""
    for place, field in enumerate(schema):
        if field.type == _INTERVAL:
            schema = schema.set(place, field.with_type(_STRUCT))
    return schema


def parquet_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in the schema of the file."""
    columns = [_struct(one) if one.type == _INTERVAL else one for one in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _struct(column: pa.Array) -> pa.Array:
    held = column.buffers()[1]
    parts = np.frombuffer(held or b"", _PARTS)[column.offset : column.offset + len(column)]
    arrays = [pa.array(np.ascontiguousarray(parts[field.name])) for field in _STRUCT]
    return pa.StructArray.from_arrays(arrays, fields=list(_STRUCT), mask=pc.is_null(column))
