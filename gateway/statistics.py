"""How large the tables of sources are, asked seldom and only of tables that nothing restricts.

Takes: sources, decisions. Gives: the sizes that planning may look at (DESIGN 5, barrier rule 5):
what a source says of a table whose rows and columns are all the caller's, else the contract's
declared size, else what its bytes let guess. Never waits long, never fails: what is not known is
guessed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from typing import cast

from catalog.model import Source
from connectors.base import ConnectorError, Sizing, SourceSize
from gateway.constants import INTEGERS
from gateway.decision import Decision, TableDecision
from gateway.draft import ColumnSize, PhysicalTable, TableSize
from gateway.guard import clear_columns, is_filtered
from gateway.plan_cache import Remembered
from gateway.pools import Pools
from gateway.resolve import Address
from gateway.widths import text_width_of

log = logging.getLogger("gateway.statistics")
_KEPT_SECONDS = 600.0
_WAIT_SECONDS = 1.0
_DISCRETE = INTEGERS | {"DATE"}


# A source, a table there, and the purpose for which it was asked, where the source hears of that.
_Key = tuple[str, str, str | None]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was heard of one table, and until when it holds."""

    until: float
    size: SourceSize | None


class Statistics:
    """The sizes of tables by source and physical name; thread-safe."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._known: dict[_Key, _Known] = {}
        self._asking: dict[_Key, Future[None]] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(2, "statistics")
        self._shown = Remembered(_shown)

    def permitted(
        self,
        tables: Mapping[Address, PhysicalTable],
        decision: Decision,
        sources: Mapping[str, Source],
        declared: Mapping[Address, int],
    ) -> Mapping[Address, TableSize]:
        """What planning for this decision may know of its tables."""
        open_ones = {
            address: physical
            for address, physical in tables.items()
            if address in decision.tables and not is_filtered(decision.tables[address])
        }
        heard = self._heard(open_ones, sources, decision.purpose)
        found: dict[Address, TableSize] = {}
        for address in tables:
            size = heard.get(address)
            if size is not None and size.rows is not None:
                found[address] = self._shown(size, tables[address], decision.tables[address])
            elif address in declared:
                found[address] = TableSize(float(declared[address]))
            elif size is not None and size.bytes is not None:
                found[address] = _guessed(size.bytes, tables[address])
        return found

    def is_asking(self, sources: Iterable[str]) -> bool:
        """Whether one of these sources has not answered yet: who plans now knows too little."""
        with self._lock:
            asked = {source for source, _, _ in self._asking}
        return not asked.isdisjoint(sources)

    def close(self) -> None:
        """Ask nobody any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _heard(
        self,
        tables: Mapping[Address, PhysicalTable],
        sources: Mapping[str, Source],
        purpose: str | None,
    ) -> dict[Address, SourceSize]:
        now = time.monotonic()
        wanted: dict[str, list[str]] = {}
        told = {
            one.source: self._pools.told_of(sources[one.source], purpose)
            for one in tables.values() if one.source in sources
        }  # fmt: skip
        for one in tables.values():
            known = self._known.get((one.source, one.physical_name, told.get(one.source)))
            if (known is None or known.until < now) and one.source in sources:
                wanted.setdefault(one.source, []).append(one.physical_name)
        asked = [self._ask(sources[name], told[name], names) for name, names in wanted.items()]
        for task in asked:
            with contextlib.suppress(TooLate):
                task.result(max(0.0, now + _WAIT_SECONDS - time.monotonic()))
        found = {}
        for address, one in tables.items():
            known = self._known.get((one.source, one.physical_name, told.get(one.source)))
            if known is not None and known.size is not None:
                found[address] = known.size
        return found

    def _ask(self, source: Source, purpose: str | None, names: Sequence[str]) -> Future[None]:
        key = (source.identity, "\n".join(names), purpose)
        with self._lock:
            task = self._asking.get(key)
            if task is None:
                task = self._threads.submit(self._learn, key, source, tuple(names))
                self._asking[key] = task
        return task

    def _learn(self, key: _Key, source: Source, names: tuple[str, ...]) -> None:
        sizes: Mapping[str, SourceSize] = {}
        purpose = key[2]
        try:
            with self._pools.for_purpose(purpose).lease(source) as connection:
                if hasattr(connection, "sizes"):
                    sizes = cast(Sizing, connection).sizes(names)
        except ConnectorError as error:
            # A source's own text may quote a value.
            log.info("the sizes of tables are not known: %s", type(error).__name__)
        finally:
            until = time.monotonic() + _KEPT_SECONDS
            with self._lock:
                for name in names:
                    self._known[source.identity, name, purpose] = _Known(until, sizes.get(name))
                self._asking.pop(key, None)


def _guessed(text: float, physical: PhysicalTable) -> TableSize:
    """As many rows as lines of the table's columns fill so many bytes."""
    width = text_width_of(physical.columns.values())
    return TableSize(max(text / width, 1.0), is_guess=True)


def _shown(size: SourceSize, physical: PhysicalTable, decided: TableDecision) -> TableSize:
    """The size with what is known of the columns that the caller sees as they are."""
    names = clear_columns(decided)
    columns = {
        name: _column(size, *physical.columns[name])
        for name in names
        if physical.columns[name][0] in size.columns
    }
    indexed = {name for name in names if physical.columns[name][0] in size.indexed}
    return TableSize(size.rows or 0.0, columns, frozenset(indexed))


def _column(size: SourceSize, physical_name: str, kind: str) -> ColumnSize:
    distinct, low, high = size.columns[physical_name]
    if kind in _DISCRETE and low is not None and high is not None:
        # Between two whole numbers there are no more of them than that.
        most = max(min(size.rows or 0.0, high - low + 1), 1.0)
        distinct = most if distinct is None else min(distinct, most)
    return ColumnSize(distinct, low, high)
