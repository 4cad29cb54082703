"""The messages of Flight itself as bytes: what gRPC carries around the commands of Flight SQL.

Takes: schemas, tables, and the messages that a client sends. Gives: the bytes of a FlightData for
each message of Arrow's IPC format, and record batches out of such. Never parses what a batch
holds, and never holds more than one message on the way out.

The shapes are the wire's (arrow.flight.protocol, encapsulated messages of Arrow's columnar format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import pyarrow as pa

from gateway.errors import LimitExceeded, ParseError
from gateway.serve.flight.messages import parse

# The most that a client may send with one call: a row of parameters.
MAXIMUM_SENT = 16 * 1024 * 1024
_CONTINUATION = b"\xff\xff\xff\xff"
_END = _CONTINUATION + b"\0\0\0\0"
# Kinds of messages (MessageHeader of Message.fbs).
_DICTIONARY, _RECORDS = 2, 3
_HEADER_TAG, _BODY_TAG = b"\x12", b"\xc2\x3e"


def _length(count: int) -> bytes:
    """The number as protobuf writes lengths: seven bits a byte, the lowest first."""
    made = bytearray()
    while count > 0x7F:
        made.append(count & 0x7F | 0x80)
        count >>= 7
    made.append(count)
    return bytes(made)


def flight_data(message: pa.Message) -> bytes:
    """The FlightData of one message: its header (field 2) and its body (field 1000)."""
    header, body = message.metadata, message.body
    parts = [_HEADER_TAG, _length(len(header)), header]
    if body is not None and len(body):
        parts += [_BODY_TAG, _length(len(body)), body]
    return b"".join(parts)


def stream(schema: pa.Schema, tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """A schema and the batches of tables of one batch each, as DoGet sends them."""
    yield flight_data(pa.ipc.read_message(schema.serialize()))
    is_whole = not has_dictionaries(schema)
    for table in tables:
        for batch in table.to_batches():
            if is_whole:
                yield flight_data(pa.ipc.read_message(batch.serialize()))
            else:
                yield from map(flight_data, _with_dictionaries(batch))


def has_dictionaries(schema: pa.Schema) -> bool:
    """Whether a batch needs more messages than one."""
    return any(_has_dictionary(field.type) for field in schema)


def _has_dictionary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    return any(_has_dictionary(kind.field(place).type) for place in range(kind.num_fields))


def _with_dictionaries(batch: pa.RecordBatch) -> Iterator[pa.Message]:
    """The dictionaries of a batch and the batch: only a writer of streams gives them out."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    messages = pa.ipc.MessageReader.open_stream(sink.getvalue())
    messages.read_next_message()
    yield from messages


def sent(messages: Iterable[bytes]) -> tuple[bytes, Iterator[pa.RecordBatch]]:
    """What a client sends with a call: the descriptor's bytes, and the batches that follow.

    ParseError for what is no stream of Arrow; LimitExceeded beyond `MAXIMUM_SENT` bytes.
    """
    coming = (parse("FlightData", one) for one in messages)
    first = next(coming, None)
    if first is None:
        raise ParseError("The call ended before it said what it is about.")
    return first.flight_descriptor, _batches(chain([first], coming))


def is_compressed(header: bytes) -> bool:
    """Whether a message's header says that its body is: few bytes of such may be very many.

    ParseError for what is no header. Message: header_type 1, header 2; DictionaryBatch: data 1;
    RecordBatch: compression 3 (Message.fbs, Schema.fbs of Arrow's columnar format).
    """
    try:
        message = _pointed(header, 0)
        kind = _field(header, message, 1)
        if kind is None or header[kind] not in (_DICTIONARY, _RECORDS):
            return False
        batch = _pointed(header, _field(header, message, 2) or len(header))
        if header[kind] == _DICTIONARY:
            batch = _pointed(header, _field(header, batch, 1) or len(header))
        return _field(header, batch, 3) is not None
    except (struct.error, IndexError):
        raise ParseError("The bytes are no record batches of Arrow.") from None


def _pointed(header: bytes, place: int) -> int:
    return place + int(struct.unpack_from("<I", header, place)[0])


def _field(header: bytes, table: int, number: int) -> int | None:
    """Where a table of flatbuffers has a field; None where it has none."""
    fields = table - int(struct.unpack_from("<i", header, table)[0])
    at = 4 + 2 * number
    if fields < 0 or at >= struct.unpack_from("<H", header, fields)[0]:
        return None
    offset = int(struct.unpack_from("<H", header, fields + at)[0])
    return table + offset if offset else None


def uncompressed(header: bytes) -> None:
    """ParseError where a message's body is compressed."""
    if is_compressed(header):
        raise ParseError(
            "Compressed batches are not taken.", hint="Send the values without compression."
        )


def _batches(coming: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    parts: list[bytes] = []
    held = 0
    for one in coming:
        held += len(one.data_header) + len(one.data_body)
        if held > MAXIMUM_SENT:
            raise LimitExceeded(
                f"A call takes {MAXIMUM_SENT} bytes.", hint="A query takes one row of parameters."
            )
        if one.data_header:
            uncompressed(one.data_header)
            padding = bytes(-len(one.data_header) % 8)
            length = struct.pack("<i", len(one.data_header) + len(padding))
            parts += [_CONTINUATION, length, one.data_header, padding, one.data_body]
    try:
        with pa.ipc.open_stream(b"".join([*parts, _END])) as reader:
            for batch in reader:
                batch.validate(full=True)
                yield batch
    except (pa.ArrowException, OSError):
        raise ParseError("The bytes are no record batches of Arrow.") from None
