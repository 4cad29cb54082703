"""Requests for tests of the audit.

Takes: a state. Gives: an honest chain. Never leaves a record open but on purpose.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Engine

from gateway.audit import Audit, AuditFinish, AuditStart, WriterSettings

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
START = AuditStart(
    query_id="q1",
    at=NOW,
    user="nora",
    statement="SELECT count(*) FROM operations.departures WHERE carrier = 'UA' AND month > 6",
    client="adbc",
    endpoint="flight",
    parameters=("O'Hare", 7, None),
    purpose="network-planning",
    products=("operations.departures@1.0.0",),
    columns=("operations.departures.flights.carrier", "operations.departures.flights.month"),
    policies=("operations.staff-read",),
    revision="r1",
    decision="d1",
    verdict="allowed",
    reasons=(("operations.departures.flights", "granted, all rows", "operations.staff-read"),),
    lineage=(
        ("n", "operations.departures.flights.month", "aggregation", False),
        ("n", "operations.departures.flights.tailnum", "identity", True),
        (None, "operations.departures.flights.carrier", "filter", False),
    ),
    principal={"groups": ["staff"], "roles": [], "attributes": {}},
    session={"domain": None, "timezone": "UTC"},
    plan="SELECT 1 WHERE carrier = 'UA'",
)


def some_requests(
    state: Engine, count: int = 3, settings: WriterSettings | None = None, user: str = "nora"
) -> Audit:
    """An audit with that many requests, `q0`, `q1` ... of one user."""
    audit = Audit(state, lambda: NOW, settings)
    for number in range(count):
        ticket = audit.started(replace(START, query_id=f"q{number}", user=user))
        audit.finished(ticket, AuditFinish("ok", 10 * number, 80, {"total": 0.25}))
    return audit
