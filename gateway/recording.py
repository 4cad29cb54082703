"""What the audit and the owners are told of a request.

Takes: a request and what became of it. Gives: audit records, entries in the owners' logs, a place
for the next statement of the caller. Never lets a value into the gateway's own log.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from threading import Lock

from gateway.audit import AuditFinish, AuditStart, Starting
from gateway.decision import Decision
from gateway.errors import Cancelled, InternalError, InvalidConfig, SqluiceError, TimedOut
from gateway.metrics import Ended
from gateway.normalise import normalise
from gateway.prepare import Prepared, Services
from gateway.provenance import NO_PROVENANCE
from gateway.request import Principal, Request
from gateway.result import Result
from gateway.snapshot import Snapshot
from gateway.telemetry import Fetched, Traced
from gateway.usage import Used


def audit_start(
    request: Request,
    snapshot: Snapshot,
    prepared: Prepared | None,
    services: Services,
    entitled: str = "",
) -> AuditStart:
    """What the first record of a request says; refused ones have no decision yet.

    `entitled` is where the values of entitlement tables are kept that the decision used.
    """
    decision = prepared.decision if prepared is not None else None
    provenance = NO_PROVENANCE
    if prepared is not None:
        mesh = snapshot.mesh
        provenance = services.provenance(prepared.bound, prepared.edges, prepared.decision, mesh)
    return AuditStart(
        query_id=request.query_id,
        at=request.now,
        user=request.principal.user,
        statement=request.sql,
        client=request.client,
        endpoint=request.endpoint,
        actor=request.principal.actor,
        dialect=request.dialect,
        parameters=request.parameters,
        purpose=decision.purpose if decision else request.purpose,
        purpose_was_default=bool(decision and decision.purpose_was_default),
        products=provenance.products,
        columns=provenance.columns,
        policies=provenance.policies,
        revision=snapshot.mesh.revision,
        decision=decision.fingerprint if decision else "",
        plan="\n".join(one.shown for one in prepared.plan.fragments) if prepared else "",
        verdict="allowed" if decision else "",
        reasons=provenance.reasons,
        lineage=provenance.lineage,
        principal=_principal(request.principal, snapshot, decision, entitled),
        session={"domain": request.domain, "timezone": request.timezone},
    )


def _principal(
    principal: Principal, snapshot: Snapshot, decision: Decision | None, entitled: str
) -> Mapping[str, object]:
    """What a decision depends on besides the name, so that it can be computed again.

    `own_decision`: the fingerprint of the mesh's own rules alone, where a decision point restricted
    further; what that said cannot be computed again.
    """
    scope = principal.scope
    besides = {
        "entitlements": entitled, "own_decision": decision.own_fingerprint if decision else "",
        "credential": principal.credential,
        "scope": {} if scope.is_whole else {
            "purposes": sorted(scope.purposes), "products": sorted(scope.products),
        },
    }  # fmt: skip
    return {
        **{name: value for name, value in besides.items() if value},
        "groups": sorted(principal.groups),
        "roles": sorted(principal.roles),
        "attributes": {name: list(values) for name, values in principal.attributes.items()},
        "client": principal.client,
        "address": principal.address,
        # Up to which event about access: revocations and approvals count too.
        "standing": snapshot.index.standing.number,
    }


def products_of(decision: Decision) -> tuple[str, ...]:
    """`domain.product` of what a decision is about."""
    return tuple(sorted({f"{one.domain}.{one.product}" for one in decision.tables}))


def trace_brief(request: Request, services: Services, code: str) -> None:
    """The trace of a statement that never ran, or that the gateway answers itself."""
    services.telemetry.ended(Traced(request.query_id, request.endpoint, 0.0, code, request.trace))


def record_refusal(
    error: SqluiceError, request: Request, snapshot: Snapshot, services: Services
) -> None:
    """What is refused before anything ran is in the audit once, however often it is told."""
    error.query_id = error.query_id or request.query_id
    if not error.is_audited:
        error.is_audited = True
        start = audit_start(
            replace(request, query_id=error.query_id), snapshot, None, services
        )
        services.audit.refused(start, error.code)
        services.metrics.refused(request.endpoint, error.code)
        trace_brief(request, services, error.code)
    if not error.is_logged:
        error.is_logged = True
        log_private(error, request, services)


def log_private(error: SqluiceError, request: Request, services: Services) -> None:
    """What may hold a value goes to the owner of the source, else to the gateway's operators."""
    if error.private:
        error.query_id = request.query_id
        domain = error.source.split(".")[0] or "gateway"
        services.owner_logs.write(domain, error, error.source)


def tell_owners(decision: Decision, request: Request, services: Services) -> None:
    """What the owner of a domain must know of a decision goes to his log (DESIGN 5, rule 3)."""
    for one in decision.alerts:
        alert = InvalidConfig(one.text, hint="Make the policies' subjects exclude each other.")
        alert.query_id = request.query_id
        services.owner_logs.write(one.domain, alert)


class Finish:
    """Writes the second audit record, once."""

    def __init__(
        self,
        services: Services,
        request: Request,
        ticket: Starting,
        began: float,
        prepared: Prepared,
    ) -> None:
        self._services = services
        self._request = request
        self._ticket = ticket
        self._began = began
        self._timings = prepared.timings
        self._sources = {one.name: one.source for one in prepared.plan.fragments}
        self._decision = prepared.decision
        self._lock = Lock()
        self._is_done = False

    def __call__(self, result: Result | None, failure: SqluiceError | None) -> None:
        """Record how the request ended; both are None where nothing came of it."""
        with self._lock:
            if self._is_done:
                return
            self._is_done = True
        total = time.perf_counter() - self._began
        timings = {**self._timings, "total": total}
        outcome = "ok"
        principal = self._request.principal
        self._services.limiter.leave(principal)
        self._services.limiter.release(principal, self._decision.turns)
        rows, size = (result.rows, result.bytes) if result else (0, 0)
        taken = Used(milliseconds=round(total * 1000), rows=rows, bytes=size)
        self._services.usage.end(principal.user, self._decision.quotas, self._request.now, taken)
        if failure is not None:
            stopped = isinstance(failure, Cancelled | TimedOut)
            outcome = "cancelled" if stopped else "failed"
            log_private(failure, self._request, self._services)
        code = failure.code if failure else ""
        self._services.queries.finished(self._request.query_id, outcome, code)
        products = products_of(self._decision)
        self._services.metrics.ended(
            Ended(self._request.endpoint, code, rows, size, total, products)
        )
        self._trace(code, total, products, result)
        self._services.audit.ended(
            self._ticket,
            AuditFinish(outcome, rows=rows, bytes=size, timings=timings, code=code),
        )

    def _trace(
        self, code: str, seconds: float, products: tuple[str, ...], result: Result | None
    ) -> None:
        telemetry, request = self._services.telemetry, self._request
        took = result.took if result else {}
        telemetry.ended(Traced(
            request.query_id, request.endpoint, seconds, code, request.trace,
            purpose=self._decision.purpose or "", rows=result.rows if result else 0,
            statement=normalise(request.sql, request.dialect) if telemetry.wants_statements else "",
            products=products, stages=self._timings,
            fetched=tuple(
                Fetched(self._sources[name], one.seconds, result.fetched.get(name, 0))
                for name, one in took.items() if result and name in self._sources
            ),
        ))  # fmt: skip


def see_to_record(ticket: Starting, result: Result, finish: Finish) -> None:
    """Nothing leaves before its record is committed, which took its time beside the sources."""
    try:
        ticket.committed()
    except InternalError as error:
        with suppress(InternalError):
            finish(None, error)
        result.cancel(error)
        raise
