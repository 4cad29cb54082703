"""Sealed keys of pseudonyms, one row for each join group and epoch.

Takes: sealed bytes. Gives: rows. Never sees a key in the clear, never removes one.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from gateway.state.tables import PSEUDONYM_KEYS


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as state keeps it."""

    join_group: str
    epoch: int
    sealed: bytes
    created_at: str
    created_by: str


def insert_key(connection: Connection, row: KeyRow) -> None:
    """Keep a key; fails where the epoch has one."""
    connection.execute(
        insert(PSEUDONYM_KEYS),
        {
            "join_group": row.join_group, "epoch": row.epoch, "sealed": row.sealed,
            "created_at": row.created_at, "created_by": row.created_by,
        },
    )  # fmt: skip


def last_epoch(connection: Connection, join_group: str) -> int:
    """The newest epoch of a join group; 0 where it has never been rotated."""
    newest = select(func.max(PSEUDONYM_KEYS.c.epoch)).where(
        PSEUDONYM_KEYS.c.join_group == join_group
    )
    return connection.scalar(newest) or 0


def sealed_key(connection: Connection, join_group: str, epoch: int) -> bytes | None:
    """The sealed key of an epoch."""
    columns = PSEUDONYM_KEYS.c
    asked = select(columns.sealed).where(
        columns.join_group == join_group, columns.epoch == epoch
    )
    found = connection.scalar(asked)
    return None if found is None else bytes(found)


def key_rows(connection: Connection) -> tuple[KeyRow, ...]:
    """All rows, by join group and epoch."""
    ordered = select(PSEUDONYM_KEYS).order_by(PSEUDONYM_KEYS.c.join_group, PSEUDONYM_KEYS.c.epoch)
    return tuple(KeyRow(*row) for row in connection.execute(ordered))
