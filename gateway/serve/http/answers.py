"""Results as bytes: Arrow stream, JSON, CSV, Parquet.

Takes: a result of the pipeline. Gives: pieces of a body, as they come. Never holds a whole result
(Parquet needs its end before its beginning is known: it goes through a temporary file). An error
after the first batch is marked in-band, never a clean end: the head with its status has left.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import logging
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
from pyarrow import parquet
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import NotAcceptable
from werkzeug.http import parse_accept_header

from gateway.errors import InternalError, SqluiceError, TypeMismatch
from gateway.labels import labelled
from gateway.result import Result
from gateway.serve.http.faults import error_body
from gateway.serve.http.parquet_types import parquet_batch, parquet_schema
from gateway.serve.http.plain import plain_values
from gateway.serve.portions import portions

log = logging.getLogger("gateway.http")

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
CSV = "text/csv"
_ROWS = 4096
# Clients send few; one is remembered.
_ACCEPTS = 64
_CHUNK = 1 << 20
_BROKEN_MESSAGE = struct.pack("<Ii", 0xFFFFFFFF, 1 << 16)
Writer = Callable[[Result], Iterator[bytes]]


@functools.lru_cache(maxsize=_ACCEPTS)
def writer_of(header: str) -> tuple[str, Writer]:
    """Media type and writer that an Accept header likes best; JSON where it says nothing."""
    accept = parse_accept_header(header, MIMEAccept)
    if not accept:
        return JSON, json_pieces
    media = accept.best_match(_WRITERS)
    if media is None:
        raise NotAcceptable(f"Answers come as {', '.join(_WRITERS)}.")
    return media, _WRITERS[media]


def _marked(
    result: Result, pieces: Iterator[bytes], mark: Callable[[SqluiceError], bytes]
) -> Iterator[bytes]:
    """The pieces; where they break, the mark of it."""
    try:
        for piece in pieces:
            require_free(result)
            yield piece
    except SqluiceError as error:
        yield mark(error)
    except Exception:
        # The head has left: only the body can tell.
        log.exception("writing an answer failed")
        failure = InternalError("The gateway failed on this request.")
        failure.query_id = result.query_id
        yield mark(failure)
    finally:
        result.close()


def require_free(result: Result) -> None:
    """Raise the reason where no more of an answer may leave, which may be long after its query."""
    if (reason := result.held_back()) is not None:
        raise reason


def json_pieces(result: Result) -> Iterator[bytes]:
    """`{columns, rows, ...}`; an error in the middle ends the rows and adds `error`."""
    return _marked(result, _json(result), lambda error: _json_tail(result, error_body(error)))


def _json(result: Result) -> Iterator[bytes]:
    columns = [
        {
            "name": field.name,
            "type": (field.metadata or {}).get(b"type", b"").decode() or str(field.type),
        }
        for field in result.schema
    ]
    head = {"query_id": result.query_id, "columns": columns}
    yield (json.dumps(head)[:-1] + ', "rows": [').encode()
    first = True
    for batch in result.batches():
        for start in range(0, batch.num_rows, _ROWS):
            rows = list(_rows(batch.slice(start, _ROWS)))
            text = json.dumps(rows, ensure_ascii=False)[1:-1]
            yield (text if first else f", {text}").encode()
            first = False
    yield _json_tail(result, {})


def _json_tail(result: Result, error: dict[str, object]) -> bytes:
    tail = {"truncated": result.truncated, "masked": list(result.masked), **error}
    return ("], " + json.dumps(tail)[1:]).encode()


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[object, ...]]:
    columns = [plain_values(column) for column in batch.columns]
    return zip(*columns, strict=True) if columns else iter([()] * batch.num_rows)


def csv_pieces(result: Result) -> Iterator[bytes]:
    """RFC 4180 with a header; NULL is empty."""
    return _marked(result, _csv(result), _csv_mark)


def _csv(result: Result) -> Iterator[bytes]:
    yield _csv_lines([[field.name for field in result.schema]])
    for batch in result.batches():
        for start in range(0, batch.num_rows, _ROWS):
            part = batch.slice(start, _ROWS)
            yield _csv_lines(zip(*map(_csv_values, part.columns), strict=True))


def _csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode()


def _csv_values(column: pa.Array) -> list[object]:
    """The column's values; true, false and what is nested are written as in JSON."""
    values = plain_values(column)
    types = pa.types
    if (
        types.is_boolean(column.type)
        or types.is_nested(column.type)
        or types.is_interval(column.type)
    ):
        return [None if one is None else json.dumps(one, ensure_ascii=False) for one in values]
    return values


def _csv_mark(error: SqluiceError) -> bytes:
    """A quote that never closes: whoever keeps to the standard cannot take it for a row."""
    return f'"#error {error.code} {error.query_id}'.encode()


def arrow_pieces(result: Result) -> Iterator[bytes]:
    """An Arrow IPC stream, with the query id and the masked columns in the schema's metadata."""
    return _marked(result, _arrow(result), _arrow_mark)


def _arrow(result: Result) -> Iterator[bytes]:
    sink = _Pieces()
    with pa.ipc.new_stream(sink, labelled(result)) as writer:
        yield sink.take()
        for batch in result.batches():
            # Several wait for a client who reads slowly, and there may be many of those.
            for part in portions(batch, _CHUNK):
                writer.write_batch(part)
                yield sink.take()
    yield sink.take()


def _arrow_mark(error: SqluiceError) -> bytes:
    """A message that is shorter than it says: readers take a missing end for an end."""
    return _BROKEN_MESSAGE + json.dumps(error_body(error)).encode()


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
    """A Parquet file, whole before its first piece leaves: an error is raised here."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whoever reads it
    schema = parquet_schema(labelled(result))
    try:
        with parquet.ParquetWriter(file, schema) as writer:
            for batch in result.batches():
                writer.write_batch(parquet_batch(batch, schema))
        file.seek(0)
    except pa.ArrowNotImplementedError as error:
        file.close()
        raise _beyond_parquet(result, error) from None
    except BaseException:
        file.close()
        raise
    finally:
        result.close()

    def pieces() -> Iterator[bytes]:
        with file:
            while piece := file.read(_CHUNK):
                require_free(result)
                yield piece

    return pieces()


def _beyond_parquet(result: Result, error: pa.ArrowNotImplementedError) -> TypeMismatch:
    made = TypeMismatch(
        "Parquet has no form for a type of the answer.",
        hint="Cast the column to text, or ask for an Arrow stream.",
        private=str(error),
    )
    made.query_id = result.query_id
    return made


_WRITERS: dict[str, Writer] = {
    JSON: json_pieces,
    ARROW: arrow_pieces,
    CSV: csv_pieces,
    PARQUET: parquet_pieces,
}
