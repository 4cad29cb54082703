"""What was found of the abilities of sources: certificates, and single abilities switched off.

Takes: events. Gives: rows and their numbers. Never changes or removes one; never decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, text

from gateway.state.tables import ABILITY_EVENTS

_LOCK = 7_080_705_170_34


@dataclass(frozen=True, slots=True)
class AbilityEvent:
    """Something that was found of a source.

    kind: `certified` (content: the ability file) or `off` (ability: what is not used any more;
    content: the evidence). fingerprint: of the version and settings that were met.
    """

    kind: str
    source: str
    fingerprint: str = ""
    ability: str = ""
    actor: str = ""
    query_id: str = ""
    content: str = "{}"
    at: str = ""
    number: int = 0


def append_ability_event(connection: Connection, event: AbilityEvent) -> int:
    """Keep an event; gives its number."""
    if connection.dialect.name == "postgresql":
        # Numbers must become visible in their order, or a reader would skip a late one.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    made = connection.execute(
        insert(ABILITY_EVENTS).returning(ABILITY_EVENTS.c.number),
        {
            "at": event.at, "kind": event.kind, "source": event.source,
            "fingerprint": event.fingerprint, "ability": event.ability, "actor": event.actor,
            "query_id": event.query_id, "content": event.content,
        },
    )  # fmt: skip
    return int(made.scalar_one())


def last_ability_number(connection: Connection) -> int:
    """The number of the newest event; 0 where there is none."""
    return connection.scalar(select(func.max(ABILITY_EVENTS.c.number))) or 0


def ability_events(
    connection: Connection, after: int = 0, source: str = ""
) -> tuple[AbilityEvent, ...]:
    """The events after one, oldest first; of one source, or of all."""
    columns = ABILITY_EVENTS.c
    asked = select(
        columns.kind, columns.source, columns.fingerprint, columns.ability, columns.actor,
        columns.query_id, columns.content, columns.at, columns.number,
    ).where(columns.number > after)  # fmt: skip
    if source:
        asked = asked.where(columns.source == source)
    return tuple(AbilityEvent(*row) for row in connection.execute(asked.order_by(columns.number)))
