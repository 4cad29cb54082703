"""Errors as Flight's clients can read them.

Takes: our errors. Gives: a status of gRPC, clean text, and our stable code in the details. Never
lets a traceback, a path or a source's text out: what is no SqluiceError becomes `internal`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import grpc
import pyarrow as pa

from gateway.errors import Cancelled, InternalError, RateLimited, SqluiceError
from gateway.serve.flight.messages import make

log = logging.getLogger("gateway.flight")

# Too much is "unavailable" here: stock clients take RESOURCE_EXHAUSTED for a fault of the server,
# and FAILED_PRECONDITION for one of the program.
_SAID: Mapping[str, grpc.StatusCode] = MappingProxyType(
    {
        "RESOURCE_EXHAUSTED": grpc.StatusCode.UNAVAILABLE,
        "FAILED_PRECONDITION": grpc.StatusCode.UNKNOWN,
    }
)
# Clients of gRPC in C++ and Java take 8 KiB of trailers, and the text stands in them three times.
_MOST_LETTERS = 1_500
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


class Fault(Exception):
    """What a call ends with instead of an answer: a status, its text, its details as bytes."""

    def __init__(self, status: grpc.StatusCode, text: str, details: bytes) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.details = details


def fault_of(error: SqluiceError) -> Fault:
    """The fault of one of ours: `code: message remedy (query id)` and details."""
    entry = error.entry
    said = _SAID.get(entry.grpc) or grpc.StatusCode[entry.grpc]
    told, remedy = _shortened(error.message), _shortened(error.remedy)
    text = _shortened(f"{entry.name}: {told} {remedy}")
    if error.query_id:
        text += f" (query {error.query_id})"
    values = {
        "code": entry.name,
        "sqlstate": entry.sqlstate,
        "class": entry.pep249,
        "retryable": str(entry.retryable).lower(),
        "query_id": error.query_id or "",
        "message": told,
        "remedy": remedy,
        "line": str(error.line or ""),
        "column": str(error.column or ""),
        "policy": error.policy,
        "product": error.product,
        "retry_after": f"{error.retry_after:g}" if isinstance(error, RateLimited) else "",
    }
    info = make(
        "ErrorInfo",
        reason=entry.name,
        domain="sqluice",
        metadata=[make("ErrorInfoEntry", key=key, value=value) for key, value in values.items()],
    )
    status = make(
        "Status",
        code=said.value[0],
        message=text,
        details=[make("AnyValue", type_url=_ERROR_INFO, value=info.SerializeToString())],
    )
    return Fault(said, text, status.SerializeToString())


def _shortened(text: str) -> str:
    """The text, as far as it fits; what is not ASCII's is written as three letters a byte."""
    size = 0
    for place, letter in enumerate(text):
        size += 1 if " " <= letter <= "~" else 3 * len(letter.encode("utf-8", "replace"))
        if size > _MOST_LETTERS:
            return f"{text[:place]} ..."
    return text


def translated(error: BaseException) -> Fault:
    """Any error as a fault."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, SqluiceError):
        return fault_of(error)
    if isinstance(error, pa.ArrowCancelled | pa.ArrowInvalid) and "ancel" in str(error):
        return fault_of(Cancelled("The caller left."))
    log.exception("flight handler failed")
    return fault_of(InternalError("The gateway failed on this request."))


@contextmanager
def clean_errors() -> Iterator[None]:
    """Every handler runs inside this."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - said below
        # The one boundary of this endpoint: nothing but a fault may pass it.
        raise translated(error) from None
