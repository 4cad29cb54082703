"""Plans that are used again: for whom, and with which values.

Takes: the sample mesh's files; no database. Gives: keys that are equal or not, and plans whose
values have changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import duckdb
import pytest

from connectors.base import load_abilities
from gateway.authorize import authorize, directory, visible
from gateway.bind import bind
from gateway.constants import example_of, type_of_value
from gateway.decision import Decision, PolicyIndex
from gateway.draft import Plan, PlanContext
from gateway.errors import UnknownTable
from gateway.guard import guard
from gateway.identity import principal_of
from gateway.parse import parse
from gateway.physical import physical_tables
from gateway.plan import plan
from gateway.plan_cache import Key, PlanCache, Remembered, key_of, with_parameters
from gateway.publish import build_snapshot
from gateway.request import Principal, Request
from gateway.resolve import Directory, KnownProduct, ResolvedQuery, resolve
from gateway.snapshot import Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FLIGHT = "select dest from operations.departures where flight_id = ?"


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return build_snapshot(Path(__file__).resolve().parents[2] / "conf")


def key(snapshot: Snapshot, sql: str = FLIGHT, user: str = "nora", **fields: object) -> Key | None:
    """The key of a statement's plan."""
    principal = principal_of(next(one for one in snapshot.mesh.users if one.name == user))
    plain = Request(sql=sql, principal=principal, now=NOW, query_id="q", parameters=(17,))
    request = replace(plain, **fields)  # type: ignore[arg-type]  # fields of Request by name
    resolved = resolve(parse(request), directory(snapshot.index, principal, NOW), request.domain)
    return key_of(request, resolved, authorize(resolved, request, snapshot.index))


def test_other_values_share_a_plan(snapshot: Snapshot) -> None:
    """Beside a comparison only the type counts, and who asks only by his decision."""
    assert key(snapshot) == key(snapshot, parameters=(18,)) == key(snapshot, user="petra")


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "carl"},
        {"user": "otto", "sql": FLIGHT.replace("dest", "tailnum")},
        {"sql": FLIGHT + " "},
        {"timezone": "America/New_York"},
        {"domain": "fleet"},
        {"push_down": False},
        {"require_pushdown": True},
        {"link_cost": "dear"},
        {"dialect": "postgres"},
        {"parameters": (2**40,)},
        {"parameters": (17.0,)},
        {"parameters": (True,)},
        {"parameters": ("17",)},
        {"parameters": (None,)},
        {"parameters": (Decimal("17"),)},
        {"parameters": (date(2013, 1, 1),)},
        {"parameters": (time(9),)},
    ],
    ids=str,
)
def test_what_keeps_plans_apart(snapshot: Snapshot, fields: Mapping[str, object]) -> None:
    """Decision, text, zone, settings, and the type of a value."""
    assert key(snapshot) != key(snapshot, **fields)  # type: ignore[arg-type]  # as above


def test_the_revision_keeps_plans_apart(snapshot: Snapshot) -> None:
    """Its hash is part of the decision's."""
    index = snapshot.index
    other = PolicyIndex("another", index.tables, index.products, index.purposes, index.standing)
    assert key(snapshot) != key(replace(snapshot, index=other))


def test_what_sources_can_do_keeps_plans_apart(snapshot: Snapshot) -> None:
    """A plan that was made by abilities of another edition is not found again."""
    principal = principal_of(snapshot.mesh.users[0])
    request = Request(sql=FLIGHT, principal=principal, now=NOW, query_id="q", parameters=(17,))
    resolved = resolve(parse(request), directory(snapshot.index, principal, NOW), None)
    decision = Decision({}, None, False, "r", "the same for both")
    assert key_of(request, resolved, decision, (1,)) != key_of(request, resolved, decision, (2,))


def test_one_name_of_two_majors_keeps_plans_apart() -> None:
    """Both may query both, and a pin on another table makes the plain name mean the older one."""
    sql = 'select 1 from s."orders@1".t a, s."orders@2".t b, s.orders.t c'
    decision = Decision({}, None, False, "r", "the same for both")
    keys = []
    for preferred in (1, 2):
        tables = {1: ("t",), 2: ("t",)}
        product = KnownProduct("s", "orders", tables, {1: None, 2: None}, preferred)
        request = Request(sql=sql, principal=Principal("ada"), now=NOW, query_id="q")
        resolved = resolve(parse(request), Directory({("s", "orders"): product}), None)
        assert [one.major for one in resolved.tables] == [1, 2]
        keys.append(key_of(request, resolved, decision))
    assert keys[0] is not None and keys[0] != keys[1]


@pytest.mark.parametrize(
    "fields",
    [
        {"sql": FLIGHT + " " * 30_000},
        {"sql": FLIGHT.replace("flight_id", "dest"), "parameters": ("x" * 30_000,)},
    ],
    ids=["a long text", "a long value"],
)
def test_what_is_long_is_not_kept(snapshot: Snapshot, fields: Mapping[str, object]) -> None:
    """Memory is bounded, whatever callers send."""
    assert key(snapshot, **fields) is None  # type: ignore[arg-type]  # as above


def test_a_value_that_shapes_types_is_part_of_the_key(snapshot: Snapshot) -> None:
    """`date_trunc` gives a date or a moment, as its first argument says."""
    sql = "select date_trunc(?, make_date(year, month, day)) from operations.departures"
    assert key(snapshot, sql, parameters=("month",)) != key(snapshot, sql, parameters=("hour",))
    assert key(snapshot, sql, parameters=(["month"],)) is None


def test_the_latest_are_kept(snapshot: Snapshot) -> None:
    """What was used longest ago is forgotten first."""
    cache: PlanCache[str] = PlanCache(kept=2)
    keys = [key(snapshot, f"select {n} from operations.departures limit ?") for n in range(3)]
    first, second, third = (one for one in keys if one is not None)
    cache.put(first, "first")
    cache.put(second, "second")
    assert cache.get(first) == "first"
    cache.put(third, "third")
    assert [cache.get(one) for one in (first, second, third)] == ["first", None, "third"]


def test_a_time_with_a_zone_is_of_another_type(snapshot: Snapshot) -> None:
    """What reads the session's time zone stays in the merge, and that is the value's to say."""
    assert key(snapshot, parameters=(time(9),)) == key(snapshot, parameters=(time(10),))
    assert key(snapshot, parameters=(time(9),)) != key(snapshot, parameters=(time(9, tzinfo=UTC),))


@pytest.mark.parametrize(
    "values",
    [
        (0, 17, 2**31 - 1), (-1, -17, -(2**31)), (2**31, 2**40, 2**63 - 1),
        (-(2**31) - 1, -(2**40)), (2**63, 2**64 - 1), (-(2**63) - 1,), (2**64, 2**100), (2**127,),
        (True, False), (2.5, -1e300),
        (Decimal("17.25"), Decimal("-0.01")), ("", "a long text"), (b"", b"bytes"), (None,),
        (time(9, 30), time(0)), (time(9, 30, tzinfo=UTC),), (timedelta(3),), (UUID(int=7),),
        (date(2013, 1, 1), date(1, 1, 1)), (datetime(2013, 1, 1, 5), datetime(1, 1, 1)),
        (datetime(2013, 1, 1, 5, tzinfo=UTC),),
    ],
    ids=str,
)  # fmt: skip
def test_an_example_is_of_the_type_and_tells_nothing_of_the_value(
    values: tuple[object, ...],
) -> None:
    """Also of the type that the merge engine gives it; of a decimal, but for its digits."""
    examples = {repr(example_of(one)) for one in values}
    assert len(examples) == 1
    for one in values:
        example = example_of(one)
        if isinstance(one, Decimal):
            assert isinstance(example, Decimal)
            assert example.as_tuple().exponent == one.as_tuple().exponent
            continue
        assert type_of_value(example) == type_of_value(one)
        if not (isinstance(one, int) and one >= 2**127):
            assert _kind(example) == _kind(one)


def _kind(value: object) -> object:
    found = duckdb.sql("SELECT ?", params=[value])
    assert found is not None
    return found.types


def planned(snapshot: Snapshot, sql: str, *values: object) -> Plan:
    """A plan with its first values."""
    principal = principal_of(next(one for one in snapshot.mesh.users if one.name == "nora"))
    request = Request(sql=sql, principal=principal, now=NOW, query_id="q", parameters=values)
    resolved = resolve(parse(request), directory(snapshot.index, principal, NOW), None)
    decision = authorize(resolved, request, snapshot.index)
    guarded = guard(bind(resolved, visible(decision)), decision)
    sources = snapshot.mesh.sources
    context = PlanContext(
        tables=physical_tables(resolved.tables, snapshot),
        abilities={name: load_abilities(one.kind) for name, one in sources.items()},
        describe=lambda tree, given: ("VARCHAR",) * len(tree.expressions),
        parameters=values,
    )
    return plan(guarded, context)


@pytest.mark.parametrize(
    ("sql", "first", "then", "bound"),
    [
        (FLIGHT, (17,), (18,), (18,)),
        (FLIGHT.replace("= ?", "= -?"), (17,), (18,), (-18,)),
        (FLIGHT + " and origin = ?", (17, "JFK"), (18, "LGA"), (18, "LGA")),
        (FLIGHT + " or distance < ?", (17, 100), (2**40, 7), (2**40, 7)),
        # No number of the column's type: the plan does not hold for it.
        (FLIGHT + " or distance < ?", (17, 100), (18, 2**40), None),
        (FLIGHT + " and dep_delay > ?", (17, 5), (18, 2**60), None),
        ("select faa from network.reference where upper(name) = ?", ("A",), ("B",), ("B",)),
        ("select faa from network.reference where alt > ? limit ?", (5, 2), (6, 3), (6, 3)),
    ],
)
def test_other_values(
    snapshot: Snapshot,
    sql: str,
    first: tuple[object, ...],
    then: tuple[object, ...],
    bound: tuple[object, ...] | None,
) -> None:
    """They take the places of the first ones, or the plan is made anew."""
    made = with_parameters(planned(snapshot, sql, *first), then, "UTC")
    found = None if made is None else made.fragments[0].fragment.parameters
    assert (None if found is None else set(found)) == (None if bound is None else set(bound))


def test_tables_are_looked_up_once_for_whoever_knows_the_same(snapshot: Snapshot) -> None:
    """By identity: another directory, as after a revocation, is asked anew; errors each time."""
    remembered: Remembered[ResolvedQuery] = Remembered(resolve, kept=2)
    users = {one.name: principal_of(one) for one in snapshot.mesh.users}
    request = Request(sql=FLIGHT, principal=users["nora"], now=NOW, query_id="q", parameters=(1,))
    statement, known = parse(request), directory(snapshot.index, users["nora"], NOW)
    first = remembered(statement, known, None)
    assert remembered(statement, known, None) is first
    again = remembered(statement, Directory(known.products), None)
    assert again is not first and again == first
    assert remembered(statement, known, "fleet") is not first
    with pytest.raises(UnknownTable):
        remembered(statement, Directory({}), None)
    assert remembered(statement, known, "fleet").tables == first.tables
    assert remembered(statement, known, None) is not first, "two are kept, it was the third"


def test_what_is_remembered_does_not_change_by_use(snapshot: Snapshot) -> None:
    """The tree is shared: the stages behind it copy what they change."""
    principal = principal_of(next(one for one in snapshot.mesh.users if one.name == "nora"))
    known = directory(snapshot.index, principal, NOW)
    sql = "select dest, count(*) c from (select * from operations.departures) d group by all"
    request = Request(sql=sql, principal=principal, now=NOW, query_id="q")
    resolved = resolve(parse(request), known, None)
    before = repr(resolved.tree)
    decision = authorize(resolved, request, snapshot.index)
    guard(bind(resolved, visible(decision)), decision)
    assert repr(resolved.tree) == before
