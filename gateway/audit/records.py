"""What is recorded of a request, and the audit that records it.

Takes: what the pipeline knows when a request starts and when it ends. Gives: committed records.
Never lets a request go on whose `started` record could not be committed, and never puts a literal
into a hashed column.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import Engine

from gateway.audit.entitled import KeptValues, Values
from gateway.audit.heads import Head, head_line, sink_of
from gateway.audit.writer import Record, Writer, WriterSettings
from gateway.errors import InternalError
from gateway.normalise import cut
from gateway.state import audit as rows
from gateway.state.engine import moment_text

_REMEMBERED = 1024
NO_TIMINGS: Mapping[str, float] = MappingProxyType({})
NO_VALUES: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AuditStart:
    """What is known before the first batch leaves. What a refused request lacks stays empty.

    `columns` are `domain.product.table.column` of what the bound tree reads; `products` are
    `domain.product@version`; `policies` are ids of grants and policies that shaped the decision,
    `reasons` say how (subject, outcome, policy). `lineage` are edges (output or None, column,
    kind, masked). `plan` is the plan as a caller may see it. `principal` and `session` are what
    the decision depends on besides. `actor` is who really asks where somebody acts as another.
    `at` is the request's reading of the clock.
    """

    query_id: str
    at: datetime
    user: str
    statement: str
    client: str = ""
    endpoint: str = ""
    dialect: str = "duckdb"
    actor: str = ""
    parameters: tuple[object, ...] = ()
    purpose: str | None = None
    purpose_was_default: bool = False
    products: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    revision: str = ""
    decision: str = ""
    plan: str = ""
    verdict: str = ""
    reasons: tuple[tuple[str, str, str], ...] = ()
    lineage: tuple[tuple[str | None, str, str, bool], ...] = ()
    principal: Mapping[str, object] = field(default_factory=lambda: NO_VALUES, hash=False)
    session: Mapping[str, object] = field(default_factory=lambda: NO_VALUES, hash=False)


@dataclass(frozen=True, slots=True)
class AuditFinish:
    """How a request ended: `outcome` is ok, refused, failed, cancelled; `code` an error's code.

    `timings` are seconds by stage.
    """

    outcome: str
    rows: int = 0
    bytes: int = 0
    timings: Mapping[str, float] = field(default_factory=lambda: NO_TIMINGS, hash=False)
    code: str = ""


@dataclass(frozen=True, slots=True)
class AuditTicket:
    """What `started` gives and `finished` wants back."""

    query_id: str
    chain: str
    sequence: int


class Starting:
    """A first record on its way into the chain."""

    def __init__(
        self, query_id: str, commit: Callable[[], Head], has_failed: Callable[[], bool]
    ) -> None:
        self.query_id = query_id
        self.has_failed = has_failed
        self._commit = commit

    def committed(self) -> AuditTicket:
        """Wait until it is there; raises InternalError where that fails."""
        head = self._commit()
        return AuditTicket(self.query_id, head.chain, head.sequence)


class Audit:
    """Writes one chain. Every method may be called from any thread."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        settings: WriterSettings | None = None,
    ) -> None:
        """Write to a state; the chain begins with the first record."""
        self._clock = clock
        self._writer = Writer(engine, clock, settings)
        self._values = KeptValues(engine, clock)

    @property
    def head(self) -> Head | None:
        """The newest record of this process's chain; None before the first."""
        head = self._writer.head
        return head if head.sequence else None

    @property
    def commits(self) -> int:
        """How many transactions have been committed."""
        return self._writer.commits

    def keep(self, values: Values) -> str:
        """Keep what entitlement tables gave; the reference goes into the record that follows."""
        return self._values.keep(values)

    def started(self, start: AuditStart) -> AuditTicket:
        """Commit the first record of a request; raises InternalError where that fails."""
        return self.starting(start).committed()

    def starting(self, start: AuditStart) -> Starting:
        """Begin to commit the first record of a request, which may go on to its first batch."""
        entry = self._writer.begin(_started(start))
        return Starting(
            start.query_id,
            lambda: self._writer.committed(entry)[0],
            lambda: entry.failure is not None,
        )

    def finished(self, ticket: AuditTicket | Starting, finish: AuditFinish) -> None:
        """Commit the second record of a request; raises InternalError where that fails."""
        self._writer.append(self._finished(ticket.query_id, finish))

    def ended(self, ticket: AuditTicket | Starting, finish: AuditFinish) -> None:
        """Have the second record of a request committed soon; the request does not wait for it.

        Where that fails its outcome reads unknown, as after a crash. What never began has no end:
        while nothing can be written, none of those that were refused piles up.
        """
        if isinstance(ticket, Starting) and ticket.has_failed():
            return
        self._writer.leave(self._finished(ticket.query_id, finish))

    def told(self, start: AuditStart, finish: AuditFinish) -> None:
        """Commit both records of a request that has nothing to wait for."""
        try:
            self._writer.append(_started(start), self._finished(start.query_id, finish))
        except InternalError as error:
            error.query_id = start.query_id
            raise

    def refused(self, start: AuditStart, code: str) -> None:
        """Both records of a request that was refused before it ran."""
        self.told(start, AuditFinish("refused", code=code))

    def sign_in_failed(
        self, user: str, code: str, endpoint: str = "", is_known: bool = False, address: str = ""
    ) -> None:
        """A failed sign-in. A name that nobody has may be a password: it stays redactable."""
        commitments, kept = rows.committed([] if is_known else [rows.storable(user)])
        self.note(
            kind="sign_in",
            user_name=user if is_known else None,
            endpoint=endpoint,
            outcome="refused",
            code=code,
            principal=rows.canonical({"address": address}),
            commitments=rows.canonical([["user", 0, one] for one in commitments]),
            redactable=kept,
        )

    def approved(self, by: str, content: Mapping[str, object]) -> None:
        """Somebody approved what the files of a domain may not bring about by themselves."""
        self.note("approved", user_name=by, content=rows.canonical(content))

    def token(self, by: str, user: str, content: Mapping[str, object]) -> None:
        """Somebody made, rotated or revoked an API token of a user."""
        self.note("token", user_name=user, actor=by, content=rows.canonical(content))

    def note(self, kind: str, **values: object) -> Head:
        """Commit a record that is about no request."""
        record = {"kind": kind, "query_id": "", "at": moment_text(self._clock()), **values}
        return self._writer.append(record)[0]

    def export_head(self, target: Path | str) -> Head | None:
        """Append the present head to a file of JSON lines, or post it; either should lie elsewhere.

        Raises OSError where that cannot be done.
        """
        head = self.head
        if head is not None:
            sink_of(target)(head_line(head, self._clock()))
        return head

    def close(self) -> None:
        """Write what waits and end the thread that writes."""
        self._writer.close()

    def _finished(self, query_id: str, finish: AuditFinish) -> Record:
        timings = {name: round(seconds, 6) for name, seconds in finish.timings.items()}
        return {
            "kind": "finished",
            "query_id": query_id,
            "at": moment_text(self._clock()),
            "outcome": finish.outcome,
            "code": finish.code,
            "row_count": finish.rows,
            "byte_count": finish.bytes,
            "timings": rows.canonical(timings),
        }


def _started(start: AuditStart) -> Record:
    statement = cut(rows.storable(start.statement), start.dialect)
    plan = cut(rows.storable(start.plan))
    places: list[tuple[str, int]] = []
    literals: list[str] = []
    for what, one in (("statement", statement), ("plan", plan)):
        places += [(what, offset) for offset, _ in one.literals]
        literals += [text for _, text in one.literals]
    for number, value in enumerate(start.parameters):
        if value is not None:
            places.append(("parameter", number))
            literals.append(rows.storable(str(value)))
    commitments, kept = rows.committed(literals)
    return {
        "kind": "started",
        "query_id": start.query_id,
        "at": moment_text(start.at),
        "user_name": start.user,
        "actor": start.actor or None,
        "client": start.client,
        "endpoint": start.endpoint,
        "dialect": start.dialect,
        "session": rows.canonical(
            {**start.session, "parameters": [type(one).__name__ for one in start.parameters]}
        ),
        "principal": rows.canonical(dict(start.principal)),
        "purpose": start.purpose,
        "purpose_was_default": start.purpose_was_default,
        "normalised": statement.text,
        "statement_hash": rows.statement_hash(statement.normalised),
        "products": _list(start.products),
        "columns_read": _list(start.columns),
        "policies": _list(start.policies),
        "revision": start.revision,
        "decision": start.decision,
        "verdict": start.verdict,
        "reasons": _list(start.reasons),
        "lineage": _list(start.lineage),
        "plan": plan.text,
        "commitments": rows.canonical(
            [[what, at, one] for (what, at), one in zip(places, commitments, strict=True)]
        ),
        "redactable": kept,
    }


@functools.lru_cache(maxsize=_REMEMBERED)
def _list(values: tuple[object, ...]) -> str:
    """The list as JSON; most requests of a plan have the very same ones."""
    return rows.canonical(values)
