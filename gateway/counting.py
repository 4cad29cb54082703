"""How many rows somebody sees of a table, now and under a changed mesh.

Takes: an open gateway, a snapshot, who asks. Gives: counts, made by the ordinary pipeline: the
sources count, no row leaves. Each is audited in the caller's name under the endpoint `simulate`;
none counts against his quotas, and tables that show groups only are not counted, since every
answer about them is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from sqlglot import exp

from gateway.audit.source import OWN_SOURCE, StateConnector
from gateway.decision import AggregateRule, Quota
from gateway.differencing import Asked, Atom
from gateway.entitlements import Entitlements
from gateway.errors import AccessDenied, SqluiceError
from gateway.limits import Limiter
from gateway.opening import OpenGateway, settings_of
from gateway.own_reading import Reader
from gateway.pipeline import Gateway
from gateway.plan_cache import PlanCache
from gateway.policies.effects import tables_of
from gateway.policies.simulate import ENDPOINT, Change, Meshes
from gateway.pools import Pools
from gateway.request import Principal, Request
from gateway.resolve import Address
from gateway.sessions import new_query_id
from gateway.snapshot import Snapshot
from gateway.usage import Left, Usage, Used

GROUPS_ONLY = "shows groups only"


@dataclass(frozen=True, slots=True)
class RowCount:
    """Rows of a table for one caller and purpose, or the code that says why there is no number."""

    principal: Principal
    purpose: str | None
    table: Address
    before: int | str
    after: int | str


@dataclass(frozen=True, slots=True)
class RoleCount:
    """The most rows of a table that one of the `people` of a group or role sees."""

    role: str
    table: str
    people: int
    before: int
    after: int


def by_role(rows: Iterable[RowCount]) -> tuple[RoleCount, ...]:
    """Row counts by group and role; where there is no number, nothing is seen."""
    held: dict[tuple[str, str], list[RowCount]] = {}
    for one in rows:
        for role in {*one.principal.groups, *one.principal.roles}:
            held.setdefault((role, str(one.table)), []).append(one)
    return tuple(
        RoleCount(
            role, table, len({one.principal.user for one in each}),
            max(_number(one.before) for one in each), max(_number(one.after) for one in each),
        )
        for (role, table), each in sorted(held.items())
    )  # fmt: skip


def _number(count: int | str) -> int:
    return count if isinstance(count, int) else 0


@dataclass(frozen=True, slots=True)
class Counting:
    """Two gateways over the same sources; `who` is recorded beside each count."""

    before: Gateway
    after: Gateway
    who: str
    now: datetime

    def rows(self, changes: Iterable[Change]) -> Iterator[RowCount]:
        """A count for each table, caller and purpose of the changes."""
        known: set[object] = set()
        for one in changes:
            purpose = one.asked.newest.purpose
            for table in tables_of(one.before, one.after):
                key = (one.principal.user, purpose, table)
                if key not in known:
                    known.add(key)
                    yield self._row(one, purpose, table)

    def _row(self, change: Change, purpose: str | None, table: Address) -> RowCount:
        principal = change.principal
        for one in (change.before, change.after):
            made = one.decision.tables.get(table) if one.decision is not None else None
            if made is not None and made.aggregate is not None:
                return RowCount(principal, purpose, table, GROUPS_ONLY, GROUPS_ONLY)
        sides = ((self.before, principal), (self.after, change.principal_after))
        before, after = (self._count(each, who, purpose, table) for each, who in sides)
        return RowCount(principal, purpose, table, before, after)

    def _count(
        self, gateway: Gateway, principal: Principal | None, purpose: str | None, table: Address
    ) -> int | str:
        if principal is None:
            return "unauthenticated"
        request = Request(
            sql=_statement(table), principal=principal, now=self.now, query_id=new_query_id(),
            purpose=purpose, client=f"policy simulate by {self.who}", endpoint=ENDPOINT,
        )  # fmt: skip
        try:
            (batch,) = [one for one in gateway.answer(request).batches() if one.num_rows]
        except SqluiceError as error:
            return error.code
        return int(batch.column(0)[0].as_py())


def _statement(table: Address) -> str:
    product = f"{table.product}@{table.major}"
    named = exp.table_(table.table, db=product, catalog=table.domain, quoted=True)
    return exp.select("count(*) AS n").from_(named).sql("duckdb")


@contextmanager
def counting(
    opened: OpenGateway, meshes: Meshes, who: str, now: datetime
) -> Iterator[Counting]:
    """Gateways that count, over the connections of an open one and over the changed sources."""
    services = replace(
        # What somebody sees at a source that knows him is his: nobody counts it for him.
        opened.gateway.services, pools=opened.pools.nobodys(), plans=PlanCache(),
        usage=_Uncounted(opened.state), ledgers=_Unanswered(), self_check=None, visible_rows=None,
        limiter=Limiter(replace(opened.config.limits, requests_per_second=0, concurrency=0)),
    )  # fmt: skip
    changed = meshes.changed
    pools = Pools(
        settings_of(opened.config, lambda: changed.mesh),
        own={OWN_SOURCE: StateConnector(opened.state)},
    ).nobodys()
    reader = Reader(services.engine, pools, services.abilities_of)
    after = replace(services, pools=pools, plans=PlanCache(), entitlements=Entitlements(reader))
    try:
        yield Counting(
            Gateway(_always(meshes.present), services), Gateway(_always(changed), after), who, now
        )
    finally:
        pools.close()


class _Uncounted(Usage):
    """Counts nothing: a count for a simulation is no use of the mesh."""

    def begin(self, user: str, quotas: tuple[Quota, ...], now: datetime) -> Left:
        """Everything is left."""
        return Left()

    def end(self, user: str, quotas: tuple[Quota, ...], now: datetime, taken: Used) -> None:
        """Nothing was taken."""


class _Unanswered:
    """Admits no groups: what is answered of them would have to be remembered."""

    def admit(self, asked: Asked, rule: AggregateRule, atoms: Iterable[Atom]) -> None:
        """Refuse."""
        raise AccessDenied(f"{asked.table} shows groups only and is not counted.")


def _always(snapshot: Snapshot) -> Callable[[], Snapshot]:
    return lambda: snapshot
