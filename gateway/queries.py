"""The queries that run now, and those that ended lately.

Takes: what the pipeline tells of each query, and endpoints of what they send. Gives: listings and
cancellation for their owners, and for operators of everybody's, until the answer has left. Never
shows the literals of another's statement, and answers for a foreign query as for one that does not
exist.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from threading import Condition, Lock

from gateway.errors import (
    AccessDenied,
    Cancelled,
    Conflict,
    SourceUnavailable,
    SqluiceError,
    Unauthenticated,
)
from gateway.normalise import normalise
from gateway.request import Principal, Request

OPERATOR = "operator"
_KEY = re.compile(r"k_[0-9a-f]{24,64}")
_FINISHED_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class RunningQuery:
    """A query as its owner sees it. `state` is running, cancelling, ok, failed or cancelled.

    `done` is the share of its steps that have ended before the first row: fragments and merge.
    """

    query_id: str
    user: str
    statement: str
    started: datetime
    endpoint: str = ""
    purpose: str | None = None
    state: str = "running"
    rows: int = 0
    seconds: float = 0.0
    code: str = ""
    credential: str = ""
    done: float = 0.0
    actor: str = ""


@dataclass(slots=True)
class _Entry:
    query: RunningQuery
    normalised: str
    began: float
    cancel: Callable[[SqluiceError | None], None] | None = None
    grants: frozenset[str] = frozenset()
    state: str = "running"
    rows: int = 0
    seconds: float = 0.0
    code: str = ""
    done: float = 0.0


@dataclass(slots=True, eq=False)
class Sending:
    """An answer on its way, from before its query begins until the last byte was handed over.

    `reason` is why no more of it may leave, once there is one; `cut` is told of it, in any thread.
    """

    query_id: str
    cut: Callable[[SqluiceError], None] = lambda _: None
    reason: SqluiceError | None = None
    ended: _Entry | None = None

    def stop(self, reason: SqluiceError) -> None:
        """From now on nothing more of it leaves; the first reason stays."""
        if self.reason is None:
            reason.query_id = reason.query_id or self.query_id
            self.reason = reason
            self.cut(reason)


class Queries:
    """The registry of one gateway. Every method may be called from any thread."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, kept: int = _FINISHED_KEPT
    ) -> None:
        """Begin with nothing running."""
        self._clock = clock
        self._lock = Lock()
        self._ended = Condition(self._lock)
        self._running: dict[str, _Entry] = {}
        self._is_draining = False
        self._finished: deque[_Entry] = deque(maxlen=kept)
        self._sending: dict[str, list[Sending]] = {}

    def started(
        self,
        request: Request,
        cancel: Callable[[SqluiceError | None], None] | None = None,
    ) -> RunningQuery:
        """Register a query that starts.

        Conflict where one of its id runs already, SourceUnavailable where none may start.
        """
        query = RunningQuery(
            query_id=request.query_id,
            user=request.principal.user,
            statement=request.sql,
            started=request.now,
            endpoint=request.endpoint,
            purpose=request.purpose,
            credential=request.principal.credential,
            actor=request.principal.actor,
        )
        normalised = normalise(request.sql, request.dialect)
        entry = _Entry(query, normalised, self._clock(), cancel)
        with self._lock:
            self.require_open()
            if query.query_id in self._running:
                raise Conflict(
                    "A query with this key runs already.", hint="Choose a new key for each query."
                )
            self._running[query.query_id] = entry
        return query

    def sending(self, query_id: str) -> Sending:
        """An endpoint is about to answer: what is stopped until it is `sent` leaves no more."""
        made = Sending(query_id)
        with self._lock:
            self._sending.setdefault(query_id, []).append(made)
        return made

    def sent(self, sending: Sending) -> None:
        """All of it has left, or nothing will; idempotent."""
        with self._lock:
            held = self._sending.get(sending.query_id, [])
            if sending in held:
                held.remove(sending)
            if not held:
                self._sending.pop(sending.query_id, None)

    def lives_by(self, query_id: str, grants: frozenset[str]) -> None:
        """Say by which grants a query has its rows."""
        with self._lock:
            entry = self._running.get(query_id)
            if entry is not None:
                entry.grants = grants

    def attach(self, query_id: str, cancel: Callable[[SqluiceError | None], None]) -> None:
        """Say how to stop a query; called at once where it was cancelled meanwhile."""
        with self._lock:
            entry = self._running.get(query_id)
            if entry is None:
                return
            entry.cancel = cancel
            is_late = entry.state == "cancelling"
        if is_late:
            cancel(None)

    def is_cancelled(self, query_id: str) -> bool:
        """Whether somebody has asked for the query to stop."""
        with self._lock:
            entry = self._running.get(query_id)
            return entry is not None and entry.state == "cancelling"

    def progress(self, query_id: str, rows: int) -> None:
        """Tell how many rows have left so far."""
        with self._lock:
            entry = self._running.get(query_id)
            if entry is not None:
                entry.rows = rows

    def step(self, query_id: str, share: float) -> None:
        """Tell which share of its steps is done."""
        with self._lock:
            entry = self._running.get(query_id)
            if entry is not None:
                entry.done = share

    def done(self, query_id: str) -> float:
        """Which share of its steps a running query has behind it; 0 where none of its id runs."""
        with self._lock:
            entry = self._running.get(query_id)
            return entry.done if entry is not None else 0.0

    def finished(self, query_id: str, state: str = "ok", code: str = "") -> None:
        """Take a query off; nothing where it is gone already."""
        with self._lock:
            entry = self._running.pop(query_id, None)
            if entry is None:
                return
            entry.seconds, entry.code = self._clock() - entry.began, code
            entry.state, entry.cancel = state, None
            if state == "ok":
                entry.done = 1.0
            self._finished.append(entry)
            for one in self._sending.get(query_id, ()):
                one.ended = one.ended or entry
            self._ended.notify_all()

    def cancel(self, query_id: str, principal: Principal) -> bool:
        """Stop a query of one's own, or anybody's for an operator; False: no such query.

        One that has ended, too, of which the answer has not left.
        """
        return bool(self._stop(
            lambda one: one.query.query_id == query_id and _may_see(principal, one.query),
            lambda: None,
        ))  # fmt: skip

    def end(self, grant: str, user: str = "") -> int:
        """Stop the queries that live by a grant, of one user or of all; gives how many."""
        return self._stop(
            lambda one: grant in one.grants and user in ("", one.query.user),
            lambda: AccessDenied("Your access was revoked while the query ran."),
        )

    def credentials(self) -> frozenset[str]:
        """With what those signed in whose queries run now, or whose answers are being sent."""
        with self._lock:
            return frozenset(one.query.credential for one in self._unsent())

    def end_of(self, credential: str) -> int:
        """Stop the queries of whoever signed in with what was revoked; gives how many."""
        return self._stop(
            lambda one: one.query.credential == credential,
            lambda: Unauthenticated("The token was revoked while the query ran."),
        )

    def _unsent(self) -> list[_Entry]:
        """What runs, and what has ended and is being sent."""
        sending = (one.ended for held in self._sending.values() for one in held)
        return [*self._running.values(), *(one for one in sending if one is not None)]

    def _stop(
        self, concerns: Callable[[_Entry], bool], reason: Callable[[], SqluiceError | None]
    ) -> int:
        """Stop what runs and hold back what has not left; gives how many queries."""
        with self._lock:
            entries = [one for one in self._running.values() if concerns(one)]
            running = {one.query.query_id for one in entries}
            sending = [
                one for held in self._sending.values() for one in held
                if (one.query_id in running if one.ended is None else concerns(one.ended))
            ]  # fmt: skip
            for entry in entries:
                entry.state = "cancelling"
            cancels = [one.cancel for one in entries if one.cancel is not None]
        for cancel in cancels:
            cancel(reason())
        for one in sending:
            one.stop(reason() or Cancelled("The query was cancelled."))
        return len(running | {one.query_id for one in sending})

    @property
    def is_draining(self) -> bool:
        """Whether nothing new may start."""
        return self._is_draining

    def require_open(self) -> None:
        """SourceUnavailable once the gateway goes down."""
        if self._is_draining:
            raise SourceUnavailable("The gateway is going down.", hint="Connect again later.")

    def drain(self, seconds: float) -> bool:
        """Let nothing new start, and wait for what runs; False where that takes longer."""
        with self._ended:
            self._is_draining = True
            return self._ended.wait_for(lambda: not self._running, seconds)

    def cancel_all(self) -> int:
        """Stop everything, for a gateway that goes down; gives how many there were."""
        with self._lock:
            entries = list(self._running.values())
            for entry in entries:
                entry.state = "cancelling"
        for entry in entries:
            if entry.cancel is not None:
                entry.cancel(None)
        return len(entries)

    def list(self, principal: Principal, ended: bool = False) -> tuple[RunningQuery, ...]:
        """The running queries that the principal may see, oldest first; also those that ended."""
        with self._lock:
            past = list(self._finished) if ended else []
            entries = list(chain(past, self._running.values()))
            seen = (one for one in entries if _may_see(principal, one.query))
            return tuple(self._shown(one, principal) for one in seen)

    def get(self, query_id: str, principal: Principal) -> RunningQuery | None:
        """One query, running or ended lately."""
        return next((one for one in self.list(principal, True) if one.query_id == query_id), None)

    @property
    def count(self) -> int:
        """How many run now."""
        return len(self._running)

    def _shown(self, entry: _Entry, principal: Principal) -> RunningQuery:
        query = entry.query
        runs = query.query_id in self._running
        return replace(
            query,
            state=entry.state,
            rows=entry.rows,
            seconds=self._clock() - entry.began if runs else entry.seconds,
            code=entry.code,
            done=entry.done,
            statement=query.statement if query.user == principal.user else entry.normalised,
        )


def is_query_key(text: str) -> bool:
    """Whether a text is a key that a client chose for a query to come."""
    return _KEY.fullmatch(text) is not None


def keyed_query_id(user: str, key: str) -> str:
    """The id of the query that a user runs under a key: nobody else's key makes the same one."""
    return f"q_{hashlib.sha256(f'{user} {key}'.encode()).hexdigest()[:24]}"


def _may_see(principal: Principal, query: RunningQuery) -> bool:
    if not principal.scope.is_whole:
        # A bounded token must not tell what its owner asks besides.
        return principal.user == query.user and principal.credential == query.credential
    if principal.actor:
        # Nor may he who acts for somebody learn what that one asks himself, or stop it.
        is_theirs = principal.user == query.user and principal.actor == query.actor
        return is_theirs or OPERATOR in principal.roles
    return principal.user == query.user or OPERATOR in principal.roles
