"""What one caller gave as a value shows in nobody else's plan.

Takes: two callers with one decision, statements with parameters over SQLite. Gives: plans and
explanations of the second that are equal, whatever values the first one gave before. The controls:
both share what is remembered, and plans made with the values of callers differ.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal

import pytest
from sqlglot import exp

from gateway import estimates
from gateway import prepare as prepare_room
from gateway.constants import value_of
from gateway.draft import Plan
from gateway.opening import OpenGateway
from gateway.parse import parse
from gateway.plan_cache import Key, PlanCache
from gateway.prepare import prepare
from tests.small_mesh import SmallMesh, answer, opened_mesh, request

ROWS = 20_000
COLUMNS = {
    "id": "BIGINT", "small": "SMALLINT", "price": "DECIMAL(9,2)", "day": "DATE", "note": "VARCHAR",
}  # fmt: skip
FIRST, SECOND = "ada", "bob"
Case = tuple[str, tuple[object, ...], tuple[object, ...]]
# A statement, what the first one gives, what the second one does.
TOLD: tuple[Case, ...] = (
    # How many rows come decides whether repeating ones are fetched once.
    ("select distinct upper(note) as u from d.held where id < ?", (30,), (15_000,)),
    ("select distinct upper(note) as u from d.held where id < ?", (15_000,), (30,)),
    ("select distinct upper(note) as u from d.held where id between ? and ?", (1, 9), (1, 9_999)),
    ("select upper(note) as u from d.held where id >= ? limit ?", (19_900, 300), (19_990, 700)),
    # What fits in the column's type goes down.
    ("select id from d.held where small = ?", (70_000,), (7,)),
    ("select id from d.held where small in (?, ?)", (-70_000, 1), (-7, 2)),
    ("select id from d.held where year(day) = ?", (20_000,), (2013,)),
    ("select id from d.held where date_trunc('month', day) = ?",
     (date(9999, 12, 1),), (date(2013, 2, 1),)),
)  # fmt: skip
# The other way round the plan was always made anew; of decimals the digits are part of the key.
ANEW: tuple[Case, ...] = (
    ("select id from d.held where small = ?", (7,), (70_000,)),
    ("select id from d.held where price > ?", (Decimal("1.555"),), (Decimal("1.550"),)),
    ("select id from d.held where price > ?", (Decimal("1.550"),), (Decimal("1.555"),)),
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenGateway]:
    folder = tmp_path_factory.mktemp("callers")
    (folder / "data").mkdir()
    lite = sqlite3.connect(folder / "data/held.db")
    lite.execute(
        "CREATE TABLE held (id INTEGER PRIMARY KEY, small INTEGER, price TEXT, day TEXT, note TEXT)"
    )
    lite.execute(
        "INSERT INTO held WITH RECURSIVE given(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM given "
        f"WHERE n < {ROWS - 1}) SELECT n, n % 100, '1.55', date('2013-01-01', (n % 300) || "
        "' days'), 'note ' || (n % 100) FROM given"
    )
    lite.execute("CREATE UNIQUE INDEX by_id ON held (id)")
    lite.execute("CREATE INDEX by_note ON held (note)")
    lite.execute("ANALYZE")
    lite.commit()
    lite.close()
    mesh = SmallMesh(
        "d", {"connector": "sqlite", "settings": {"path": "held.db"}},
        {"held": ("held", COLUMNS)}, {FIRST: {"groups": ["all"]}, SECOND: {"groups": ["all"]}},
        ({"product": "held", "subjects": [{"groups": ["all"]}]},),
    )  # fmt: skip
    made = opened_mesh(folder, mesh)
    # What the source knows of its table is asked once; a busy machine may be late.
    statistics = made.services.statistics
    assert statistics is not None
    answer(made, FIRST, "explain select count(*) from d.held")
    until = time.monotonic() + 60
    while statistics.is_asking(("d.held",)) and time.monotonic() < until:
        time.sleep(0.02)
    yield made
    made.close()


def _plan(opened: OpenGateway, user: str, sql: str, values: Sequence[object]) -> Plan:
    made = request(opened, user, sql, parameters=tuple(values))
    return prepare(made, parse(made), opened.publisher.current(), opened.gateway.services).plan


def _told(opened: OpenGateway, user: str, sql: str, values: Sequence[object]) -> list[object]:
    """What a caller is shown, and all that his plan rests on."""
    shown = answer(opened, user, f"explain {sql}", parameters=tuple(values)).to_pylist()
    made = _plan(opened, user, sql, values)
    fragments = [
        (one.fragment, one.fragment.expected_rows, one.shown, one.rows, one.apart, one.notes)
        for one in made.fragments
    ]
    return [shown, fragments, made.merge, made.used_parameters, made.notes]


def _alone_and_after(opened: OpenGateway, case: Case) -> tuple[list[object], list[object]]:
    """What the second caller is told when nobody asked before, and when the first one did."""
    sql, first, second = case
    alone = _told(opened, SECOND, f"{sql} ", second)
    answer(opened, FIRST, sql, parameters=first)
    _told(opened, FIRST, sql, first)
    return alone, _told(opened, SECOND, sql, second)


@pytest.mark.parametrize("case", [*TOLD, *ANEW], ids=str)
def test_values_of_others_show_in_no_plan(opened: OpenGateway, case: Case) -> None:
    alone, after = _alone_and_after(opened, case)
    assert alone == after
    sql, _, second = case
    rows = answer(opened, SECOND, sql, parameters=second)
    wanted = answer(opened, SECOND, sql, parameters=second, push_down=False)
    assert sorted(map(str, rows.to_pylist())) == sorted(map(str, wanted.to_pylist()))


@pytest.mark.parametrize("case", TOLD, ids=str)
def test_control_plans_by_the_values_of_others_tell_of_them(
    opened: OpenGateway, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if plans were made with what the first one gave."""

    def given(constant: exp.Expression) -> object | None:
        return constant.meta["value"] if "value" in constant.meta else value_of(constant, ())

    monkeypatch.setattr(prepare_room, "examples", lambda _key, values: values)
    monkeypatch.setattr(estimates, "_known_value", given)
    # Another text, so that nothing of it is remembered.
    alone, after = _alone_and_after(opened, (f"{case[0]}\n", *case[1:]))
    assert alone != after


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is remembered from now on."""
    found: list[object] = []
    put = PlanCache.put

    def noted(self: PlanCache[object], key: Key, form: object) -> None:
        found.append(form)
        put(self, key, form)

    monkeypatch.setattr(PlanCache, "put", noted)
    return found


def test_who_gives_the_same_value_shares_a_plan_that_it_decided(
    opened: OpenGateway, kept: list[object]
) -> None:
    sql = "select note from d.held where small = ?"
    for user, value, plans in (
        (FIRST, 70_000, 1), (SECOND, 70_000, 1), (SECOND, 70_001, 2), (FIRST, 7, 3),
        (SECOND, 9, 3), (SECOND, 70_001, 3),
    ):  # fmt: skip
        _plan(opened, user, sql, (value,))
        assert len(kept) == plans


def test_what_all_share_holds_nobodys_value(opened: OpenGateway, kept: list[object]) -> None:
    """What was made for the caller does, which is the control."""
    sql = "select id from d.held where note = ? and day = ? and upper(note) <> ?"
    mine = _plan(opened, FIRST, sql, ("very secret", date(2013, 7, 1), "SECRET"))
    assert "very secret" in repr(mine)
    assert kept and not any(each in repr(kept) for each in ("very secret", "SECRET", "2013, 7"))
