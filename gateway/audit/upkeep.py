"""What is done to the audit later: forget literals, seal chains, move old segments to files.

Takes: state, and an `Audit` that records what is done in a chain of its own. Gives: what was
done. Never changes a hashed column, never drops what is not sealed, exported and read back, and
keeps every record of upkeep: without them nobody could tell a drop from a theft.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from gateway.audit.entitled import drop_unnamed
from gateway.audit.records import Audit
from gateway.audit.verify import Flaw
from gateway.errors import InvalidConfig
from gateway.state import audit as rows
from gateway.state.engine import moment_text, reading, writing
from gateway.state.segments import Segment, drop, seal, segments

_KEPT_KINDS = frozenset({"redacted", "dropped"})


@dataclass(frozen=True, slots=True)
class Redaction:
    """Whose literals go: those of one query, of one user, or all that hold one text."""

    query_id: str | None = None
    user: str | None = None
    holding: str | None = None


def redact(audit: Audit, engine: Engine, what: Redaction, by: str) -> int:
    """Forget literals, and say so in the chain first; gives the number of records."""
    with reading(engine) as connection:
        found = list(_concerned(_candidates(connection, what), what.holding))
    for row, places in found:
        content = {"chain": row["chain"], "sequence": row["sequence"], "literals": places}
        audit.note("redacted", query_id=row["query_id"], user_name=by,
                   content=rows.canonical(content))
        with writing(engine) as connection:
            rows.forget(connection, row, places)
    if found:
        _clear_leftovers(engine)
    return len(found)


def _candidates(connection: Connection, what: Redaction) -> Iterable[rows.Row]:
    if what.query_id is not None:
        return [one for one in rows.of_query(connection, what.query_id) if one["redactable"]]
    return rows.with_literals(connection, what.user)


def _concerned(
    found: Iterable[rows.Row], holding: str | None
) -> Iterator[tuple[rows.Row, list[int]]]:
    for row in found:
        if row["commitments"] is None:
            if holding is None or holding in str(row["redactable"]):
                yield row, [-1]
            continue
        places = [
            at
            for at, one in enumerate(rows.kept_literals(row))
            if one is not None and (holding is None or holding in one[1])
        ]
        if places:
            yield row, places


def _clear_leftovers(engine: Engine) -> None:
    """What was overwritten also leaves the database's own log and dead rows, as far as it can."""
    connecting = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with connecting as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("VACUUM audit_records"))
        else:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def seal_all(audit: Audit, engine: Engine, idle: timedelta, now: datetime) -> tuple[Segment, ...]:
    """Seal what ended: the open ends of chains whose newest record is older than `idle`."""
    before, sealed = moment_text(now - idle), []
    with reading(engine) as connection:
        names = [str(one["chain"]) for one in rows.chains(connection)]
    for name in names:
        with writing(engine) as connection:
            last = rows.newest(connection, name)
            made = seal(connection, name) if last and str(last["at"]) <= before else None
        if made is not None:
            audit.note("sealed", content=rows.canonical(made.reference))
            sealed.append(made)
    return tuple(sealed)


def drop_old(
    audit: Audit, engine: Engine, before: datetime, folder: Path
) -> tuple[tuple[Segment, Path], ...]:
    """Move sealed segments that ended before a time to files: written, read back, then dropped.

    A segment goes only behind those before it; records of upkeep stay. What entitlement tables
    gave goes with the last record that names it.
    """
    limit, moved = moment_text(before), []
    with reading(engine) as connection:
        known = segments(connection)
    stopped: set[str] = set()
    for one in known:
        if one.dropped_at is not None or one.chain in stopped:
            continue
        if one.ended_at >= limit or _holds_upkeep(engine, one):
            stopped.add(one.chain)
            continue
        path = folder / f"audit-{one.chain}-{one.number}.jsonl"
        file_hash = _export(engine, one, path)
        flaws = check_file(engine, path)
        if flaws:
            raise InvalidConfig(
                f"Segment {one.number} of chain {one.chain} does not hold: {flaws[0].what}.",
                hint="Run `sqluice audit verify`; nothing of this segment was dropped.",
            )
        reference = {**one.reference, "file_hash": file_hash}
        audit.note("dropped", content=rows.canonical(reference))
        with writing(engine) as connection:
            drop(connection, one, moment_text(datetime.now(UTC)), file_hash)
        moved.append((one, path))
    if moved:
        drop_unnamed(engine, datetime.now(UTC))
    return tuple(moved)


def _holds_upkeep(engine: Engine, one: Segment) -> bool:
    with reading(engine) as connection:
        found = rows.records(connection, one.chain, one.first, one.last)
        return any(row["kind"] in _KEPT_KINDS for row in found)


def _export(engine: Engine, one: Segment, path: Path) -> str:
    """Write a segment's rows to a new file, wait for the disk; gives the hash of the file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    # Written beside and renamed: a file of this name is whole.
    part = path.with_suffix(".part")
    with reading(engine) as connection, part.open("wb") as file:
        for row in rows.records(connection, one.chain, one.first, one.last):
            line = rows.canonical(dict(row)).encode() + b"\n"
            digest.update(line)
            file.write(line)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return digest.hexdigest()


def check_file(engine: Engine, path: Path) -> tuple[Flaw, ...]:
    """Recompute an exported segment and compare it with its seal in state."""
    found = _read_segment(path)
    if not found:
        return (Flaw("", 0, f"{path.name} holds no records"),)
    chain, first = str(found[0]["chain"]), int(str(found[0]["sequence"]))
    with reading(engine) as connection:
        known = [one for one in segments(connection, chain) if one.first == first]
        forms = {str(one["chain"]): int(str(one["format"])) for one in rows.chains(connection)}
    if not known:
        return (Flaw(chain, first, "no sealed segment begins with this record"),)
    return tuple(_flaws_of_file(found, known[0], forms[chain]))


def _read_segment(path: Path) -> Sequence[rows.Row]:
    try:
        return [json.loads(one) for one in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        raise InvalidConfig(
            f"{path.name} is no exported segment of the audit.",
            hint="Name a file that `sqluice audit seal --drop-to` wrote.",
        ) from None


def _flaws_of_file(found: Sequence[rows.Row], one: Segment, form: int) -> Iterator[Flaw]:
    previous: object = found[0].get("previous")
    for at, row in enumerate(found):
        sequence = one.first + at
        try:
            holds = (
                (row["chain"], row["sequence"], row["previous"]) == (one.chain, sequence, previous)
                and rows.record_hash(row, form) == row["hash"]
            )
        except KeyError:
            holds = False
        if not holds:
            yield Flaw(one.chain, sequence, "the record was changed, removed or re-ordered")
            return
        previous = row["hash"]
    if (one.first + len(found) - 1, previous) != (one.last, one.head):
        yield Flaw(one.chain, one.first + len(found), "the file does not end with the seal's head")
