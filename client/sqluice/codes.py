"""The one table of error codes.

Takes: nothing. Gives: `CODES`, one `Code` for every error that sqluice can answer with, used by
every endpoint to write the wire and by every client to rebuild the class. Never imports anything
but the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Code:
    """One error code and what every protocol makes of it.

    `pep249` is the name of the DB-API class, `grpc` the canonical gRPC status name.
    """

    name: str
    http: int
    grpc: str
    sqlstate: str
    pep249: str
    retryable: bool
    remedy: str


_TABLE = (
    Code("parse_error", 400, "INVALID_ARGUMENT", "42601", "ProgrammingError", False,
         "Correct the statement at the line and column given."),
    Code("unsupported_sql", 400, "UNIMPLEMENTED", "0A000", "NotSupportedError", False,
         "Rewrite the statement without the construct named; docs/sql.md lists what is served."),
    Code("unknown_table", 404, "NOT_FOUND", "42P01", "ProgrammingError", False,
         "List what you may query with SHOW TABLES; EXPLAIN POLICY writes a request for access."),
    Code("unknown_column", 400, "NOT_FOUND", "42703", "ProgrammingError", False,
         "List the columns you may use with DESCRIBE."),
    Code("ambiguous_name", 400, "INVALID_ARGUMENT", "42702", "ProgrammingError", False,
         "Write the name with its table, or the table with its domain."),
    Code("type_error", 400, "INVALID_ARGUMENT", "42804", "DataError", False,
         "Correct the types or the constant named; cast explicitly where a conversion is meant."),
    Code("access_denied", 403, "PERMISSION_DENIED", "42501", "ProgrammingError", False,
         "Ask for the right named; EXPLAIN POLICY, written before a query, tells the smallest."),
    Code("purpose_required", 403, "PERMISSION_DENIED", "28P50", "ProgrammingError", False,
         "Declare one of the purposes listed, for example SET purpose = '...'; EXPLAIN POLICY, "
         "written before the query, tells the smallest grant for another."),
    Code("quality_gate", 409, "FAILED_PRECONDITION", "55P50", "OperationalError", False,
         "The product fails a quality rule that the query requires; see its page or relax it."),
    Code("stale_data", 409, "FAILED_PRECONDITION", "55P51", "OperationalError", True,
         "The product is older than the query allows; try later or relax it."),
    Code("rate_limited", 429, "RESOURCE_EXHAUSTED", "53400", "OperationalError", True,
         "Wait as long as the answer says, then send the request again."),
    Code("limit_exceeded", 413, "RESOURCE_EXHAUSTED", "54000", "OperationalError", False,
         "Narrow the query, or ask for a higher limit."),
    Code("source_unavailable", 503, "UNAVAILABLE", "08001", "OperationalError", True,
         "Try again later; the owner of the product has been told."),
    Code("source_error", 502, "INTERNAL", "HV000", "OperationalError", False,
         "Give the query id to the owner of the product; the full text is in his log."),
    Code("timeout", 504, "DEADLINE_EXCEEDED", "57014", "OperationalError", True,
         "Narrow the query, or ask for a longer time limit."),
    Code("cancelled", 499, "CANCELLED", "57014", "OperationalError", False,
         "The query was cancelled; send it again if you still want the answer."),
    Code("unauthenticated", 401, "UNAUTHENTICATED", "28000", "OperationalError", False,
         "Sign in with a valid user and password, or a valid token."),
    Code("invalid_config", 500, "FAILED_PRECONDITION", "F0000", "OperationalError", False,
         "Correct the file named and run `sqluice check`."),
    Code("conflict", 409, "ABORTED", "40001", "OperationalError", False,
         "Read the present state and apply the change to that."),
    Code("internal", 500, "INTERNAL", "XX000", "InternalError", False,
         "Give the query id to the operator of the gateway."),
)

CODES: Mapping[str, Code] = MappingProxyType({code.name: code for code in _TABLE})


def code_of(name: str) -> Code:
    """The code of that name; an unknown name, from a newer server, reads as `internal`."""
    return CODES.get(name, CODES["internal"])
