"""How many rows each decision has let through, by what was asked (DESIGN 5, barrier rule 5).

Takes: rows that fragments had after their policy, by the fingerprint of the decision that guarded
them, or of that part of it which says which rows of one table there are. Gives: powers of ten, for
planning under the same fingerprint and no other. Never gives one decision what another one counted,
never holds more than so many; what holds changes only when it is refreshed or counted, and then
only where a count has really moved.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from math import log10
from statistics import median
from types import MappingProxyType

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.decision import Condition, Decision, TableDecision
from gateway.state.counts import CountRow, count_rows, forget_counts, put_count
from gateway.state.engine import moment_text, reading, writing

log = logging.getLogger("gateway.observed")
# Bounds of what is remembered: decisions, shapes of one, counts of one between two refreshes.
_DECISIONS, _SHAPES, _COUNTS = 2_048, 64, 16
_IN_STATE, _AT_FIRST = 10_000, 2_048
# How far a count, as a power of ten, has to move before another is in force.
_STICKY = 0.75


@dataclass(frozen=True, slots=True)
class Counts:
    """What one decision let through: a power of ten by shape. `edition` changes with any."""

    powers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    edition: int = 0
    revision: str = ""


_NONE = Counts()


def rows_fingerprint(decision: Decision, table: TableDecision) -> str | None:
    """What tells the rows of a table that a decision lets through from those of others.

    Whoever has the same filters and scopes on it sees the same rows, whatever else is decided for
    him, if he asks for the same purpose: a source may hear of that. None where that changes with
    the clock.
    """
    if decision.valid_until is None:
        return None
    marks = [decision.revision, decision.purpose or ""]
    marks += [str(table.address), str(table.address.major)]
    for kind, conditions in (
        ("scope", (one.condition for one in table.scopes)), ("filter", table.filters)
    ):  # fmt: skip
        texts = sorted(_text(one) for one in conditions)
        marks += [kind, *texts]
    return "rows " + sha256("\x1f".join(marks).encode()).hexdigest()


def own_fingerprint(decision: Decision, user: str) -> str:
    """Under what is remembered what a source showed one user that knows its callers."""
    marks = "\x1f".join((user, decision.fingerprint))
    return "own " + sha256(marks.encode()).hexdigest()


def _text(condition: Condition | None) -> str:
    if condition is None:
        return "TRUE"
    return condition.sql or condition.expression.sql("duckdb")


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

    def count(self, decision: str, revision: str, shape: str, rows: int) -> None:
        """Let a count hold at once, and tell state."""
        now = moment_text(datetime.now(UTC))
        with self._lock:
            power = _power(log10(max(rows, 1)), self._counts.get(decision, _NONE).powers.get(shape))
            row = CountRow(decision, shape, revision, power, now)
            is_news = self._take(row)
        if is_news:
            self._keep([row])

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
        if changed:
            self._keep(changed)
        self._follow()

    def _keep(self, changed: Sequence[CountRow]) -> None:
        try:
            with writing(self._state) as connection:
                for row in changed:
                    put_count(connection, row)
                forget_counts(connection, _IN_STATE)
        except SQLAlchemyError as error:
            log.warning("counts could not be kept in state: %s", type(error).__name__)

    def _follow(self) -> None:
        """Take over what other gateways counted since the last time."""
        try:
            with reading(self._state) as connection:
                rows = count_rows(connection, _AT_FIRST, self._read_to)
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
