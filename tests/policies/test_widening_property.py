"""Where no widening is found, no physical column is shown less masked than before.

Random governance policies, random words and names of a domain, then random edits of those. The
oracle is the compiled index that decisions read, by physical column; it knows nothing of the
comparison. The controls take a part of the comparison out: the same edits must then get through.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from catalog.mesh import load_mesh
from catalog.model import Column, Mask, Match, Mesh, Policy, Product, Table
from gateway.errors import InvalidConfig
from gateway.policies.compile import compile_policies
from gateway.policies.counterparts import Counterparts
from gateway.policies.sides import Side
from gateway.policies.tighten import compare
from tests.policies.mesh import NOW, write_mesh

SEED, TRIES = 20261125, 2000
TAGS = ("pii", "pii.email", "pii.phone", "money")
CLASSES = (None, "public", "internal", "restricted")
NAMES = ("email", "phone", "region", "contact", "other")
MASKS = (
    Mask("null"), Mask("constant", value="x"), Mask("partial", keep_last=2),
    Mask("partial", keep_last=4), None,
)  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    """The shop without policies."""
    mesh = load_mesh(write_mesh(tmp_path_factory.mktemp("shop"), {}))
    return replace(mesh, products=tuple(one for one in mesh.products if one.domain == "shop"))


def _policies(chance: random.Random) -> tuple[Policy, ...]:
    found = []
    for number in range(chance.randint(1, 3)):
        match = chance.choice((
            Match(tags=frozenset({chance.choice(TAGS)})),
            Match(classifications=frozenset({chance.choice(CLASSES[1:])})),
            Match(columns=frozenset({chance.choice(NAMES)})),
            Match(table=chance.choice(("orders", "copies"))),
        ))  # fmt: skip
        mask = chance.choice(MASKS)
        found.append(Policy(f"g{number}", "mask" if mask else "hide", match, mask=mask))
    return tuple(found)


def _column(chance: random.Random, name: str) -> Column:
    return Column(
        name, "VARCHAR", chance.choice(NAMES), classification=chance.choice(CLASSES),
        tags=frozenset(chance.sample(TAGS, chance.randint(0, 2))),
    )  # fmt: skip


def _product(chance: random.Random, shop: Mesh, name: str) -> Product:
    columns = tuple(_column(chance, one) for one in chance.sample(NAMES, 3))
    table = Table(chance.choice(("orders", "copies")), "orders", columns,
                  tags=frozenset(chance.sample(TAGS, chance.randint(0, 1))))  # fmt: skip
    return replace(shop.products[0], name=name, tables=(table,), contract_id=name)


def _edited(chance: random.Random, shop: Mesh, product: Product) -> Iterator[Product]:
    """The product with one or two columns written otherwise, dropped, or beside another product."""
    (table,) = product.tables
    columns = list(table.columns)
    for _ in range(chance.randint(1, 2)):
        place = chance.randrange(len(columns))
        new = _column(chance, columns[place].name)
        free = [one for one in NAMES if one not in {each.name for each in columns}]
        columns[place] = chance.choice((
            replace(columns[place], tags=new.tags),
            replace(columns[place], classification=new.classification),
            replace(columns[place], physical_name=new.physical_name),
            replace(columns[place], name=chance.choice(free)),
        ))  # fmt: skip
    tags = chance.choice((table.tags, frozenset[str]()))
    yield replace(product, tables=(replace(table, columns=tuple(columns), tags=tags),))
    if chance.random() < 0.3:
        yield _product(chance, shop, "second")


Shown = dict[str, tuple[int, int]]


def pairs(shop: Mesh) -> Iterator[tuple[Mesh, Mesh, Shown, Shown]]:
    """Revisions before and after edits of a domain, and what both show; those that load."""
    chance = random.Random(SEED)
    for number in range(TRIES):
        product = _product(chance, shop, "orders")
        before = replace(
            shop, revision=f"b{number}", policies=_policies(chance), products=(product,)
        )
        edited = tuple(_edited(chance, shop, product))
        after = replace(before, revision=f"a{number}", products=edited)
        try:
            yield before, after, exposure(before), exposure(after)
        except InvalidConfig as error:
            assert "both masks have one rank" in error.message


def exposure(mesh: Mesh) -> Shown:
    """By physical column how openly it is shown at most: the mask's rank, characters kept."""
    order, found = mesh.taxonomy.mask_order, Shown()
    index = compile_policies(replace(mesh, grants=()))
    for entry in index.tables.values():
        for one in entry.columns:
            outcome = one.outcomes[min(one.outcomes)] if one.outcomes else None
            made = outcome.decision if outcome is not None else one.clear
            kept = int(made.arguments.get("keep_last", "0")) if made is not None else 0
            rank = order.index("hide" if made is None else made.kind)
            key = one.column.physical_name
            found[key] = max(found.get(key, (0, 0)), (rank, kept))
    return found


def _let_in(shop: Mesh) -> tuple[int, int]:
    """How many edits show more; how many of those no widening was found for."""
    more = missed = 0
    for before, after, old, new in pairs(shop):
        if any(new[name] > shown for name, shown in old.items() if name in new):
            more += 1
            missed += not compare(before, after, NOW).widenings
    return more, missed


def test_nothing_is_shown_more_openly_unless_it_is_told(shop: Mesh) -> None:
    more, missed = _let_in(shop)
    assert more > TRIES / 8, "too few edits show more for this to say anything"
    assert missed == 0


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (Counterparts, "placed", lambda self, spot: ()),
        (Side, "of_column", lambda self, spot: ()),
    ],
)
def test_a_broken_comparison_lets_edits_in(
    shop: Mesh, monkeypatch: pytest.MonkeyPatch, owner: type, name: str,
    broken: Callable[..., object],
) -> None:
    monkeypatch.setattr(owner, name, broken)
    assert _let_in(shop)[1] > 0


def test_few_edits_are_refused_that_show_nothing_more(shop: Mesh) -> None:
    """The gate is no wall: what shows less, or the same, mostly passes."""
    quiet = refused = 0
    for before, after, old, new in pairs(shop):
        if all(new.get(name, (0, 0)) <= shown for name, shown in old.items()):
            quiet += 1
            refused += bool(compare(before, after, NOW).widenings)
    assert quiet > TRIES / 6
    assert refused < quiet / 2, (refused, quiet)
