"""LIMIT stays above a policy that the gateway applies.

Takes: a small mesh made of values, its table in PostgreSQL. Gives: the SQL of its fragment. Below
such a policy a LIMIT would let hidden rows decide how many visible ones come.
"""

from __future__ import annotations

import pytest

from catalog.model import Match, Policy
from connectors.base import load_abilities
from gateway.draft import PhysicalTable, PlanContext
from gateway.plan import plan
from gateway.resolve import Address
from tests.guard.test_cells import COLUMNS, grant, guarded_of, mesh_of


@pytest.mark.parametrize(
    ("condition", "goes_down"),
    [("region = 'EU'", True), ("lower(region) = 'eu'", False), ("region LIKE 'E%'", True),
     ("upper(region) LIKE 'E%'", False)],
)
def test_a_limit_goes_below_exact_policies_only(condition: str, goes_down: bool) -> None:
    policy = Policy("f", "filter", Match(table="t"), filter=condition)
    guarded = guarded_of(mesh_of((grant("all"),), (policy,)), "select id from d.p limit 3")
    physical = PhysicalTable("d.s", "public.t", {one: (one, kind) for one, kind in COLUMNS.items()})
    context = PlanContext(
        tables={Address("d", "p", "t"): physical},
        abilities={"d.s": load_abilities("postgres")},
        describe=lambda tree, values: ("INTEGER",),
    )
    made = plan(guarded, context)
    assert ("LIMIT 3" in made.fragments[0].fragment.sql) is goes_down
    assert goes_down or made.fragments[0].gate is not None
