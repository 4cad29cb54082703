"""A relation that a policy leaves empty is not fetched, and no policy's constant is compared.

Takes: a small mesh made of values. Gives: how many fragments are sent, and why. What a plan shows
must not let a caller find out what a policy compares with.
"""

from __future__ import annotations

import pytest

from catalog.model import Match, Policy
from connectors.base import load_abilities
from gateway.draft import PhysicalTable, Plan, PlanContext
from gateway.plan import plan
from gateway.resolve import Address
from tests.guard.test_cells import COLUMNS, grant, guarded_of, mesh_of


def planned(sql: str, *filters: str) -> Plan:
    """The plan for somebody without any attribute."""
    policies = tuple(
        Policy(f"f{number}", "filter", Match(table="t"), filter=one)
        for number, one in enumerate(filters)
    )
    guarded = guarded_of(mesh_of((grant("all"),), policies), sql)
    physical = PhysicalTable("d.s", "public.t", {one: (one, kind) for one, kind in COLUMNS.items()})
    context = PlanContext(
        tables={Address("d", "p", "t"): physical},
        abilities={"d.s": load_abilities("postgres")},
        describe=lambda tree, values: ("BIGINT",) * len(tree.expressions),
    )
    return plan(guarded, context)


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        (("region IN (subject.region)",), "policy_leaves_none"),
        (("region = 'EU'", "region IN (subject.region) AND id > 3"), "policy_leaves_none"),
        (("region IN (subject.region) OR region IN (subject.team)",), "policy_leaves_none"),
        (("region IN (subject.region) OR region = 'EU'",), None),
        # These exclude each other, which only the policies' authors know.
        (("region = 'EU'", "region = 'US'"), None),
        (("id > 5 AND id < 3",), None),
    ],
)
def test_a_policy_that_leaves_nobody_a_row(filters: tuple[str, ...], reason: str | None) -> None:
    made = planned("select count(*) n from d.p", *filters)
    assert [one.reason for one in made.notes] == ([reason] if reason else [])
    assert len(made.fragments) == (0 if reason else 1)


@pytest.mark.parametrize(
    ("predicate", "is_cut"),
    [
        ("region = 'US'", False),
        ("region <> 'EU'", False),
        ("id = 4", False),
        ("region = 'US' and region = 'EU'", True),
    ],
)
def test_the_query_is_not_compared_with_a_policy(predicate: str, is_cut: bool) -> None:
    """Else EXPLAIN would tell which constants a policy has."""
    made = planned(f"select count(*) n from d.p where {predicate}", "region = 'EU'", "id > 7")
    assert (not made.fragments) is is_cut
