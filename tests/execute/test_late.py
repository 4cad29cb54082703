"""Wide columns after the first rows: the same answer whatever stands how often.

Takes: amounts in SQLite, people in a DuckDB file whose keys stand once, twice, or not at all, and
their regions; a choice that waits for the first rows wherever it may. Gives: equality with what is
fetched whole, how few rows left, when the rest was fetched after all, and that it is noticed where
the repeated keys or the check are left out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from gateway import first_rows, late_slots, loading, render
from gateway.choosing import Choice, Ended, Prices
from gateway.draft import Draft, LateSlot, PlannedFragment
from gateway.guard import GuardedRelation
from gateway.passes import fetch_late
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain

CASES = yaml.safe_load(Path(__file__).with_name("late.yaml").read_text(encoding="utf-8"))
PEOPLE = 400
SPENT = {
    "k": "bigint", "day": "integer", "v": "decimal(12,2)", "tied": "integer", "gaps": "integer",
    "f": "double precision",
}  # fmt: skip
WIDE = {"k": "bigint", "name": "text", "region": "integer"}
# People by table: of numbers from 0 who is there, and how often.
_PERSON = "SELECT n, 'p' || n, n % 5 FROM range({}) g(n)"
TABLES = {
    "people": _PERSON.format(400),
    "doubled": _PERSON.format(400) + ", range(CASE n WHEN 350 THEN 3 WHEN 20 THEN 2 ELSE 1 END)",
    "split": "SELECT n, 'p' || n || m, n % 5 FROM range(400) g(n), range(1 + (n = 9)::INT) h(m)",
    "missing": _PERSON.format(400) + " WHERE n % 40 <> 39",
    "few": _PERSON.format(4),
    "nobody": _PERSON.format(0),
    "nulls": "SELECT nullif(n, 398), 'p' || n, n % 5 FROM range(400) g(n)",
}
REGIONS = {
    "regions": "SELECT n, 'r' || n FROM range(5) g(n)",
    "twice": "SELECT n % 5, 'r' || n FROM range(6) g(n)",
}


def first_rows_always(
    one: PlannedFragment,
    fragments: Mapping[str, PlannedFragment],
    ended: Ended,
    prices: Mapping[str, Prices],
    most_keys: int | None,
) -> Choice:
    """The first rows wherever they may be waited for, and no keys."""
    slot = one.keyed.late if one.keyed is not None else None
    waits = frozenset(slot.providers if slot is not None else ()) - set(ended.rows)
    return Choice(waits, (), one.rows, 0.0, 0.0, first=slot)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainMesh]:
    folder = tmp_path_factory.mktemp("late")
    with duckdb.connect(folder / "people.duckdb") as held:
        for name, query in TABLES.items():
            held.execute(f"CREATE TABLE {name} (k BIGINT, name VARCHAR, region INTEGER)")
            held.execute(f"INSERT INTO {name} {query}")
        for name, query in REGIONS.items():
            held.execute(f"CREATE TABLE {name} (id INTEGER, label VARCHAR)")
            held.execute(f"INSERT INTO {name} {query}")
    lite = sqlite3.connect(folder / "spent.sqlite")
    lite.execute("CREATE TABLE spent (k INT, day INT, v TEXT, tied INT, gaps INT, f REAL)")
    rows: list[tuple[object, ...]] = [
        (n, day, f"{n - 100 + day / 4:.2f}", n // 50, None if n % 3 else n - 200, n / 7)
        for n in range(PEOPLE) for day in range(2)
    ]  # fmt: skip
    rows.append((None, 1, "999.00", 9, 9, 9.0))
    lite.executemany("INSERT INTO spent VALUES (?, ?, ?, ?, ?, ?)", rows)
    lite.commit()
    lite.close()
    file = {"path": str(folder / "people.duckdb")}
    sources = {
        "south": PlainSource("duckdb", file, {}),
        "north": PlainSource("sqlite", {"path": str(folder / "spent.sqlite")}, {}),
        "west": PlainSource("duckdb", file, {}),
    }
    region = {"id": "integer", "label": "text"}
    tables = [PlainTable("north", "spent", "spent", SPENT)]
    tables.append(PlainTable("north", "kept", "spent", SPENT, frozenset({"v"})))
    tables += [PlainTable("south", name, name, WIDE) for name in TABLES]
    tables += [PlainTable("west", name, name, region) for name in REGIONS]
    made = open_plain(folder, sources, tables)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _keys_of_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """What statistics would say of the people; in two tables they would be wrong."""

    def of_people(_: Draft, relation: GuardedRelation, __: str) -> bool:
        return relation.address.domain == "south"

    monkeypatch.setattr(fetch_late, "is_probably_key", of_people)


@pytest.fixture
def enough(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What was found of the first rows, each time that they were asked for."""
    found: list[bool] = []
    real = first_rows.are_enough

    def told(slot: LateSlot, *given: Any) -> bool:  # noqa: ANN401 - as it is called
        found.append(real(slot, *given))
        return found[-1]

    monkeypatch.setattr(loading, "choose", first_rows_always)
    monkeypatch.setattr(loading, "are_enough", told)
    return found


def _statement(case: Mapping[str, Any], people: str) -> str:
    regions = f"west.{case.get('regions', 'regions')}"
    return str(case["sql"].format(people=f"south.{people}", regions=regions))


def _run(mesh: PlainMesh, sql: str, **fields: object) -> tuple[list[str], Mapping[str, int]]:
    result = mesh.start(sql, **fields)
    return [repr(row) for batch in result.batches() for row in batch.to_pylist()], result.fetched


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["why"])
def test_the_answer_is_the_same(
    case: dict[str, Any], mesh: PlainMesh, enough: list[bool]
) -> None:
    for people in case.get("people", TABLES):
        enough.clear()
        sql = _statement(case, people)
        want, _ = _run(mesh, sql, push_down=False)
        got, moved = _run(mesh, sql)
        assert got == want, people
        told = case["enough"]
        assert enough == ([] if told is None else [told.get(people, True)]), people
        if enough == [True] and people == "people":
            assert moved["guarded_1"] == case["rows"]


def test_nobody_is_told_who_comes_first_by_what_stays(
    mesh: PlainMesh, enough: list[bool]
) -> None:
    """The control: the same rows where nothing stays."""
    sql = _statement(CASES[0], "people") + "  "
    want, _ = _run(mesh, sql)
    assert enough == [True]
    assert _run(mesh, sql.replace("north.spent", "north.kept"))[0] == want
    assert enough == [True]


def test_without_the_repeated_keys_it_would_be_noticed(
    mesh: PlainMesh, enough: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a person who stands three times has three times the amount."""
    real = late_slots.late_slot

    def bare(*given: Any) -> LateSlot:  # noqa: ANN401 - as it is called
        made = real(*given)
        return replace(made, after=made.after.partition(" UNION ALL ")[0] + ")")

    sql = _statement(CASES[0], "doubled") + " "
    want, _ = _run(mesh, sql, push_down=False)
    monkeypatch.setattr(render, "late_slot", bare)
    got, _ = _run(mesh, sql.replace("limit 3", "limit  3"))
    assert enough == [True]
    assert got != want


def test_without_the_check_it_would_be_noticed(
    mesh: PlainMesh, enough: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the first of all are not there."""
    sql = _statement(CASES[0], "few")
    want, _ = _run(mesh, sql, push_down=False)
    monkeypatch.setattr(loading, "are_enough", lambda *_: True)
    assert _run(mesh, sql)[0] != want
