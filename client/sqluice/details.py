"""What a gateway says of an error beside its text.

Takes: the details that the Flight SQL driver attaches to an exception. Gives: facts by name:
code, message, remedy, query_id, sqlstate, class, retryable, line, column, retry_after, policy,
product. Never fails: details that it does not understand are left out.

The gateway sends a `google.rpc.ErrorInfo` (reason: the code, domain: sqluice, metadata: the rest)
in the status of the call; two messages with text fields only, so they are read by hand here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

STATUS_KEY = "grpc-status-details-bin"
HEADER = "x-sqluice-"
_TEXT, _VARINT, _FIXED64, _FIXED32 = 2, 0, 1, 5


def facts_of(details: Iterable[tuple[str | bytes, str | bytes]]) -> dict[str, str]:
    """The facts in an exception's details; the driver gives names and values as bytes or text."""
    facts: dict[str, str] = {}
    for key, value in details:
        name = _text(key)
        if name.startswith(HEADER):
            facts.setdefault(name.removeprefix(HEADER).replace("-", "_"), _text(value))
        elif name == STATUS_KEY and isinstance(value, bytes):
            facts.update(_of_any(value))
    return facts


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _of_any(message: bytes) -> dict[str, str]:
    """The facts of a `google.protobuf.Any` that holds an ErrorInfo of ours."""
    outer = dict(_fields(message))
    if not outer.get(1, b"").endswith(b"google.rpc.ErrorInfo"):
        return {}
    reason, domain = "", ""
    facts: dict[str, str] = {}
    for number, value in _fields(outer.get(2, b"")):
        text = value.decode(errors="replace")
        if number == 1:
            reason = text
        elif number == 2:
            domain = text
        elif number == 3:
            entry = dict(_fields(value))
            name = entry.get(1, b"").decode(errors="replace")
            facts[name] = entry.get(2, b"").decode(errors="replace")
    return facts | {"code": reason} if domain == "sqluice" else {}


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each text field of a protobuf message; ends where it is broken."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _TEXT:
            size, at = _varint(message, at)
            if at + size > len(message):
                return
            yield tag >> 3, message[at : at + size]
            at += size
        elif kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            return


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            break
        shift += 7
    return value, at
