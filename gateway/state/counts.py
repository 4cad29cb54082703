"""How many rows of a shape a decision let through, as powers of ten.

Takes: counts by decision and shape. Gives: the newest of them. Never more than is asked to be
kept: the oldest go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from gateway.state.tables import OBSERVED_COUNTS


@dataclass(frozen=True, slots=True)
class CountRow:
    """A count. power: of ten."""

    decision: str
    shape: str
    revision: str
    power: int
    at: str


def count_rows(connection: Connection, most: int, since: str = "") -> Sequence[CountRow]:
    """The newest counts, since a moment, oldest first."""
    columns = OBSERVED_COUNTS.c
    asked = (
        select(columns.decision, columns.shape, columns.revision, columns.power, columns.at)
        .where(columns.at >= since)
        .order_by(columns.at.desc())
    )
    return [CountRow(*row) for row in connection.execute(asked.limit(most))][::-1]


def put_count(connection: Connection, row: CountRow) -> None:
    """Keep a count in the place of the earlier one."""
    columns = OBSERVED_COUNTS.c
    changed = connection.execute(
        update(OBSERVED_COUNTS)
        .where(columns.decision == row.decision, columns.shape == row.shape)
        .values(revision=row.revision, power=row.power, at=row.at)
    )
    if not changed.rowcount:
        connection.execute(
            insert(OBSERVED_COUNTS),
            {
                "decision": row.decision, "shape": row.shape, "revision": row.revision,
                "power": row.power, "at": row.at,
            },
        )  # fmt: skip


def forget_counts(connection: Connection, most: int) -> None:
    """Keep only so many, the newest."""
    columns = OBSERVED_COUNTS.c
    asked = select(columns.at).order_by(columns.at.desc()).offset(most).limit(1)
    last = connection.scalar(asked)
    if last is not None:
        connection.execute(delete(OBSERVED_COUNTS).where(columns.at <= last))
