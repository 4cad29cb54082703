"""How many rows of a restricted table somebody may see, counted for planning.

Takes: decisions. Gives: for each table of which a decision lets some rows through a power of ten,
for whoever has the same filters and scopes on it (DESIGN 5, barrier rule 5): the number that he
would get from `count(*)`. Never counts before the policy, never counts a table that shows groups
only, nor what the source would not count by itself; never fails, never waits long. What is not
known is guessed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from functools import partial
from hashlib import sha256

from sqlglot import exp

from gateway.audit.source import OWN_SOURCE
from gateway.decision import Decision, TableDecision
from gateway.draft import PhysicalTable, Plan
from gateway.errors import Cancelled, SqluiceError
from gateway.estimates import shape_of_all
from gateway.execute import execute
from gateway.guard import is_filtered
from gateway.observed import ObservedCounts, rows_fingerprint
from gateway.own_reading import OwnStatement, Reader, planned, table_named
from gateway.request import Limits
from gateway.resolve import Address
from gateway.result import Result
from gateway.snapshot import Snapshot

log = logging.getLogger("gateway.visible_rows")
# A source has so long to count; who plans waits less.
_SECONDS, _WAIT_SECONDS = 30.0, 1.0
_KEPT_SECONDS = 6 * 3600.0
_KEPT = 10_000
# What waits to be counted; who comes later is guessed for, and asks again.
_MOST_WAITING = 64


class VisibleRows:
    """Counts by what restricts a table's rows. Every method may be called from any thread."""

    def __init__(self, reader: Reader, counts: ObservedCounts) -> None:
        """Begin with what state knows."""
        self._reader = reader
        self._counts = counts
        self._lock = threading.Lock()
        self._until: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[str, Future[None]] = {}
        self._running: dict[str, Result] = {}
        self._threads = ThreadPoolExecutor(2, "visible-rows")

    def editions(self, decision: Decision) -> tuple[int, ...]:
        """What changes with any of the counts that hold for a decision's tables."""
        return tuple(self._counts.of(key).edition for key, _ in _restricted(decision))

    def powers(
        self, decision: Decision, tables: Mapping[Address, PhysicalTable], snapshot: Snapshot
    ) -> Mapping[str, int]:
        """Powers of ten by the shape of a whole table; those unknown are counted meanwhile."""
        restricted = list(_restricted(decision))
        awaited = []
        for key, one in restricted:
            is_known = bool(self._counts.of(key).powers)
            task = self._begun(key, one, tables[one.address], snapshot)
            if task is not None and not is_known:
                awaited.append(task)
        until = time.monotonic() + _WAIT_SECONDS
        for task in awaited:
            with contextlib.suppress(TooLate):
                task.result(max(0.0, until - time.monotonic()))
        return {
            shape: power for key, _ in restricted
            for shape, power in self._counts.of(key).powers.items()
        }  # fmt: skip

    def is_asking(self, decision: Decision) -> bool:
        """Whether a count is under way: who plans now knows too little."""
        with self._lock:
            return any(key in self._asking for key, _ in _restricted(decision))

    def close(self) -> None:
        """Count no more, and let no source go on."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for one in list(self._running.values()):
            one.cancel(Cancelled("The gateway closes."))

    def _begun(
        self, key: str, one: TableDecision, table: PhysicalTable, snapshot: Snapshot
    ) -> Future[None] | None:
        """The count that is under way; None where there is one that holds, or none to be had."""
        now = time.monotonic()
        with self._lock:
            if key in self._asking:
                return self._asking[key]
            is_fresh = self._until.get(key, 0.0) > now
            if is_fresh or table.source == OWN_SOURCE or len(self._asking) >= _MOST_WAITING:
                return None
            self._until[key] = now + _KEPT_SECONDS
            self._until.move_to_end(key)
            while len(self._until) > _KEPT:
                self._until.popitem(last=False)
            task = self._threads.submit(self._count, key, one, table, snapshot)
            self._asking[key] = task
        return task

    def _count(
        self, key: str, one: TableDecision, table: PhysicalTable, snapshot: Snapshot
    ) -> None:
        try:
            rows = _counted(one, table, snapshot, self._reader, partial(self._began, key))
            if rows is not None:
                shape = shape_of_all(one.address)
                self._counts.count(key, snapshot.mesh.revision, shape, rows)
        except SqluiceError as error:
            # A source's own text may quote a value.
            log.info("the rows of a table were not counted: %s", error.code)
        finally:
            with self._lock:
                self._asking.pop(key, None)
                self._running.pop(key, None)

    def _began(self, key: str, result: Result) -> None:
        with self._lock:
            self._running[key] = result


def _restricted(decision: Decision) -> Iterator[tuple[str, TableDecision]]:
    """The tables of which some rows are let through, with what tells these rows apart."""
    for one in decision.tables.values():
        if one.aggregate is None and is_filtered(one):
            key = rows_fingerprint(decision, one)
            if key is not None:
                yield key, one


def _counted(
    one: TableDecision,
    table: PhysicalTable,
    snapshot: Snapshot,
    reader: Reader,
    began: Callable[[Result], None],
) -> int | None:
    """The rows; None where the source would have to send them."""
    query = exp.select("count(*) AS n").from_(table_named(one.address))
    name = f"rows of {sha256(str(one.address).encode()).hexdigest()[:12]}"
    limits = Limits(rows=1, seconds=_SECONDS)
    made, run = planned(OwnStatement(name, query, one, table, limits), snapshot, reader)
    if not _stays(made):
        return None
    batches = execute(made, run, began).batches()
    (rows,) = [row for batch in batches for row in batch.column(0).to_pylist()]
    return int(rows)


def _stays(made: Plan) -> bool:
    """Whether the rows are counted where they lie."""
    (one,) = made.fragments
    is_whole = one.gate is None and not one.pseudonyms and one.groups is None
    return is_whole and (made.merge is None or one.in_place is not None)
