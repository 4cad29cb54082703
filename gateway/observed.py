"""How many rows each decision has let through, by what was asked (DESIGN 5, barrier rule 5).

Takes: rows that fragments had after their policy, by the fingerprint of the decision that guarded
them. Gives: powers of ten, for planning under the same fingerprint and no other. Never gives one
decision what another one counted, never holds more than so many; what holds changes only when it is
refreshed, and then only where a count has really moved.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import log10
from statistics import median
from types import MappingProxyType

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.state.counts import CountRow, count_rows, forget_counts, put_count
from gateway.state.engine import moment_text, reading, writing

log = logging.getLogger("gateway.observed")
# Bounds of what is remembered: decisions, shapes of one, counts of one between two refreshes.
_DECISIONS, _SHAPES, _COUNTS = 512, 64, 16
_IN_STATE = 10_000
# How far a count, as a power of ten, has to move before another is in force.
_STICKY = 0.75


@dataclass(frozen=True, slots=True)
class Counts:
    """What one decision let through: a power of ten by shape. `edition` changes with any."""

    powers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    edition: int = 0
    revision: str = ""


_NONE = Counts()


class ObservedCounts:
    """Counts over one state. Every method may be called from any thread."""

    def __init__(self, state: Engine) -> None:
        """Begin with what state knows."""
        self._state = state
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, Counts] = OrderedDict()
        self._new: dict[tuple[str, str], tuple[str, list[float]]] = {}
        self._edition = 0
        self._read_to = ""
        self._follow()

    def of(self, decision: str) -> Counts:
        """The counts of one decision, by its fingerprint."""
        with self._lock:
            return self._counts.get(decision, _NONE)

    def observe(self, decision: str, revision: str, shape: str, rows: int) -> None:
        """Remember that so many rows came, for the next refresh."""
        key = (decision, shape)
        with self._lock:
            if key not in self._new and len(self._new) >= _DECISIONS:
                return
            _, held = self._new.setdefault(key, (revision, []))
            if len(held) < _COUNTS:
                held.append(log10(max(rows, 1)))

    def refresh(self) -> None:
        """Let in force what was observed since the last time, and tell state what changed."""
        now = moment_text(datetime.now(UTC))
        changed: list[CountRow] = []
        with self._lock:
            new, self._new = self._new, {}
            for (decision, shape), (revision, found) in new.items():
                power = _power(median(found), self._counts.get(decision, _NONE).powers.get(shape))
                row = CountRow(decision, shape, revision, power, now)
                if self._take(row):
                    changed.append(row)
        try:
            if changed:
                with writing(self._state) as connection:
                    for row in changed:
                        put_count(connection, row)
                    forget_counts(connection, _IN_STATE)
        except SQLAlchemyError as error:
            log.warning("counts could not be kept in state: %s", type(error).__name__)
        self._follow()

    def _follow(self) -> None:
        """Take over what other gateways counted since the last time."""
        try:
            with reading(self._state) as connection:
                rows = count_rows(connection, _DECISIONS * 4, self._read_to)
        except SQLAlchemyError as error:
            log.warning("counts could not be read from state: %s", type(error).__name__)
            return
        with self._lock:
            for row in rows:
                self._take(row)
                self._read_to = max(self._read_to, row.at)

    def _take(self, row: CountRow) -> bool:
        """Whether that is news."""
        known = self._counts.get(row.decision, _NONE)
        if known.powers.get(row.shape) == row.power:
            return False
        if row.shape not in known.powers and len(known.powers) >= _SHAPES:
            return False
        self._edition += 1
        powers = MappingProxyType({**known.powers, row.shape: row.power})
        self._counts[row.decision] = Counts(powers, self._edition, row.revision)
        self._counts.move_to_end(row.decision)
        while len(self._counts) > _DECISIONS:
            self._counts.popitem(last=False)
        return True


def _power(count: float, before: int | None) -> int:
    if before is not None and abs(count - before) < _STICKY:
        return before
    return round(count)
