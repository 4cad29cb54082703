"""What entitlement tables give a principal, read by the gateway for his statement.

Takes: the entitlements that the conditions of some tables need, a principal, a snapshot. Gives:
the principal with their values, which decisions turn into typed literals. Never lets text of the
user's into these statements. A source that fails closes the tables that need it: the caller is
told that they cannot be served, the owner why.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from types import MappingProxyType

import pyarrow as pa
from sqlglot import exp

from catalog.model import Entitlement, Source
from connectors.base import Abilities
from gateway.bind import bind
from gateway.constants import fold
from gateway.decision import ColumnDecision, Condition, Decision, Scope, TableDecision
from gateway.draft import PhysicalTable, PlanContext
from gateway.engines.base import Engine
from gateway.errors import SourceUnavailable, SqluiceError
from gateway.execute import execute
from gateway.guard import guard
from gateway.parse import ParsedStatement
from gateway.plan import plan
from gateway.pools import Pools
from gateway.request import Limits, Principal
from gateway.resolve import Address, Directory, KnownProduct, resolve
from gateway.run import Run
from gateway.snapshot import Snapshot

Values = tuple[str, ...]
_MOST = 10_000
_KEPT = 10_000
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Reader:
    """What reading takes: engine, connections, abilities."""

    engine: Engine
    pools: Pools
    abilities_of: Callable[[Source], Abilities]


class Entitlements:
    """Reads and remembers, for the time that each entitlement allows. Thread-safe."""

    def __init__(self, reader: Reader, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing read."""
        self._reader = reader
        self._clock = clock
        self._lock = Lock()
        self._known: OrderedDict[object, tuple[Mapping[str, Values], float]] = OrderedDict()

    def given(self, principal: Principal, needed: frozenset[str], snapshot: Snapshot) -> Principal:
        """The principal with the values of `entitlement.column` names that are needed."""
        if not needed:
            return principal
        names = {one.partition(".")[0] for one in needed}
        # What gives nothing is named too: it was asked for.
        values: dict[str, Values] = dict.fromkeys(sorted(needed), ())
        for one in snapshot.mesh.entitlements:
            if one.id in names:
                values.update(self._values(one, principal, snapshot))
        return replace(principal, entitlements=MappingProxyType(values))

    def _values(
        self, one: Entitlement, principal: Principal, snapshot: Snapshot
    ) -> Mapping[str, Values]:
        subjects = _subjects(one, principal)
        if not subjects:
            return {}
        # A revision and every event about access begin anew.
        key = (snapshot.mesh.revision, snapshot.index.standing.number, one.id, subjects)
        now = self._clock()
        with self._lock:
            kept = self._known.get(key)
        if kept is not None and now < kept[1]:
            return kept[0]
        try:
            found = _read(one, subjects, snapshot, self._reader)
        except SqluiceError as error:
            raise _closed(one, error) from error
        with self._lock:
            self._known[key] = (found, now + one.ttl)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found


def _subjects(one: Entitlement, principal: Principal) -> Values:
    match one.of:
        case "user":
            return (principal.user,)
        case "groups":
            return tuple(sorted(principal.groups))
        case "roles":
            return tuple(sorted(principal.roles))
        case name:
            return tuple(sorted(principal.attributes.get(name, ())))


def _closed(one: Entitlement, error: SqluiceError) -> SourceUnavailable:
    made = SourceUnavailable(
        "What you may see of a table could not be read, so it cannot be served now.",
        hint="Try again later; the owner has been told.",
        private=f"entitlement {one.id} over {one.table}: {error.private or error.message}",
    )
    made.source = error.source or one.table.split(".", maxsplit=1)[0]
    return made


def _read(
    one: Entitlement, subjects: Values, snapshot: Snapshot, reader: Reader
) -> Mapping[str, Values]:
    """The distinct values of each column, without NULL."""
    address, table = _table(one, snapshot)
    known = Directory({
        (address.domain.casefold(), address.product.casefold()): KnownProduct(
            domain=address.domain, product=address.product,
            tables={address.major: (address.table,)},
            default_tables={address.major: address.table}, preferred=address.major,
        )
    })  # fmt: skip
    columns = [exp.column(name, quoted=True) for name in one.values]
    tree = exp.select(*columns).distinct().from_(
        exp.table_(address.table, db=address.product, catalog=address.domain, quoted=True)
    )
    resolved = resolve(ParsedStatement("query", tree), known, None)
    visible = {address: tuple((name, kind) for name, (_, kind) in table.columns.items())}
    bound = bind(resolved, visible)
    guarded = guard(bound, _decision(one, address, table, subjects, snapshot))
    shapes = {
        name: tuple((column.name, column.type) for column in relation.columns)
        for name, relation in guarded.relations.items()
    }

    def described(query: exp.Expression) -> pa.Schema:
        return reader.engine.describe(query.sql("duckdb"), shapes, (), "UTC")

    context = PlanContext(
        tables={address: table},
        abilities={
            name: reader.abilities_of(source)
            for name, source in snapshot.mesh.sources.items()
        },
        describe=lambda query, values: tuple(
            (field.metadata or {})[b"type"].decode() for field in described(query)
        ),
    )
    run = Run(
        query_id=f"entitlement {one.id}", sources=snapshot.mesh.sources, pools=reader.pools,
        engine=reader.engine, key_of=_no_key, schema=described(guarded.tree),
        limits=Limits(rows=_MOST, seconds=_SECONDS),
    )  # fmt: skip
    result = execute(plan(guarded, context), run)
    rows = pa.Table.from_batches(list(result.batches()), run.schema)
    return {
        f"{one.id}.{name}": _texts(column)
        for name, column in zip(one.values, rows.columns, strict=True)
    }


def _table(one: Entitlement, snapshot: Snapshot) -> tuple[Address, PhysicalTable]:
    """The table, of the newest version that is active."""
    found = [
        (product.status == "active", product.major, product, table)
        for product in snapshot.mesh.products
        for table in product.tables
        if f"{product.address}.{table.name}" == one.table
    ]
    _, major, product, table = max(found, key=lambda each: each[:2])
    columns = {each.name: (each.physical_name, each.type) for each in table.columns}
    return (
        Address(product.domain, product.name, table.name, major),
        PhysicalTable(product.source, table.physical_name, columns),
    )


def _decision(
    one: Entitlement, address: Address, table: PhysicalTable, subjects: Values, snapshot: Snapshot
) -> Decision:
    """All columns clear, of the rows of these subjects: the gateway asks for itself."""
    kind = table.columns[one.subject][1]
    literals = [fold(exp.Literal.string(text), kind, (), "UTC") for text in subjects]
    wanted = [literal for literal in literals if literal is not None]
    condition: exp.Expression = exp.false()
    if wanted:
        condition = exp.In(this=exp.column(one.subject, quoted=True), expressions=wanted)
    name = f"entitlement {one.id}"
    made = TableDecision(
        address,
        (Scope(name, Condition(name, condition, condition.sql("duckdb")), None),),
        (),
        tuple(ColumnDecision(each, kind, kind) for each, (_, kind) in table.columns.items()),
    )
    return Decision(
        tables={address: made}, purpose=None, purpose_was_default=False,
        revision=snapshot.mesh.revision, fingerprint=name,
    )  # fmt: skip


def _texts(column: pa.ChunkedArray) -> Values:
    values = dict.fromkeys(value for value in column.to_pylist() if value is not None)
    return tuple(_text(value) for value in values)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo is not None else value
        return moment.isoformat(sep=" ")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _no_key(_: str) -> bytes:
    raise AssertionError("an entitlement masks nothing")
