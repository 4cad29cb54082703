"""A question to the catalogs of an endpoint: counted, bounded and recorded as every statement is.

Takes: a request, and from whoever answers it how it ended. Gives: a turn, records, counts. Never
answers it, never lets an answer leave whose records are not committed.

Clients ask by the dozen what people ask once: psql's `\\d` of a table is up to a dozen statements,
a tool that opens its tree is fifty. Of the budget of requests a bundle of them takes one (`limits`
says how many), so that browsing shuts nobody out of his queries, and no flood of it is free. In
all else each is a statement of its own: a turn of those that run at once, a deadline, a place
among the running queries, two records, a count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from gateway.audit import CATALOG, AuditFinish
from gateway.errors import InternalError, SqluiceError
from gateway.metrics import Ended
from gateway.prepare import Services
from gateway.recording import audit_start, trace_brief
from gateway.request import Request
from gateway.snapshot import Snapshot

_STOPPED = frozenset({"cancelled", "timeout"})
# What is said of a question before any of it runs; with another code it ran, and failed.
_REFUSED = frozenset({
    "parse_error", "unsupported_sql", "unknown_table", "unknown_column", "ambiguous_name",
    "access_denied", "rate_limited",
})  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """How it ends, told by whoever answers; `code` of the error, '' where it ends well."""

    rows: int = 0
    bytes: int = 0
    code: str = ""
    began: float = field(default_factory=time.perf_counter)


@contextmanager
def browsing(
    services: Services,
    snapshot: Snapshot,
    request: Request,
    stop: Callable[[SqluiceError | None], None],
) -> Iterator[Outcome]:
    """The time in which it runs; `stop` may be called from any thread."""
    try:
        services.queries.require_open()
        services.limiter.enter(request.principal, in_bundle=True)
    except SqluiceError as error:
        error.query_id, error.is_audited = request.query_id, True
        refuse(services, snapshot, request, error.code)
        raise
    outcome = Outcome()
    try:
        services.queries.started(request, stop)
        yield outcome
    except BaseException as error:
        if isinstance(error, SqluiceError):
            outcome.code = error.code
            error.query_id, error.is_audited = request.query_id, True
        outcome.code = outcome.code or InternalError.code
        raise
    finally:
        services.limiter.leave(request.principal)
        _record(services, snapshot, request, outcome)


def refuse(services: Services, snapshot: Snapshot, request: Request, code: str) -> None:
    """Record a question that is refused before it has a turn."""
    _record(services, snapshot, request, Outcome(code=code))


def _record(services: Services, snapshot: Snapshot, request: Request, outcome: Outcome) -> None:
    seconds = time.perf_counter() - outcome.began
    ended = _ended(outcome.code)
    services.queries.finished(request.query_id, ended, outcome.code)
    services.metrics.ended(
        Ended(request.endpoint, outcome.code, outcome.rows, outcome.bytes, seconds)
    )
    trace_brief(request, services, outcome.code)
    start = audit_start(request, snapshot, None, services)
    services.audit.told(
        replace(start, session={**start.session, **CATALOG}),
        AuditFinish(ended, outcome.rows, outcome.bytes, {"total": seconds}, outcome.code),
    )


def _ended(code: str) -> str:
    if not code:
        return "ok"
    if code in _STOPPED:
        return "cancelled"
    return "refused" if code in _REFUSED else "failed"
