"""The errors of the client: PEP 249's classes, each knowing its code.

    Warning
    Error                       code, message, remedy, query_id, sqlstate, is_retryable,
                                retry_after, policy, product
    ├── InterfaceError          the client was used wrongly, or cannot reach what it was told
    └── DatabaseError           the gateway answered with an error
        ├── DataError           type_error
        ├── OperationalError    sources, limits, time, sign-in
        ├── IntegrityError      never raised: the gateway is read-only
        ├── InternalError       internal
        ├── ProgrammingError    the statement, its names, the caller's rights
        └── NotSupportedError   unsupported_sql

Takes: what the wire says of a failure. Gives: an exception of the class that the code table names.
Never decides by the text of a message; every error can be pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqluice.codes import CODES, code_of


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of a failure. `code` is '' where the client itself found it."""

    message: str
    code: str = ""
    remedy: str = ""
    query_id: str | None = None
    sqlstate: str = ""
    is_retryable: bool = False
    line: int | None = None
    column: int | None = None
    retry_after: float | None = None
    policy: str = ""
    product: str = ""


class Warning(Exception):
    """PEP 249 wants it; nothing raises it."""


class Error(Exception):
    """Root of all errors of this module."""

    def __init__(self, failure: Failure | str) -> None:
        """Keep what is known; a plain text is a message without a code."""
        self.failure = Failure(failure) if isinstance(failure, str) else failure
        super().__init__(self.failure)

    def __str__(self) -> str:
        """Code, message, remedy and query id: what a notebook shows."""
        known = self.failure
        start = f"{known.code}: {known.message}" if known.code else known.message
        query = f"(query {known.query_id})" if known.query_id else ""
        return " ".join(one for one in (start, known.remedy, query) if one)

    @property
    def code(self) -> str:
        """The stable name of the error, '' where the client itself raised it."""
        return self.failure.code

    @property
    def message(self) -> str:
        """What went wrong, without code and remedy."""
        return self.failure.message

    @property
    def remedy(self) -> str:
        """What to do next."""
        return self.failure.remedy

    @property
    def query_id(self) -> str | None:
        """The id under which the gateway audited the query."""
        return self.failure.query_id

    @property
    def sqlstate(self) -> str:
        """The SQLSTATE of the code."""
        return self.failure.sqlstate

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.failure.is_retryable

    @property
    def retry_after(self) -> float | None:
        """After how many seconds to try again, where the gateway says so."""
        return self.failure.retry_after

    @property
    def policy(self) -> str:
        """The id of the rule that said no, '' where none did or it is not told."""
        return self.failure.policy

    @property
    def product(self) -> str:
        """The product that it is about, '' where it is about none."""
        return self.failure.product


class InterfaceError(Error):
    """The client was used wrongly, or cannot do what it was told."""


class DatabaseError(Error):
    """The gateway answered with an error."""


class DataError(DatabaseError):
    """Types or constants that do not fit."""


class OperationalError(DatabaseError):
    """A source, a limit, the time or the sign-in."""


class IntegrityError(DatabaseError):
    """Never raised: the gateway is read-only."""


class InternalError(DatabaseError):
    """A defect of the gateway."""


class ProgrammingError(DatabaseError):
    """The statement, its names, or the caller's rights."""


class NotSupportedError(DatabaseError):
    """SQL, or a call, that is not served."""


_CLASSES: Mapping[str, type[DatabaseError]] = {
    one.__name__: one
    for one in (
        DatabaseError, DataError, OperationalError, IntegrityError, InternalError,
        ProgrammingError, NotSupportedError,
    )
}  # fmt: skip


def rebuilt(facts: Mapping[str, object]) -> DatabaseError:
    """The error that the facts of a wire describe.

    A code from a newer server is kept, and its class is the one that came along with it.
    """
    name = str(facts.get("code") or "internal")
    known = CODES.get(name)
    entry = code_of(name)
    kind = entry.pep249 if known else str(facts.get("class") or entry.pep249)
    retryable = facts.get("retryable", entry.retryable)
    failure = Failure(
        message=str(facts.get("message") or entry.remedy),
        code=name,
        remedy=str(facts.get("remedy") or (entry.remedy if known else "")),
        query_id=_text(facts.get("query_id")),
        sqlstate=str(facts.get("sqlstate") or entry.sqlstate),
        is_retryable=str(retryable).lower() == "true",
        line=_number(facts.get("line")),
        column=_number(facts.get("column")),
        retry_after=_seconds(facts.get("retry_after")),
        policy=str(facts.get("policy") or ""),
        product=str(facts.get("product") or ""),
    )
    return _CLASSES.get(kind, DatabaseError)(failure)


def _text(value: object) -> str | None:
    return str(value) if value else None


def _number(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isdecimal() else None


def _seconds(value: object) -> float | None:
    try:
        return None if value is None else float(str(value))
    except ValueError:
        return None
