"""One fragment, read by several connections at once.

Takes: connections, and for each the fragment that it reads. Gives: the batches of all, as they
come. Where one of them fails, or nobody reads on, all are stopped before anything else happens;
few batches wait at a time. Never ends as if it were whole where one of them did not.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import pyarrow as pa

from connectors.base import Connection, ConnectorError, Fragment

# Seconds after which who waits for room looks whether he is still wanted.
_PATIENCE = 0.05
_CLOSE_TIMES, _CLOSE_SECONDS = 200, 0.01
_Told: TypeAlias = pa.RecordBatch | Exception | None


def side_by_side(parts: Sequence[tuple[Connection, Fragment]]) -> Iterator[pa.RecordBatch]:
    """The batches of all parts, in any order; the first error of one of them."""
    stopped = threading.Event()
    told: queue.Queue[_Told] = queue.Queue(len(parts))
    threads = [
        threading.Thread(target=_read, args=(*part, told, stopped), name="part", daemon=True)
        for part in parts
    ]
    started: list[threading.Thread] = []
    try:
        for one in threads:
            one.start()
            started.append(one)
        running = len(parts)
        while running:
            found = told.get()
            if isinstance(found, Exception):
                raise found
            if found is None:
                running -= 1
            else:
                yield found
    finally:
        stopped.set()
        for thread, (connection, _) in zip(started, parts, strict=False):
            if thread.is_alive():
                with contextlib.suppress(ConnectorError):
                    connection.cancel()
        for one in started:
            one.join()


def _read(
    connection: Connection, fragment: Fragment, told: queue.Queue[_Told], stopped: threading.Event
) -> None:
    last: _Told = None
    try:
        batches = connection.stream(fragment)
        with closing_batches(batches):
            # Whoever stops it from here on finds a statement to be cancelled.
            while not stopped.is_set():
                batch = next(batches, None)
                if batch is None or not _tell(batch, told, stopped):
                    break
    except Exception as error:  # noqa: BLE001 - raised again by who reads
        last = error
    _tell(last, told, stopped)


def _tell(what: _Told, told: queue.Queue[_Told], stopped: threading.Event) -> bool:
    """Whether it is still wanted."""
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            told.put(what, timeout=_PATIENCE)
            return True
    return False


@contextlib.contextmanager
def closing_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Close the batches of a fragment when their reader is done with them, read to the end or not.

    Left to the collector they would hold a connection, and with SQLite a process and its pipes.
    """
    try:
        yield batches
    finally:
        closer = getattr(batches, "close", None)
        for _ in range(_CLOSE_TIMES):
            try:
                if closer is not None:
                    closer()
                break
            except ValueError:
                # A thread of the engine's is just reading; the interrupt is on its way to it.
                time.sleep(_CLOSE_SECONDS)
