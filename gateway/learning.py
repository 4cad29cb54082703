"""What runs teach the planner.

Takes: plans that were run to their end, and what their fragments took. Gives: samples to the prices
of the sources, counts to those of the decision, and at intervals makes both hold. Nothing of it
happens while a caller waits; nothing is learned of a run that failed, nor of a table that shows
groups only.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Container, Iterator

from gateway.decision import Decision
from gateway.draft import Plan, PlannedFragment
from gateway.estimates import shape_of_all
from gateway.fitting import Sample
from gateway.observed import Counts, ObservedCounts, own_fingerprint, rows_fingerprint
from gateway.prices import LearnedPrices
from gateway.result import Result, Took

log = logging.getLogger("gateway.learning")
REFRESH_SECONDS = 30.0
# Who reads so much slower than a source hides what the source takes.
_SLOWER, _MANY_ROWS = 4.0, 2_000


class Learning:
    """Learns in one thread, which runs only once there is something to learn."""

    def __init__(
        self, prices: LearnedPrices, counts: ObservedCounts, seconds: float = REFRESH_SECONDS
    ) -> None:
        """Make what was learned hold every so many seconds; 0: learn nothing."""
        self.prices = prices
        self.counts = counts
        self._seconds = seconds
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def ran(
        self,
        user: str,
        decision: Decision,
        plan: Plan,
        result: Result,
        personal: Container[str] = (),
    ) -> None:
        """A plan was run to its end for a user. Never waits, never raises.

        personal: sources that know who asks, and may show him other rows under the same decision.
        """
        if not self._seconds:
            return
        for one in plan.fragments:
            took = result.took.get(one.name)
            fetched = result.fetched.get(one.name, 0)
            if took is not None and _tells(took, fetched):
                sample = Sample(user, fetched, took.bytes, took.keys, took.waited * 1000)
                self.prices.observe(one.source, sample)
            rows = _rows(one, result)
            if rows is not None and one.shape:
                own = own_fingerprint(decision, user) if one.source in personal else None
                for fingerprint in _fingerprints(decision, one) if own is None else (own,):
                    self.counts.observe(fingerprint, decision.revision, one.shape, rows)
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="learning", daemon=True)
                self._thread.start()

    def known(self, decision: Decision, user: str) -> tuple[Counts, Counts]:
        """What came under a decision, and of sources that know who asks what came to a user."""
        own = own_fingerprint(decision, user)
        return self.counts.of(decision.fingerprint), self.counts.of(own)

    def refresh(self) -> None:
        """Make what was learned so far hold now."""
        self.prices.refresh()
        self.counts.refresh()

    def close(self, seconds: float = 10.0) -> None:
        """Keep what was learned, and learn no more."""
        self._closed.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(seconds)
            self.refresh()

    def _run(self) -> None:
        while not self._closed.wait(self._seconds):
            try:
                self.refresh()
            except Exception:
                # A defect of ours concerns nobody's answer; planning goes on with what it knows.
                log.exception("what runs taught could not be learned")


def _fingerprints(decision: Decision, one: PlannedFragment) -> Iterator[str]:
    """Under what the rows of a fragment are remembered."""
    yield decision.fingerprint
    if one.shape == shape_of_all(one.tables[0]):
        whole = rows_fingerprint(decision, decision.tables[one.tables[0]])
        if whole is not None:
            yield whole


def _tells(took: Took, rows: int) -> bool:
    """Whether the time of a statement is its source's."""
    is_held_up = rows >= _MANY_ROWS and took.seconds > (1 + _SLOWER) * took.waited
    return took.is_whole and not is_held_up


def _rows(one: PlannedFragment, result: Result) -> int | None:
    """The rows after the policy, all of them; None where that is not known."""
    if one.groups is not None:
        return None
    if one.name in result.kept:
        return result.kept[one.name]
    took = result.took.get(one.name)
    is_final = one.gate is None and took is not None and took.is_whole
    is_narrowed = took is not None and took.is_narrowed
    return result.fetched.get(one.name, 0) if is_final and not is_narrowed else None
