"""What the connections of one person do, for his pg_stat_activity.

Takes: what connections tell of themselves. Gives: a caller's own ones. Never tells of anybody
else's, nor of those that were signed in with what the caller's own token does not cover.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Protocol

from gateway.request import Principal
from gateway.serve.pgwire.catalog.rows import number_of

_MOST_TEXT = 1_023
_STATES = {"I": "idle", "T": "idle in transaction", "E": "idle in transaction (aborted)"}


@dataclass(slots=True)
class Activity:
    """What one connection does; written by its own thread, read by others'."""

    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    statement: str = ""
    since: datetime | None = None
    changed: datetime | None = None
    is_running: bool = False

    def runs(self, statement: str) -> None:
        """A statement begins."""
        self.since = self.changed = datetime.now(UTC)
        # As much of it as PostgreSQL keeps.
        self.statement, self.is_running = statement[:_MOST_TEXT], True

    def rests(self) -> None:
        """It has ended."""
        if self.is_running:
            self.changed, self.is_running = datetime.now(UTC), False


class Speaker(Protocol):
    """A connection."""

    pid: int
    status: str
    activity: Activity

    @property
    def principal(self) -> Principal:
        """Who speaks."""

    @property
    def named(self) -> tuple[str, str, str, str]:
        """Its database, its user and its application, as the client names them; its address."""


class Speakers:
    """The connections of an endpoint. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[int, Speaker] = {}

    def enter(self, one: Speaker) -> None:
        """A connection begins."""
        with self._lock:
            self._held[one.pid] = one

    def leave(self, one: Speaker) -> None:
        """A connection ends."""
        with self._lock:
            self._held.pop(one.pid, None)

    def rows(self, principal: Principal) -> Iterator[Mapping[str, object]]:
        """The caller's own ones, as pg_stat_activity tells of them."""
        with self._lock:
            held = sorted(self._held.items())
        for _, one in held:
            if _are_same(principal, one.principal):
                yield _row(one)


def _are_same(asking: Principal, other: Principal) -> bool:
    """As for running queries: who acts for another sees only what he does as him."""
    if (asking.user, asking.actor) != (other.user, other.actor):
        return False
    return asking.scope.is_whole or asking.credential == other.credential


def _row(one: Speaker) -> Mapping[str, object]:
    done = one.activity
    database, user, application, address = one.named
    state = "active" if done.is_running else _STATES.get(one.status, "idle")
    return {
        "datid": number_of("database", database), "datname": database, "pid": one.pid,
        "usesysid": number_of("role", user), "usename": user, "application_name": application,
        "client_addr": address or None, "backend_start": done.began,
        "xact_start": None if state == "idle" else done.since, "query_start": done.since,
        "state_change": done.changed,
        "wait_event_type": None if done.is_running else "Client",
        "wait_event": None if done.is_running else "ClientRead", "state": state,
        "query": done.statement, "backend_type": "client backend",
        # For pg_stat_gssapi: nobody signs in so.
        "gss_authenticated": False, "encrypted": False, "credentials_delegated": False,
    }  # fmt: skip
