"""All stages between parse and execute, composed.

Takes: a parsed statement, its request, a snapshot, the services. Gives: a `Prepared` request.
Nothing of a request
leaves the process; sources may be asked for the sizes of tables that nothing restricts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol, TypeAlias

import pyarrow as pa
from sqlglot import exp

from catalog.model import Source
from connectors.base import Abilities
from gateway.audit import Audit
from gateway.authorize import authorize, directory, entitlements_of, visible
from gateway.bind import BoundQuery, Visible, bind
from gateway.clock import readings, without_clock
from gateway.decision import Decision
from gateway.differencing import Ledgers
from gateway.draft import PhysicalTable, Plan, PlanContext, TableSize
from gateway.engines.base import Engine
from gateway.entitlements import Entitlements
from gateway.errors import (
    AmbiguousName,
    PurposeRequired,
    RateLimited,
    SqluiceError,
    UnknownTable,
)
from gateway.guard import GuardedQuery, guard
from gateway.learning import Learning
from gateway.limits import Limiter
from gateway.lineage import Edge, lineage
from gateway.links import LinkCosts
from gateway.logs import OwnerLogs
from gateway.merge_text import merge_sql
from gateway.metadata import VisibleTable
from gateway.metrics import Metrics
from gateway.parse import REMEMBERED_LENGTH, ParsedStatement
from gateway.physical import physical_tables, tables_of_product
from gateway.plan import plan
from gateway.plan_cache import (
    Key,
    PlanCache,
    Remembered,
    examples,
    for_these_values,
    key_of,
    shaping_parameters,
    with_parameters,
)
from gateway.pools import Pools
from gateway.provenance import Provenance, provenance_of
from gateway.queries import Queries
from gateway.request import Limits, Principal, Request
from gateway.resolve import Address, Directory, ResolvedQuery, resolve
from gateway.snapshot import Snapshot
from gateway.statistics import Statistics
from gateway.telemetry import NoTelemetry, Telemetry
from gateway.usage import Usage
from gateway.visible_rows import VisibleRows


class HiddenTable(UnknownTable):
    """A table of which a decision point does not let the caller know."""


class Sampling(Protocol):
    """Who may run a query again, after its caller has his answer."""

    def offer(
        self, request: Request, snapshot: Snapshot, prepared: Prepared, rows: int
    ) -> None:
        """A query was answered with so many rows. Never waits, never raises."""


class Restricting(Protocol):
    """Somebody outside who may restrict further what the mesh's own rules permit."""

    def restrict(
        self,
        request: Request,
        columns: Mapping[Address, frozenset[str]],
        decision: Decision,
        snapshot: Snapshot,
    ) -> Decision:
        """The decision of both, for a statement that reads these columns."""

    def known(self, request: Request, decision: Decision) -> None:
        """Raise HiddenTable where the caller may not even know of a table."""

    def directory(self, request: Request, named: Directory) -> Directory:
        """What of a directory the caller may know."""

    def shown(
        self,
        tables: Sequence[VisibleTable],
        principal: Principal,
        purpose: str | None,
        with_columns: bool,
    ) -> tuple[VisibleTable, ...]:
        """The tables, and with columns, that the caller may know of."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the pipeline works with.

    `abilities_of` tells the abilities of a source, `edition` changes whenever any of them does,
    `key_of` tells the key of a join group's epoch. `resolved` and `shaping` remember what was found
    in a tree, `provenance` what is told of a plan.
    """

    engine: Engine
    pools: Pools
    audit: Audit
    queries: Queries
    key_of: Callable[[str, int], bytes]
    abilities_of: Callable[[Source], Abilities]
    limiter: Limiter
    owner_logs: OwnerLogs
    metrics: Metrics
    ledgers: Ledgers
    usage: Usage
    entitlements: Entitlements
    limits: Limits = Limits()
    decision_point: Restricting | None = None
    statistics: Statistics | None = None
    learning: Learning | None = None
    visible_rows: VisibleRows | None = None
    edition: Callable[[], int] = lambda: 0
    link_cost: str = "cheap"
    self_check: Sampling | None = None
    telemetry: Telemetry = NoTelemetry()
    plans: PlanCache[Prepared] = field(default_factory=PlanCache)
    resolved: Remembered[ResolvedQuery] = field(default_factory=lambda: Remembered(resolve))
    shaping: Remembered[frozenset[int]] = field(
        default_factory=lambda: Remembered(shaping_parameters)
    )
    places: Remembered[Mapping[Address, PhysicalTable]] = field(
        default_factory=lambda: Remembered(tables_of_product)
    )
    provenance: Remembered[Provenance] = field(default_factory=lambda: Remembered(provenance_of))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request after all stages but the last.

    parameters: the caller's values, and after them what the clock shows where the statement reads
    it. clock: what those are. edges: what its outputs come from.
    """

    bound: BoundQuery
    decision: Decision
    guarded: GuardedQuery
    schema: pa.Schema
    plan: Plan
    edges: tuple[Edge, ...] = ()
    parameters: tuple[object, ...] = ()
    clock: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


def prepare(
    request: Request,
    statement: ParsedStatement,
    snapshot: Snapshot,
    services: Services,
    with_plan: bool = True,
) -> Prepared:
    """All stages between parse and execute. Nothing leaves the process."""
    assert statement.tree is not None
    watch = _Watch()
    named = directory(snapshot.index, request.principal, request.now)
    if services.decision_point is None:
        resolved = _resolved(statement, named, request, services)
        decision, bound = _decided(resolved, request, snapshot, services), None
    else:
        resolved, decision, bound = _restricted(statement, request, named, snapshot, services)
    watch.lap("authorize")
    editions = _editions(request, decision, services)
    key = key_of(request, resolved, decision, editions, services.shaping)
    if key is not None and not with_plan:
        key = replace(key, is_described=True)
    kept = _kept(request, services, key)
    if kept is not None:
        found, made, values = kept
        watch.lap("plan")
        return replace(found, plan=made, parameters=values, decision=decision, timings=watch.laps)
    columns = visible(decision)
    bound = bound or bind(resolved, columns)
    names = _output_names(resolved, columns, bound.outputs, request, services)
    tree, clock = without_clock(bound.tree, len(request.parameters))
    bound = replace(bound, tree=tree, outputs=names)
    request = replace(request, parameters=request.parameters + readings(clock, request))
    watch.lap("bind")
    guarded = guard(bound, decision)
    watch.lap("guard")
    schema_of = _describer(guarded, request, services)
    schema = _named(schema_of(guarded.tree, request.parameters), guarded.outputs)
    watch.lap("describe")
    made = Plan((), None, guarded.outputs)
    lasting = _Lasting(key, made)
    if with_plan:
        context = plan_context(guarded, request, snapshot, services)
        made, lasting = _planned(guarded, context, key)
        watch.lap("plan")
    values, edges = request.parameters, lineage(bound, decision) if with_plan else ()
    prepared = Prepared(bound, decision, guarded, schema, made, edges, values, clock, watch.laps)
    if lasting.key is not None and not _is_hasty(made, decision, services):
        services.plans.put(lasting.key, replace(prepared, plan=lasting.plan, parameters=()))
    return prepared


# What is remembered, and the plan and the parameters of this request.
_Kept: TypeAlias = tuple[Prepared, Plan, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class _Lasting:
    """A plan as it is remembered, and under which key; None: it is not."""

    key: Key | None
    plan: Plan


def _planned(guarded: GuardedQuery, context: PlanContext, key: Key | None) -> tuple[Plan, _Lasting]:
    """A plan with the caller's values, and the form that others may use.

    That form is made without his values, so that it tells nothing of them. Where it does not hold
    for them a plan is made with them, for whoever gives the same.
    """
    values = context.parameters
    if key is None or not values or any(one.block for one in guarded.relations.values()):
        made = plan(guarded, context)
        return made, _Lasting(None if values else key, made)
    given = len(key.parameters)
    others = examples(key, values[:given]) + values[given:]
    shared = plan(guarded, replace(context, parameters=others))
    bound = with_parameters(shared, values, context.timezone)
    if bound is not None:
        return bound, _Lasting(key, shared)
    made = plan(guarded, context)
    return made, _Lasting(for_these_values(key, values[:given]), made)


def _is_hasty(made: Plan, decision: Decision, services: Services) -> bool:
    """Whether a plan was made while a source had not told its sizes yet: the next one knows."""
    statistics, visible_rows = services.statistics, services.visible_rows
    if visible_rows is not None and visible_rows.is_asking(decision):
        return True
    return statistics is not None and statistics.is_asking(one.source for one in made.fragments)


def _editions(request: Request, decision: Decision, services: Services) -> tuple[int, ...]:
    """What tells plans apart that were made by other knowledge."""
    known = services.learning.known(decision, request.principal.user) if services.learning else ()
    seen = services.visible_rows.editions(decision) if services.visible_rows is not None else ()
    return services.edition(), *(one.edition for one in known), *seen


def plan_context(
    guarded: GuardedQuery, request: Request, snapshot: Snapshot, services: Services
) -> PlanContext:
    """What a guarded query is planned with at this moment.

    The request's parameters are those of `Prepared`, the clock's among them.
    """
    schema_of = _describer(guarded, request, services)
    addresses = tuple(one.address for one in guarded.relations.values())
    tables = physical_tables(addresses, snapshot, services.places)
    observed, sizes = _known(guarded, tables, request, snapshot, services)
    return PlanContext(
        tables=tables,
        sizes=sizes,
        observed=observed,
        abilities={
            identity: services.abilities_of(one)
            for identity, one in snapshot.mesh.sources.items()
        },
        describe=lambda tree, values: _types(schema_of(tree, values)),
        parameters=request.parameters,
        timezone=request.timezone,
        push_down=request.push_down,
        require_pushdown=request.require_pushdown,
        pushed_groups=snapshot.index.pushed_groups,
        link_costs=LinkCosts(request.link_cost, services.link_cost, snapshot.mesh.sources),
    )


def _known(
    guarded: GuardedQuery,
    tables: Mapping[Address, PhysicalTable],
    request: Request,
    snapshot: Snapshot,
    services: Services,
) -> tuple[Mapping[str, int], Mapping[Address, TableSize]]:
    """What barrier rule 5 lets planning know: of shapes of fragments, of tables."""
    decision, learning = guarded.decision, services.learning
    observed, sizes = dict[str, int](), dict[Address, TableSize]()
    if services.statistics is not None:
        declared, sources = _declared(tuple(tables), snapshot), snapshot.mesh.sources
        sizes.update(services.statistics.permitted(tables, decision, sources, declared))
    for counts in learning.known(decision, request.principal.user) if learning is not None else ():
        observed.update(counts.powers)
    # Where one table is read, no size decides anything.
    if services.visible_rows is not None and len(guarded.relations) > 1:
        visible_rows = services.visible_rows.of(guarded, tables, snapshot)
        observed.update(visible_rows.powers)
        sizes.update(visible_rows.sizes)
    return observed, sizes


def _describer(
    guarded: GuardedQuery, request: Request, services: Services
) -> Callable[[exp.Expression, tuple[object, ...]], pa.Schema]:
    shapes = {name: one.shape for name, one in guarded.relations.items()}

    def schema_of(tree: exp.Expression, parameters: tuple[object, ...]) -> pa.Schema:
        # Those that groups are chosen by are no longer in the tree.
        text, used = merge_sql(tree)
        values = [parameters[number - 1] for number in used] if parameters else []
        return services.engine.describe(text, shapes, tuple(values), request.timezone)

    return schema_of


def _resolved(
    statement: ParsedStatement, named: Directory, request: Request, services: Services
) -> ResolvedQuery:
    """The tables that a statement names; a text that is parsed each time is resolved each time."""
    is_remembered = len(request.sql) <= REMEMBERED_LENGTH
    look_up = services.resolved if is_remembered else resolve
    return look_up(statement, named, request.domain)


def _decided(
    resolved: ResolvedQuery, request: Request, snapshot: Snapshot, services: Services
) -> Decision:
    """The decision of the mesh's own rules."""
    needed = entitlements_of(snapshot.index, resolved.tables)
    asker = services.entitlements.given(request.principal, needed, snapshot)
    asked = request if asker is request.principal else replace(request, principal=asker)
    return authorize(resolved, asked, snapshot.index)


def _restricted(
    statement: ParsedStatement,
    request: Request,
    named: Directory,
    snapshot: Snapshot,
    services: Services,
) -> tuple[ResolvedQuery, Decision, BoundQuery | None]:
    """The tables and the decision, under what the decision point says of what the query reads.

    A table that it hides is one that does not exist: names are then looked up without it.
    """
    point = services.decision_point
    assert point is not None
    try:
        resolved = _resolved(statement, named, request, services)
        return resolved, *_bound(resolved, request, snapshot, services)
    except (UnknownTable, AmbiguousName, PurposeRequired, RateLimited):
        # Each of them may tell of a table that is hidden.
        resolved = resolve(statement, point.directory(request, named), request.domain)
        return resolved, *_bound(resolved, request, snapshot, services)


def _bound(
    resolved: ResolvedQuery, request: Request, snapshot: Snapshot, services: Services
) -> tuple[Decision, BoundQuery | None]:
    point = services.decision_point
    decision = _decided(resolved, request, snapshot, services)
    if point is None or not resolved.tables:
        return decision, None
    try:
        # Masks from outside keep names and types, so what is bound stays bound.
        bound = bind(resolved, visible(decision))
    except SqluiceError:
        point.known(request, decision)
        raise
    return point.restrict(request, bound.columns, decision, snapshot), bound


def _kept(request: Request, services: Services, key: Key | None) -> _Kept | None:
    """What was made of the same text for an equal decision, with this request's parameters."""
    if key is None:
        return None
    kept = _under(key, request, services)
    if kept is None and request.parameters:
        return _under(for_these_values(key, request.parameters), request, services)
    return kept


def _under(key: Key, request: Request, services: Services) -> _Kept | None:
    found = services.plans.get(key)
    if found is None:
        return None
    values = request.parameters + readings(found.clock, request)
    made = with_parameters(found.plan, values, request.timezone)
    return None if made is None else (found, made, values)


def _output_names(
    resolved: ResolvedQuery,
    columns: Visible,
    names: tuple[str, ...],
    request: Request,
    services: Services,
) -> tuple[str, ...]:
    """What DuckDB itself calls the outputs: its binder reads the text over the visible columns.

    It need not be asked where the caller has named them all.
    """
    if _names_all(resolved.tree, names):
        return names
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


def _names_all(tree: exp.Expression, names: tuple[str, ...]) -> bool:
    """Whether each output stands in the statement under the name that it was bound to."""
    while isinstance(tree, exp.SetOperation | exp.Subquery):
        tree = tree.this
    if not isinstance(tree, exp.Select) or len(tree.expressions) != len(names):
        return False
    written = [
        one.alias if isinstance(one, exp.Alias) else one.name
        for one in tree.expressions
        if isinstance(one, exp.Alias | exp.Column) and not one.is_star
    ]
    return tuple(written) == names and len({one.casefold() for one in written}) == len(names)


def _declared(addresses: tuple[Address, ...], snapshot: Snapshot) -> Mapping[Address, int]:
    """The sizes that contracts declare."""
    found: dict[Address, int] = {}
    for product in snapshot.mesh.products:
        for table in product.tables:
            address = Address(product.domain, product.name, table.name, product.major)
            if table.size is not None and address in addresses:
                found[address] = table.size
    return found


def _named(schema: pa.Schema, names: tuple[str, ...]) -> pa.Schema:
    return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])


def _types(schema: pa.Schema) -> tuple[str, ...]:
    return tuple((field.metadata or {})[b"type"].decode() for field in schema)


class _Watch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
