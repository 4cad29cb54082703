"""Sub-queries that read the outer row, by what is known of the indexes of their tables.

Takes: a statement over the sample mesh, sizes and indexes of its tables. Gives: the text that
PostgreSQL is asked, or that it is not asked by row.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.draft import ColumnSize, TableSize
from gateway.resolve import Address
from tests.golden.forms import Mesh, forms_of

MEMBERS = Address("loyalty", "members", "members")
TRIPS = Address("loyalty", "trips", "trips")
SQL = (
    "select m.member_id from loyalty.members m where m.tier = 'gold' and m.spend > "
    "(select max(t.fare) from loyalty.trips t where t.flight_id = m.member_id)"
)
SENT = (
    'SELECT "m"."member_id" AS "member_id" FROM (SELECT "member_id" AS "member_id", '
    '"spend" AS "spend" FROM "public"."members" WHERE (CAST("tier" AS TEXT) COLLATE "C") = '
    '\'gold\') AS "m", LATERAL (SELECT MAX("t"."fare") AS "value" FROM (SELECT "flight_id" AS '
    '"flight_id", "fare" AS "fare" FROM "public"."trips") AS "t" WHERE "t"."flight_id" = '
    '"m"."member_id") AS "asked_0" WHERE "m"."spend" > "asked_0"."value"'
)


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    made = Mesh()
    yield made
    made.engine.close()


def _trips(rows: float, *indexed: str) -> TableSize:
    return TableSize(rows, indexed=frozenset(indexed))


@pytest.mark.parametrize(
    ("trips", "by_row"),
    [
        (_trips(4_000, "trip_id", "flight_id"), True),
        # Nothing is known of it; no index, or one of another column.
        (None, False),
        (_trips(4_000), False),
        (_trips(4_000, "trip_id"), False),
        # As many ask as there are to be found.
        (_trips(200, "flight_id"), False),
        (_trips(201, "flight_id"), True),
    ],
)
def test_by_row(trips: TableSize | None, by_row: bool, mesh: Mesh) -> None:
    members = TableSize(2_000, {"tier": ColumnSize(10)})
    mesh.sizes = {MEMBERS: members} | ({} if trips is None else {TRIPS: trips})
    planned = forms_of(mesh, "petra", SQL)["planned"]
    assert (SENT in planned) == by_row
    assert ("LATERAL" in planned) == by_row


def test_not_through_a_barrier(mesh: Mesh) -> None:
    mesh.sizes = {MEMBERS: TableSize(2_000), TRIPS: _trips(4_000_000, "flight_id")}
    assert "LATERAL" not in forms_of(mesh, "mara", SQL)["planned"]


def test_a_name_that_the_statement_has_not(mesh: Mesh) -> None:
    members = TableSize(2_000, {"tier": ColumnSize(10)})
    mesh.sizes = {MEMBERS: members, TRIPS: _trips(4_000, "flight_id")}
    names = ("asked_0", "_asked_0", "__asked_0")
    joins = (f" join loyalty.members {one} on {one}.member_id = m.member_id" for one in names)
    others = "".join(joins)
    planned = forms_of(mesh, "petra", SQL.replace("members m ", f"members m{others} "))["planned"]
    assert 'AS "___asked_0" WHERE' in planned
