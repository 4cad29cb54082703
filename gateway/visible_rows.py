"""How many rows of a restricted table somebody may see, counted for planning.

Takes: guarded queries. Gives: for each table of which a decision lets some rows through a power of
ten, and between which numbers or days the columns lie that are read and clear, for whoever has the
same filters and scopes on it (DESIGN 5, barrier rule 5): what he would get from `count(*)`, `min`
and `max`. Never counts before the policy, never counts a table that shows groups only, nor what the
source would not count by itself; never keeps a value but in memory; never fails, never waits long,
and only where a count begins. What is not known is guessed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from hashlib import sha256

import pyarrow as pa
from sqlglot import exp

from gateway.audit.source import OWN_SOURCE
from gateway.constants import INTEGERS
from gateway.decision import Decision, TableDecision
from gateway.draft import ColumnSize, PhysicalTable, Plan, TableSize
from gateway.errors import Cancelled, SqluiceError
from gateway.estimates import shape_of_all
from gateway.execute import execute
from gateway.guard import GuardedQuery, clear_columns, is_filtered
from gateway.observed import ObservedCounts, rows_fingerprint
from gateway.own_reading import OwnStatement, Reader, planned, table_named
from gateway.pools import is_told_of_callers
from gateway.request import Limits
from gateway.resolve import Address
from gateway.result import Result
from gateway.snapshot import Snapshot

log = logging.getLogger("gateway.visible_rows")
# A source has so long to count; who plans waits less.
_SECONDS, _WAIT_SECONDS = 30.0, 0.1
_KEPT_SECONDS = 6 * 3600.0
# After a count that failed, the next one is tried so much later.
_AGAIN_SECONDS = 60.0
_KEPT = 10_000
# What waits to be counted; who comes later is guessed for, and asks again.
_MOST_WAITING = 64
_DISCRETE = INTEGERS | {"DATE"}


@dataclass(frozen=True, slots=True)
class Visible:
    """What may be known of restricted tables: powers of ten by shape, sizes with bounds."""

    powers: Mapping[str, int]
    sizes: Mapping[Address, TableSize]


@dataclass(slots=True)
class _Counted:
    """What was counted of some rows, and until when it holds. asked: columns, told or not.

    is_missing: the last count failed, and another will be tried.
    """

    until: float
    asked: frozenset[str] = frozenset()
    bounds: dict[str, ColumnSize] = field(default_factory=dict)
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A restricted table of a decision; key: what tells the rows; columns: read and clear."""

    key: str
    decided: TableDecision
    columns: frozenset[str]


class VisibleRows:
    """Counts by what restricts a table's rows. Every method may be called from any thread."""

    def __init__(self, reader: Reader, counts: ObservedCounts) -> None:
        """Begin with what state knows."""
        self._reader = reader
        self._counts = counts
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Counted] = OrderedDict()
        self._asking: dict[str, Future[None]] = {}
        self._running: dict[str, Result] = {}
        self._threads = ThreadPoolExecutor(2, "visible-rows")
        self._is_closed = False

    def editions(self, decision: Decision) -> tuple[int, ...]:
        """What changes with any of the counts that hold for a decision's tables."""
        return tuple(self._counts.of(key).edition for key, _ in _restricted(decision))

    def of(
        self,
        guarded: GuardedQuery,
        tables: Mapping[Address, PhysicalTable],
        snapshot: Snapshot,
    ) -> Visible:
        """What is known of a query's restricted tables; the rest is counted meanwhile."""
        wanted = list(_wanted(guarded))
        begun = [self._begun(one, tables[one.decided.address], snapshot) for one in wanted]
        wait([one for one in begun if one is not None], _WAIT_SECONDS)
        powers: dict[str, int] = {}
        sizes: dict[Address, TableSize] = {}
        for one in wanted:
            address = one.decided.address
            power = self._counts.of(one.key).powers.get(shape_of_all(address))
            if power is not None:
                powers[shape_of_all(address)] = power
                sizes[address] = TableSize(float(10**power), self._bounds(one, 10**power))
        return Visible(powers, sizes)

    def is_asking(self, decision: Decision) -> bool:
        """Whether a count is under way or missing: who plans now knows too little."""
        with self._lock:
            return any(
                key in self._asking or (key in self._known and self._known[key].is_missing)
                for key, _ in _restricted(decision)
            )

    def close(self) -> None:
        """Count no more, and let no source go on."""
        with self._lock:
            self._is_closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for one in list(self._running.values()):
            one.cancel(Cancelled("The gateway closes."))

    def _bounds(self, one: _Wanted, rows: int) -> Mapping[str, ColumnSize]:
        """Only of columns that are clear for who asks, whoever had them counted."""
        with self._lock:
            known = self._known.get(one.key)
            found = dict(known.bounds) if known is not None else {}
        return {
            name: replace(size, distinct=min(rows, size.distinct or rows))
            for name, size in found.items() if name in one.columns
        }  # fmt: skip

    def _begun(
        self, one: _Wanted, table: PhysicalTable, snapshot: Snapshot
    ) -> Future[None] | None:
        """The count that was begun; None where one holds or is under way, or none is to be had."""
        if table.source == OWN_SOURCE or is_told_of_callers(snapshot.mesh.sources[table.source]):
            return None
        now = time.monotonic()
        with self._lock:
            known = self._known.setdefault(one.key, _Counted(0.0))
            is_fresh = known.until > now and one.columns <= known.asked
            is_under_way = self._is_closed or one.key in self._asking
            is_full = len(self._asking) >= _MOST_WAITING
            if is_under_way or is_fresh or is_full:
                return None
            known.until, known.asked = now + _KEPT_SECONDS, known.asked | one.columns
            self._known.move_to_end(one.key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            task = self._threads.submit(self._count, one, known, table, snapshot)
            self._asking[one.key] = task
        return task

    def _count(
        self, one: _Wanted, known: _Counted, table: PhysicalTable, snapshot: Snapshot
    ) -> None:
        address, is_done = one.decided.address, False
        try:
            columns = tuple(sorted(known.asked))
            found = self._counted(one, columns, table, snapshot)
            if found is None and columns:
                found, columns = self._counted(one, (), table, snapshot), ()
            if found is not None:
                rows, *ends = found
                pairs = zip(columns, ends[::2], ends[1::2], strict=True)
                with self._lock:
                    known.bounds = {name: _column(*pair) for name, *pair in pairs}
                revision = snapshot.mesh.revision
                self._counts.count(one.key, revision, shape_of_all(address), int(str(rows)))
            is_done = True
        except SqluiceError as error:
            # A source's own text may quote a value.
            log.info("the rows of a table were not counted: %s", error.code)
        except Exception as error:  # noqa: BLE001 - a defect of ours concerns nobody's answer
            # By its kind alone: the text of an error of Arrow's may quote a value.
            log.error("the rows of a table could not be counted: %s", type(error).__name__)
        finally:
            with self._lock:
                known.is_missing = not is_done
                if not is_done:
                    known.until = time.monotonic() + _AGAIN_SECONDS
                self._asking.pop(one.key, None)
                self._running.pop(one.key, None)

    def _counted(
        self, one: _Wanted, columns: Sequence[str], table: PhysicalTable, snapshot: Snapshot
    ) -> list[object] | None:
        """Rows, then the ends of each column; None where the source would have to send rows."""
        address = one.decided.address
        query = exp.select("count(*) AS n").from_(table_named(address))
        for number, name in enumerate(columns):
            for kind in (exp.Min, exp.Max):
                end = kind(this=exp.column(name, quoted=True))
                query.select(exp.alias_(end, f"{kind.key}_{number}", quoted=True), copy=False)
        name = f"rows of {sha256(str(address).encode()).hexdigest()[:12]}"
        limits = Limits(rows=1, seconds=_SECONDS)
        asked = OwnStatement(name, query, one.decided, table, limits)
        made, run = planned(asked, snapshot, self._reader)
        if not _stays(made):
            return None
        batches = execute(made, run, partial(self._began, one.key)).batches()
        return numbers_of(pa.Table.from_batches(list(batches)))

    def _began(self, key: str, result: Result) -> None:
        with self._lock:
            self._running[key] = result


def numbers_of(row: pa.Table) -> list[object]:
    """The values of one row, days as numbers: Python has none before the year 1 nor after 9999."""
    days = [one.cast(pa.int32()) if pa.types.is_date32(one.type) else one for one in row.columns]
    return [one[0].as_py() for one in days]


def _wanted(guarded: GuardedQuery) -> Iterator[_Wanted]:
    named = {column.name for column in guarded.tree.find_all(exp.Column)}
    for key, one in _restricted(guarded.decision):
        # Where none is named, the guard has chosen one that nobody asked about.
        clear = named & set(clear_columns(one))
        read = {
            column.name for relation in guarded.relations.values()
            if relation.address == one.address for column in relation.columns
            if column.type in _DISCRETE and column.name in clear
        }  # fmt: skip
        yield _Wanted(key, one, frozenset(read))


def _restricted(decision: Decision) -> Iterator[tuple[str, TableDecision]]:
    """The tables of which some rows are let through, with what tells these rows apart."""
    for one in decision.tables.values():
        if one.aggregate is None and is_filtered(one):
            key = rows_fingerprint(decision, one)
            if key is not None:
                yield key, one


def _column(low: object, high: object) -> ColumnSize:
    """The ends as numbers; between two of them there are no more values than that."""
    ends = [_number(low), _number(high)]
    if ends[0] is None or ends[1] is None:
        return ColumnSize()
    return ColumnSize(ends[1] - ends[0] + 1, ends[0], ends[1])


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | Decimal) else None


def _stays(made: Plan) -> bool:
    """Whether the rows are counted where they lie."""
    if len(made.fragments) != 1:
        # A policy may leave nothing to ask for.
        return False
    (one,) = made.fragments
    is_whole = one.gate is None and not one.pseudonyms and one.groups is None
    return is_whole and (made.merge is None or one.in_place is not None)
