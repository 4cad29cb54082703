"""A past decision told as EXPLAIN POLICY tells one.

Takes: a decision computed again, with its request and its snapshot. Gives: the lines. Never asks
a source: what entitlement tables gave is what was recorded, and quotas count as unused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from tempfile import TemporaryDirectory
from typing import cast

from gateway.decision import Quota
from gateway.engines.duckdb import DuckdbEngine, EngineSettings
from gateway.errors import SqluiceError
from gateway.explain_policy import explain_policy
from gateway.parse import parse
from gateway.past import Recomputed
from gateway.plan_cache import PlanCache, Remembered, shaping_parameters
from gateway.policies.replay import Values
from gateway.prepare import Prepared, Services
from gateway.request import Principal
from gateway.resolve import ResolvedQuery, resolve
from gateway.snapshot import Snapshot
from gateway.why import Line


def lines_of(found: Recomputed) -> tuple[Line, ...]:
    """The lines, the verdict first; none for a text that is no query."""
    request, snapshot, decision = found.request, found.snapshot, found.replayed.decision
    if request is None or snapshot is None:
        return ()
    with _remembering(decision.entitlements if decision is not None else {}) as services:
        try:
            return explain_policy(request, parse(request), snapshot, services)
        except SqluiceError as error:
            return (Line("statement", "", f"refused: {error.code}", detail=error.message),)


@dataclass(frozen=True, slots=True)
class _Entitled:
    """What entitlement tables gave then."""

    values: Values

    def given(self, principal: Principal, needed: frozenset[str], snapshot: Snapshot) -> Principal:
        """The principal with the recorded values."""
        return replace(principal, entitlements=self.values)


@dataclass(frozen=True, slots=True)
class _Unused:
    """Quotas as if nothing had been taken."""

    def spent(self, user: str, quotas: tuple[Quota, ...], now: datetime) -> Mapping[str, float]:
        """None is used up."""
        return {}


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What of the pipeline's services an explanation needs."""

    engine: DuckdbEngine
    entitlements: _Entitled
    usage: _Unused = _Unused()
    decision_point: None = None
    learning: None = None
    visible_rows: None = None
    statistics: None = None
    edition: Callable[[], int] = lambda: 0
    plans: PlanCache[Prepared] = field(default_factory=PlanCache)
    resolved: Remembered[ResolvedQuery] = field(default_factory=lambda: Remembered(resolve))
    shaping: Remembered[frozenset[int]] = field(
        default_factory=lambda: Remembered(shaping_parameters)
    )


@contextmanager
def _remembering(values: Values) -> Iterator[Services]:
    with TemporaryDirectory() as spill:
        engine = DuckdbEngine(EngineSettings(memory="256MB", threads=1, spill=spill))
        try:
            # Whatever else there is would reach a source, and is not there.
            yield cast("Services", _Remembered(engine, _Entitled(values)))
        finally:
            engine.close()
