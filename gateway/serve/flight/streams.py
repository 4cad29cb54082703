"""Results that wait to be fetched, and calls whose client may leave.

Takes: results of the pipeline, those too that are still to come. Gives: one-use handles bound to
a principal, and a watcher that stops what nobody waits for. Never gives a stream to another
principal, nor twice.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Set
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from gateway.deadlines import DEADLINES
from gateway.errors import LimitExceeded, RateLimited, SqluiceError, UnknownTable
from gateway.queries import Sending
from gateway.request import WHOLE, TokenScope
from gateway.result import Result
from gateway.serve.flight.faults import Fault
from gateway.serve.flight.sign_in import Call
from gateway.serve.flight.widening import fitted
from gateway.serve.portions import portions, size_of

# Clients take messages of up to 16 MiB; a row of more than that is told, since it ends their call.
MAXIMUM_BYTES, _MAXIMUM_ROW = 8 * 1024 * 1024, 16 * 1024 * 1024 - 64 * 1024
WAITING_SECONDS = 60.0
# So long a client that has closed its statement may still fetch the result.
CLOSED_SECONDS = 0.2
POLL_SECONDS = 0.05
# So long he whose answer is held back may still read what he is told of it.
CUT_SECONDS = 0.5
_NO_TICKET = "The ticket is unknown, was used already or has expired."
_AGAIN = "Run the statement again."


@dataclass(frozen=True, slots=True)
class Begun:
    """A statement that runs: the schema of its answer, the answer once it is there, its end.

    `query_id` is what it is called while it runs, `sending` whether it may still leave; `over` is
    called when nothing of it is left to be sent.
    """

    schema: pa.Schema
    result: Future[Result]
    cancel: Callable[[], None]
    query_id: str = ""
    sending: Sending | None = None
    over: Callable[[], None] = lambda: None

    def require_free(self) -> None:
        """Raise the reason where no more of it may leave."""
        if self.sending is not None and self.sending.reason is not None:
            raise self.sending.reason


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a ticket is: a user, who really asks in his place, what his token is good for."""

    user: str
    actor: str = ""
    scope: TokenScope = WHOLE


@dataclass(slots=True)
class Started:
    """A begun statement, whose it is, and whether somebody fetches its answer.

    `owner` is who may fetch it, which nobody else may who acts as him or has a narrower token.
    `statement` is the prepared statement that it answers, `session` the token of the session that
    began it, `until` when nobody waits for it any more.
    """

    owner: Owner
    begun: Begun
    statement: bytes = b""
    session: str = ""
    until: float = field(default_factory=lambda: time.monotonic() + WAITING_SECONDS)
    is_taken: bool = False
    is_closed: bool = False


class Streams:
    """Started results by handle, until their end; those that nobody fetches are closed."""

    def __init__(self, per_user: int = 16) -> None:
        self._per_user = per_user
        self._lock = threading.Lock()
        self._started: dict[bytes, Started] = {}

    def put(self, owner: Owner, begun: Begun, statement: bytes = b"", session: str = "") -> bytes:
        """Keep what was begun; gives its handle. Raises RateLimited over the cap."""
        self.sweep()
        for is_full in (False, True):
            if is_full:
                self.sweep(closed_too=True)
            with self._lock:
                held = sum(one.owner.user == owner.user for one in self._started.values())
                if held < self._per_user:
                    handle = secrets.token_bytes(24)
                    self._started[handle] = Started(owner, begun, statement, session)
                    return handle
        end(begun)
        begun.over()
        raise RateLimited(f"You have {self._per_user} open streams already.", retry_after=1.0)

    def take(self, owner: Owner, handle: bytes) -> Begun:
        """What a handle stands for, once."""
        with self._lock:
            found = self._started.get(handle)
            if found is None or found.owner != owner or found.is_taken:
                raise UnknownTable(_NO_TICKET, hint=_AGAIN)
            found.is_taken = True
            return found.begun

    def waiting(self, owner: Owner, handle: bytes) -> Begun:
        """What a handle stands for, which goes on waiting: somebody has just asked."""
        with self._lock:
            found = self._started.get(handle)
            if found is None or found.owner != owner or found.is_taken:
                raise UnknownTable(_NO_TICKET, hint=_AGAIN)
            found.until = time.monotonic() + WAITING_SECONDS
            return found.begun

    def done(self, handle: bytes) -> None:
        """A stream has ended."""
        with self._lock:
            found = self._started.pop(handle, None)
        if found is not None:
            found.begun.over()

    def closed(self, user: str, statement: bytes) -> None:
        """A client that closes its statement rarely fetches what it has not begun to.

        An empty handle is no prepared statement's: it would mean all that were sent as text.
        """
        with self._lock:
            for one in self._started.values():
                if statement and one.owner.user == user and one.statement == statement:
                    one.is_closed = True
                    one.until = min(one.until, time.monotonic() + CLOSED_SECONDS)

    def ended(self, session: str) -> None:
        """A session is closed: nobody reads on what it began."""
        with self._lock:
            begun = [one for one in self._started.items() if one[1].session == session]
        for handle, one in begun:
            self._stop(handle, one)

    def cancel(self, user: str, handle: bytes) -> bool:
        """Stop a result that waits or streams; False where there is none."""
        with self._lock:
            found = self._started.get(handle)
            if found is None or found.owner.user != user:
                return False
        self._stop(handle, found)
        return True

    def sweep(self, everything: bool = False, closed_too: bool = False) -> None:
        """Stop what nobody fetched in time; also what was closed, or whatever there is."""
        now = time.monotonic()
        with self._lock:
            stale = [
                (handle, one)
                for handle, one in self._started.items()
                if everything
                or (not one.is_taken and (now > one.until or (closed_too and one.is_closed)))
            ]
        for handle, one in stale:
            self._stop(handle, one)

    def _stop(self, handle: bytes, one: Started) -> None:
        """What streams meets the reason and ends by itself; what waits has nobody to end it."""
        if one.is_taken:
            one.begun.cancel()
            return
        end(one.begun)
        self.done(handle)


def end(begun: Begun) -> None:
    """Close the result, at once or when it comes; until then its statement is told to stop."""
    if not begun.result.done():
        begun.cancel()
    begun.result.add_done_callback(_close)


def _close(result: Future[Result]) -> None:
    if not result.cancelled() and result.exception() is None:
        result.result().close()


def hold_back(begun: Begun, reason: SqluiceError) -> None:
    """Nothing more of it may leave: whoever fetches it meets the reason."""
    if begun.result.done() and not begun.result.cancelled() and begun.result.exception() is None:
        begun.result.result().cancel(reason)


@contextmanager
def cutting(begun: Begun, end_call: Callable[[], None]) -> Iterator[None]:
    """While it is sent: who does not read soon what he is told is dropped with what waits for him.

    gRPC takes one message after the other, and lets nobody speak while it waits for a reader.
    """
    over = threading.Event()

    def drop() -> None:
        if not over.is_set():
            end_call()

    def cut(reason: SqluiceError) -> None:
        hold_back(begun, reason)
        DEADLINES.after(CUT_SECONDS, drop)

    if begun.sending is not None:
        begun.sending.cut = cut
    try:
        yield
    finally:
        over.set()


class Watcher:
    """One thread that looks whether clients are still there, of calls and of what waits.

    `sweep` is told each time the tokens of the sessions whose calls are under way.
    """

    def __init__(self, sweep: Callable[[Set[str]], None]) -> None:
        self._sweep = sweep
        self._lock = threading.Lock()
        self._calls: dict[int, tuple[Call, Callable[[], None]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flight-watcher", daemon=True)
        self._thread.start()

    @contextmanager
    def watch(self, call: Call, cancel: Callable[[], None]) -> Iterator[None]:
        """Call `cancel` if the client leaves meanwhile, again and again until the call ends.

        Once is not enough: what it is to stop may begin a moment later.
        """
        key = id(call)
        with self._lock:
            self._calls[key] = (call, cancel)
        try:
            yield
        finally:
            with self._lock:
                self._calls.pop(key, None)

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            # Looked at while they are here: a call that has ended well is not active either.
            with self._lock:
                busy = {call.session.token for call, _ in self._calls.values()}
                cancels = [cancel for call, cancel in self._calls.values() if not call.is_active()]
            for one in cancels:
                one()
            self._sweep(busy)

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join(timeout=5)


def _require_short(part: pa.RecordBatch) -> None:
    """LimitExceeded for a row that no client takes."""
    if part.num_rows == 1 and (size := size_of(part)) > _MAXIMUM_ROW:
        raise LimitExceeded(
            f"A row of the answer has {size >> 20} MiB; a message of Flight SQL has room for 16.",
            hint="Take a part of the value with substr, or ask over HTTP or the PostgreSQL wire.",
        )


def stream_of(
    begun: Begun, on_end: Callable[[], None], fail: Callable[[BaseException], Fault]
) -> Iterator[pa.Table]:
    """The answer's batches for the wire; a client that leaves stops the query."""
    try:
        for batch in begun.result.result().batches():
            for part in portions(fitted(batch, begun.schema), MAXIMUM_BYTES):
                begun.require_free()
                _require_short(part)
                yield pa.Table.from_batches([part])
    except Exception as error:  # noqa: BLE001 - nothing but a fault may pass the endpoint
        raise fail(error) from None
    finally:
        end(begun)
        on_end()
