"""What a gateway holds, seen from outside and as it says itself.

Takes: a place. Gives: counts. Never changes what it counts: its one connection to PostgreSQL has a
name of its own.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.served import basic
from tests.soak.place import Place

_RUNNING = re.compile(r"^sqluice_running (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one moment. `sessions` are connections to PostgreSQL, `active` those that are not idle;
    `statements` tells what runs, in words."""

    running: int
    active: int
    sessions: int
    sockets: int
    descriptors: int
    threads: int
    files: tuple[str, ...]
    memory: int
    statements: tuple[str, ...] = ()


def counts(place: Place) -> Counts:
    """What is held now; memory in bytes."""
    served = place.served
    home = Path("/proc") / str(served.pid)
    sessions, active = _at_source(served.source)
    links = _links(home / "fd")
    running = _RUNNING.search(served.ask("/metrics").body.decode())
    assert running is not None
    listed = served.ask("/v1/queries", Authorization=basic("ola")).json["queries"]
    left = [str(one) for folder in (place.temporary, place.spill) for one in folder.rglob("*")]
    # What is deleted and still open is in no folder.
    left += [one for one in links if one.startswith("/") and one.endswith("(deleted)")]
    return Counts(
        running=max(int(float(running[1])), len(listed)),
        active=len(active),
        sessions=sessions,
        sockets=sum(one.startswith("socket:") for one in links),
        descriptors=len(links),
        threads=len(os.listdir(home / "task")),
        files=tuple(sorted(left)),
        memory=memory(served.pid),
        statements=(*active, *(f"gateway: {' '.join(str(one).split())[:300]}" for one in listed)),
    )


def memory(process: int) -> int:
    """The bytes that a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _links(folder: Path) -> list[str]:
    found = []
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):  # closed since it was listed
            found.append(os.readlink(folder / name))
    return found


def _at_source(url: str) -> tuple[int, tuple[str, ...]]:
    """How many sessions PostgreSQL has of clients, and what those do that are not idle."""
    sql = (
        "SELECT state <> 'idle', concat_ws(' ', 'PostgreSQL:', state, wait_event_type, wait_event, "
        "now() - state_change, left(query, 200)) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND application_name <> 'soak'"
    )
    with psycopg.connect(url, autocommit=True, application_name="soak") as connection:
        found = connection.execute(sql).fetchall()
    return len(found), tuple(" ".join(str(text).split()) for is_active, text in found if is_active)
