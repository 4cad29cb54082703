"""Errors as Flight's clients can read them.

Takes: our errors. Gives: Flight errors with clean text and our stable code in the details. Never
lets a traceback, a path or a source's text out: what is no SqluiceError becomes `internal`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyarrow import flight

from gateway.errors import Cancelled, InternalError, RateLimited, SqluiceError
from gateway.serve.flight.messages import make

log = logging.getLogger("gateway.flight")

# pyarrow can raise these codes without a traceback; all others travel as UNKNOWN.
_KINDS: dict[str, tuple[type[flight.FlightError], int]] = {
    "UNAUTHENTICATED": (flight.FlightUnauthenticatedError, 16),
    "PERMISSION_DENIED": (flight.FlightUnauthorizedError, 7),
    "UNAVAILABLE": (flight.FlightUnavailableError, 14),
    "RESOURCE_EXHAUSTED": (flight.FlightUnavailableError, 14),
    "CANCELLED": (flight.FlightCancelledError, 1),
    "DEADLINE_EXCEEDED": (flight.FlightTimedOutError, 4),
    "INTERNAL": (flight.FlightInternalError, 13),
}
_UNKNOWN = (flight.FlightServerError, 2)
_ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def flight_error(error: SqluiceError) -> flight.FlightError:
    """The Flight error of one of ours: `code: message remedy (query id)` and details."""
    entry = error.entry
    kind, number = _KINDS.get(entry.grpc, _UNKNOWN)
    text = f"{entry.name}: {error.message} {error.remedy}"
    if error.query_id:
        text += f" (query {error.query_id})"
    values = {
        "code": entry.name,
        "sqlstate": entry.sqlstate,
        "class": entry.pep249,
        "retryable": str(entry.retryable).lower(),
        "query_id": error.query_id or "",
        "message": error.message,
        "remedy": error.remedy,
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
        code=number,
        message=text,
        details=[make("AnyValue", type_url=_ERROR_INFO, value=info.SerializeToString())],
    )
    return kind(text, extra_info=status.SerializeToString())


def translated(error: BaseException) -> flight.FlightError:
    """Any error as a Flight error."""
    if isinstance(error, flight.FlightError):
        return error
    if isinstance(error, SqluiceError):
        return flight_error(error)
    if isinstance(error, pa.ArrowCancelled | pa.ArrowInvalid) and "ancel" in str(error):
        return flight_error(Cancelled("The caller left."))
    log.exception("flight handler failed")
    return flight_error(InternalError("The gateway failed on this request."))


@contextmanager
def clean_errors() -> Iterator[None]:
    """Every handler runs inside this."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - said below
        # The one boundary of this endpoint: nothing but a Flight error may pass it.
        raise translated(error) from None
