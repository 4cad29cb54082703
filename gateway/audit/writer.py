"""The one thread that writes a chain: what waits is committed together.

Takes: records of requests that run side by side. Gives: their places in the chain, once they are
committed. A batch is one transaction, so that many requests pay for one wait of the disk. Never
lets a caller go on whose record is not committed: he waits a bounded time, then his request is
refused. What nobody waits for, the ends of requests, goes along with the next record that somebody
waits for, or a moment later by itself. Seals a segment when it is large or old enough.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.audit.heads import Head
from gateway.errors import InternalError
from gateway.state import audit as rows
from gateway.state.engine import moment_text, writing
from gateway.state.segments import seal

log = logging.getLogger("gateway.audit")

Record = Mapping[str, object]
_BATCH = 512
# So long an end waits for the next request's start, with which it is committed.
LINGER_SECONDS = 0.02
_NONE = Head("", 0, "")


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """After how many records or hours a segment is sealed; how long a request waits, in seconds."""

    segment_records: int = 100_000
    segment_hours: float = 24.0
    wait_seconds: float = 20.0


@dataclass(slots=True, eq=False)
class Entry:
    """Records of one caller, committed together."""

    records: Sequence[Record]
    is_awaited: bool = True
    done: threading.Event = field(default_factory=threading.Event)
    places: tuple[Head, ...] = ()
    failure: BaseException | None = None


@dataclass(slots=True)
class _Segment:
    """What is known of the segment that grows."""

    records: int = 0
    began: datetime | None = None


class Writer:
    """Appends to one chain, which begins with the first record. Fit for any thread."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], datetime],
        settings: WriterSettings | None = None,
    ) -> None:
        """Nothing is written, and no thread runs, before the first record."""
        self._engine = engine
        self._clock = clock
        self._settings = settings or WriterSettings()
        self._waiting: deque[Entry] = deque()
        self._ready = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._awaited = 0
        self._is_asleep = False
        self._segment = _Segment()
        self.head = _NONE
        self.commits = 0
        _WRITERS.add(self)

    def writes_to(self, engine: Engine) -> bool:
        """Whether it writes to this state."""
        return self._engine is engine

    def append(self, *records: Record) -> tuple[Head, ...]:
        """Commit records behind the head, in their order; raises InternalError where that fails."""
        return self.committed(self.begin(*records))

    def begin(self, *records: Record) -> Entry:
        """Let records be committed behind those that wait; `committed` tells the outcome."""
        entry = Entry(records)
        self._put(entry)
        return entry

    def leave(self, *records: Record) -> None:
        """Let records be committed soon; nobody waits for them, or learns where that fails."""
        self._put(Entry(records, is_awaited=False))

    def settle(self) -> None:
        """Wait until all that was left or begun so far is committed, or has failed."""
        with self._ready:
            if self._thread is None:
                return
        self.begin().done.wait(self._settings.wait_seconds)

    def _put(self, entry: Entry) -> None:
        with self._ready:
            self._waiting.append(entry)
            self._awaited += entry.is_awaited
            if self._thread is None:
                # One that is told to end writes what waits first.
                self._stopping = False
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()
            elif entry.is_awaited or self._is_asleep:
                self._ready.notify()

    def committed(self, entry: Entry) -> tuple[Head, ...]:
        """Wait for records that were begun; raises InternalError where they are not committed."""
        if not entry.done.wait(self._settings.wait_seconds):
            self._give_up(entry)
        if entry.failure is not None:
            raise InternalError(
                "The audit record could not be written, so the request was not served.",
                private=str(entry.failure),
            ) from entry.failure
        return entry.places

    def close(self) -> None:
        """Write what waits and end the thread; a later record starts it again."""
        with self._ready:
            thread, self._stopping = self._thread, True
            self._ready.notify()
        if thread is not None:
            thread.join(timeout=self._settings.wait_seconds)

    def _give_up(self, entry: Entry) -> None:
        """Take back what is not being written yet; what is may still be committed: an unknown."""
        with self._ready:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._awaited -= 1
            if not entry.done.is_set():
                entry.failure = TimeoutError("the audit could not be written in time")

    def _run(self) -> None:
        while True:
            with self._ready:
                self._wait()
                if not self._waiting and self._stopping:
                    self._thread = None
                    return
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                self._awaited -= sum(one.is_awaited for one in batch)
            self._write(batch)

    def _wait(self) -> None:
        """Until somebody waits for a record, or one that nobody waits for has lingered.

        Who leaves a record wakes nobody up in the moment after a commit: it will be seen to.
        """
        has_lingered = False
        while not self._awaited and not self._stopping:
            if has_lingered and self._waiting:
                return
            self._is_asleep = has_lingered
            has_lingered = not self._ready.wait(None if has_lingered else LINGER_SECONDS)
            self._is_asleep = False

    def _write(self, batch: Sequence[Entry]) -> None:
        failure: BaseException | None = None
        try:
            self._commit(batch)
        except SQLAlchemyError as error:
            failure = error
        except Exception as error:
            log.exception("a defect in writing the audit")
            failure = error
        if failure is not None:
            # Whether that commit happened is not known: what follows begins a new chain.
            self.head, self._segment = _NONE, _Segment()
            lost = sum(not one.is_awaited for one in batch)
            if lost:
                log.error("the ends of %d requests could not be recorded and read unknown", lost)
        with self._ready:
            for one in batch:
                one.failure = one.failure or failure
                one.done.set()

    def _commit(self, batch: Sequence[Entry]) -> None:
        """One transaction; the head moves only after it."""
        if not any(one.records for one in batch):
            return
        made: list[Mapping[str, object]] = []
        sealing = self._is_sealing()
        if self.head.chain and not sealing:
            head = _follow_all(self.head, batch, made)
            rows.append_records(self._engine, made)
        else:
            with writing(self._engine) as connection:
                head = self.head if self.head.chain else self._declare(connection)
                if sealing:
                    head = self._seal(connection, head, made)
                head = _follow_all(head, batch, made)
                rows.insert_records(connection, made)
        self.head, self.commits = head, self.commits + 1
        if sealing or self._segment.began is None:
            self._segment = _Segment(0, self._clock())
        self._segment.records += len(made)

    def _is_sealing(self) -> bool:
        """Whether what was written so far is large or old enough."""
        known, settings = self._segment, self._settings
        if known.began is None or not known.records:
            return False
        is_old = self._clock() - known.began >= timedelta(hours=settings.segment_hours)
        return is_old or known.records >= settings.segment_records

    def _seal(
        self, connection: Connection, head: Head, made: list[Mapping[str, object]]
    ) -> Head:
        """Seal what was written so far; the next record says so."""
        segment = seal(connection, head.chain)
        if segment is None:
            return head
        at = moment_text(self._clock())
        content = rows.canonical(segment.reference)
        record = {"kind": "sealed", "query_id": "", "at": at, "content": content}
        return _follow(head, record, made)

    def _declare(self, connection: Connection) -> Head:
        declaration: dict[str, object] = {
            "chain": secrets.token_hex(16),
            "started_at": moment_text(self._clock()),
            "host": socket.gethostname()[:200],
            "process": os.getpid(),
            "format": rows.FORMAT,
        }
        genesis = rows.genesis_hash(declaration)
        rows.insert_chain(connection, {**declaration, "genesis": genesis})
        return Head(str(declaration["chain"]), 0, genesis)


# For whoever reads in the process that writes.
_WRITERS: weakref.WeakSet[Writer] = weakref.WeakSet()


def settle(engine: Engine) -> None:
    """Wait until what this process has to write into a state so far is there to be read."""
    for one in list(_WRITERS):
        if one.writes_to(engine):
            one.settle()


def _follow_all(
    head: Head, batch: Sequence[Entry], made: list[Mapping[str, object]]
) -> Head:
    """Put the records of a batch behind the head, and tell each entry its places."""
    for entry in batch:
        places = []
        for record in entry.records:
            head = _follow(head, record, made)
            places.append(head)
        entry.places = tuple(places)
    return head


def _follow(head: Head, record: Record, made: list[Mapping[str, object]]) -> Head:
    """Put a record behind the head; gives the new head."""
    place = {"chain": head.chain, "sequence": head.sequence + 1, "previous": head.hash}
    row = rows.sealed({**record, **place})
    made.append(row)
    return Head(head.chain, head.sequence + 1, str(row["hash"]))
