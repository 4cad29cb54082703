"""Random meshes under attack, each with two worlds that differ in hidden values only.

Takes: a seed. Gives: an `Arena`: tables at several kinds of source, rules, two insiders, the
compiled snapshot, and for each table the raw rows of world `calm` and of world `wild`, which the
oracle shows to every insider alike. Pure: equal seeds give equal arenas; nothing is planted here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from catalog.model import Column, Domain, Grant, Mesh, Policy, Product, Source, Table, Taxonomy
from gateway.policies.compile import compile_policies
from gateway.probe.oracle import Row, Seen, View, seen
from gateway.probe.plant import physical_name
from gateway.probe.rules import (
    FORMS,
    RIGHTS,
    RIGHTS_FIELDS,
    Rules,
    catalog_of,
    principals,
    random_rules,
    rights_of,
)
from gateway.probe.shapes import (
    DOMAIN,
    KINDS,
    MARIADB,
    Field,
    Shape,
    random_shape,
    tame,
    wild,
)
from gateway.probe.statements import Relation
from gateway.request import Principal
from gateway.snapshot import Snapshot

WORLDS = ("calm", "wild")
JOIN_GROUP = "people"
# More rows than this are joined by their key alone.
LARGE = 100
_MOST_SMALL, _ROWS_LARGE = 14, 2500


@dataclass(frozen=True, slots=True)
class Attacked:
    """A table, its rules, its rows in both worlds, and what each insider sees of either."""

    shape: Shape
    rules: Rules
    rows: Mapping[str, tuple[Row, ...]]
    seen: tuple[Seen, ...]
    changed: int


@dataclass(frozen=True, slots=True)
class Support:
    """A table that nobody may ask and that decides what others show, with its rows by world."""

    shape: Shape
    rows: Mapping[str, tuple[Row, ...]]


@dataclass(frozen=True, slots=True)
class Arena:
    """One random mesh."""

    seed: int
    tables: tuple[Attacked, ...]
    principals: tuple[Principal, ...]
    snapshot: Snapshot
    purposes: tuple[str | None, ...] = (None, None)
    support: tuple[Support, ...] = ()

    def planted(self, world: str) -> Iterator[tuple[Shape, tuple[Row, ...]]]:
        """Every table with its rows in one world."""
        for attacked in self.tables:
            yield attacked.shape, attacked.rows[world]
        for support in self.support:
            yield support.shape, support.rows[world]

    def relations(self, who: int) -> tuple[Relation, ...]:
        """The tables as one insider sees them."""
        return tuple(
            Relation(
                one.shape.address, one.seen[who].fields, one.shape.kind, one.shape.rows > LARGE
            )
            for one in self.tables
            if one.seen[who].fields
        )


def build_arena(seed: int, mariadb: bool = False) -> Arena:
    """A mesh with a table at each kind of source, the one in MariaDB where there is a server.

    Of 22 seeds in a row each form of policy meets each kind twice.
    """
    chance = Random(seed)
    people = principals(chance)
    kinds = [KINDS[(seed + place) % len(KINDS)] for place in range(len(KINDS))]
    large = seed % 30
    tables = []
    for place, kind in enumerate(kinds):
        form = FORMS[(seed // 2 + 2 * KINDS.index(kind)) % len(FORMS)]
        rows = _ROWS_LARGE if place == large else chance.randint(6, _MOST_SMALL)
        shape = random_shape(chance, kind, kind, f"t{place}", rows)
        physical = physical_name(kind, f"m{seed}_t{place}")
        tables.append(_attacked(chance, replace(shape, physical=physical), form, people))
    rights = _rights(chance, seed, people)
    if mariadb:
        # By another chance: the other tables are the same with and without it.
        tables.insert(seed % (len(KINDS) + 1), _in_mariadb(seed, people))
        if seed % 5 == 4:
            shape = replace(rights.shape, kind=MARIADB)
            physical = physical_name(MARIADB, f"m{seed}_rights")
            rights = replace(rights, shape=replace(shape, physical=physical))
    snapshot = snapshot_of(seed, tables, rights)
    return Arena(seed, tuple(tables), people, snapshot, support=(rights,))


def _in_mariadb(seed: int, people: Sequence[Principal]) -> Attacked:
    chance, place = Random(f"mariadb {seed}"), len(KINDS)
    form = FORMS[(seed // 2 + 2 * place) % len(FORMS)]
    rows = _ROWS_LARGE if seed % 30 == place else chance.randint(6, _MOST_SMALL)
    shape = random_shape(chance, MARIADB, MARIADB, f"t{place}", rows)
    physical = physical_name(MARIADB, f"m{seed}_t{place}")
    return _attacked(chance, replace(shape, physical=physical), form, people)


def _rights(chance: Random, seed: int, people: Sequence[Principal]) -> Support:
    """The entitlement table; what it says of others differs between the worlds."""
    kind = KINDS[seed // 2 % (len(KINDS) - 1)]
    shape = Shape(
        kind, DOMAIN, "rights", "areas", physical_name(kind, f"m{seed}_rights"), RIGHTS_FIELDS, 0
    )
    own = rights_of(people)
    rows = {}
    for world in WORLDS:
        count = chance.randint(0, 4)
        others = [
            (f"other-{world}-{number}", *(_other(chance, one, world) for one in RIGHTS_FIELDS[1:]))
            for number in range(count)
        ]
        rows[world] = (*others, *own)
    return Support(shape, rows)


def _attacked(
    chance: Random, shape: Shape, form: str, people: Sequence[Principal]
) -> Attacked:
    """Rules and rows for a table; drawn again while nothing at all is hidden or seen."""
    best: Attacked | None = None
    for _ in range(6):
        rules = random_rules(chance, shape, form)
        made = drawn(chance, shape, rules, [(rules, who) for who in people])
        visible = min(sum(row is not None for row in one.rows) for one in made.seen)
        if best is None or (made.changed > 0, visible > 0) > (best.changed > 0, False):
            best = made
        if made.changed and visible:
            return made
    assert best is not None
    return best


def drawn(chance: Random, shape: Shape, rules: Rules, views: Sequence[View]) -> Attacked:
    """Rows for a table, in two worlds that look alike to everybody of the views."""
    base = [_row(chance, shape, number) for number in range(1, shape.rows + 1)]
    before = seen(shape, views, base)
    count = max(2, shape.rows // 8)
    every = frozenset(one.name for one in shape.fields)
    some = frozenset[str]().union(
        *(_perhaps_hidden(shape, one) for one, _ in views if one is not None)
    )
    blank = [one for one in range(len(base)) if all(who.rows[one] is None for who in before)]
    candidates: dict[str, list[Row]] = {}
    for world in WORLDS:
        changed = [
            _changed(chance, shape, every if place in blank else some, row, world)
            for place, row in enumerate(base)
        ]
        candidates[world] = [*changed, *(_added(chance, shape, world) for _ in range(count))]
    after = seen(shape, views, [*candidates["calm"], *candidates["wild"]])
    rows: dict[str, tuple[Row, ...]] = {}
    for number, world in enumerate(WORLDS):
        start = number * (len(base) + count)
        rows[world] = _accepted(chance, base, candidates[world], (before, after), start)
    differing = sum(a != b for a, b in zip(rows["calm"], rows["wild"], strict=False))
    differing += abs(len(rows["calm"]) - len(rows["wild"]))
    return Attacked(shape, rules, rows, before, differing)


def _accepted(
    chance: Random,
    base: list[Row],
    candidates: list[Row],
    seen_of: tuple[tuple[Seen, ...], tuple[Seen, ...]],
    start: int,
) -> tuple[Row, ...]:
    """The candidates that every insider sees as the row before; hidden ones may go or come."""
    before, after = seen_of
    made: list[Row] = []
    for place, candidate in enumerate(candidates):
        new = [who.rows[start + place] for who in after]
        if place < len(base):
            same = all(_same(who.rows[place], one) for who, one in zip(before, new, strict=True))
            chosen = candidate if same else base[place]
            gone = all(who.rows[place] is None for who in before) and chance.random() < 0.15
            if not gone:
                made.append(chosen)
        elif all(one is None for one in new) and chance.random() < 0.6:
            made.insert(chance.randint(0, len(made)), candidate)
    return tuple(made)


def _same(one: Row | None, other: Row | None) -> bool:
    """Equal in values and their kinds: 1 and TRUE differ, NaN equals NaN."""
    return repr(one) == repr(other)


def _row(chance: Random, shape: Shape, number: int) -> Row:
    return tuple(number if one.name == "id" else tame(chance, one) for one in shape.fields)


def _added(chance: Random, shape: Shape, world: str) -> Row:
    kept = {"tenant", "id"} if world == "wild" else {one.name for one in shape.fields}
    return tuple(
        tame(chance, one)
        if one.name in kept and chance.random() < 0.8
        else _other(chance, one, world)
        for one in shape.fields
    )


def _other(chance: Random, field: Field, world: str) -> object:
    """What a hidden cell holds instead: in the calm world nothing fails on it."""
    return wild(chance, field) if world == "wild" else tame(chance, field)


def _perhaps_hidden(shape: Shape, rules: Rules) -> frozenset[str]:
    """The columns of which some rule may hide a cell in a visible row."""
    found = set(rules.masks)
    for one in rules.grants:
        found |= set() if one.columns is None else {f.name for f in shape.fields} - one.columns
    return frozenset(found)


def _changed(
    chance: Random, shape: Shape, names: frozenset[str], row: Row, world: str
) -> Row:
    """The row with other cells in the columns of those names; its key stays."""
    return tuple(
        _other(chance, field, world)
        if field.name in names and chance.random() < 0.6 and field.name != "id"
        else value
        for field, value in zip(shape.fields, row, strict=True)
    )


def snapshot_of(seed: int, tables: Sequence[Attacked], rights: Support) -> Snapshot:
    """The mesh of the tables, compiled as at load."""
    used = {rights.shape.kind, *(one.shape.kind for one in tables)}
    kinds = (*KINDS, MARIADB) if MARIADB in used else KINDS
    sources = tuple(Source(DOMAIN, kind, "files" if kind == "csv" else kind) for kind in kinds)
    products, grants, policies = [], list[Grant](), list[Policy]()
    for kind in dict.fromkeys(one.shape.kind for one in tables):
        mine = [one for one in tables if one.shape.kind == kind]
        products.append(_product(kind, kind, tuple(_table(one.shape) for one in mine)))
        for number, one in enumerate(mine):
            given, restricting = catalog_of(one.shape, one.rules, number)
            grants += given
            policies += restricting
    products.append(_product("rights", rights.shape.kind, (_table(rights.shape),)))
    domain = Domain(DOMAIN, "", ("nobody",), sources)
    mesh = Mesh(
        f"seed-{seed}", (domain,), tuple(products), tuple(grants), tuple(policies), (), Taxonomy(),
        (), (JOIN_GROUP,), entitlements=(RIGHTS,),
    )  # fmt: skip
    return Snapshot(mesh, compile_policies(mesh))


def _product(name: str, kind: str, tables: tuple[Table, ...]) -> Product:
    return Product(DOMAIN, name, "1.0.0", "active", f"{DOMAIN}.{kind}", tables, f"c-{name}")


def _table(shape: Shape) -> Table:
    return Table(
        shape.name,
        shape.physical,
        tuple(Column(one.name, one.type, one.name) for one in shape.fields),
    )
