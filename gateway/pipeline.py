"""The one function that composes the stages.

    parse -> resolve -> authorize -> bind -> guard -> plan -> execute

Takes: requests. Gives: results, audited: the first record is committed before the first batch
leaves, refused requests are recorded too. Never answers without a decision, never lets anything
but a SqluiceError out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

import pyarrow as pa
from sqlglot import exp

from connectors.base import Abilities
from gateway.allowed import check_patterns
from gateway.audit import Audit, AuditFinish, AuditStart, AuditTicket
from gateway.authorize import Decision, PolicyIndex, authorize, directory, visible
from gateway.bind import BoundQuery, Visible, bind
from gateway.draft import PhysicalTable, Plan, PlanContext
from gateway.engines.base import Engine
from gateway.errors import (
    Cancelled,
    InternalError,
    SqluiceError,
    TimedOut,
    UnsupportedSql,
)
from gateway.execute import Result, Run, execute
from gateway.explain import (
    columns_table,
    decision_table,
    names_table,
    plan_table,
    schema_table,
    tables_table,
)
from gateway.guard import GuardedQuery, guard
from gateway.limits import Limiter
from gateway.logs import OwnerLogs
from gateway.metadata import VisibleTable, visible_tables
from gateway.parse import ParsedStatement, parse
from gateway.plan import plan
from gateway.pools import Pools
from gateway.pseudonyms import KeyOf
from gateway.queries import Queries, RunningQuery
from gateway.request import Limits, Principal, Request
from gateway.resolve import Address, ResolvedQuery, resolve
from gateway.snapshot import Snapshot

log = logging.getLogger("gateway.pipeline")


@dataclass(frozen=True, slots=True)
class Services:
    """What the pipeline works with. `abilities_of` tells the abilities of a kind of source."""

    engine: Engine
    pools: Pools
    audit: Audit
    queries: Queries
    key_of: KeyOf
    abilities_of: Callable[[str], Abilities]
    limiter: Limiter
    owner_logs: OwnerLogs
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of a statement before it runs. `schema` is that of its answer."""

    schema: pa.Schema
    parameters: int
    kind: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request after all stages but the last."""

    bound: BoundQuery
    decision: Decision
    guarded: GuardedQuery
    schema: pa.Schema
    plan: Plan
    timings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


class Gateway:
    """Answers requests over the mesh that `current` gives at that moment."""

    def __init__(self, current: Callable[[], Snapshot], services: Services) -> None:
        self._current = current
        self._services = services

    def answer(self, request: Request) -> Result:
        """The answer to a statement, its first batch ready; errors carry the query id."""
        snapshot = self._current()
        request = replace(request, limits=_bounded(request.limits, self._services.limits))
        try:
            statement = parse(request)
            if statement.kind in ("query", "explain_analyze"):
                return self._run(request, statement, snapshot)
            return self._told(request, statement, snapshot)
        except SqluiceError as error:
            error.query_id = request.query_id
            if not error.is_audited:
                self._services.audit.refused(_start(request, snapshot, None), error.code)
            _log_private(error, request, self._services)
            raise
        except Exception as error:
            # A defect of ours: the caller gets a stable code, the log the traceback.
            log.exception("request failed", extra={"query_id": request.query_id})
            failure = InternalError("The gateway failed on this request.", private=repr(error))
            failure.query_id = request.query_id
            self._services.audit.refused(_start(request, snapshot, None), failure.code)
            raise failure from error

    def describe(self, request: Request) -> Described:
        """The shape of the answer, for clients that prepare; nothing runs."""
        snapshot = self._current()
        try:
            statement = parse(request)
            if statement.kind != "query":
                table = self._tell(request, statement, snapshot)
                return Described(table.schema, 0, statement.kind)
            values = request.parameters or (None,) * statement.parameters
            filled = replace(request, parameters=values)
            made = prepare(filled, statement, snapshot, self._services, with_plan=False)
            return Described(made.schema, statement.parameters, statement.kind)
        except SqluiceError as error:
            error.query_id = request.query_id
            raise

    def catalog(
        self, principal: Principal, now: datetime, purpose: str | None = None
    ) -> tuple[VisibleTable, ...]:
        """Everything the principal may query."""
        return visible_tables(self._current(), principal, now, purpose)

    def cancel(self, query_id: str, principal: Principal) -> bool:
        """Cancel a running query: one's own, or as an operator anybody's."""
        return self._services.queries.cancel(query_id, principal)

    def queries(self, principal: Principal, ended: bool = False) -> tuple[RunningQuery, ...]:
        """The running queries that the principal may see, with `ended` also late ones."""
        return self._services.queries.list(principal, ended)

    def _run(self, request: Request, statement: ParsedStatement, snapshot: Snapshot) -> Result:
        services = self._services
        began = time.perf_counter()
        if len(request.parameters) != statement.parameters:
            raise UnsupportedSql(
                f"The statement has {statement.parameters} parameters and "
                f"{len(request.parameters)} values were given.",
                hint="Give one value for each ? or $n.",
            )
        if statement.tree is not None:
            check_patterns(statement.tree, request.parameters)
        services.limiter.enter(request.principal)
        try:
            prepared = prepare(request, statement, snapshot, services)
            ticket = services.audit.started(_start(request, snapshot, prepared))
        except BaseException:
            services.limiter.leave(request.principal)
            raise
        finish = _Finish(self, request, ticket, began, prepared.timings)
        run = Run(
            query_id=request.query_id,
            sources=snapshot.mesh.sources,
            pools=services.pools,
            engine=services.engine,
            key_of=services.key_of,
            schema=prepared.schema,
            limits=_within_policy(request.limits, prepared.decision),
            parameters=request.parameters,
            timezone=request.timezone,
            on_finish=finish,
        )
        handle: list[Result] = []
        services.queries.started(request, lambda: handle[0].cancel() if handle else None)
        try:
            result = execute(prepared.plan, run, handle.append)
        except SqluiceError as error:
            error.is_audited = True
            raise
        except Exception as error:
            finish(None, InternalError("The gateway failed on this request."))
            failure = InternalError("The gateway failed on this request.", private=repr(error))
            failure.is_audited = True
            log.exception("execution failed", extra={"query_id": request.query_id})
            raise failure from error
        if statement.kind == "explain_analyze":
            return self._analyzed(request, result, prepared)
        return result

    def _analyzed(self, request: Request, result: Result, prepared: Prepared) -> Result:
        for _ in result.batches():
            pass
        table = plan_table(prepared.plan)
        extra = {
            "step": ["answer", "answer"],
            "where": ["gateway", "gateway"],
            "what": ["rows", "bytes"],
            "detail": [str(result.rows), str(result.bytes)],
            "why": ["", ""],
        }
        return told(request, pa.concat_tables([table, pa.table(extra, schema=table.schema)]))

    def _told(self, request: Request, statement: ParsedStatement, snapshot: Snapshot) -> Result:
        """An answer from the gateway's own knowledge, audited like every other."""
        table = self._tell(request, statement, snapshot)
        audit = self._services.audit
        ticket = audit.started(_start(request, snapshot, None))
        audit.finished(ticket, AuditFinish("ok", rows=table.num_rows, bytes=table.nbytes))
        return told(request, table)

    def _tell(self, request: Request, statement: ParsedStatement, snapshot: Snapshot) -> pa.Table:
        match statement.kind:
            case "explain" | "explain_policy" | "explain_analyze":
                values = request.parameters or (None,) * statement.parameters
                made = prepare(
                    replace(request, parameters=values), statement, snapshot, self._services
                )
                is_policy = statement.kind == "explain_policy"
                return decision_table(made.decision) if is_policy else plan_table(made.plan)
            case "describe":
                return self._describe(request, statement, snapshot)
            case "show":
                return self._show(request, statement, snapshot)
            case _:
                raise UnsupportedSql(
                    f"{statement.kind.upper()} is served by sessions only.",
                    hint="Send it on a connection that keeps a session, or set the field of the "
                    "request.",
                )

    def _describe(
        self, request: Request, statement: ParsedStatement, snapshot: Snapshot
    ) -> pa.Table:
        tree = statement.tree
        if not isinstance(tree, exp.Table):
            return schema_table(
                prepare(request, statement, snapshot, self._services, with_plan=False).schema
            )
        known = directory(snapshot.index, request.principal, request.now)
        query = ParsedStatement("query", exp.select("*").from_(tree.copy()))
        address = resolve(query, known, request.domain).tables[0]
        tables = visible_tables(snapshot, request.principal, request.now, request.purpose)
        return columns_table(next(one for one in tables if one.address == address))

    def _show(self, request: Request, statement: ParsedStatement, snapshot: Snapshot) -> pa.Table:
        tables = visible_tables(snapshot, request.principal, request.now, request.purpose)
        settings = {
            "purpose": request.purpose or "",
            "domain": request.domain or "",
            "dialect": request.dialect,
            "timezone": request.timezone,
            "require_pushdown": str(request.require_pushdown).lower(),
            "row_limit": str(request.limits.first or ""),
            "query_timeout": f"{request.limits.seconds:g}",
        }
        what = statement.argument or ""
        match what:
            case "tables":
                return tables_table(tables)
            case "catalogs" | "domains":
                names = dict.fromkeys(one.address.domain for one in tables)
                return names_table("domain", list(names))
            case "schemas" | "products":
                rows = dict.fromkeys((one.address.domain, one.address.product) for one in tables)
                return pa.table(
                    {
                        "domain": pa.array([one for one, _ in rows], pa.string()),
                        "product": pa.array([one for _, one in rows], pa.string()),
                    }
                )
            case "purposes":
                return names_table("purpose", [one.name for one in snapshot.mesh.purposes])
            case _ if what in settings:
                return names_table(what, [settings[what]])
            case _:
                raise UnsupportedSql(
                    f"There is nothing to show under {what!r}.",
                    hint="SHOW TABLES, SCHEMAS, CATALOGS, PURPOSES or one of: "
                    + ", ".join(sorted(settings))
                    + ".",
                )


def prepare(
    request: Request,
    statement: ParsedStatement,
    snapshot: Snapshot,
    services: Services,
    with_plan: bool = True,
) -> Prepared:
    """All stages between parse and execute. Nothing leaves the process."""
    assert statement.tree is not None
    clock = _Clock()
    known = directory(snapshot.index, request.principal, request.now)
    resolved = resolve(statement, known, request.domain)
    clock.lap("resolve")
    decision = authorize(resolved, request, snapshot.index)
    clock.lap("authorize")
    columns = visible(decision)
    bound = bind(resolved, columns)
    bound = replace(
        bound, outputs=_output_names(resolved, columns, bound.outputs, request, services)
    )
    clock.lap("bind")
    guarded = guard(bound, decision)
    clock.lap("guard")
    shapes = {
        name: tuple((column.name, column.type) for column in one.columns)
        for name, one in guarded.relations.items()
    }

    def schema_of(tree: exp.Expression, values: tuple[object, ...]) -> pa.Schema:
        return services.engine.describe(tree.sql("duckdb"), shapes, values, request.timezone)

    schema = _named(schema_of(guarded.tree, request.parameters), guarded.outputs)
    clock.lap("describe")
    made = Plan((), None, guarded.outputs)
    if with_plan:
        context = PlanContext(
            tables=physical_tables(resolved.tables, snapshot),
            abilities={
                identity: services.abilities_of(one.kind)
                for identity, one in snapshot.mesh.sources.items()
            },
            describe=lambda tree: _types(schema_of(tree, ())),
            parameters=request.parameters,
            timezone=request.timezone,
            push_down=request.push_down,
            require_pushdown=request.require_pushdown,
        )
        made = plan(guarded, context)
        clock.lap("plan")
    return Prepared(bound, decision, guarded, schema, made, clock.laps)


def _output_names(
    resolved: ResolvedQuery,
    columns: Visible,
    names: tuple[str, ...],
    request: Request,
    services: Services,
) -> tuple[str, ...]:
    """What DuckDB itself calls the outputs: its binder reads the text over the visible columns."""
    catalog: dict[tuple[str, str, str], tuple[tuple[str, str], ...]] = {}
    for table in resolved.tree.find_all(exp.Table):
        address = table.meta.get("address")
        if not isinstance(address, Address):
            continue
        catalog[address.domain, address.product, address.table] = columns[address]
        # The product's own name stands for its default table.
        catalog[address.domain, "main", address.product] = columns[address]
    is_query = request.sql.lstrip()[:7].lower() not in ("explain", "describ")
    found = (
        services.engine.output_names(
            request.sql, tuple(sorted(catalog.items())), request.domain, request.parameters
        )
        if is_query and request.dialect == "duckdb"
        else None
    )
    return found if found is not None and (len(found) == len(names) or not names) else names


def physical_tables(
    addresses: tuple[Address, ...], snapshot: Snapshot
) -> Mapping[Address, PhysicalTable]:
    """Where the tables lie, by their contracts."""
    wanted = {(one.domain, one.product, one.major) for one in addresses}
    found: dict[Address, PhysicalTable] = {}
    for product in snapshot.mesh.products:
        if (product.domain, product.name, product.major) not in wanted:
            continue
        for table in product.tables:
            address = Address(product.domain, product.name, table.name, product.major)
            columns = {one.name: (one.physical_name, one.type) for one in table.columns}
            found[address] = PhysicalTable(product.source, table.physical_name, columns)
    return found


def told(request: Request, table: pa.Table) -> Result:
    """A result of what the gateway itself knows."""
    result = Result(request.query_id, table.schema, iter(table.to_batches()))
    result.rows, result.bytes = table.num_rows, table.nbytes
    return result


def _named(schema: pa.Schema, names: tuple[str, ...]) -> pa.Schema:
    return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])


def _types(schema: pa.Schema) -> tuple[str, ...]:
    return tuple((field.metadata or {})[b"type"].decode() for field in schema)


def _bounded(asked: Limits, allowed: Limits) -> Limits:
    """The caller may ask for less than the gateway allows, never for more."""
    rows = [one for one in (asked.rows, allowed.rows) if one is not None]
    return Limits(
        rows=min(rows) if rows else None,
        seconds=min(asked.seconds, allowed.seconds),
        bytes=asked.bytes if asked.bytes is not None else allowed.bytes,
        first=asked.first,
    )


def _within_policy(limits: Limits, decision: Decision) -> Limits:
    """Policies of kind `limit` count guarded rows and bytes (DESIGN 5, rule 7)."""
    rows = [one for one in (limits.rows, decision.limits.get("rows")) if one is not None]
    size = [one for one in (limits.bytes, decision.limits.get("bytes")) if one is not None]
    return replace(limits, rows=min(rows) if rows else None, bytes=min(size) if size else None)


def _start(request: Request, snapshot: Snapshot, prepared: Prepared | None) -> AuditStart:
    decision = prepared.decision if prepared is not None else None
    columns = (
        sorted(
            f"{address}.{name}"
            for address, names in prepared.bound.columns.items()
            for name in names
        )
        if prepared is not None
        else []
    )
    policies = dict.fromkeys(one.policy for one in decision.reasons) if decision else {}
    tables = decision.tables if decision is not None else {}
    return AuditStart(
        query_id=request.query_id,
        at=request.now,
        user=request.principal.user,
        statement=request.sql,
        client=request.client,
        endpoint=request.endpoint,
        dialect=request.dialect,
        parameters=request.parameters,
        purpose=decision.purpose if decision else request.purpose,
        purpose_was_default=bool(decision and decision.purpose_was_default),
        products=tuple(sorted({f"{one.domain}.{one.product}" for one in tables})),
        columns=tuple(columns),
        policies=tuple(one for one in policies if one),
        revision=snapshot.mesh.revision,
        decision=decision.fingerprint if decision else "",
        plan="\n".join(one.shown for one in prepared.plan.fragments) if prepared else "",
    )


def _log_private(error: SqluiceError, request: Request, services: Services) -> None:
    """What may hold a value goes to the owner of the source, else to the gateway's operators."""
    if error.private:
        error.query_id = request.query_id
        domain = error.source.split(".")[0] or "gateway"
        services.owner_logs.write(domain, error, error.source)


class _Finish:
    """Writes the second audit record, once."""

    def __init__(
        self,
        gateway: Gateway,
        request: Request,
        ticket: AuditTicket,
        began: float,
        timings: Mapping[str, float],
    ) -> None:
        self._services = gateway._services
        self._request = request
        self._ticket = ticket
        self._began = began
        self._timings = timings

    def __call__(self, result: Result | None, failure: SqluiceError | None) -> None:
        timings = {**self._timings, "total": time.perf_counter() - self._began}
        outcome = "ok"
        self._services.limiter.leave(self._request.principal)
        if failure is not None:
            stopped = isinstance(failure, Cancelled | TimedOut)
            outcome = "cancelled" if stopped else "failed"
            _log_private(failure, self._request, self._services)
        code = failure.code if failure else ""
        self._services.queries.finished(self._request.query_id, outcome, code)
        self._services.audit.finished(
            self._ticket,
            AuditFinish(
                outcome,
                rows=result.rows if result else 0,
                bytes=result.bytes if result else 0,
                timings=timings,
                code=code,
            ),
        )


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now


__all__ = ["Described", "Gateway", "PolicyIndex", "Prepared", "Services", "prepare"]
