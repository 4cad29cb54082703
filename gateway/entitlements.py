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
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock
from types import MappingProxyType

import pyarrow as pa
from sqlglot import exp

from catalog.model import Entitlement
from gateway.constants import fold
from gateway.decision import ColumnDecision, Condition, Scope, TableDecision
from gateway.draft import PhysicalTable
from gateway.errors import SourceUnavailable, SqluiceError
from gateway.execute import execute
from gateway.own_reading import OwnStatement, Reader, planned, table_named
from gateway.request import Limits, Principal
from gateway.resolve import Address
from gateway.snapshot import Snapshot

Values = tuple[str, ...]
_MOST = 10_000
_KEPT = 10_000
_SECONDS = 20.0


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
    columns = [exp.column(name, quoted=True) for name in one.values]
    query = exp.select(*columns).distinct().from_(table_named(address))
    asked = OwnStatement(
        f"entitlement {one.id}", query, _decided(one, address, table, subjects), table,
        Limits(rows=_MOST, seconds=_SECONDS),
    )  # fmt: skip
    made, run = planned(asked, snapshot, reader)
    result = execute(made, run)
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


def _decided(
    one: Entitlement, address: Address, table: PhysicalTable, subjects: Values
) -> TableDecision:
    """All columns clear, of the rows of these subjects: the gateway asks for itself."""
    kind = table.columns[one.subject][1]
    literals = [fold(exp.Literal.string(text), kind, (), "UTC") for text in subjects]
    wanted = [literal for literal in literals if literal is not None]
    condition: exp.Expression = exp.false()
    if wanted:
        condition = exp.In(this=exp.column(one.subject, quoted=True), expressions=wanted)
    name = f"entitlement {one.id}"
    return TableDecision(
        address,
        (Scope(name, Condition(name, condition, condition.sql("duckdb")), None),),
        (),
        tuple(ColumnDecision(each, kind, kind) for each, (_, kind) in table.columns.items()),
    )


def _texts(column: pa.ChunkedArray) -> Values:
    values = dict.fromkeys(value for value in column.to_pylist() if value is not None)
    return tuple(_text(value) for value in values)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo is not None else value
        return moment.isoformat(sep=" ")
    return str(value).lower() if isinstance(value, bool) else str(value)

