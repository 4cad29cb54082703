"""What share of a relation's rows one key is expected to keep.

Takes: relations of which little is known, edges between their columns. Gives: the share. Nothing is
planned or run.
"""

from __future__ import annotations

import pytest
from sqlglot import exp

from gateway.draft import (
    ColumnSize,
    Draft,
    Input,
    KeyEdge,
    PhysicalTable,
    PlanContext,
    TableSize,
)
from gateway.estimates import share_of_a_key
from gateway.guard import GuardedRelation
from gateway.resolve import Address

OFFERS, SUPPLIERS, LINES = (Address("d", name, name) for name in ("offers", "suppliers", "lines"))
OF_SUPPLIERS, OF_LINES = (KeyEdge(name, "supplier", "offers", "supplier")
                          for name in ("suppliers", "lines"))  # fmt: skip


def _draft(distinct: float | None) -> Draft:
    """8,000 offers of 100 suppliers, whose key is the supplier; lines tell nothing of theirs."""
    sizes = {
        OFFERS: TableSize(8_000.0, {"supplier": ColumnSize(distinct)}),
        SUPPLIERS: TableSize(100.0), LINES: TableSize(60_000.0),
    }  # fmt: skip
    tables = {
        one: PhysicalTable("s", one.table, {"supplier": ("supplier", "BIGINT")},
                           frozenset({"supplier"} if one == SUPPLIERS else ()))
        for one in sizes
    }  # fmt: skip
    inputs = {one.table: Input((_relation(one),)) for one in sizes}
    context = PlanContext(tables, {}, lambda *_: (), sizes=sizes)
    return Draft(exp.Select(), inputs, context)


def _relation(address: Address) -> GuardedRelation:
    return GuardedRelation(address.table, address, (), (), (), True)


@pytest.mark.parametrize(
    ("edges", "distinct", "values"),
    [
        # A tenth of the rows, where nobody knows.
        ((OF_LINES,), None, 800),
        ((OF_LINES,), 90.0, 90),
        ((OF_SUPPLIERS,), None, 100),
        # What equals the same column has no more values of it.
        ((OF_LINES, OF_SUPPLIERS), None, 100),
        ((OF_SUPPLIERS, OF_LINES), None, 100),
        ((OF_SUPPLIERS, OF_LINES), 90.0, 90),
    ],
)
def test_what_one_edge_tells_of_a_column_holds_for_all(
    edges: tuple[KeyEdge, ...], distinct: float | None, values: int
) -> None:
    draft = _draft(distinct)
    assert share_of_a_key(draft, edges, _relation(OFFERS)) == pytest.approx(1 / values)
