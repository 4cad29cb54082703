"""The one function that composes the stages.

    parse -> resolve -> authorize -> bind -> guard -> plan -> execute

Takes: requests. Gives: results, audited: the first record is committed before the first batch
leaves, refused requests are recorded too. Never answers without a decision, never lets anything
but a SqluiceError out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import pyarrow as pa
from sqlglot import exp

from catalog.own_products import DOMAIN as OWN_DOMAIN
from connectors.base import Abilities
from gateway.allowed import check_each
from gateway.alternatives import Priced, weigh
from gateway.audit import AuditFinish
from gateway.authorize import directory, purposes, unknown_table, visible
from gateway.choosing import Prices, declared
from gateway.concerned import concern, concerning
from gateway.decision import Decision, Standing
from gateway.differencing import Asked, Atom
from gateway.draft import PlannedFragment
from gateway.errors import AccessDenied, InternalError, SqluiceError, UnsupportedSql
from gateway.execute import execute
from gateway.explain import (
    all_columns_table,
    columns_table,
    explain_settings,
    names_table,
    plan_table,
    policy_table,
    schema_table,
    schemas_table,
    tables_table,
)
from gateway.explain_policy import explain_policy
from gateway.explanation import Viewer, explanation
from gateway.inferring import imagined, infer_parameters
from gateway.links import LinkCosts
from gateway.metadata import VisibleTable, visible_table, visible_tables
from gateway.metrics import Ended
from gateway.parse import ParsedStatement, parse
from gateway.pools import Caller, personal_sources
from gateway.prepare import Prepared, Services, prepare
from gateway.probing import numbers_of, takes_a_row
from gateway.queries import OPERATOR, RunningQuery, is_query_key, keyed_query_id
from gateway.recording import (
    Finish,
    audit_start,
    record_refusal,
    see_to_record,
    tell_owners,
    trace_brief,
)
from gateway.request import Principal, Request
from gateway.resolve import resolve
from gateway.result import Result
from gateway.run import Admit, Run
from gateway.snapshot import Snapshot
from gateway.usage import within_policy

log = logging.getLogger("gateway.pipeline")
_KILLED = pa.schema([("query_id", pa.string()), ("outcome", pa.string())])


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of a statement before it runs. `schema` is that of its answer.

    parameter_types: DuckDB's, as far as the statement tells; '' where it does not.
    """

    schema: pa.Schema
    parameters: int
    kind: str
    parameter_types: tuple[str, ...] = ()


class Gateway:
    """Answers requests over the mesh that `current` gives at that moment."""

    def __init__(self, current: Callable[[], Snapshot], services: Services) -> None:
        self._current = current
        self._services = services

    @property
    def services(self) -> Services:
        """What it works with; for whoever builds another gateway over the same connections."""
        return self._services

    def answer(self, request: Request) -> Result:
        """The answer to a statement, its first batch ready; errors carry the query id."""
        snapshot = self._current()
        limits = request.limits.within(self._services.limits)
        if limits != request.limits:
            request = replace(request, limits=limits)
        try:
            statement = parse(request)
            # Whoever has to stop a statement may do so to the end.
            if statement.kind != "kill":
                self._services.queries.require_open()
            if (row := numbers_of(statement)) is not None and takes_a_row(request):
                return self._probed(request, row)
            if statement.kind in ("query", "explain_analyze"):
                return self._run(request, statement, snapshot)
            return self._told(request, statement, snapshot)
        except SqluiceError as error:
            self.refused(request, error)
            raise
        except Exception as error:
            # A defect of ours: the caller gets a stable code, the log the traceback.
            log.exception("request failed", extra={"query_id": request.query_id})
            failure = InternalError("The gateway failed on this request.", private=repr(error))
            self.refused(request, failure)
            raise failure from error

    def refused(self, request: Request, error: SqluiceError) -> None:
        """Record a refusal of which the caller is told before anything ran; once for each error."""
        record_refusal(error, request, self._current(), self._services)

    def describe(self, request: Request) -> Described:
        """The shape of the answer; nothing runs. Who tells a client of an error records it."""
        snapshot = self._current()
        try:
            statement = parse(request)
            if statement.kind == "kill":
                return Described(_KILLED, 0, statement.kind)
            if (row := numbers_of(statement)) is not None:
                return Described(row.schema, 0, statement.kind)
            if statement.kind != "query":
                table = self._tell(request, statement, snapshot)
                return Described(table.schema, 0, statement.kind)
            assert statement.tree is not None
            values = request.parameters or (None,) * statement.parameters
            filled = replace(request, parameters=imagined(statement.tree, values))
            made = prepare(filled, statement, snapshot, self._services, with_plan=False)
            count = statement.parameters
            types = infer_parameters(made.bound.tree, visible(made.decision), count)
            return Described(made.schema, count, statement.kind, types)
        except SqluiceError as error:
            error.query_id = request.query_id
            raise

    def catalog(
        self,
        principal: Principal,
        now: datetime,
        purpose: str | None = None,
        with_columns: bool = True,
    ) -> tuple[VisibleTable, ...]:
        """Everything the principal may query; which columns, only where that is asked."""
        tables = visible_tables(self._current(), principal, now, purpose)
        try:
            return self._known(tables, principal, purpose, with_columns)
        except SqluiceError as error:
            if error.private:
                self._services.owner_logs.write("gateway", error)
            raise

    def cancel(self, query_id: str, principal: Principal) -> bool:
        """Cancel a running query: one's own, or as an operator anybody's."""
        return self._services.queries.cancel(query_id, principal)

    def queries(self, principal: Principal, ended: bool = False) -> tuple[RunningQuery, ...]:
        """The running queries that the principal may see, with `ended` also late ones."""
        return self._services.queries.list(principal, ended)

    def _run(self, request: Request, statement: ParsedStatement, snapshot: Snapshot) -> Result:
        services, sources = self._services, snapshot.mesh.sources
        began = time.perf_counter()
        _check_parameters(request, statement)
        self._enter(request)
        held: tuple[tuple[str, int], ...] = ()
        try:
            prepared = prepare(request, statement, snapshot, services)
            decision = prepared.decision
            with concerning(decision):
                services.limiter.hold(request.principal, decision.turns)
                held = decision.turns
                left = services.usage.begin(request.principal.user, decision.quotas, request.now)
            caller = Caller(request.principal.user, decision.purpose)
            # Before the record wakes the thread that writes it: that is to work while sources do.
            read = {sources[one.source] for one in prepared.plan.fragments}
            pools = services.pools.on_behalf_of(caller, read)
            entitled = services.audit.keep(decision.entitlements)
            start = audit_start(request, snapshot, prepared, services, entitled)
            ticket = services.audit.starting(start)
            if any(one.domain == OWN_DOMAIN for one in decision.tables):
                # Who reads the audit finds in it that he reads.
                ticket.committed()
        except BaseException as error:
            services.limiter.leave(request.principal)
            services.limiter.release(request.principal, held)
            code = error.code if isinstance(error, SqluiceError) else InternalError.code
            services.queries.finished(request.query_id, "failed", code)
            raise
        tell_owners(decision, request, services)
        finish = Finish(services, request, ticket, began, prepared)
        run = Run(
            query_id=request.query_id,
            sources=sources,
            pools=pools,
            engine=services.engine,
            key_of=keys_in_force(snapshot, services),
            schema=prepared.schema,
            limits=within_policy(request.limits, decision, left),
            parameters=prepared.parameters,
            timezone=request.timezone,
            on_progress=lambda rows: services.queries.progress(request.query_id, rows),
            on_step=lambda share: services.queries.step(request.query_id, share),
            on_finish=self._finished(finish, request, statement, snapshot, prepared),
            admit=self._admit(request, prepared),
            link_costs=LinkCosts(request.link_cost, services.link_cost, sources),
            abilities=lambda identity: services.abilities_of(sources[identity]),
            prices=_prices(snapshot, services),
        )
        services.queries.lives_by(request.query_id, decision.grants)
        try:
            result = execute(prepared.plan, run, partial(self._announce, request, decision))
        except SqluiceError as error:
            finish(None, error)
            error.is_audited = True
            raise
        see_to_record(ticket, result, finish)
        services.provenance(prepared.bound, prepared.edges, decision, snapshot.mesh).tell(result)
        result.row_limit = request.limits.first
        if statement.kind == "explain_analyze":
            return self._analyzed(request, statement, result, prepared, snapshot)
        return result

    def _announce(self, request: Request, decision: Decision, made: Result) -> None:
        self._services.queries.attach(request.query_id, made.cancel)
        # What was revoked since the decision: what is revoked from now on finds the query.
        if _is_revoked(self._current().index.standing, decision, request.principal):
            made.cancel(AccessDenied("Your access was revoked while the query began."))

    def _enter(self, request: Request) -> None:
        services = self._services
        services.limiter.enter(request.principal)
        try:
            # From here on it can be cancelled.
            services.queries.started(request)
        except SqluiceError:
            services.limiter.leave(request.principal)
            raise

    def _finished(
        self,
        finish: Finish,
        request: Request,
        statement: ParsedStatement,
        snapshot: Snapshot,
        prepared: Prepared,
    ) -> Callable[[Result | None, SqluiceError | None], None]:
        """What is done at the end: a query that was answered teaches, and may be checked."""
        check, learning = self._services.self_check, self._services.learning

        def finished(result: Result | None, failure: SqluiceError | None) -> None:
            concern(failure, prepared.decision)
            finish(result, failure)
            if failure is not None or result is None:
                return
            if learning is not None:
                who, personal = request.principal.user, personal_sources(snapshot.mesh.sources)
                learning.ran(who, prepared.decision, prepared.plan, result, personal)
            if check is not None and statement.kind == "query":
                check.offer(request, snapshot, prepared, result.rows)

        return finished

    def _admit(self, request: Request, prepared: Prepared) -> Admit:
        def admit(one: PlannedFragment, atoms: Iterator[Atom]) -> None:
            assert one.groups is not None
            asked = Asked(
                request.principal.user, prepared.decision.purpose, str(one.tables[0]),
                request.query_id, request.now, one.groups.shape,
            )  # fmt: skip
            self._services.ledgers.admit(asked, one.groups.rule, atoms)

        return admit

    def _analyzed(
        self,
        request: Request,
        statement: ParsedStatement,
        result: Result,
        prepared: Prepared,
        snapshot: Snapshot,
    ) -> Result:
        for _ in result.batches():
            pass
        return told(request, self._explained(request, statement, prepared, snapshot, result))

    def _explained(
        self,
        request: Request,
        statement: ParsedStatement,
        prepared: Prepared,
        snapshot: Snapshot,
        result: Result | None = None,
    ) -> pa.Table:
        """A plan, and what its run took, as the caller may see it."""
        sources = snapshot.mesh.sources

        def abilities(identity: str) -> Abilities:
            return self._services.abilities_of(sources[identity])

        taught = _prices(snapshot, self._services)
        costs = LinkCosts(request.link_cost, self._services.link_cost, sources)
        priced = Priced(
            lambda identity: taught(identity) or declared(abilities(identity).prices),
            lambda identity: abilities(identity).maximum_keys,
            lambda identity: bool(abilities(identity).in_place),
            costs,
        )
        made = prepared.plan
        settings = explain_settings(request, costs, (one.source for one in made.fragments))
        viewer = Viewer(_shown_sources(request.principal, snapshot), settings, abilities)
        return plan_table(explanation(made, weigh(made, priced), viewer, result), statement.form)

    def _told(self, request: Request, statement: ParsedStatement, snapshot: Snapshot) -> Result:
        """An answer from the gateway's own knowledge, audited like every other."""
        began = time.perf_counter()
        table = self._tell(request, statement, snapshot)
        seconds = time.perf_counter() - began
        finish = AuditFinish("ok", rows=table.num_rows, bytes=table.nbytes)
        self._services.audit.told(audit_start(request, snapshot, None, self._services), finish)
        ended = Ended(request.endpoint, "", table.num_rows, table.nbytes, seconds)
        self._services.metrics.ended(ended)
        trace_brief(request, self._services, "")
        return told(request, table)

    def _probed(self, request: Request, row: pa.Table) -> Result:
        """A row that nothing of the mesh is asked for: it takes a turn, and is not in the audit."""
        with self._services.limiter.admit(request.principal):
            self._services.metrics.ended(Ended(request.endpoint, "", 1, row.nbytes, 0.0))
        return told(request, row)

    def _tell(self, request: Request, statement: ParsedStatement, snapshot: Snapshot) -> pa.Table:
        match statement.kind:
            case "explain_policy":
                lines = explain_policy(request, statement, snapshot, self._services)
                return policy_table(lines, snapshot.mesh.revision, statement.form)
            case "explain" | "explain_analyze":
                values = request.parameters or (None,) * statement.parameters
                made = prepare(
                    replace(request, parameters=values), statement, snapshot, self._services
                )
                return self._explained(request, statement, made, snapshot)
            case "describe":
                return self._describe(request, statement, snapshot)
            case "show":
                return self._show(request, statement, snapshot)
            case "kill":
                return self._kill(request, statement.argument or "")
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
        named = directory(snapshot.index, request.principal, request.now)
        if self._services.decision_point is not None:
            named = self._services.decision_point.directory(request, named)
        query = ParsedStatement("query", exp.select("*").from_(tree.copy()))
        address = resolve(query, named, request.domain).tables[0]
        table = visible_table(snapshot, address, request.principal, request.now, request.purpose)
        known = self._known((table,), request.principal, request.purpose, True) if table else ()
        if not known:
            raise unknown_table(address)
        return columns_table(known[0])

    def _known(
        self,
        tables: tuple[VisibleTable, ...],
        principal: Principal,
        purpose: str | None,
        with_columns: bool,
    ) -> tuple[VisibleTable, ...]:
        """Those that the decision point lets him know of, too."""
        point = self._services.decision_point
        if point is None or not tables:
            return tables
        return point.shown(tables, principal, purpose, with_columns)

    def _kill(self, request: Request, name: str) -> pa.Table:
        query_id = keyed_query_id(request.principal.user, name) if is_query_key(name) else name
        outcome = "cancelling" if self.cancel(query_id, request.principal) else "not running"
        return pa.table({"query_id": [query_id], "outcome": [outcome]}, schema=_KILLED)

    def _show(self, request: Request, statement: ParsedStatement, snapshot: Snapshot) -> pa.Table:
        tables: tuple[VisibleTable, ...] = ()
        if statement.argument in ("tables", "catalogs", "schemas", "columns"):
            tables = visible_tables(snapshot, request.principal, request.now, request.purpose)
            with_columns = statement.argument == "columns"
            tables = self._known(tables, request.principal, request.purpose, with_columns)
        settings = {
            "purpose": request.purpose or "",
            "domain": request.domain or "",
            "dialect": request.dialect,
            "timezone": request.timezone,
            "require_pushdown": str(request.require_pushdown).lower(),
            "link_cost": request.link_cost or self._services.link_cost,
            "row_limit": str(request.limits.first or ""),
            "query_timeout": f"{request.limits.seconds:g}",
        }
        what = statement.argument or ""
        match what:
            case "tables":
                return tables_table(tables)
            case "columns":
                return all_columns_table(tables, statement.value)
            case "catalogs":
                names = dict.fromkeys(one.address.domain for one in tables)
                return names_table("domain", list(names))
            case "schemas":
                return schemas_table(tables)
            case "purposes":
                own = purposes(snapshot.index, request.principal, request.now)
                return names_table("purpose", own)
            case _ if what in settings:
                return names_table(what, [settings[what]])
            case _:
                raise UnsupportedSql(
                    f"There is nothing to show under {what!r}.",
                    hint="SHOW TABLES, COLUMNS, SCHEMAS, CATALOGS, PURPOSES or one of: "
                    + ", ".join(sorted(settings))
                    + ".",
                )


def _check_parameters(request: Request, statement: ParsedStatement) -> None:
    """As many as the statement has, and patterns well formed."""
    if len(request.parameters) != statement.parameters:
        raise UnsupportedSql(
            f"The statement has {statement.parameters} parameters and "
            f"{len(request.parameters)} values were given.",
            hint="Give one value for each ? or $n.",
        )
    if statement.parameters:
        check_each(statement.checked, request.parameters)


def told(request: Request, table: pa.Table) -> Result:
    """A result of what the gateway itself knows."""
    batches = table.combine_chunks().to_batches()
    result = Result(request.query_id, table.schema, iter(batches))
    result.rows, result.bytes = table.num_rows, table.nbytes
    result.whole = lambda most: tuple(batches) if table.nbytes <= most else None
    return result


def _shown_sources(principal: Principal, snapshot: Snapshot) -> frozenset[str]:
    """The sources of which the principal may know what was fetched before any policy."""
    if not principal.scope.is_whole:
        return frozenset()
    is_operator = OPERATOR in principal.roles
    return frozenset(
        one.identity
        for domain in snapshot.mesh.domains
        for one in domain.sources
        if is_operator or principal.user in domain.owners
    )


def keys_in_force(snapshot: Snapshot, services: Services) -> Callable[[str], bytes]:
    """One statement has one key of a join group, whatever is rotated meanwhile."""
    epochs = snapshot.index.standing.epochs
    return lambda join_group: services.key_of(join_group, epochs.get(join_group, 0))


def _prices(snapshot: Snapshot, services: Services) -> Callable[[str], Prices | None]:
    learning = services.learning
    if learning is None:
        return lambda _: None
    return lambda identity: learning.prices.of(snapshot.mesh.sources[identity])


def _is_revoked(standing: Standing, decision: Decision, principal: Principal) -> bool:
    pairs = ((name, user) for name in decision.grants for user in ("", principal.user))
    return any(one in standing.revoked for one in pairs)
