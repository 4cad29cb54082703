"""Results as bytes: Arrow stream, JSON, CSV, Parquet.

Takes: a result of the pipeline. Gives: pieces of a body, as they come. Never holds a whole result
(Parquet needs its end before its beginning is known: it goes through a temporary file). An error
after the first batch is marked in-band, never a clean end.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
from pyarrow import parquet

from gateway.errors import SqluiceError
from gateway.execute import Result
from gateway.serve.http.faults import error_body

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
_ROWS = 4096
_CHUNK = 1 << 20
_EXACT = 2**53


def writer_of(accept: str) -> tuple[str, Callable[[Result], Iterator[bytes]]]:
    """Media type and writer for an Accept header; JSON where nothing else is asked for."""
    asked = [one.split(";")[0].strip().casefold() for one in accept.split(",")]
    for media, writer in _WRITERS.items():
        if media in asked:
            return media, writer
    return "application/json", json_pieces


def json_pieces(result: Result) -> Iterator[bytes]:
    """`{columns, rows, ...}`; an error in the middle ends the rows and adds `error`."""
    columns = [
        {
            "name": field.name,
            "type": (field.metadata or {}).get(b"type", b"").decode() or str(field.type),
        }
        for field in result.schema
    ]
    yield (
        '{"query_id": '
        + json.dumps(result.query_id)
        + ', "columns": '
        + json.dumps(columns)
        + ', "rows": ['
    ).encode()
    failure: SqluiceError | None = None
    first = True
    try:
        for batch in result.batches():
            for start in range(0, batch.num_rows, _ROWS):
                yield _json_rows(batch.slice(start, _ROWS), first)
                first = False
    except SqluiceError as error:
        failure = error
    finally:
        result.close()
    tail: dict[str, object] = {"truncated": result.truncated, "masked": list(result.masked)}
    if failure is not None:
        tail |= error_body(failure)
    yield ("], " + json.dumps(tail)[1:]).encode()


def _json_rows(batch: pa.RecordBatch, first: bool) -> bytes:
    columns = [[_json_value(one) for one in column.to_pylist()] for column in batch.columns]
    wide = [pa.types.is_int64(f.type) or pa.types.is_uint64(f.type) for f in batch.schema]
    for place, is_wide in enumerate(wide):
        if is_wide:
            columns[place] = [None if one is None else str(one) for one in columns[place]]
    rows = zip(*columns, strict=True) if columns else iter([()] * batch.num_rows)
    text = ", ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return (text if first else f", {text}").encode()


def _json_value(value: object) -> object:
    """int64 and decimals travel as text, since JSON's numbers lose digits; NaN as text too."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) < _EXACT else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return format(value, "f")
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(key): _json_value(one) for key, one in value.items()}
        case list() | tuple():
            return [_json_value(one) for one in value]
        case _:
            return str(value)


def csv_pieces(result: Result) -> Iterator[bytes]:
    """RFC 4180 with a header; NULL is empty."""
    yield _csv_lines([[field.name for field in result.schema]])
    try:
        for batch in result.batches():
            for start in range(0, batch.num_rows, _ROWS):
                columns = [column.to_pylist() for column in batch.slice(start, _ROWS).columns]
                rows = zip(*columns, strict=True)
                yield _csv_lines([[_csv_value(one) for one in row] for row in rows])
    except SqluiceError as error:
        yield f"#error {error.code} {result.query_id}\r\n".encode()
    finally:
        result.close()


def _csv_lines(rows: list[list[object]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode()


def _csv_value(value: object) -> object:
    plain = _json_value(value)
    if isinstance(plain, bool):
        return str(plain).lower()
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, dict | list) else plain


def arrow_pieces(result: Result) -> Iterator[bytes]:
    """An Arrow IPC stream; where it breaks there is no end-of-stream mark."""
    sink = _Pieces()
    writer = pa.ipc.new_stream(sink, result.schema)
    try:
        yield sink.take()
        for batch in result.batches():
            writer.write_batch(batch)
            yield sink.take()
        writer.close()
        yield sink.take()
    except SqluiceError:
        # What was written stays without its end; readers raise on that.
        return
    finally:
        result.close()


class _Pieces(io.RawIOBase):
    """A sink that gives what was written since the last time."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, content: object) -> int:
        """Hold a copy."""
        made = bytes(memoryview(content))  # type: ignore[arg-type]  # a buffer
        self._held.append(made)
        return len(made)

    def take(self) -> bytes:
        """All that is held."""
        held, self._held = self._held, []
        return b"".join(held)


def parquet_pieces(result: Result) -> Iterator[bytes]:
    """A Parquet file, written to a temporary file first; an error is raised before its start."""
    with tempfile.TemporaryFile() as file:
        try:
            with parquet.ParquetWriter(file, result.schema) as writer:
                for batch in result.batches():
                    writer.write_batch(batch)
        finally:
            result.close()
        file.seek(0)
        while piece := file.read(_CHUNK):
            yield piece


_WRITERS: dict[str, Callable[[Result], Iterator[bytes]]] = {
    ARROW: arrow_pieces,
    "text/csv": csv_pieces,
    PARQUET: parquet_pieces,
    "application/json": json_pieces,
}
