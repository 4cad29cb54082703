"""Publications: which revision came into force when, in order.

Takes: a revision that is recorded. Gives: rows that are written once; the newest is in force.
Never decides whether a revision may come into force.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from gateway.state.tables import PUBLICATIONS


@dataclass(frozen=True, slots=True)
class Publication:
    """From when on a revision was served.

    `actor` is who published it, '' where a gateway read its folder; `process` which gateway did so
    first, '' where that is not known.
    """

    number: int
    at: str
    revision: str
    actor: str
    process: str


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


def publications(
    connection: Connection, until: str | None = None, count: int = 50
) -> tuple[Publication, ...]:
    """The newest publications up to a time, newest first."""
    columns = PUBLICATIONS.c
    newest = select(PUBLICATIONS).order_by(columns.number.desc()).limit(count)
    if until is not None:
        # By time first: the clocks of two processes may differ.
        newest = newest.where(columns.at <= until).order_by(None)
        newest = newest.order_by(columns.at.desc(), columns.number.desc())
    return tuple(Publication(*row) for row in connection.execute(newest))


def publication_of(connection: Connection, revision: str, until: str) -> Publication | None:
    """The newest publication of one revision up to a time."""
    columns = PUBLICATIONS.c
    found = select(PUBLICATIONS).where(columns.revision == revision, columns.at <= until)
    row = connection.execute(found.order_by(columns.at.desc(), columns.number.desc())).first()
    return None if row is None else Publication(*row)
