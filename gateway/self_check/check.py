"""The differential self-check: a sample of queries runs again, once pushed and once pulled.

Takes: queries whose callers have their answers. Gives: nothing where both ways agree; where they do
not, the ability at fault is switched off for that source in state, with evidence, and the owner of
the source is told. Never delays or changes an answer, never keeps a row, counts against nobody's
quota; what it reads is audited as its own.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from connectors.base import ConnectorError
from gateway.abilities import AbilitiesInForce
from gateway.audit import AuditFinish
from gateway.audit.source import OWN_SOURCE
from gateway.errors import Cancelled, SourceFailed, SqluiceError
from gateway.prepare import Prepared, Services
from gateway.recording import audit_start
from gateway.request import Request
from gateway.result import Result
from gateway.self_check.bisect import Finding, find
from gateway.self_check.determinate import is_determinate
from gateway.self_check.replay import Bounds, Replay
from gateway.sessions import new_query_id
from gateway.snapshot import Snapshot

log = logging.getLogger("gateway.self_check")
ACTOR = "self-check"
_WAITING = 16


@dataclass(frozen=True, slots=True)
class _Sampled:
    """A query to check, as it was decided for its caller."""

    request: Request
    snapshot: Snapshot
    prepared: Prepared


class SelfCheck:
    """Checks in one thread, one query after another; what comes too fast is not checked."""

    def __init__(
        self,
        services: Services,
        abilities: AbilitiesInForce,
        sample: float,
        bounds: Bounds,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`sample` is the share of queries, 0 to 1. No thread runs before the first."""
        self._services = services
        self._abilities = abilities
        self._sample = sample
        self._bounds = bounds
        self._chance = chance
        self._waiting: queue.Queue[_Sampled | None] = queue.Queue(_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._running: Result | None = None
        self._is_closed = False
        self.checked = 0

    def offer(
        self, request: Request, snapshot: Snapshot, prepared: Prepared, rows: int
    ) -> None:
        """Maybe check a query that was answered. Never waits, never raises."""
        if self._chance() >= self._sample or rows > self._bounds.rows or self._is_closed:
            return
        if not request.push_down or not may_be_checked(prepared):
            return
        try:
            self._waiting.put_nowait(_Sampled(request, snapshot, prepared))
        except queue.Full:
            return
        with self._lock:
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name=ACTOR, daemon=True)
                self._thread.start()

    def drain(self, seconds: float) -> bool:
        """Wait until nothing is left to check; False where that takes longer."""
        until = time.monotonic() + seconds
        while self._waiting.unfinished_tasks:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        return True

    def close(self) -> None:
        """Stop what runs, and check no more."""
        with self._lock:
            self._is_closed = True
            thread, running = self._thread, self._running
        if running is not None:
            running.cancel(Cancelled("The gateway closes."))
        if thread is not None:
            while True:
                try:
                    self._waiting.put_nowait(None)
                    break
                except queue.Full:
                    self._waiting.get_nowait()
                    self._waiting.task_done()
            thread.join(self._bounds.seconds)

    def _run(self) -> None:
        while True:
            one = self._waiting.get()
            try:
                if one is None:
                    return
                if not self._is_closed:
                    self._check(one)
            except Exception:
                # A defect of ours concerns nobody's answer; the next query is checked all the same.
                log.exception("a self-check failed")
            finally:
                self._waiting.task_done()

    def _check(self, one: _Sampled) -> None:
        """Both ways of one query, audited; what is found is kept."""
        audit, began = self._services.audit, time.perf_counter()
        name = new_query_id()
        client = f"{ACTOR} of {one.request.query_id}"
        request = replace(one.request, query_id=name, endpoint=ACTOR, client=client)
        entitled = audit.keep(one.prepared.decision.entitlements)
        start = audit_start(request, one.snapshot, one.prepared, self._services, entitled)
        ticket = audit.started(replace(start, actor=ACTOR))
        outcome = "failed"
        try:
            replay = Replay(
                request, one.snapshot, one.prepared, self._services, self._bounds, self._announced
            )
            found = find(replay)
            outcome = "ok"
            if found is not None:
                self._keep(found, one)
        except (SqluiceError, ConnectorError) as error:
            # The caller has his answer; that a check cannot run proves nothing.
            log.info("a self-check was given up: %s", type(error).__name__)
        finally:
            self._announced(None)
            seconds = {"total": time.perf_counter() - began}
            audit.finished(ticket, AuditFinish(outcome, timings=seconds))
            self.checked += 1

    def _announced(self, result: Result | None) -> None:
        with self._lock:
            self._running = result
            is_late = self._is_closed and result is not None
        if is_late and result is not None:
            result.cancel(Cancelled("The gateway closes."))

    def _keep(self, found: Finding, one: _Sampled) -> None:
        query_id = one.request.query_id
        for source, ability in found.off:
            self._abilities.switch_off(source, ability, found.evidence(source), query_id)
            error = SourceFailed(
                f"A query gave another answer pushed than pulled: {ability} of {source} is "
                "switched off until it is certified again.",
                hint="sqluice certify --evidence shows what was found.",
            )
            error.query_id = query_id
            self._services.owner_logs.write(source.split(".", maxsplit=1)[0], error, source)
            log.warning("an ability was switched off: %s", ability, extra={"source": source})


def may_be_checked(prepared: Prepared) -> bool:
    """Whether a query can be asked again without harm, and has one right answer."""
    relations = prepared.guarded.relations.values()
    fragments = prepared.plan.fragments
    return (
        bool(fragments)
        # Each question to groups counts for the guard against differences.
        and all(one.block is None for one in relations)
        and all(one.groups is None and one.source != OWN_SOURCE for one in fragments)
        and is_determinate(prepared.guarded.tree)
    )
