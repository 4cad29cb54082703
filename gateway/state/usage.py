"""What quotas have counted, by user, policy and period.

Takes: amounts. Gives: totals. Never decides whether a total is too much.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from gateway.state.tables import QUOTA_USAGE


@dataclass(frozen=True, slots=True)
class Used:
    """What was taken in one period."""

    requests: int = 0
    rows: int = 0
    bytes: int = 0
    milliseconds: int = 0


def used(connection: Connection, user: str, policy: str, period: str) -> Used:
    """The totals of a period."""
    columns = QUOTA_USAGE.c
    asked = select(
        columns.requests, columns.row_count, columns.byte_count, columns.milliseconds
    ).where(columns.user_name == user, columns.policy == policy, columns.period == period)
    row = connection.execute(asked.with_for_update()).one_or_none()
    return Used() if row is None else Used(*row)


def add_usage(connection: Connection, user: str, policy: str, period: str, more: Used) -> None:
    """Count something; forgets the earlier periods of that policy for him."""
    columns = QUOTA_USAGE.c
    mine = (columns.user_name == user, columns.policy == policy)
    changed = connection.execute(
        update(QUOTA_USAGE)
        .where(*mine, columns.period == period)
        .values(
            requests=columns.requests + more.requests,
            row_count=columns.row_count + more.rows,
            byte_count=columns.byte_count + more.bytes,
            milliseconds=columns.milliseconds + more.milliseconds,
        )
    )
    if changed.rowcount:
        return
    connection.execute(delete(QUOTA_USAGE).where(*mine, columns.period < period))
    connection.execute(
        insert(QUOTA_USAGE),
        {
            "user_name": user, "policy": policy, "period": period, "requests": more.requests,
            "row_count": more.rows, "byte_count": more.bytes, "milliseconds": more.milliseconds,
        },
    )  # fmt: skip
