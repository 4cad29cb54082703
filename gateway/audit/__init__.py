"""The audit: two hash-chained records for each request, refused ones too; failed sign-ins.

Takes: what the pipeline knows when a request starts and when it ends. Gives: committed records,
their history, their proof, their export. One chain for each `Audit`, which is one for each
gateway process. Never lets a request go on whose `started` record could not be committed, and
never shows a literal that was redacted.

SQLite commits with synchronous=NORMAL (`[state] durable = true` makes it FULL): in WAL mode a
crash of the gateway then loses nothing, and a crash of the machine can only cut the newest
records off, which is found against an exported head, as any cut tail must be. Requests that come
together share one commit.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from gateway.audit.entitled import kept_values
from gateway.audit.heads import (
    Head,
    export_on_schedule,
    head_line,
    heads_of,
    read_heads,
    sink_of,
)
from gateway.audit.reading import CATALOG, AuditedQuery, history, request_of, requests
from gateway.audit.records import Audit, AuditFinish, AuditStart, AuditTicket, Starting
from gateway.audit.upkeep import Redaction, check_file, drop_old, redact, seal_all
from gateway.audit.verify import Flaw, Verification, verify
from gateway.audit.writer import WriterSettings
from gateway.config import Config
from gateway.state.engine import open_state

__all__ = [
    "CATALOG",
    "Audit",
    "AuditFinish",
    "AuditStart",
    "AuditTicket",
    "AuditedQuery",
    "Flaw",
    "Head",
    "Redaction",
    "Starting",
    "Verification",
    "WriterSettings",
    "check_file",
    "drop_old",
    "export_on_schedule",
    "head_line",
    "heads_of",
    "history",
    "kept_values",
    "read_heads",
    "redact",
    "request_of",
    "requests",
    "seal_all",
    "sink_of",
    "state_if_there",
    "state_of",
    "verify",
]


def state_if_there(config: Config) -> Engine | None:
    """The state of a gateway; None where it is a file that nobody made yet."""
    path = make_url(config.state).database if config.state.startswith("sqlite") else None
    return state_of(config) if path is None or Path(path).is_file() else None


def state_of(config: Config) -> Engine:
    """The state of a gateway, opened and migrated."""
    return open_state(config.state, durable=config.state_settings.durable)
