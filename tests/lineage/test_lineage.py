"""Statements and their edges, as data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gateway.decision import ColumnDecision, Decision, TableDecision
from gateway.lineage import DIRECT, INDIRECT, Edge, lineage
from tests.bind.mesh import COLUMNS, address_of, bound

FILE = Path(__file__).with_name("cases.yaml")
CASES = yaml.safe_load(FILE.read_text(encoding="utf-8")) if FILE.is_file() else []
MASKED = TableDecision(
    address_of("t"), (), (),
    tuple(
        ColumnDecision(name, kind, kind, "pseudonym" if name == "s" else "clear")
        for name, kind in COLUMNS[address_of("t")]
    ),
)
DECISION = Decision({address_of("t"): MASKED}, None, False, "", "")


def shown(edge: Edge) -> str:
    """An edge as the cases write it."""
    table = edge.table.table if edge.table.product == edge.table.table else (
        f"{edge.table.product}.{edge.table.table}"
    )
    masked = " masked" if edge.masked else ""
    return f"{edge.output or '*'} <- {table}.{edge.column} {edge.kind}{masked}"


def found(sql: str) -> list[str]:
    """The edges of a statement."""
    return [shown(one) for one in lineage(bound(sql), DECISION)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_edges(case: dict[str, object]) -> None:
    assert found(str(case["sql"])) == case["edges"]


def test_the_cases_hold_every_kind() -> None:
    edges = [str(edge) for case in CASES for edge in case["edges"]]
    kinds = {edge.split(" <- ")[1].split()[1] for edge in edges}
    assert kinds == {*DIRECT, *INDIRECT}
    assert any(edge.endswith(" masked") for edge in edges) and len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_column_that_is_read_has_an_edge(case: dict[str, object]) -> None:
    """The check of bind and lineage look at the tree on their own: they agree on what is read."""
    query = bound(str(case["sql"]))
    read = {(table, name) for table, names in query.columns.items() for name in names}
    edges = {(one.table, one.column) for one in lineage(query, DECISION)}
    assert edges <= read
    # A column of a CTE or a sub-query that nothing outside uses is read and flows nowhere.
    if "CTE" not in str(case["name"]) and "EXISTS" not in str(case["name"]):
        assert edges == read
