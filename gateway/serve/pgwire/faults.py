"""Errors and notices as PostgreSQL's clients read them.

Takes: our errors, and breaches of the protocol. Gives: the fields of ErrorResponse and
NoticeResponse. Never lets a source's text, a path or a value of a row out: what is no error of ours
becomes `internal`.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from gateway.errors import InternalError, ParseError, SqluiceError, UnsupportedSql
from gateway.serve.pgwire.commands import writes

log = logging.getLogger("gateway.pgwire")

READ_ONLY = "25006"
# The gateway's codes for conditions of PostgreSQL's, by the condition or by its class.
_CODES = {
    "42601": "parse_error", "42P01": "unknown_table", "3F000": "unknown_table",
    "42703": "unknown_column", "42702": "ambiguous_name", "22": "type_error",
}  # fmt: skip


class WireError(Exception):
    """A condition of the protocol itself, for which the table of codes has no row."""

    def __init__(self, sqlstate: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message
        self.hint = hint
        self.is_audited = False

    @property
    def code(self) -> str:
        """What comes closest among the gateway's own codes, for records and counts."""
        return _CODES.get(self.sqlstate) or _CODES.get(self.sqlstate[:2], UnsupportedSql.code)


class Broken(WireError):
    """After this the connection cannot go on."""


class Left(Exception):
    """The client is no longer there."""


def violation(message: str) -> Broken:
    """Bytes that are no message of the protocol."""
    return Broken("08P01", message, "The client does not speak version 3 of the protocol.")


@dataclass(frozen=True, slots=True)
class Fault:
    """What an ErrorResponse or a NoticeResponse tells; '' and 0 where there is nothing to tell."""

    severity: str
    sqlstate: str
    message: str
    hint: str = ""
    detail: str = ""
    position: int = 0
    product: str = ""
    policy: str = ""

    def body(self) -> bytes:
        """The fields of the message."""
        fields = [
            ("S", self.severity), ("V", self.severity), ("C", self.sqlstate), ("M", self.message),
            ("D", self.detail), ("H", self.hint), ("P", str(self.position or "")),
            # The schema is the product that it is about, the constraint the policy that says no.
            ("s", self.product), ("n", self.policy),
        ]  # fmt: skip
        made = b"".join(
            key.encode() + text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
            for key, text in fields
            if text
        )
        return made + b"\0"


def fault_of(
    error: BaseException, sql: str = "", severity: str = "ERROR", has_places: bool = True
) -> Fault:
    """Any error as a fault; `has_places`: places in the error are those of the text."""
    if isinstance(error, WireError):
        severity = "FATAL" if isinstance(error, Broken) else severity
        return Fault(severity, error.sqlstate, error.message, error.hint)
    if not isinstance(error, SqluiceError):
        log.error("pgwire connection failed", exc_info=error)
        error = InternalError("The gateway failed on this request.")
    sqlstate = error.entry.sqlstate
    if isinstance(error, UnsupportedSql | ParseError) and sql and writes(sql):
        sqlstate = READ_ONLY
    detail = f"{error.code}, query {error.query_id}" if error.query_id else error.code
    place = _position(sql, error.line, error.column) if has_places else 0
    return Fault(
        severity, sqlstate, error.message, error.remedy, detail, place, error.product, error.policy
    )


def _position(sql: str, line: int | None, column: int | None) -> int:
    """The place in the text, counted in characters from 1; 0 where it is not known."""
    if not sql or line is None or column is None or line < 1 or column < 1:
        return 0
    starts = [0, *(found.end() for found in re.finditer("\n", sql))]
    return starts[line - 1] + column if line <= len(starts) else 0
