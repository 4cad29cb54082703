"""The gate over values that do not fit their contract: visible ones are told, hidden ones are not.

Takes: decisions made of values. Gives: the gate's rows over a few raw ones. The control shows that
the same condition is true of the NULL that stands for what does not fit.
"""

from __future__ import annotations

import duckdb
import pytest
from sqlglot import exp

from catalog.model import Grant, Mask, Match, Policy
from connectors.base import Abilities, misfit_of
from gateway.draft import Draft, PhysicalTable, PlanContext
from gateway.gate import gate_sql, split
from tests.guard.test_cells import COLUMNS, grant, guarded_of, mask, mesh_of

# id, region, a, b, n; the names of what does not fit, which is NULL here.
RAW = [
    ((1, "EU", "a1", "b1", 10), ""),
    ((2, "EU", None, "b2", 20), "a"),
    ((3, None, "a3", "b3", 30), "region"),
    ((4, "US", None, "b4", 40), "a"),
    ((5, "US", "a5", "b5", None), "n"),
]
IN_EU = Policy("f", "filter", Match(table="t"), filter="region = 'EU'")
UNLESS_SET = Policy("f", "filter", Match(table="t"), filter="region IS NULL OR region = 'EU'")
EU_OR_US = (
    grant("eu", "id region a", "region = 'EU'"),
    grant("us", "id region b", "region = 'US'"),
)
BY_NUMBER = (grant("all", "id region"), grant("n", "id region a", "n > 0"))


def gated(
    grants: tuple[Grant, ...], policies: tuple[Policy, ...], columns: str
) -> list[tuple[object, ...]]:
    """The rows that the gate gives, the last column whether a visible value does not fit."""
    guarded = guarded_of(mesh_of(grants, policies), f"select {columns} from d.p")
    (relation,) = guarded.relations.values()
    physical = PhysicalTable("d.s", "t", {name: (name, kind) for name, kind in COLUMNS.items()})
    context = PlanContext(
        {relation.address: physical},
        {"d.s": Abilities("plain", "duckdb")},
        lambda tree, values: (),
    )
    draft = Draft(exp.Select(), {}, context)
    connection = duckdb.connect()
    body = [f"{name} {kind}" for name, kind in COLUMNS.items()]
    body += [f'"{misfit_of(name)}" BOOLEAN' for name in COLUMNS]
    connection.execute(f"CREATE TABLE raw ({', '.join(body)})")
    marks = ", ".join("?" * len(body))
    for row, misfits in RAW:
        flags = [name in misfits.split() for name in COLUMNS]
        connection.execute(f"INSERT INTO raw VALUES ({marks})", [*row, *flags])
    found = connection.sql(gate_sql(relation, split(draft, relation))).order("1").fetchall()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("grants", "policies", "columns", "wanted"),
    [
        # A clear value of a visible row is told; that of a hidden row is not.
        ((grant("all"),), (IN_EU,), "id, a", [(1, "a1", False), (2, None, True)]),
        ((grant("all"),), (IN_EU,), "id, b", [(1, "b1", False), (2, "b2", False)]),
        # What a condition cannot read permits nothing, though the condition is true of NULL.
        ((grant("all"),), (UNLESS_SET,), "id, b", [(1, "b1", False), (2, "b2", False)]),
        # A masked value that does not fit is hidden, so nothing is told of it.
        (
            (grant("all"),),
            (IN_EU, mask("a", Mask("partial", keep_last=1))),
            "id, a",
            [(1, "*1", False), (2, None, False)],
        ),
        # Cell by cell: told only in the rows of the grant that covers the column.
        (
            EU_OR_US,
            (),
            "id, a",
            [(1, "a1", False), (2, None, True), (4, None, False), (5, None, False)],
        ),
        # A condition of a cell that cannot be read hides the cell, and the row stays.
        (
            BY_NUMBER,
            (),
            "id, a",
            [(1, "a1", False), (2, None, True), (3, "a3", False), (4, None, True),
             (5, None, False)],
        ),
    ],
)  # fmt: skip
def test_only_visible_misfits_are_told(
    grants: tuple[Grant, ...],
    policies: tuple[Policy, ...],
    columns: str,
    wanted: list[tuple[object, ...]],
) -> None:
    assert gated(grants, policies, columns) == wanted


def test_the_control_would_show_a_row_that_cannot_be_read() -> None:
    """Without the gate's care row 3, whose region does not fit, would be visible as NULL."""
    connection = duckdb.connect()
    found = connection.sql(f"SELECT region FROM (SELECT NULL AS region) WHERE {UNLESS_SET.filter}")
    assert found.fetchall() == [(None,)]
    connection.close()
