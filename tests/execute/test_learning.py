"""What runs teach: prices of sources, and counts under one decision.

Takes: a SQLite file under policies, of which one is the gateway's to apply; two worlds whose hidden
rows differ. Gives: what holds after a refresh, in this gateway and in the next one over its state;
what of it a plan may know. The controls show that the probes would bite.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from math import log2
from pathlib import Path

import pytest

from connectors.base import SourceSize
from connectors.sqlite import SqliteConnection
from gateway import learning as learning_room
from gateway import statistics
from gateway.choosing import Prices
from gateway.draft import Plan, PlannedFragment
from gateway.learning import Learning
from gateway.observed import Counts, ObservedCounts
from gateway.opening import OpenGateway, open_gateway
from gateway.parse import parse
from gateway.prepare import prepare
from gateway.result import Result
from gateway.state.engine import reading
from gateway.state.tables import OBSERVED_COUNTS, SOURCE_PRICES
from tests.small_mesh import SmallMesh, answer, opened_mesh, request

COLUMNS = {"id": "BIGINT", "tenant": "VARCHAR", "note": "VARCHAR"}
# `filtered`: SQLite applies the policy; `gated`: the gateway does.
MESH = SmallMesh(
    domain="d",
    source={"connector": "sqlite", "settings": {"path": "rows.sqlite"}},
    tables={name: (name, COLUMNS) for name in ("plain", "filtered", "gated")},
    users={
        "owner": {},
        "ada": {"groups": ["all"], "attributes": {"tenant": "A"}},
        "bob": {"groups": ["all"], "attributes": {"tenant": "B"}},
    },
    grants=tuple(
        {"product": name, "subjects": [{"groups": ["all"]}]}
        for name in ("plain", "filtered", "gated")
    ),
    policies=(
        {"match": {"product": "filtered"}, "effect": {"filter": "tenant IN (subject.tenant)"}},
        {
            "match": {"product": "gated"},
            "effect": {"filter": "reverse(tenant) IN (subject.tenant)"},
        },
    ),
)
VISIBLE = {"A": 1200, "B": 9}
ALL = "select id, note from d.{table}"


def _fill(path: Path, hidden: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    held = sqlite3.connect(path)
    rows = [one for one, count in (*VISIBLE.items(), ("C", hidden)) for _ in range(count)]
    for table in MESH.tables:
        held.execute(f"CREATE TABLE {table} (id INTEGER, tenant TEXT, note TEXT)")
        held.executemany(
            f"INSERT INTO {table} VALUES (?, ?, 'x')", [(n, one) for n, one in enumerate(rows)]
        )
    held.commit()
    held.close()


def _opened(folder: Path, hidden: int = 6_000) -> OpenGateway:
    _fill(folder / "data" / "rows.sqlite", hidden)
    return opened_mesh(folder, MESH)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenGateway]:
    made = _opened(tmp_path)
    yield made
    made.close()


def _learning(opened: OpenGateway) -> Learning:
    found = opened.services.learning
    assert found is not None
    return found


def _plan(opened: OpenGateway, user: str, sql: str) -> Plan:
    asked = request(opened, user, sql)
    return prepare(asked, parse(asked), opened.publisher.current(), opened.services).plan


def _rows(opened: OpenGateway, user: str, table: str) -> float:
    (one,) = _plan(opened, user, ALL.format(table=table)).fragments
    return one.rows


def _prices(opened: OpenGateway) -> Prices:
    return _learning(opened).prices.of(opened.publisher.current().mesh.sources["d.held"])


def _ask(opened: OpenGateway, user: str, *tables: str, times: int = 1) -> None:
    for table in tables * times:
        answer(opened, user, ALL.format(table=table))
    _learning(opened).refresh()


def test_prices_are_learned_and_kept(opened: OpenGateway) -> None:
    source = opened.publisher.current().mesh.sources["d.held"]
    declared = _learning(opened).prices.measured(source)
    assert _prices(opened) == declared
    for _ in range(4):
        answer(opened, "ada", "select id from d.plain where id = 3")
    _ask(opened, "ada", "plain", times=4)
    learnt = _learning(opened).prices.learnt("d.held")
    found = _prices(opened)
    assert learnt is not None and learnt != declared
    # Nobody learns of keys here: as declared, in powers of two as all that are in force.
    assert found.key == 2 ** round(log2(declared.key)) and 0 < found.row < 64 * declared.row
    # The next gateway over this state begins with it, and state does not know whose it was.
    other = open_gateway(opened.config)
    try:
        assert _prices(other) == found
    finally:
        other.close()
    with reading(opened.state) as connection:
        assert "ada" not in str(connection.execute(SOURCE_PRICES.select()).all())
    _learning(opened).prices.forget("d.held")
    assert _prices(opened) == declared


def test_nothing_is_in_force_before_the_refresh(opened: OpenGateway) -> None:
    """Plans do not change with each run, and an unchanged price keeps every plan."""
    before, plan = _prices(opened), _plan(opened, "ada", ALL.format(table="filtered"))
    for _ in range(5):
        answer(opened, "ada", ALL.format(table="filtered"))
    assert _prices(opened) == before
    assert _plan(opened, "ada", ALL.format(table="filtered")) is plan
    _learning(opened).refresh()
    assert _plan(opened, "ada", ALL.format(table="filtered")) is not plan
    again = _plan(opened, "ada", ALL.format(table="filtered"))
    _ask(opened, "ada", "filtered", times=3)
    assert _plan(opened, "ada", ALL.format(table="filtered")) is again


@pytest.mark.parametrize("table", ["filtered", "gated"])
def test_counts_of_a_decision_are_its_own(opened: OpenGateway, table: str) -> None:
    (gated,) = _plan(opened, "ada", ALL.format(table="gated")).fragments
    assert gated.gate is not None
    guessed = _rows(opened, "bob", table)
    assert guessed == _rows(opened, "ada", table)
    _ask(opened, "ada", table)
    assert _rows(opened, "ada", table) == 1000.0
    assert _rows(opened, "bob", table) == guessed
    _ask(opened, "bob", table)
    assert (_rows(opened, "ada", table), _rows(opened, "bob", table)) == (1000.0, 10.0)
    with reading(opened.state) as connection:
        kept = connection.execute(OBSERVED_COUNTS.select()).mappings().all()
    # For whoever sees the same rows of the table besides.
    for is_shared in (False, True):
        found = [row["power"] for row in kept if row["decision"].startswith("rows ") is is_shared]
        assert sorted(found) == [1, 3]


def test_a_column_of_which_nothing_is_known_is_a_guess(opened: OpenGateway) -> None:
    """SQLite tells nothing of one without an index, so what came says more."""
    sql = "select id from d.plain where tenant = 'B'"
    answer(opened, "ada", sql)
    (whole,) = _plan(opened, "ada", "select id from d.plain").fragments
    assert whole.rows == sum(VISIBLE.values()) + 6_000
    (guessed,) = _plan(opened, "ada", sql).fragments
    _learning(opened).refresh()
    (seen,) = _plan(opened, "ada", sql).fragments
    assert guessed.rows == whole.rows / 100
    assert seen.rows == 10.0


def test_a_count_for_anybody_would_be_noticed(
    opened: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: counts that are not asked for by decision reach another's plan."""
    guessed = _rows(opened, "bob", "filtered")
    held: dict[str, Counts] = {}
    real = ObservedCounts.observe

    def shared(self: ObservedCounts, decision: str, revision: str, shape: str, rows: int) -> None:
        held["any"] = Counts({shape: 3}, edition=1)
        real(self, decision, revision, shape, rows)

    monkeypatch.setattr(ObservedCounts, "observe", shared)
    monkeypatch.setattr(ObservedCounts, "of", lambda _self, _decision: held.get("any", Counts()))
    _ask(opened, "ada", "filtered")
    assert _rows(opened, "bob", "filtered") != guessed


def test_the_next_gateway_begins_with_the_counts(opened: OpenGateway) -> None:
    _ask(opened, "ada", "filtered")
    other = open_gateway(opened.config)
    try:
        assert _rows(other, "ada", "filtered") == 1000.0
        assert _rows(other, "bob", "filtered") != 1000.0
    finally:
        other.close()


def _shown(opened: OpenGateway, user: str, table: str) -> list[object]:
    """What a caller gets, and what his plan expects, after his runs have taught something."""
    sql = ALL.format(table=table)
    _ask(opened, user, table, times=3)
    told = [answer(opened, user, f"{how}{sql} order by id").to_pylist()
            for how in ("explain ", "explain analyze ", "")]  # fmt: skip
    return [*told, [one.rows for one in _plan(opened, user, sql).fragments]]


@pytest.mark.parametrize("table", ["filtered", "gated"])
def test_hidden_rows_change_nothing(tmp_path: Path, table: str) -> None:
    worlds = [_opened(tmp_path / str(hidden), hidden) for hidden in (6_000, 3)]
    try:
        assert _shown(worlds[0], "ada", table) == _shown(worlds[1], "ada", table)
    finally:
        for one in worlds:
            one.close()


def test_raw_counts_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: counts from before the policy tell the worlds apart."""

    def raw(one: PlannedFragment, result: Result) -> int | None:
        return result.fetched.get(one.name)

    monkeypatch.setattr(learning_room, "_rows", raw)
    worlds = [_opened(tmp_path / str(hidden), hidden) for hidden in (6_000, 3)]
    try:
        assert _shown(worlds[0], "ada", "gated") != _shown(worlds[1], "ada", "gated")
    finally:
        for one in worlds:
            one.close()


def test_a_plan_made_before_a_source_told_its_sizes_is_not_kept(
    opened: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SqliteConnection.sizes

    def late(self: SqliteConnection, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        time.sleep(0.2)
        return real(self, tables)

    monkeypatch.setattr(SqliteConnection, "sizes", late)
    monkeypatch.setattr(statistics, "_WAIT_SECONDS", 0.0)
    sql = ALL.format(table="plain")
    hasty = _plan(opened, "ada", sql)
    known = opened.services.statistics
    assert known is not None
    until = time.monotonic() + 60
    while known.is_asking(("d.held",)) and time.monotonic() < until:
        time.sleep(0.02)
    assert [one.rows for one in _plan(opened, "ada", sql).fragments] == [7209.0]
    assert [one.rows for one in hasty.fragments] != [7209.0]
