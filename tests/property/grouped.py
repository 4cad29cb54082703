"""Arenas whose tables show groups only.

Takes: a seed. Gives: an arena with a table of that kind at each source, whose hidden rows differ
between the worlds, and statements over it: groups, totals one beside the other, and what is
refused. Never masks: what is shown of a group are its dimensions and counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from catalog.model import Match, Policy
from gateway.policies.compile import compile_policies
from gateway.probe.arenas import Arena, Attacked, build_arena, drawn
from gateway.probe.plant import physical_name
from gateway.probe.rules import EVERYONE, Given, Rules, random_rules
from gateway.probe.shapes import KINDS, TENANTS, Field, Shape
from gateway.snapshot import Snapshot

_ROWS = 60
_DIMENSIONS = ("tenant", "note")
_MEASURES = (
    "count(*)", "count(number)", "count(DISTINCT number)", "sum(amount)", "avg(number)",
    "count(amount)",
)  # fmt: skip
_REFUSED = (
    "SELECT * FROM {t}", "SELECT max(number) FROM {t}", "SELECT count(*) FROM {t} WHERE number > 3",
    "SELECT tenant, count(*) FROM {t} GROUP BY ROLLUP (tenant)",
    "SELECT count(*) FROM {t} WHERE CAST(note AS INTEGER) > 3",
    "SELECT a.tenant, count(*) FROM {t} a JOIN {t} b ON a.tenant = b.tenant GROUP BY 1",
)  # fmt: skip


def grouped_arena(seed: int) -> Arena:
    """The arena of a seed, with other tables."""
    chance = Random(f"groups {seed}")
    base = build_arena(seed)
    tables = tuple(_table(chance, seed, kind, base) for kind in KINDS[:4])
    mesh = base.snapshot.mesh
    products = tuple(
        replace(product, tables=tuple(
            replace(old, name=new.shape.name, physical_name=new.shape.physical, columns=tuple(
                replace(old.columns[0], name=one.name, physical_name=one.name, type=one.type)
                for one in new.shape.fields
            ))
            for new in tables if new.shape.product == product.name for old in product.tables[:1]
        )) if any(one.shape.product == product.name for one in tables) else product
        for product in mesh.products
    )  # fmt: skip
    grants = tuple(
        replace(one, tables=frozenset({"groups"}), columns=None, scope=None)
        for one in mesh.grants
        if one.subjects == EVERYONE
    )
    made = replace(
        mesh, products=products, grants=grants, policies=tuple(_policies(tables)),
        revision=f"groups-{seed}",
    )  # fmt: skip
    return replace(base, tables=tables, snapshot=Snapshot(made, compile_policies(made)))


def _table(chance: Random, seed: int, kind: str, base: Arena) -> Attacked:
    fields = (
        Field("id", "INTEGER"), Field("tenant", "VARCHAR", "tenant", TENANTS[:3]),
        Field("note", "VARCHAR", "word", ("alpha", "beta")), Field("secret", "VARCHAR", "word"),
        Field("number", "INTEGER"), Field("amount", "BIGINT"),
    )  # fmt: skip
    physical = physical_name(kind, f"g{seed}_{kind}")
    shape = Shape(kind, "probe", kind, "groups", physical, fields, _ROWS)
    form = chance.choice(("literal", "list", "attribute", "expression"))
    rules = Rules(form, (Given(None, None),), random_rules(chance, shape, form).filters, {})
    return drawn(chance, shape, rules, [(rules, who) for who in base.principals])


def _policies(tables: tuple[Attacked, ...]) -> Iterator[Policy]:
    for one in tables:
        where = Match(product=one.shape.product, table=one.shape.name)
        for number, condition in enumerate(one.rules.filters):
            name = f"filter-{one.shape.product}-{number}"
            yield Policy(name, "filter", where, filter=condition.text)
        settings = {"entity": "number", "minimum": 2, "dimensions": _DIMENSIONS}
        yield Policy(f"groups-{one.shape.product}", "aggregate", where, settings=settings)


def grouped_statements(chance: Random, table: str, count: int) -> Iterator[str]:
    """Statements over one table; each differs little from some other."""
    for _ in range(count):
        if chance.random() < 0.1:
            yield chance.choice(_REFUSED).format(t=table)
            continue
        keys = chance.sample(_DIMENSIONS, chance.randint(0, 2))
        shown = [*keys, *chance.sample(_MEASURES, chance.randint(1, 2))]
        where = ""
        if chance.random() < 0.6:
            tenants = ", ".join(f"'{one}'" for one in chance.sample(TENANTS[:3], 2))
            where = chance.choice((f" WHERE tenant IN ({tenants})", " WHERE note <> 'alpha'",
                                   " WHERE tenant = 'A'", " WHERE note IS NOT NULL"))  # fmt: skip
        group = f" GROUP BY {', '.join(keys)}" if keys else ""
        having = " HAVING count(*) > 3" if chance.random() < 0.2 else ""
        yield f"SELECT {', '.join(shown)} FROM {table}{where}{group}{having}"
