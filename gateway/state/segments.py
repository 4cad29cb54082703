"""Segments: a chain cut in pieces, each sealed with its head, so that old ones may go.

Takes: an open connection. Gives: segments, their seals, and the dropping of one's records. A seal
hashes the seal before it. Never drops what it was not told to, never unseals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, and_, delete, insert, select, update

from gateway.state import audit as rows
from gateway.state.tables import AUDIT_RECORDS, AUDIT_SEGMENTS


@dataclass(frozen=True, slots=True)
class Segment:
    """Records `first` to `last` of a chain; `head` is the hash of the last one.

    `ended_at` is the time of the last record. `dropped_at` and `file_hash` are set once its
    records live only in an exported file.
    """

    chain: str
    number: int
    first: int
    last: int
    ended_at: str
    head: str
    seal: str
    dropped_at: str | None = None
    file_hash: str | None = None

    @property
    def reference(self) -> Mapping[str, object]:
        """What a record of the audit says of it."""
        return {"chain": self.chain, "number": self.number, "seal": self.seal}


def seal_of(previous: str, place: Sequence[object]) -> str:
    """The seal over (chain, number, first, last, ended_at, head), behind the seal before."""
    content = rows.canonical([previous, *place])
    return hashlib.sha256(f"sqluice audit seal 1\n{content}".encode()).hexdigest()


def segments(connection: Connection, chain: str | None = None) -> tuple[Segment, ...]:
    """The segments of a chain, or of all, in order."""
    found = select(AUDIT_SEGMENTS).order_by(AUDIT_SEGMENTS.c.chain, AUDIT_SEGMENTS.c.number)
    if chain is not None:
        found = found.where(AUDIT_SEGMENTS.c.chain == chain)
    return tuple(Segment(*one) for one in connection.execute(found))


def seal(connection: Connection, chain: str) -> Segment | None:
    """Seal what a chain holds behind its last segment; None where that is nothing."""
    before = segments(connection, chain)[-1:]
    row = rows.newest(connection, chain)
    first = before[0].last + 1 if before else 1
    if row is None or int(str(row["sequence"])) < first:
        return None
    number = before[0].number + 1 if before else 1
    last, ended_at, head = int(str(row["sequence"])), str(row["at"]), str(row["hash"])
    place = (chain, number, first, last, ended_at, head)
    made = Segment(*place, seal_of(before[0].seal if before else "", place))
    connection.execute(insert(AUDIT_SEGMENTS), asdict(made))
    return made


def drop(connection: Connection, segment: Segment, dropped_at: str, file_hash: str) -> None:
    """Delete a segment's records and say so in its row."""
    of_segment = and_(
        AUDIT_RECORDS.c.chain == segment.chain,
        AUDIT_RECORDS.c.sequence.between(segment.first, segment.last),
    )
    connection.execute(delete(AUDIT_RECORDS).where(of_segment))
    place = and_(
        AUDIT_SEGMENTS.c.chain == segment.chain, AUDIT_SEGMENTS.c.number == segment.number
    )
    values = {"dropped_at": dropped_at, "file_hash": file_hash}
    connection.execute(update(AUDIT_SEGMENTS).where(place).values(values))
