"""What a changed mesh would do to the statements that were asked.

Takes: audited statements, the present snapshot and the changed one. Gives: for whom something
changes, and what; statements that differ in their literals alone are one. No source is asked: a
decision needs names, not rows. Never tells whether the mesh as such became wider: only what was
asked is tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.audit import AuditedQuery
from gateway.authorize import directory
from gateway.identity import principal_of
from gateway.normalise import normalise
from gateway.policies.effects import GAINS, LOSES, Effect, effects, tables_of
from gateway.policies.replay import (
    Replayed,
    Values,
    audited_request,
    recorded_principal,
    replay,
)
from gateway.request import Principal
from gateway.snapshot import Snapshot

# What is asked to count rows for a simulation is no use of the mesh, nor are questions to catalogs.
ENDPOINT = "simulate"
REMOVED = "unauthenticated"


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement of one caller and purpose, asked `count` times.

    `newest` is the last time, of those that tell most.
    """

    newest: AuditedQuery
    count: int

    @property
    def shown(self) -> str:
        """The statement without its literals."""
        return normalise(self.newest.statement, self.newest.dialect)


@dataclass(frozen=True, slots=True)
class Change:
    """A statement for which something changes; `principal_after` is who asks after the change,
    None where he is no user any more.
    """

    asked: Asked
    principal: Principal
    principal_after: Principal | None
    products: tuple[str, ...]
    before: Replayed
    after: Replayed
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """A user who comes or goes with the change, and the tables that he may query by it."""

    user: str
    kind: str
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Simulation:
    """`statements` were tried, asked `requests` times; `untried` cannot be read any more."""

    statements: int
    requests: int
    changes: tuple[Change, ...]
    untried: tuple[Asked, ...] = ()
    people: tuple[Person, ...] = ()

    @property
    def is_change(self) -> bool:
        """Whether something changes for somebody."""
        return bool(self.changes or self.people)


@dataclass(frozen=True, slots=True)
class Meshes:
    """The present mesh and the changed one."""

    present: Snapshot
    changed: Snapshot


def distinct(queries: Iterable[AuditedQuery]) -> tuple[Asked, ...]:
    """The statements by text without literals, caller and purpose, in the order of first use."""
    newest: dict[object, AuditedQuery] = {}
    counts = Counter[object]()
    for one in queries:
        if one.endpoint == ENDPOINT or one.kind == "catalog":
            continue
        domain = (one.session or {}).get("domain")
        client = (one.principal or {}).get("client")
        key = (one.statement_hash, one.dialect, one.user, one.purpose, domain, client)
        known = newest.get(key)
        if known is None or _told(one) >= _told(known):
            newest[key] = one
        counts[key] += 1
    return tuple(Asked(one, counts[key]) for key, one in newest.items())


def _told(one: AuditedQuery) -> tuple[bool, int]:
    """How much one tells: an answered one more than a refused one, and one with its literals."""
    return one.outcome != "refused", -len(one.redacted)


def simulate(
    asked: Iterable[Asked],
    meshes: Meshes,
    now: datetime,
    values_of: Callable[[AuditedQuery], Values],
) -> Simulation:
    """Decide every statement under both meshes."""
    count, requests = 0, 0
    changes: list[Change] = []
    untried: list[Asked] = []
    for one in asked:
        count, requests = count + 1, requests + one.count
        try:
            found = _tried(one, meshes, now, values_of(one.newest))
        except _CannotRead:
            untried.append(one)
            continue
        if found.effects:
            changes.append(found)
    people = tuple(_people(meshes, now))
    return Simulation(count, requests, tuple(changes), tuple(untried), people)


class _CannotRead(Exception):
    """Nothing stands in for what was redacted."""


def _tried(asked: Asked, meshes: Meshes, now: datetime, values: Values) -> Change:
    moments = (now, datetime.fromisoformat(asked.newest.at))
    before, after = (
        _replayed(asked.newest, each, meshes, moments, values)
        for each in (meshes.present, meshes.changed)
    )
    if "rate_limited" in (before.verdict, after.verdict):
        # Closed at this hour: it is tried at the hour at which it was asked.
        before, after = (
            _replayed(asked.newest, each, meshes, moments[::-1], values)
            for each in (meshes.present, meshes.changed)
        )
    order = meshes.changed.mesh.taxonomy.mask_order
    who = _principal(asked.newest, meshes.present, meshes)
    products = tuple(dict.fromkeys(
        f"{one.domain}.{one.product}" for one in tables_of(before, after)
    )) or tuple(dict.fromkeys(one.partition("@")[0] for one in asked.newest.products))  # fmt: skip
    return Change(
        asked, who or recorded_principal(asked.newest, meshes.present.mesh),
        _principal(asked.newest, meshes.changed, meshes), products, before, after,
        effects(before, after, order),
    )  # fmt: skip


def _replayed(
    audited: AuditedQuery, snapshot: Snapshot, meshes: Meshes, moments: tuple[datetime, ...],
    values: Values,
) -> Replayed:
    who = _principal(audited, snapshot, meshes)
    if who is None:
        return Replayed(REMOVED, "The user is no longer in the mesh.")
    request = audited_request(audited, who, moments[0])
    if request is None:
        raise _CannotRead
    return replay(request, snapshot, values)


def _principal(audited: AuditedQuery, snapshot: Snapshot, meshes: Meshes) -> Principal | None:
    """Who asks, as a mesh knows him; who is in neither mesh stays as he was recorded."""
    then = recorded_principal(audited, meshes.present.mesh)
    user = next((one for one in snapshot.mesh.users if one.name == audited.user), None)
    if user is not None:
        made = replace(principal_of(user), client=then.client, address=then.address)
        if then.credential.startswith("openid"):
            # Part of what he is came with his token.
            told = {**then.attributes, **made.attributes}
            made = replace(made, groups=made.groups | then.groups, attributes=told)
        return replace(made, scope=then.scope)
    others = (meshes.present.mesh.users, meshes.changed.mesh.users)
    is_known = any(one.name == audited.user for users in others for one in users)
    return None if is_known else then


def _people(meshes: Meshes, now: datetime) -> Iterator[Person]:
    users = [{one.name: one for one in each.mesh.users}
             for each in (meshes.present, meshes.changed)]  # fmt: skip
    for name in sorted(users[0].keys() ^ users[1].keys()):
        is_new = name in users[1]
        snapshot = meshes.changed if is_new else meshes.present
        known = directory(snapshot.index, principal_of(users[is_new][name]), now)
        tables = sorted({
            f"{one.domain}.{one.product}.{table}"
            for one in known.products.values()
            for tables in one.tables.values()
            for table in tables
        })  # fmt: skip
        if tables:
            yield Person(name, GAINS if is_new else LOSES, tuple(tables))


def totals(simulation: Simulation) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
    """Statements by kind of effect, for each user, group, role and product."""
    found: dict[str, dict[str, Counter[str]]] = {
        one: {} for one in ("user", "group", "role", "product")
    }
    for change in simulation.changes:
        names = {
            "user": (change.principal.user,), "group": sorted(change.principal.groups),
            "role": sorted(change.principal.roles), "product": change.products,
        }  # fmt: skip
        kinds = {one.kind for one in change.effects}
        for what, each in names.items():
            for name in each:
                found[what].setdefault(name, Counter()).update(kinds)
    return found
