"""Batches as the rows of the protocol and of COPY: whole batches at once.

Takes: record batches, formats. Gives: bytes that go to the socket as they are. Never walks over
rows in Python, never changes a value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.serve.pgwire.encoding.matrices import of_matrix
from gateway.serve.pgwire.encoding.packing import Frame, joined, packed
from gateway.serve.pgwire.encoding.types import wire_type

TEXT, BINARY = 0, 1
_COPY_ESCAPES = (
    ("\\", "\\\\"), ("\b", "\\b"), ("\f", "\\f"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"),
    ("\v", "\\v"),
)  # fmt: skip
COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
COPY_END = struct.pack(">h", -1)
Encode = Callable[[pa.RecordBatch], pa.Buffer]


@dataclass(frozen=True, slots=True)
class CsvForm:
    """How COPY writes CSV. `forced` are the columns that are always quoted, by their place."""

    delimiter: str = ","
    null: str = ""
    quote: str = '"'
    escape: str = '"'
    forced: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class TextForm:
    """How COPY writes text."""

    delimiter: str = "\t"
    null: str = "\\N"


def data_rows(schema: pa.Schema, formats: Sequence[int]) -> Encode:
    """Batches as DataRow messages; a format for each column."""
    writers = [wire_type(field).cells(form) for field, form in zip(schema, formats, strict=True)]
    frame = Frame(b"D", struct.pack(">H", len(writers)))

    def encode(batch: pa.RecordBatch) -> pa.Buffer:
        columns = zip(writers, batch.columns, strict=True)
        return packed(frame, [write(column) for write, column in columns], batch.num_rows)

    return encode


class CopyBinary:
    """Batches in COPY's binary format; readers want its head in one message with the first row."""

    def __init__(self) -> None:
        self._head = COPY_HEAD

    def encoder(self, schema: pa.Schema) -> Encode:
        """Each row is a CopyData of its own."""
        writers = [wire_type(field).cells(BINARY) for field in schema]
        count = struct.pack(">h", len(writers))
        frame = Frame(b"d", count)

        def encode(batch: pa.RecordBatch) -> pa.Buffer:
            columns = zip(writers, batch.columns, strict=True)
            rows = packed(frame, [write(column) for write, column in columns], batch.num_rows)
            if not self._head or not batch.num_rows:
                return rows
            size = int.from_bytes(rows[1:5].to_pybytes(), "big") + len(self._head)
            first = b"d" + struct.pack(">i", size) + self._head
            self._head = b""
            return pa.py_buffer(first + rows[5:].to_pybytes())

        return encode

    def end(self) -> bytes:
        """What stands behind the last row."""
        return copy_data(self._head + COPY_END)


def copy_text(schema: pa.Schema, form: TextForm) -> Encode:
    """Batches as lines of COPY's text format, each in a CopyData of its own."""
    encoders = [wire_type(field).text for field in schema]
    escapes = (
        *_COPY_ESCAPES,
        *(() if form.delimiter == "\t" else ((form.delimiter, f"\\{form.delimiter}"),)),
    )

    def cell(write: Encode, column: pa.Array) -> pa.Array:
        texts = write(column).cast(pa.string())
        held = _bytes_of(texts)
        for found, escape in escapes:
            if found.encode() in held:
                texts = pc.replace_substring(texts, found, escape)
        return texts.fill_null(form.null)

    def encode(batch: pa.RecordBatch) -> pa.Buffer:
        cells = [cell(write, one) for write, one in zip(encoders, batch.columns, strict=True)]
        return _lines(cells, form.delimiter, batch.num_rows)

    return encode


def copy_csv(schema: pa.Schema, form: CsvForm) -> Encode:
    """Batches as lines of CSV, each in a CopyData of its own."""
    encoders = [wire_type(field).text for field in schema]
    marks = (form.delimiter, form.quote, "\n", "\r")
    special = "[" + "".join(f"\\{one}" for one in marks[:2]) + "\n\r]"
    alone = len(schema) == 1

    def quoted(texts: pa.Array) -> pa.Array:
        for one in dict.fromkeys((form.escape, form.quote)):
            texts = pc.replace_substring(texts, one, form.escape + one)
        return pc.binary_join_element_wise(form.quote, texts, form.quote, "")

    def cell(place: int, write: Encode, column: pa.Array) -> pa.Array:
        texts = write(column).cast(pa.string())
        held = _bytes_of(texts)
        if place in form.forced:
            return quoted(texts).fill_null(form.null)
        needs = pc.equal(texts, form.null)
        if any(one.encode() in held for one in marks):
            needs = pc.or_(needs, pc.match_substring_regex(texts, special))
        if alone:
            needs = pc.or_(needs, pc.equal(texts, "\\."))
        if pc.any(needs).as_py():
            texts = pc.if_else(needs, quoted(texts), texts)
        return texts.fill_null(form.null)

    def encode(batch: pa.RecordBatch) -> pa.Buffer:
        cells = [
            cell(place, write, one)
            for place, (write, one) in enumerate(zip(encoders, batch.columns, strict=True))
        ]
        return _lines(cells, form.delimiter, batch.num_rows)

    return encode


def csv_header(names: Sequence[str], form: CsvForm) -> bytes:
    """The first line, as a CopyData."""
    cells = []
    for name in names:
        special = any(one in name for one in (form.delimiter, form.quote, "\n", "\r"))
        escaped = name.replace(form.quote, form.escape + form.quote)
        cells.append(f"{form.quote}{escaped}{form.quote}" if special else name)
    return copy_data((form.delimiter.join(cells) + "\n").encode())


def text_header(names: Sequence[str], form: TextForm) -> bytes:
    """The first line, as a CopyData."""
    made = []
    for one in names:
        text = one
        for found, escape in _COPY_ESCAPES:
            text = text.replace(found, escape)
        made.append(text)
    return copy_data((form.delimiter.join(made) + "\n").encode())


def copy_data(content: bytes) -> bytes:
    """One CopyData message."""
    return b"d" + struct.pack(">i", len(content) + 4) + content


def _bytes_of(texts: pa.Array) -> bytes:
    """All that the values hold: what is not in there need not be looked for in each of them."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return b""
    places = np.frombuffer(offsets, np.int32)
    start, end = int(places[texts.offset]), int(places[texts.offset + len(texts)])
    return data.slice(start, end - start).to_pybytes()  # type: ignore[no-any-return]  # no types


def _lines(cells: Sequence[pa.Array], delimiter: str, rows: int) -> pa.Buffer:
    if not cells:
        return _messages([_same(b"\n", rows)], rows)
    lines = pc.binary_join_element_wise(*cells, delimiter).cast(pa.binary())
    return _messages([lines, _same(b"\n", rows)], rows)


def _messages(pieces: Sequence[pa.Array], rows: int) -> pa.Buffer:
    sizes = np.full(rows, 4, np.int64)
    for piece in pieces:
        sizes += pc.binary_length(piece).to_numpy(zero_copy_only=False)
    heads = np.empty((rows, 5), np.uint8)
    heads[:, 0] = ord("d")
    heads[:, 1:5] = _big_endian(sizes, ">i4")
    return joined([_whole(heads), *pieces])


def _same(content: bytes, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(content), rows)


def _whole(heads: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> pa.Array:
    return of_matrix(heads, pa.array(heads[:, 0]))


def _big_endian(
    numbers: np.ndarray[tuple[int], np.dtype[np.int64]], kind: str
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return (
        np.ascontiguousarray(numbers.astype(kind))
        .view(np.uint8)
        .reshape(len(numbers), int(kind[-1]))
    )
