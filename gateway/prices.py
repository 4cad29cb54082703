"""What each source charges at this moment, for the planner that chooses by cost.

Takes: what statements took at sources, certificates, declared prices. Gives: `Prices` by source,
rounded to powers of two, unchanged between two refreshes. What runs taught comes first, else what
the certificate measured, else what the kind declares. Never keeps a statement, nor in state whose
it was; never asks a source.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from catalog.model import Source
from connectors.base import Abilities
from gateway.certify.certificate import Certificate
from gateway.choosing import Prices, declared
from gateway.fitting import Sample, fitted, rounded, smoothed, within
from gateway.state.engine import moment_text, reading, writing
from gateway.state.prices import PriceRow, forget_price, price_rows, put_price

log = logging.getLogger("gateway.prices")
# Bounds of what is remembered: sources, callers of one, statements of one caller.
_SOURCES, _CALLERS, _STATEMENTS = 256, 8, 24
# Tiny statements measure within so many times.
_CERTIFIED_WITHIN = 16.0

# The certificate of a source, None where there is none.
CertificateOf = Callable[[str], Certificate | None]


@dataclass(slots=True)
class _Learnt:
    """What is known of one source. `at`: when state was told; `is_new`: since the last refresh."""

    samples: OrderedDict[str, deque[Sample]] = field(default_factory=OrderedDict)
    exact: Prices | None = None
    in_force: Prices | None = None
    at: str = ""
    is_new: bool = False


class LearnedPrices:
    """The prices of all sources over one state. Every method may be called from any thread."""

    def __init__(
        self,
        state: Engine,
        abilities_of: Callable[[Source], Abilities],
        certificate_of: CertificateOf = lambda _: None,
    ) -> None:
        """Begin with what state knows."""
        self._state = state
        self._abilities_of = abilities_of
        self._certificate_of = certificate_of
        self._lock = threading.Lock()
        self._learnt: OrderedDict[str, _Learnt] = OrderedDict()
        self._bases: dict[str, Prices] = {}
        self._follow()

    def of(self, source: Source) -> Prices:
        """The prices of a source."""
        base = self.measured(source)
        with self._lock:
            self._bases[source.identity] = base
            known = self._learnt.get(source.identity)
            return known.in_force if known is not None and known.in_force is not None else base

    def measured(self, source: Source) -> Prices:
        """What the certificate measured, else what is declared."""
        told = declared(self._abilities_of(source).prices)
        certificate = self._certificate_of(source.identity)
        return told if certificate is None else certified(told, certificate.prices)

    def learnt(self, source: str) -> Prices | None:
        """What runs have taught; None where they have taught nothing yet."""
        with self._lock:
            known = self._learnt.get(source)
            return known.exact if known is not None else None

    def observe(self, source: str, sample: Sample) -> None:
        """Remember what a statement took, for the next refresh."""
        with self._lock:
            known = self._known(source)
            mine = known.samples.setdefault(sample.caller, deque(maxlen=_STATEMENTS))
            mine.append(sample)
            known.samples.move_to_end(sample.caller)
            while len(known.samples) > _CALLERS:
                known.samples.popitem(last=False)
            known.is_new = True

    def forget(self, source: str) -> None:
        """Know nothing of a source any more, as after it moved."""
        with self._lock:
            self._learnt.pop(source, None)
        try:
            with writing(self._state) as connection:
                forget_price(connection, source)
        except SQLAlchemyError as error:
            log.warning("prices could not be removed from state: %s", type(error).__name__)

    def refresh(self) -> None:
        """Learn from what was observed since the last time, and tell state what changed."""
        now = moment_text(datetime.now(UTC))
        changed: dict[str, PriceRow] = {}
        with self._lock:
            for name, known in self._learnt.items():
                base = self._bases.get(name)
                if known.is_new and base is not None and _learn(known, base):
                    assert known.exact is not None
                    known.at = now
                    changed[name] = _row(known.exact, now)
                known.is_new = False
        try:
            if changed:
                with writing(self._state) as connection:
                    for name, row in changed.items():
                        put_price(connection, name, row)
        except SQLAlchemyError as error:
            log.warning("prices could not be kept in state: %s", type(error).__name__)
        self._follow()

    def _follow(self) -> None:
        """Take over what other gateways learnt of sources that this one has not asked itself."""
        try:
            with reading(self._state) as connection:
                rows: Mapping[str, PriceRow] = price_rows(connection)
        except SQLAlchemyError as error:
            log.warning("prices could not be read from state: %s", type(error).__name__)
            return
        with self._lock:
            for name, row in rows.items():
                known = self._known(name)
                if row.at > known.at and not known.samples:
                    known.exact, known.at = _price(row), row.at
                    known.in_force = rounded(known.exact, known.in_force)

    def _known(self, source: str) -> _Learnt:
        found = self._learnt.setdefault(source, _Learnt())
        self._learnt.move_to_end(source)
        while len(self._learnt) > _SOURCES:
            self._learnt.popitem(last=False)
        return found


def _learn(known: _Learnt, base: Prices) -> bool:
    """Whether other prices are in force now."""
    samples = [one for each in known.samples.values() for one in each]
    earlier = known.exact or base
    found = within(fitted(samples, earlier), base)
    if found == earlier:
        return False
    known.exact = smoothed(known.exact, found) if known.exact is not None else found
    before = known.in_force
    known.in_force = rounded(known.exact, before)
    return known.in_force != before


def certified(told: Prices, measured: Mapping[str, float]) -> Prices:
    """A certificate's prices, all in milliseconds, where they are about what is declared."""

    def near(name: str, times: float, base: float) -> float:
        value = measured.get(name, 0.0) * times
        if value <= 0:
            return base
        return min(max(value, base / _CERTIFIED_WITHIN), base * _CERTIFIED_WITHIN)

    statement, row = near("statement", 1, told.statement), near("row", 1000, told.row)
    # A row was measured with one number in it: its bytes are told apart.
    byte = min(measured.get("byte", 0.0) * 1000, told.row)
    return rounded(Prices(statement, row, near("key", 1000, told.key), max(byte, told.byte)))


def _row(price: Prices, at: str) -> PriceRow:
    return PriceRow(at, price.statement, price.row, price.key, price.byte)


def _price(row: PriceRow) -> Prices:
    return Prices(row.per_statement, row.per_row, row.per_key, row.per_byte)
