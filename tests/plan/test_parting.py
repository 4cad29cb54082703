"""Which fragments may be read in ranges of a table's rows, and where the range stands.

Takes: statements over the sample mesh. Gives: for what is made row by row of one table the SQL of a
range, which stands beside the policy and inside the barrier; for all else none.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.draft import TableSize
from gateway.resolve import Address
from tests.golden.forms import Mesh, forms_of

FLIGHTS = Address("operations", "departures", "flights")
RANGE = "ctid >= CAST($1 AS tid) AND ctid < CAST($2 AS tid)"
PART = "  part: "


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    made = Mesh()
    yield made
    made.engine.close()


def _parts(mesh: Mesh, user: str, sql: str) -> list[tuple[str, str]]:
    """Of each fragment that has a part its SQL, and that of the part."""
    lines = forms_of(mesh, user, sql, parts=True)["planned"].splitlines()
    sent = [one.partition(": ")[2] for one in lines if " @ " in one]
    made = [one.removeprefix(PART) for one in lines if one.startswith(PART)]
    return list(zip(sent, made, strict=False))


@pytest.mark.parametrize("user", ["nora", "carl"])
@pytest.mark.parametrize(
    "sql",
    [
        "select flight_id, dest from operations.departures",
        "select flight_id, distance + 1 as d from operations.departures where month = 3 or day = 4",
        "select upper(dest) as u from operations.departures where month = 3",
    ],
)
def test_a_range_stands_beside_the_policy(mesh: Mesh, user: str, sql: str) -> None:
    ((whole, part),) = _parts(mesh, user, sql)
    assert part.count(RANGE) == 1 and "ctid" not in whole
    # The rest is what it was, its barrier too.
    rest = part.replace(f" AND {RANGE}", "").replace(f" WHERE {RANGE}", "")
    assert rest.replace('("month" = 3 OR "day" = 4)', '"month" = 3 OR "day" = 4') == whole.replace(
        '("month" = 3 OR "day" = 4)', '"month" = 3 OR "day" = 4'
    )
    if "OFFSET 0" in whole:
        assert part.index(RANGE) < part.index("OFFSET 0")


@pytest.mark.parametrize(
    "sql",
    [
        "select dest, count(*) as n from operations.departures group by dest",
        "select count(*) as n from operations.departures",
        "select distinct dest from operations.departures",
        "select dest from operations.departures order by dest",
        "select dest from operations.departures limit 3",
        "select dest, row_number() over (order by flight_id) as n from operations.departures",
        "select a.dest from operations.departures a join operations.departures b "
        "on a.flight_id = b.flight_id",
        "select dest from operations.departures union all select origin from operations.departures",
        "select dest from operations.departures where flight_id in "
        "(select flight_id from operations.departures where month = 1)",
        "select faa from network.reference.airports",
    ],
)
def test_what_is_not_made_row_by_row_of_one_table_is_read_whole(mesh: Mesh, sql: str) -> None:
    assert not _parts(mesh, "nora", sql)


def test_little_is_read_whole(mesh: Mesh) -> None:
    sql = "select flight_id from operations.departures"
    mesh.sizes = {FLIGHTS: TableSize(1_000.0)}
    assert not _parts(mesh, "nora", sql)
    mesh.sizes = {FLIGHTS: TableSize(1_000_000.0)}
    assert _parts(mesh, "nora", sql)
