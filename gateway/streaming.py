"""The batches of an answer, read when they are asked for or by a thread ahead of that.

Takes: the first batch and the generator of the others. Gives: one pass over all. Never holds more
than it is told and a batch, never ends cleanly once it was stopped, and gives nothing from then on.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator

import pyarrow as pa

from gateway.errors import Cancelled, SqluiceError

# Whoever closes a stream waits so long for the thread that reads it.
_CLOSE_SECONDS = 5.0
Reason = Callable[[], SqluiceError | None]


class Stream:
    """The first batch and what follows. No generator: those do not end what they never began."""

    def __init__(
        self,
        first: pa.RecordBatch | None,
        rest: Generator[pa.RecordBatch, None, None],
        reason: Reason,
    ) -> None:
        """`reason` tells why it has to stop, once it has to."""
        self._held: deque[pa.RecordBatch] = deque([] if first is None else [first])
        self._rest = rest
        self._reason = reason
        self._lock = threading.Lock()
        self._is_closed = False
        self._ahead: _Ahead | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        return self._read() if self._ahead is None else self._ahead.take()

    def read_ahead(self, most: int) -> None:
        """From now on a thread reads before it is asked, until it holds so many bytes.

        The source, its driver and whoever writes the batches are then busy side by side.
        """
        if self._ahead is None:
            self._ahead = _Ahead(most, self._read, self._stopped)
            self._ahead.start(self._end)

    def whole(self, most: int) -> tuple[pa.RecordBatch, ...] | None:
        """All of it, if that is no more than a batch of so many bytes; else it stays to be read.

        Waits until it is known whether another follows. For whoever has read nothing yet.
        """
        with self._lock:
            if self._is_closed:
                raise self._stopped()
            if sum(one.nbytes for one in self._held) > most:
                return None
            more = next(self._rest, None)
            if more is not None:
                self._held.append(more)
                return None
            found = tuple(self._held)
            self._held.clear()
            return found

    def stop(self) -> None:
        """Stop the query at its sources, from any thread; nothing where it has ended.

        Whoever reads at this moment meets the reason by himself. Nobody does where the reader is
        slow: his source waits to be read and would not listen to a cancel.
        """
        if self._ahead is not None:
            self._ahead.drop()
        self._end(False)

    def close(self) -> None:
        """Stop it, and wait for the thread that reads ahead."""
        self.stop()
        if self._ahead is not None:
            self._ahead.wait(_CLOSE_SECONDS)

    def _read(self) -> pa.RecordBatch:
        with self._lock:
            if self._is_closed:
                raise self._stopped()
            return self._held.popleft() if self._held else next(self._rest)

    def _end(self, waits: bool) -> None:
        if not self._lock.acquire(blocking=waits):
            return
        try:
            self._is_closed = True
            self._held.clear()
            self._rest.close()
        finally:
            self._lock.release()

    def _stopped(self) -> SqluiceError:
        return self._reason() or Cancelled("The query was cancelled.")


class _Ahead:
    """A thread that reads, and what it holds."""

    def __init__(
        self, most: int, read: Callable[[], pa.RecordBatch], stopped: Callable[[], SqluiceError]
    ) -> None:
        self._most = most
        self._read = read
        self._stopped = stopped
        self._changed = threading.Condition()
        self._held: deque[pa.RecordBatch] = deque()
        self._size = 0
        self._is_dropped = self._is_over = False
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def start(self, end: Callable[[bool], None]) -> None:
        """Begin to read; `end` ends what is read."""
        self._thread = threading.Thread(
            target=self._fill, args=(end,), name="reading ahead", daemon=True
        )
        self._thread.start()

    def take(self) -> pa.RecordBatch:
        """The next batch; raises what the thread met, or that it was stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._held or self._is_over)
            if self._held:
                batch = self._held.popleft()
                self._size -= batch.nbytes
                self._changed.notify_all()
                return batch
            if self._error is not None:
                raise self._error
            if self._is_dropped:
                raise self._stopped()
            raise StopIteration

    def drop(self) -> None:
        """Forget what is held; what the thread itself runs into leaves what came before."""
        if threading.current_thread() is self._thread:
            return
        with self._changed:
            self._is_dropped = True
            self._held.clear()
            self._size = 0
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Until the thread has ended, no longer than that."""
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    def _fill(self, end: Callable[[bool], None]) -> None:
        error: Exception | None = None
        try:
            while self._has_room():
                self._keep(self._read())
            end(True)
        except StopIteration:
            pass
        except Exception as failure:  # noqa: BLE001 - raised again for whoever takes
            error = failure
        with self._changed:
            self._error, self._is_over = error, True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        """Waits for some; False where nobody wants any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_dropped or self._size < self._most)
            return not self._is_dropped

    def _keep(self, batch: pa.RecordBatch) -> None:
        with self._changed:
            if not self._is_dropped:
                self._held.append(batch)
                self._size += batch.nbytes
                self._changed.notify_all()
