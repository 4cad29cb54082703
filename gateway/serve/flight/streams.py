"""Results that wait to be fetched, and calls whose client may leave.

Takes: results of the pipeline. Gives: one-use handles bound to a principal, and a watcher that
stops what nobody waits for. Never gives a stream to another principal, nor twice.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa
from pyarrow import flight

from gateway.errors import InternalError, RateLimited, SqluiceError, UnknownTable
from gateway.execute import Result

MAXIMUM_BYTES = 8 * 1024 * 1024
WAITING_SECONDS = 60.0
POLL_SECONDS = 0.05


@dataclass(slots=True)
class Waiting:
    """A started result and whose it is."""

    user: str
    result: Result
    since: float = field(default_factory=time.monotonic)


class Streams:
    """Started results by handle; those that nobody fetches are closed."""

    def __init__(self, per_user: int = 16) -> None:
        self._per_user = per_user
        self._lock = threading.Lock()
        self._waiting: dict[bytes, Waiting] = {}
        self._open: dict[str, int] = {}

    def put(self, user: str, result: Result) -> bytes:
        """Keep a result; gives its handle. Raises RateLimited over the cap."""
        self.sweep()
        with self._lock:
            if self._open.get(user, 0) >= self._per_user:
                result.close()
                raise RateLimited(
                    f"You have {self._per_user} open streams already.", retry_after=1.0
                )
            self._open[user] = self._open.get(user, 0) + 1
            handle = secrets.token_bytes(24)
            self._waiting[handle] = Waiting(user, result)
            return handle

    def take(self, user: str, handle: bytes) -> Result:
        """The result of a handle, once."""
        with self._lock:
            found = self._waiting.get(handle)
            if found is None or found.user != user:
                raise UnknownTable(
                    "The ticket is unknown, was used already or has expired.",
                    hint="Run the statement again.",
                )
            del self._waiting[handle]
            return found.result

    def done(self, user: str) -> None:
        """A stream of the user has ended."""
        with self._lock:
            self._open[user] = max(0, self._open.get(user, 0) - 1)

    def cancel(self, user: str, handle: bytes) -> bool:
        """Close a result that waits; False where there is none."""
        with self._lock:
            found = self._waiting.get(handle)
            if found is None or found.user != user:
                return False
            del self._waiting[handle]
        found.result.close()
        self.done(user)
        return True

    def sweep(self, everything: bool = False) -> None:
        """Close what waits too long."""
        now = time.monotonic()
        with self._lock:
            stale = [
                (handle, one)
                for handle, one in self._waiting.items()
                if everything or now - one.since > WAITING_SECONDS
            ]
            for handle, _ in stale:
                del self._waiting[handle]
        for _, one in stale:
            one.result.close()
            self.done(one.user)


class Watcher:
    """One thread that looks whether the clients of blocking calls are still there.

    A call's context is a pointer that lives as long as the call: it is only looked at under the
    lock, and leaves the list before the call ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[int, tuple[flight.ServerCallContext, Callable[[], None]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flight-watcher", daemon=True)
        self._thread.start()

    @contextmanager
    def watch(
        self, context: flight.ServerCallContext, cancel: Callable[[], None]
    ) -> Iterator[None]:
        """Call `cancel` once if the client leaves meanwhile."""
        key = id(context)
        with self._lock:
            self._calls[key] = (context, cancel)
        try:
            yield
        finally:
            with self._lock:
                self._calls.pop(key, None)

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            with self._lock:
                gone = [key for key, (context, _) in self._calls.items() if context.is_cancelled()]
                cancels = [self._calls.pop(key)[1] for key in gone]
            for one in cancels:
                one()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join(timeout=5)


def pieces(batch: pa.RecordBatch) -> Iterator[pa.Table]:
    """One-batch tables of at most about 8 MiB: clients take messages of up to 16 MiB."""
    count = max(1, -(-batch.nbytes // MAXIMUM_BYTES))
    step = max(1, -(-batch.num_rows // count))
    for start in range(0, batch.num_rows, step):
        yield pa.Table.from_batches([batch.slice(start, step)])


def stream_of(
    result: Result, on_end: Callable[[], None], fail: Callable[[BaseException], flight.FlightError]
) -> Iterator[pa.Table]:
    """The result's batches for the wire; a client that leaves stops the query."""
    try:
        for batch in result.batches():
            yield from pieces(batch)
    except GeneratorExit:
        raise
    except SqluiceError as error:
        raise fail(error) from None
    except (pa.ArrowException, OSError, RuntimeError) as error:
        failure = InternalError("The stream broke.", private=str(error))
        raise fail(failure) from None
    finally:
        result.close()
        on_end()
