"""What the short way to a gateway carries: values on the way in, the rows of a small answer back.

Takes: values of parameters; the schema of an answer, whose metadata the gateway wrote. Gives: a
header; batches. Never sends what does not fit a header.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence

import pyarrow as pa

_ROWS, _BEGUN = b"sqluice.rows", b"sqluice.begun"
# Of a header; gateways take 64 KiB of all, and those before them may take less.
_MOST = 4096


def sent_values(values: Sequence[object]) -> str | None:
    """A row of values as a header has it, '' where there are none; None where it has no room."""
    if not values:
        return ""
    names = [str(place) for place in range(len(values))]
    row = pa.record_batch([pa.array([one]) for one in values], names=names)
    if row.nbytes > _MOST:
        return None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, row.schema) as writer:
        writer.write_batch(row)
    text = b64encode(sink.getvalue()).decode()
    return text if len(text) <= _MOST else None


def rows_of(schema: pa.Schema) -> list[pa.RecordBatch] | None:
    """The batches that came with a schema; None where they did not."""
    rows = (schema.metadata or {}).get(_ROWS)
    if rows is None:
        return None
    told = bare(schema)
    return [pa.ipc.read_record_batch(pa.py_buffer(b64decode(rows)), told)] if rows else []


def begun_of(schema: pa.Schema) -> str | None:
    """By what the rows are fetched that did not come with the schema, if there are such."""
    found = (schema.metadata or {}).get(_BEGUN)
    return None if found is None else found.decode()


def bare(schema: pa.Schema) -> pa.Schema:
    """The schema without what the short way put into it."""
    metadata = schema.metadata or {}
    return schema.with_metadata({k: v for k, v in metadata.items() if k not in (_ROWS, _BEGUN)})
