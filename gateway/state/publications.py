"""Publications: which revision came into force when, in order.

Takes: a revision that is recorded. Gives: rows that are written once; the newest is in force.
Never decides whether a revision may come into force.
"""

from __future__ import annotations

import os
import socket

from sqlalchemy import Connection, insert, select

from gateway.state.tables import PUBLICATIONS


def in_force(connection: Connection) -> str | None:
    """The revision that came into force last."""
    newest = select(PUBLICATIONS.c.revision).order_by(PUBLICATIONS.c.number.desc()).limit(1)
    found = connection.scalar(newest)
    return None if found is None else str(found)


def past_revisions(connection: Connection) -> tuple[str, ...]:
    """Revisions that were in force, newest first, each once."""
    asked = select(PUBLICATIONS.c.revision).order_by(PUBLICATIONS.c.number.desc())
    return tuple(dict.fromkeys(str(one) for one in connection.scalars(asked)))


def publish(connection: Connection, revision: str, at: str, actor: str = "") -> None:
    """The revision is in force from now on. `actor` '' is a gateway that read its folder."""
    process = f"{socket.gethostname()[:200]} {os.getpid()}"
    row = {"revision": revision, "at": at, "actor": actor, "process": process}
    connection.execute(insert(PUBLICATIONS), row)
