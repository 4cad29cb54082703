"""The messages of the protocol: their frames, the fields of what comes, the bytes of what goes.

Takes: a stream of bytes. Gives: kinds and bodies, within bounds; bytes to send. Never takes a
message that is longer than its kind may be, never reads beyond a body.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.serve.pgwire.encoding.types import WireType
from gateway.serve.pgwire.faults import Left, WireError, violation
from gateway.tokens import MAXIMUM_LENGTH

MOST_STARTUP = 10_000
_MOST_SQL = 4 * MAXIMUM_LENGTH + 65_536
_MOST_BIND = 16 * 1024 * 1024
_MOST_OTHER = 65_536
_MOST = {b"Q": _MOST_SQL, b"P": _MOST_SQL, b"B": _MOST_BIND}
KINDS = frozenset(b"QPBDECHSFXdcfp")
MOST_FIELDS = 65_535


async def read_startup(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The first message, which has no kind: its code and what follows."""
    size = struct.unpack(">i", await _exactly(reader, 4))[0]
    if not 8 <= size <= MOST_STARTUP:
        raise violation("The length of the first message is wrong.")
    body = await _exactly(reader, size - 4)
    return struct.unpack(">i", body[:4])[0], body[4:]


async def read_message(
    reader: asyncio.StreamReader, kinds: frozenset[int] = KINDS
) -> tuple[bytes, bytes]:
    """Kind and body; nothing of a body is read whose kind is none of these."""
    head = await _exactly(reader, 5)
    kind, size = head[:1], struct.unpack(">i", head[1:])[0]
    if kind[0] not in kinds:
        raise violation(f"There is no message of the kind {kind!r} here.")
    if not 4 <= size <= _MOST.get(kind, _MOST_OTHER):
        raise violation(f"The length of a message of the kind {kind!r} is wrong or too large.")
    return kind, await _exactly(reader, size - 4)


async def _exactly(reader: asyncio.StreamReader, count: int) -> bytes:
    try:
        return await reader.readexactly(count)
    except (asyncio.IncompleteReadError, OSError):
        raise Left from None


class Body:
    """The fields of a message, read one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def int16(self) -> int:
        """A number of two bytes."""
        return int(struct.unpack(">h", self.take(2))[0])

    def count(self) -> int:
        """How many fields follow."""
        return int(struct.unpack(">H", self.take(2))[0])

    def int32(self) -> int:
        """A number of four bytes."""
        return int(struct.unpack(">i", self.take(4))[0])

    def text(self) -> str:
        """A text that ends in a zero byte; WireError for what is no UTF-8."""
        end = self._content.find(b"\0", self._place)
        if end < 0:
            raise violation("A text in a message does not end.")
        raw = self._content[self._place : end]
        self._place = end + 1
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise WireError(
                "22021", "The text is no UTF-8.", "Send UTF-8: client_encoding is UTF8."
            ) from None

    def take(self, count: int) -> bytes:
        """So many bytes."""
        end = self._place + count
        if count < 0 or end > len(self._content):
            raise violation("A message ends before its fields do.")
        taken = self._content[self._place : end]
        self._place = end
        return taken

    def end(self) -> None:
        """Nothing may follow."""
        if self._place != len(self._content):
            raise violation("A message is longer than its fields.")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer as RowDescription tells it."""

    name: str
    type: WireType
    form: int = 0


def message(kind: bytes, body: bytes = b"") -> bytes:
    """A message."""
    return kind + struct.pack(">i", len(body) + 4) + body


def row_description(columns: Sequence[Column]) -> bytes:
    """Names and types of the columns that follow."""
    made = [struct.pack(">H", len(columns))]
    for one in columns:
        kind = one.type
        made.append(one.name.replace("\0", " ").encode() + b"\0")
        made.append(struct.pack(">ihihih", 0, 0, kind.oid, kind.size, kind.modifier, one.form))
    return message(b"T", b"".join(made))


def parameter_description(oids: Iterable[int]) -> bytes:
    """The types of a statement's parameters."""
    given = list(oids)
    return message(b"t", struct.pack(f">H{len(given)}I", len(given), *given))


def parameter_status(name: str, value: str) -> bytes:
    """A setting that clients like to know."""
    return message(b"S", f"{name}\0{value}\0".encode())


def command_complete(tag: str) -> bytes:
    """A command is done."""
    return message(b"C", tag.encode() + b"\0")


def copy_out(form: int, columns: int) -> bytes:
    """Rows of COPY follow."""
    return message(b"H", struct.pack(f">BH{columns}h", form, columns, *[form] * columns))


def text_row(values: Sequence[str | None]) -> bytes:
    """One row of text, of what the gateway itself has to say."""
    made = [struct.pack(">H", len(values))]
    for one in values:
        if one is None:
            made.append(struct.pack(">i", -1))
        else:
            raw = one.encode()
            made.append(struct.pack(">i", len(raw)) + raw)
    return message(b"D", b"".join(made))


PARSE_COMPLETE = message(b"1")
BIND_COMPLETE = message(b"2")
CLOSE_COMPLETE = message(b"3")
NO_DATA = message(b"n")
EMPTY_QUERY = message(b"I")
SUSPENDED = message(b"s")
COPY_DONE = message(b"c")
