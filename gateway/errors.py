"""The error tree of the gateway.

    SqluiceError
    ├── ParseError            parse_error          text that is no SQL; knows line and column
    ├── UnsupportedSql        unsupported_sql      SQL that is not served
    ├── UnknownTable          unknown_table        no such table among what the caller may know
    ├── UnknownColumn         unknown_column       no such column among what the caller may know
    ├── AmbiguousName         ambiguous_name       a name with two meanings
    ├── TypeMismatch          type_error           types or constants that do not fit
    ├── AccessDenied          access_denied        a right that the caller lacks
    ├── PurposeRequired       purpose_required     another purpose would permit
    ├── RateLimited           rate_limited         too many requests; carries retry_after
    ├── LimitExceeded         limit_exceeded       too many rows or bytes
    ├── SourceUnavailable     source_unavailable   a backend cannot be reached
    ├── SourceFailed          source_error         a backend answered with an error
    ├── TimedOut              timeout              the deadline has passed
    ├── Cancelled             cancelled            somebody cancelled the query
    ├── Unauthenticated       unauthenticated      no valid sign-in
    ├── InvalidConfig         invalid_config       a file of the mesh or a setting is wrong
    ├── Conflict              conflict             two changes exclude each other
    └── InternalError         internal             a defect of ours

Takes: a message for the caller and, where known, a place and a hint. Gives: exceptions that every
endpoint writes in its own form by the one table `sqluice.codes`. Never carries a value of a row,
a secret, a path of the server or the text of a source's error in `message`: such text goes into
`private`, which only the owner's log may show (DESIGN 5, barrier rule 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from sqluice.codes import Code, code_of


class SqluiceError(Exception):
    """Root of all errors that a caller can meet. `code` is the stable name of the wire code."""

    code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
        private: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint
        self.private = private
        self.query_id: str | None = None
        self.is_audited = False
        self.is_logged = False
        self.source = ""
        # What the caller may be told of: the rule that says no, the product that it is about.
        self.policy = ""
        self.product = ""

    @property
    def entry(self) -> Code:
        """The row of the code table."""
        return code_of(self.code)

    @property
    def remedy(self) -> str:
        """What the caller can do next."""
        return self.hint or self.entry.remedy


class ParseError(SqluiceError):
    """The text is no SQL."""

    code = "parse_error"


class UnsupportedSql(SqluiceError):
    """The text is SQL that the gateway does not serve."""

    code = "unsupported_sql"


class UnknownTable(SqluiceError):
    """No such table among what the caller may know."""

    code = "unknown_table"


class UnknownColumn(SqluiceError):
    """No such column among what the caller may know."""

    code = "unknown_column"


class AmbiguousName(SqluiceError):
    """A name that means two things."""

    code = "ambiguous_name"


class TypeMismatch(SqluiceError):
    """Types or constants that do not fit."""

    code = "type_error"


class AccessDenied(SqluiceError):
    """A right that the caller lacks and may know of."""

    code = "access_denied"


class PurposeRequired(SqluiceError):
    """Another purpose would permit the query."""

    code = "purpose_required"


class RateLimited(SqluiceError):
    """Too many requests."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LimitExceeded(SqluiceError):
    """More rows or bytes than the caller may take."""

    code = "limit_exceeded"


class SourceUnavailable(SqluiceError):
    """A backend cannot be reached."""

    code = "source_unavailable"


class SourceFailed(SqluiceError):
    """A backend answered with an error; its text is private."""

    code = "source_error"


class TimedOut(SqluiceError):
    """The deadline has passed."""

    code = "timeout"


class Cancelled(SqluiceError):
    """Somebody cancelled the query, or the client went away."""

    code = "cancelled"


class Unauthenticated(SqluiceError):
    """No valid sign-in."""

    code = "unauthenticated"


class InvalidConfig(SqluiceError):
    """A file of the mesh, or a setting, is wrong."""

    code = "invalid_config"


class Conflict(SqluiceError):
    """Two changes exclude each other."""

    code = "conflict"


class InternalError(SqluiceError):
    """A defect of ours; the text is private."""

    code = "internal"


_REFUSALS: Mapping[str, tuple[type[SqluiceError], str]] = MappingProxyType(
    {
        one.code: (one, text)
        for one, text in (
            (AccessDenied, "does not let you read what the query needs"),
            (LimitExceeded, "gives you no more rows or bytes"),
            (PurposeRequired, "wants to know a purpose, or another one"),
            (TimedOut, "took longer than it may"),
            (TypeMismatch, "is in an encoding without some letter of the query or of a rule"),
            (UnsupportedSql, "does not serve what the query asks of it"),
        )
    }
)


def refused_by_source(
    code: str, product: str, private: str, retry_after: float | None = None
) -> SqluiceError:
    """What a caller is told where a source that governs itself refused him, in our own words."""
    if code == RateLimited.code:
        wait = 1.0 if retry_after is None else retry_after
        limited = RateLimited(f"The source of {product} gets too many requests.", retry_after=wait)
        limited.private = private
        return limited
    kind, text = _REFUSALS.get(code, (SourceFailed, "answered with an error"))
    return kind(f"The source of {product} {text}.", private=private)
