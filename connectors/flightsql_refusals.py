"""What another gateway says no with, as a connector's errors.

Takes: the client's errors, whether a caller is passed on. Gives: what of it may be said to a caller
here too, by its code, and what makes a connection unusable. Never the other's text but as such.
"""

from __future__ import annotations

from connectors.base import ConnectorError, ConnectorRefused, ConnectorUnavailable
from sqluice.errors import Error

MISSING = frozenset({"unknown_table", "unknown_column"})
# What the other gateway says to a caller whom it knows may be said to him here too.
_TOLD = frozenset({"access_denied", "limit_exceeded", "purpose_required", "rate_limited",
                   "timeout", "unsupported_sql"})  # fmt: skip
_UNUSABLE = frozenset({"source_unavailable", "unauthenticated", ""})
# Whoever signs in and is one too many may come again: the other has a place for him by then.
_FULL = frozenset({"limit_exceeded", "rate_limited"})


def code_of(error: Exception) -> str:
    """The code of an error; that of the socket's own is empty."""
    return error.code if isinstance(error, Error) else ""


def is_unusable(error: Exception) -> bool:
    """Whether nothing more can be asked over a connection."""
    return code_of(error) in _UNUSABLE


def told(error: Exception, passes_on: bool) -> ConnectorError:
    """An error of a statement."""
    code = code_of(error)
    if code in MISSING and passes_on:
        return ConnectorRefused(str(error), "access_denied")
    if code in _TOLD:
        return ConnectorRefused(str(error), code, _patience(error))
    kind = ConnectorUnavailable if is_unusable(error) else ConnectorError
    return kind(str(error).strip())


def not_let_in(error: Error, is_somebodys: bool) -> ConnectorError:
    """An error of signing in."""
    if error.code in _FULL:
        return ConnectorRefused(str(error), "rate_limited", _patience(error))
    if error.code in _TOLD and is_somebodys:
        return ConnectorRefused(str(error), error.code)
    return ConnectorUnavailable(str(error))


def _patience(error: Exception) -> float | None:
    return error.retry_after if isinstance(error, Error) else None
