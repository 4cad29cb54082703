"""The audit: two hash-chained records for each request, refused ones too.

Takes: what the pipeline knows when a request starts and when it ends. Gives: committed records,
their history, their proof. One chain for each `Audit`, which is one for each gateway process.
Never lets a request go on whose `started` record could not be committed, and never shows a
literal that was redacted.

SQLite commits with synchronous=NORMAL (`[state] durable = true` makes it FULL): in WAL mode a
crash of the gateway then loses nothing, and a crash of the machine can only cut the newest
records off, which is found against an exported head, as any cut tail must be. Waiting for the
disk at every record would cost more than most queries.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.config import Config
from gateway.errors import InternalError
from gateway.normalise import normalise
from gateway.state import audit as rows
from gateway.state.engine import moment_text, open_state, reading, writing
from gateway.state.verify import Flaw, Head, Verification, read_heads, verify

__all__ = [
    "Audit",
    "AuditFinish",
    "AuditStart",
    "AuditTicket",
    "AuditedQuery",
    "Flaw",
    "Head",
    "Verification",
    "export_heads",
    "history",
    "read_heads",
    "state_of",
    "verify",
]

NO_TIMINGS: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AuditStart:
    """What is known before the first batch leaves. What a refused request lacks stays empty.

    `columns` are `domain.product.table.column` of what the query reads anywhere; `policies` are
    ids of grants and policies that shaped the decision. `plan` is the plan as text. `actor` is
    who really asks where somebody acts as another. `at` is the request's reading of the clock.
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


@dataclass(frozen=True, slots=True)
class AuditedQuery:
    """A request as the history tells it. `outcome` is unknown where no finish was recorded."""

    query_id: str
    at: str
    user: str
    endpoint: str
    purpose: str | None
    statement: str
    products: tuple[str, ...]
    policies: tuple[str, ...]
    outcome: str
    code: str
    rows: int | None
    bytes: int | None
    seconds: float | None


class Audit:
    """Writes one chain. Every method may be called from any thread."""

    def __init__(
        self, engine: Engine, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Write to a state; the chain begins with the first record."""
        self._engine = engine
        self._clock = clock
        self._lock = threading.Lock()
        self._head = Head("", 0, "")

    @property
    def head(self) -> Head | None:
        """The newest record of this process's chain; None before the first."""
        head = self._head
        return head if head.sequence else None

    def started(self, start: AuditStart) -> AuditTicket:
        """Commit the first record of a request; raises InternalError where that fails."""
        normalised = normalise(start.statement, start.dialect)
        texts = {
            "statement": start.statement,
            "parameters": [None if one is None else str(one) for one in start.parameters],
            "plan": start.plan,
        }
        salt = secrets.token_hex(16)
        redactable = rows.canonical(texts)
        head = self._append(
            {
                "kind": "started",
                "query_id": start.query_id,
                "at": moment_text(start.at),
                "user_name": start.user,
                "actor": start.actor or None,
                "client": start.client,
                "endpoint": start.endpoint,
                "purpose": start.purpose,
                "purpose_was_default": start.purpose_was_default,
                "normalised": normalised,
                "statement_hash": rows.statement_hash(normalised),
                "products": rows.canonical(start.products),
                "columns_read": rows.canonical(start.columns),
                "policies": rows.canonical(start.policies),
                "revision": start.revision,
                "decision": start.decision,
                "salt": salt,
                "redactable": redactable,
                "commitment": rows.commitment(salt, redactable),
            }
        )
        return AuditTicket(start.query_id, head.chain, head.sequence)

    def finished(self, ticket: AuditTicket, finish: AuditFinish) -> None:
        """Commit the second record of a request; raises InternalError where that fails."""
        timings = {name: round(seconds, 6) for name, seconds in finish.timings.items()}
        self._append(
            {
                "kind": "finished",
                "query_id": ticket.query_id,
                "at": moment_text(self._clock()),
                "outcome": finish.outcome,
                "code": finish.code,
                "row_count": finish.rows,
                "byte_count": finish.bytes,
                "timings": rows.canonical(timings),
            }
        )

    def refused(self, start: AuditStart, code: str) -> None:
        """Both records of a request that was refused before it ran."""
        self.finished(self.started(start), AuditFinish("refused", code=code))

    def redact(self, query_id: str, by: str) -> int:
        """Forget the literals of a query; says so in the chain. Gives the number of records."""
        with reading(self._engine) as connection:
            found = [one for one in rows.of_query(connection, query_id) if one["redactable"]]
        for one in found:
            self._append(
                {
                    "kind": "redacted",
                    "query_id": query_id,
                    "at": moment_text(self._clock()),
                    "user_name": by,
                    "normalised": rows.canonical([one["chain"], one["sequence"]]),
                }
            )
            with writing(self._engine) as connection:
                rows.forget_text(connection, one)
        return len(found)

    def export_head(self, path: Path) -> Head | None:
        """Append the present head to a file of JSON lines, which should live elsewhere too."""
        head = self.head
        if head is None:
            return None
        place = {"chain": head.chain, "sequence": head.sequence, "hash": head.hash}
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": moment_text(self._clock()), **place}) + "\n")
        return head

    def _append(self, record: Mapping[str, object]) -> Head:
        """Seal and commit one record behind the head; the head moves only after the commit."""
        with self._lock:
            try:
                if not self._head.chain:
                    self._head = self._declare()
                head = self._head
                place = {"chain": head.chain, "sequence": head.sequence + 1, "previous": head.hash}
                row = rows.sealed({**record, **place})
                with writing(self._engine) as connection:
                    rows.insert_record(connection, row)
            except SQLAlchemyError as error:
                # Whether that commit happened is not known: what follows begins a new chain.
                self._head = Head("", 0, "")
                raise InternalError(
                    "The audit record could not be written, so the request was not served.",
                    private=str(error),
                ) from error
            self._head = Head(head.chain, head.sequence + 1, str(row["hash"]))
            return self._head

    def _declare(self) -> Head:
        chain, at = secrets.token_hex(16), moment_text(self._clock())
        host, process = socket.gethostname()[:200], os.getpid()
        genesis = rows.genesis_hash(chain, at, host, process)
        row = {"chain": chain, "started_at": at, "host": host, "process": process}
        with writing(self._engine) as connection:
            rows.insert_chain(connection, {**row, "genesis": genesis})
        return Head(chain, 0, genesis)


def state_of(config: Config) -> Engine:
    """The state of a gateway, opened and migrated."""
    return open_state(config.state, durable=config.state_settings.durable)


def history(engine: Engine, count: int = 50, user: str | None = None) -> tuple[AuditedQuery, ...]:
    """The newest audited requests, of everybody or of one user, oldest first."""
    with reading(engine) as connection:
        found = rows.latest(connection, count, user)
    return tuple(_audited(started, finished) for started, finished in found)


def _audited(started: Mapping[str, object], finished: Mapping[str, object] | None) -> AuditedQuery:
    end = finished or {}
    text = started["redactable"]
    statement = json.loads(str(text))["statement"] if text else str(started["normalised"])
    timings = json.loads(str(end["timings"])) if finished else {}
    return AuditedQuery(
        query_id=str(started["query_id"]),
        at=str(started["at"]),
        user=str(started["user_name"]),
        endpoint=str(started["endpoint"]),
        purpose=None if started["purpose"] is None else str(started["purpose"]),
        statement=statement,
        products=tuple(json.loads(str(started["products"]))),
        policies=tuple(json.loads(str(started["policies"]))),
        outcome=str(end.get("outcome", "unknown")),
        code=str(end.get("code") or ""),
        rows=_whole(end.get("row_count")),
        bytes=_whole(end.get("byte_count")),
        seconds=timings.get("total"),
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def export_heads(audit: Audit, path: Path, seconds: float) -> Callable[[], None]:
    """Export the head now and then, where it has moved; gives what stops and exports once more."""
    stop = threading.Event()
    exported: list[Head] = []

    def export() -> None:
        head = audit.head
        if head is not None and exported[-1:] != [head]:
            audit.export_head(path)
            exported[:] = [head]

    def run() -> None:
        while not stop.wait(seconds):
            export()

    worker = threading.Thread(target=run, name="audit-heads", daemon=True)
    worker.start()

    def close() -> None:
        stop.set()
        worker.join(timeout=5)
        export()

    return close
