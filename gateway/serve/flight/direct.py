"""The short way of the project's own client: one call for a small answer, in the place of three.

Takes: headers of a call, what was begun. Gives: the values that a statement is to have; the schema
of an answer with its rows in its metadata. Never gives rows so to a client who does not say that
he reads them there, nor more than a few.

`x-sqluice-direct` says that the client reads `sqluice.rows`, the one batch of the answer, from the
metadata of the schema that GetFlightInfo gives him, without an endpoint to fetch from. Where it
says `sqluice.begun`, he asks once more with `x-sqluice-begun` and fetches as everybody does; with
`x-sqluice-left` he says that he does not read to the end. `x-sqluice-values` are the values that
would else be put with a call of their own.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from gateway.errors import ParseError
from gateway.result import Result
from gateway.serve.flight.framing import has_dictionaries, uncompressed
from gateway.serve.flight.parameters import read_parameters
from gateway.serve.flight.widening import fitted

# An answer of at most so many bytes comes in one piece.
MAXIMUM_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Direct:
    """What a call says of the short way.

    `values` is a stream of Arrow's IPC format in base64, `begun` the handle of what runs already,
    `left` of what nobody reads on.
    """

    is_spoken: bool = False
    values: str = ""
    begun: bytes = b""
    left: bytes = b""


def direct_of(headers: Mapping[str, str]) -> Direct:
    """What the headers of a call say."""
    if "x-sqluice-direct" not in headers:
        return Direct()
    begun, left = (_bytes(headers.get(f"x-sqluice-{one}", "")) for one in ("begun", "left"))
    return Direct(True, headers.get("x-sqluice-values", ""), begun, left)


def values_of(direct: Direct) -> tuple[object, ...]:
    """The values of a statement; ParseError where they are no row of Arrow's."""
    content = _bytes(direct.values)
    try:
        for message in pa.ipc.MessageReader.open_stream(content):
            uncompressed(message.metadata.to_pybytes())
        with pa.ipc.open_stream(content) as reader:
            batches = list(reader)
            for batch in batches:
                batch.validate(full=True)
    except (pa.ArrowException, OSError):
        raise ParseError("The values are no record batch of Arrow.") from None
    return read_parameters(batches)[0] or ()


def with_rows(result: Result, schema: pa.Schema) -> pa.Schema | None:
    """The schema of a small answer with its rows, read to its end; None where it is another."""
    batches = None if has_dictionaries(schema) else result.whole(MAXIMUM_BYTES)
    if batches is None:
        return None
    rows = b"".join(b64encode(fitted(one, schema).serialize()) for one in batches)
    return _with(schema, "sqluice.rows", rows)


def to_be_fetched(schema: pa.Schema, handle: bytes) -> pa.Schema:
    """The schema of an answer that the client fetches by a handle."""
    return _with(schema, "sqluice.begun", b64encode(handle))


def _with(schema: pa.Schema, name: str, value: bytes) -> pa.Schema:
    return schema.with_metadata({**(schema.metadata or {}), name.encode(): value})


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ParseError("A header is no base64.") from None
