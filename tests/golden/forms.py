"""The forms of a query after bind, guard and plan, as text.

Takes: the sample mesh's files; no database. Gives: text. Never runs a query: types come from the
merge engine's binder over empty tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from connectors.base import load_abilities
from gateway.authorize import authorize, directory, visible
from gateway.bind import bind
from gateway.draft import PlanContext, PlannedFragment, TableSize
from gateway.engines.duckdb import DuckdbEngine, EngineSettings
from gateway.guard import guard, render
from gateway.identity import principal_of
from gateway.links import LinkCosts
from gateway.parse import parse
from gateway.physical import physical_tables
from gateway.plan import plan
from gateway.publish import build_snapshot
from gateway.request import Request
from gateway.resolve import Address, resolve

FILE = Path(__file__).with_name("golden.yaml")
CONF = Path(__file__).resolve().parents[2] / "conf"
PURPOSES = {"mara": "loyalty-marketing", "petra": "privacy-review", "carl": "service-quality"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Mesh:
    """The sample mesh and an engine to bind with; `sizes` are those that planning knows."""

    def __init__(self) -> None:
        self.snapshot = build_snapshot(CONF)
        self.sizes: Mapping[Address, TableSize] = {}
        self.engine = DuckdbEngine(EngineSettings(memory="256MB", threads=1, spill=".spill"))


def forms_of(  # noqa: PLR0913 - three of them by name
    mesh: Mesh,
    user: str,
    sql: str,
    values: tuple[object, ...] = (),
    *,
    keys: bool = False,
    keys_stay: frozenset[str] = frozenset(),
    require_pushdown: bool = False,
    link_cost: str = "",
    parts: bool = False,
) -> Mapping[str, str]:
    """`bound`, `guarded`, `planned` of one statement of one user; `keys`: also what could narrow.

    `parts`: also the SQL for a range of rows. `keys_stay` are columns whose contract says so.
    """
    snapshot = mesh.snapshot
    principal = principal_of(next(one for one in snapshot.mesh.users if one.name == user))
    request = Request(
        sql=sql,
        principal=principal,
        now=NOW,
        query_id="q",
        purpose=PURPOSES.get(user),
        parameters=values,
    )
    resolved = resolve(parse(request), directory(snapshot.index, principal, NOW), None)
    decision = authorize(resolved, request, snapshot.index)
    bound = bind(resolved, visible(decision))
    guarded = guard(bound, decision)
    shapes = {name: one.shape for name, one in guarded.relations.items()}
    kinds = {identity: one.kind for identity, one in snapshot.mesh.sources.items()}
    tables = physical_tables(resolved.tables, snapshot)
    context = PlanContext(
        tables={name: replace(one, keys_stay=keys_stay) for name, one in tables.items()},
        abilities={identity: load_abilities(kind) for identity, kind in kinds.items()},
        parameters=values,
        require_pushdown=require_pushdown,
        sizes=mesh.sizes,
        link_costs=LinkCosts(link_cost, sources=snapshot.mesh.sources),
        describe=lambda tree, given: tuple(
            (field.metadata or {})[b"type"].decode()
            for field in mesh.engine.describe(tree.sql("duckdb"), shapes, given, "UTC")
        ),
    )
    made = plan(guarded, context)
    lines = [line for one in made.fragments for line in _lines(one, keys, parts)]
    lines += [f"{note.outcome} {note.part} {note.reason}" for note in made.notes]
    lines.append(f"merge: {made.merge}")
    return {
        "bound": bound.tree.sql("duckdb"),
        "guarded": render(guarded),
        "planned": "\n".join(lines),
    }


def _lines(one: PlannedFragment, keys: bool, parts: bool) -> Iterator[str]:
    """A fragment as the files have it."""
    yield f"{one.name} @ {one.source}: {one.fragment.sql}"
    if one.fragment.parameters:
        bound_values = zip(one.fragment.parameters, one.fragment.parameter_types, strict=True)
        yield f"  with {', '.join(f'{value} {kind}' for value, kind in bound_values)}"
    yield from (f"  {note.outcome} {note.part} {note.reason}".rstrip() for note in one.notes)
    if one.gate is not None:
        yield f"  gate: {one.gate}"
    if parts and one.fragment.ranged:
        yield f"  part: {one.fragment.ranged}"
    if keys and one.keyed is not None:
        slots = one.keyed.slots
        yield from (f"  keys {each.target} < {each.provider}.{each.column}" for each in slots)
