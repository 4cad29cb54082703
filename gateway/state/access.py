"""Access events: revocations, approvals, rotations of keys, in the order in which they were said.

Takes: events. Gives: rows and their numbers. Never changes or removes one; never decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, text

from gateway.state.tables import ACCESS_EVENTS

_LOCK = 7_080_705_170_33


@dataclass(frozen=True, slots=True)
class AccessEvent:
    """Something that was said about access, beside the files of the mesh.

    kind: revoke and restore (subject: a grant; user '' for everybody), approve (subject: an
    approval, or `widening:` and the id of a widening), lapse (the file dropped the grant), rotate
    (subject: a join group), refresh.
    """

    kind: str
    subject: str
    user: str = ""
    actor: str = ""
    reason: str = ""
    ends_running: bool = False
    at: str = ""
    number: int = 0


def append_event(connection: Connection, event: AccessEvent) -> int:
    """Keep an event; gives its number."""
    if connection.dialect.name == "postgresql":
        # Numbers must become visible in their order, or a reader would skip a late one.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    made = connection.execute(
        insert(ACCESS_EVENTS),
        {
            "at": event.at, "kind": event.kind, "subject": event.subject, "user_name": event.user,
            "actor": event.actor, "reason": event.reason, "ends_running": event.ends_running,
        },
    )  # fmt: skip
    return int(made.inserted_primary_key[0]) if made.inserted_primary_key else 0


def last_number(connection: Connection) -> int:
    """The number of the newest event; 0 where there is none."""
    return connection.scalar(select(func.max(ACCESS_EVENTS.c.number))) or 0


def events_after(connection: Connection, number: int = 0) -> tuple[AccessEvent, ...]:
    """The events after one, oldest first."""
    columns = ACCESS_EVENTS.c
    found = connection.execute(
        select(
            columns.kind, columns.subject, columns.user_name, columns.actor, columns.reason,
            columns.ends_running, columns.at, columns.number,
        ).where(columns.number > number).order_by(columns.number)
    )  # fmt: skip
    return tuple(AccessEvent(*row) for row in found)
