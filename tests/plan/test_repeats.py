"""Whether rows repeat so often that one of each is fetched, by what is known of a table's size.

Takes: statements over the sample mesh, sizes of its table of flights. Gives: whether their
fragment groups, or fetches each row once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace

import duckdb
import pytest

from gateway.draft import ColumnSize, TableSize
from gateway.resolve import Address
from tests.golden.forms import Mesh, forms_of

AIRPORTS = Address("network", "reference", "airports")
FLIGHTS = Address("operations", "departures", "flights")
ONE = "select distinct upper(dest) as u from operations.departures"
TWO = "select distinct upper(dest) as u, month from operations.departures"
FEW = "select distinct upper(dest) as u from operations.departures where flight_id < {}"
SUMS = (
    "select a.faa, sum(f.distance) as d from network.reference.airports a "
    "join operations.departures f on f.dest = a.faa group by a.faa"
)
HIGH = (
    "select a.alt, count(*) as n from network.reference.airports a "
    "join operations.departures f on f.distance = a.alt group by a.alt"
)
LIKE = SUMS.replace("group by", "where f.origin {} 'J%' group by")
ROWS = 100_000.0


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    made = Mesh()
    yield made
    made.engine.close()


def _many(**distinct: float) -> Mapping[Address, TableSize]:
    return {FLIGHTS: TableSize(2_000_000.0, {n: ColumnSize(v) for n, v in distinct.items()})}


def _known(**distinct: float) -> Mapping[Address, TableSize]:
    columns = {name: ColumnSize(value) for name, value in distinct.items()}
    columns["flight_id"] = ColumnSize(ROWS, 0.0, ROWS)
    return {FLIGHTS: TableSize(ROWS, columns)}


@pytest.mark.parametrize(
    ("sizes", "sql", "wanted"),
    [
        ({}, ONE, True),
        ({}, TWO, False),
        (_known(), ONE, True),
        (_known(), TWO, False),
        (_known(dest=100), ONE, True),
        (_known(dest=90_000), ONE, False),
        (_known(dest=100, month=12), TWO, True),
        (_known(dest=10_000, month=12), TWO, False),
        # Where a filter leaves few rows, each of them is likely to have a value of its own.
        (_known(dest=100), FEW.format(30), False),
        (_known(dest=100), FEW.format(30_000), True),
        ({}, SUMS, True),
        (_known(dest=100), SUMS, True),
        (_known(dest=90_000), SUMS, False),
        # What a pattern leaves out is little, what it finds too.
        (_known(dest=20_000), LIKE.format("not like"), True),
        (_known(dest=20_000), LIKE.format("like"), False),
    ],
)
def test_worth_it(
    sizes: Mapping[Address, TableSize], sql: str, wanted: bool, mesh: Mesh
) -> None:
    mesh.sizes = sizes
    planned = forms_of(mesh, "nora", sql)["planned"]
    assert ("pushed DISTINCT" in planned or "pushed aggregates by dest" in planned) == wanted


@pytest.mark.parametrize(
    ("sizes", "sql", "link_cost", "wanted"),
    [
        # Groups that no cache holds cost PostgreSQL more than two narrow columns of all rows.
        (_many(distance=150_000), HIGH, "cheap", False),
        (_many(distance=150_000), HIGH, "dear", True),
        (_many(distance=1_000), HIGH, "cheap", True),
        # Few airports send their keys, and few groups are left.
        ({**_many(distance=150_000), AIRPORTS: TableSize(1_400.0)}, HIGH, "cheap", True),
    ],
)
def test_rows_are_fetched_where_so_many_groups_cost_more(
    sizes: Mapping[Address, TableSize], sql: str, link_cost: str, wanted: bool, mesh: Mesh
) -> None:
    mesh.sizes = sizes
    planned = forms_of(mesh, "nora", sql, link_cost=link_cost)["planned"]
    assert ("pushed DISTINCT" in planned or "pushed aggregates by distance" in planned) == wanted
    assert ("rows_cheaper" in planned) != wanted
    # Then the merge groups them itself before it joins them.
    assert ('JOIN (SELECT "f"."distance"' in planned) != wanted


@pytest.mark.parametrize(
    ("said", "asked", "wanted"),
    [("", "", False), ("dear", "", True), ("dear", "cheap", False), ("cheap", "dear", True)],
)
def test_a_source_says_what_its_rows_cost_on_their_way(
    said: str, asked: str, wanted: bool, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the session does not."""
    mesh.sizes, known = _many(distance=150_000), mesh.snapshot
    domains = tuple(
        replace(one, sources=tuple(replace(each, link_cost=said) for each in one.sources))
        for one in known.mesh.domains
    )
    far = replace(known, mesh=replace(known.mesh, domains=domains))
    monkeypatch.setattr(mesh, "snapshot", far)
    planned = forms_of(mesh, "nora", HIGH, link_cost=asked)["planned"]
    assert ("rows_cheaper" in planned) != wanted


@pytest.mark.parametrize(
    ("outputs", "join"),
    [
        ("count(f.distance), count(f.month)", "left join"),
        ("count(*), min(f.month), max(f.month)", "left join"),
        ("sum(f.month), avg(f.month), count(*)", "join"),
        ("max(a.faa), sum(f.distance)", "join"),
    ],
)
def test_what_the_merge_groups_first_is_the_same(outputs: str, join: str, mesh: Mesh) -> None:
    mesh.sizes = _many(distance=150_000)
    text = (
        f"select a.alt, {outputs} from network.reference.airports a "
        f"{join} operations.departures f on f.distance = a.alt group by a.alt"
    )
    planned = forms_of(mesh, "nora", text)["planned"]
    merge = planned.partition("merge: ")[2]
    assert '(SELECT "f"."distance"' in merge
    with closing(duckdb.connect()) as connection:
        connection.execute(
            "create table guarded_0 as select * from (values (1, 'a'), (1, 'b'), (2, 'c'), "
            "(4, 'd'), (NULL, 'e')) as t(alt, faa)"
        )
        connection.execute(
            "create table guarded_1 as select * from (values (1, 3), (1, NULL), (1, 5), (2, NULL), "
            "(3, 7), (NULL, 9)) as t(distance, month)"
        )
        plain = text.replace("network.reference.airports", "guarded_0")
        plain = plain.replace("operations.departures", "guarded_1")
        want, got = (connection.execute(one).fetchall() for one in (plain, merge))
    assert sorted(map(repr, got)) == sorted(map(repr, want))
