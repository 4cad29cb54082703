"""How the rows of a portal are written: as rows of an answer, or in a form of COPY.

Takes: a portal or a COPY. Gives: what stands before its rows, how each batch is written, what
stands behind. Never holds a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow as pa

from gateway.serve.pgwire.answers import Encode
from gateway.serve.pgwire.copying import CopyOut
from gateway.serve.pgwire.encoding.rows import (
    CopyBinary,
    CsvForm,
    TextForm,
    copy_csv,
    copy_text,
    csv_header,
    data_rows,
    text_header,
)
from gateway.serve.pgwire.encoding.types import wire_type
from gateway.serve.pgwire.messages import Column, copy_out, row_description
from gateway.serve.pgwire.state import Portal, with_forms


@dataclass(frozen=True, slots=True)
class Output:
    """How rows are written: what stands before them, how each batch is written."""

    encode: Callable[[pa.Schema], Encode]
    head: Callable[[pa.Schema], bytes]
    tail: Callable[[], bytes] = lambda: b""


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns of an answer, as text."""
    return tuple(Column(field.name, wire_type(field)) for field in schema)


def rows_of(portal: Portal, is_described: bool) -> Output:
    """The rows of a portal; `is_described`: their columns first."""

    def columns(schema: pa.Schema) -> tuple[Column, ...]:
        return with_forms(columns_of(schema), portal.forms)

    return Output(
        lambda schema: data_rows(schema, [one.form for one in columns(schema)]),
        lambda schema: row_description(columns(schema)) if is_described else b"",
    )


def copied(command: CopyOut) -> Output:
    """The form of COPY."""
    options = dict(command.options)
    if command.format == "binary":
        written = CopyBinary()
        return Output(written.encoder, lambda schema: copy_out(1, len(schema)), written.end)
    if command.format == "text":
        lines = TextForm(**options)
        return Output(
            lambda schema: copy_text(schema, lines),
            lambda schema: (
                copy_out(0, len(schema))
                + (text_header(schema.names, lines) if command.header else b"")
            ),
        )
    quote = options.get("quote", '"')
    form = CsvForm(
        options.get("delimiter", ","), options.get("null", ""), quote, options.get("escape", quote)
    )

    def encode(schema: pa.Schema) -> Encode:
        every = "*" in command.forced
        forced = frozenset(
            at for at, name in enumerate(schema.names) if every or name in command.forced
        )
        return copy_csv(schema, replace(form, forced=forced))

    return Output(
        encode,
        lambda schema: (
            copy_out(0, len(schema)) + (csv_header(schema.names, form) if command.header else b"")
        ),
    )


NOTHING = Output(lambda _: lambda _: pa.py_buffer(b""), lambda _: b"")
