"""How many rows of a restricted table somebody may see is counted, and nothing else is.

Takes: a SQLite file under policies, worlds whose hidden rows differ. Gives: what plans expect and
which of them are made, from the first statement on; what is asked of the source for it. The
controls show that a count from before the policy would be noticed.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.base import Fragment
from connectors.sqlite import SqliteConnection
from gateway import visible_rows
from gateway.config import load_config
from gateway.decision import Decision, Scope
from gateway.draft import ColumnSize, Plan
from gateway.learning import Learning
from gateway.observed import rows_fingerprint
from gateway.opening import OpenGateway, open_gateway
from gateway.own_reading import OwnStatement, planned
from gateway.parse import parse
from gateway.prepare import plan_context, prepare
from gateway.state.engine import reading
from gateway.state.tables import OBSERVED_COUNTS
from gateway.visible_rows import numbers_of
from tests.small_mesh import SmallMesh, answer, opened_mesh, request

COLUMNS = {"id": "BIGINT", "tenant": "VARCHAR", "note": "VARCHAR", "day": "DATE"}
TABLES = ("plain", "filtered", "gated", "grouped", "hourly")
PEOPLE: dict[str, dict[str, object]] = {
    "owner": {},
    "ada": {"groups": ["all"], "attributes": {"tenant": "A"}},
    "amy": {"groups": ["all", "blind"], "attributes": {"tenant": "A"}},
    "bob": {"groups": ["all"], "attributes": {"tenant": "B"}},
    "eve": {"groups": ["all"]},
}
MESH = SmallMesh(
    domain="d",
    source={"connector": "sqlite", "settings": {"path": "rows.sqlite"}},
    tables={name: (name, COLUMNS) for name in TABLES},
    users=PEOPLE,
    grants=tuple({"product": one, "subjects": [{"groups": ["all"]}]} for one in TABLES),
    policies=(
        {"match": {"product": "filtered"}, "effect": {"filter": "tenant IN (subject.tenant)"}},
        {"match": {"product": "gated"},
         "effect": {"filter": "reverse(tenant) IN (subject.tenant)"}},
        {"match": {"product": "hourly"},
         "effect": {"filter": "tenant IN (subject.tenant) AND request.now > '2020-01-01'"}},
        {"match": {"tags": ["seen.day"]}, "subjects": [{"groups": ["blind"]}],
         "effect": {"mask": {"kind": "null"}}},
        {"match": {"product": "grouped"},
         "effect": {"aggregate": {"entity": "id", "minimum": 5, "dimensions": ["tenant"]}}},
    ),
    tags={"day": ("seen.day",)},
    # Nothing is learned of runs: what is known was counted.
    gateway={"planning": {"learn_seconds": 0}},
)  # fmt: skip
VISIBLE = {"A": 1200, "B": 9}
# Two references, so that sizes decide something.
JOINED = "select t.id, p.note from d.{table} t join d.plain p on upper(p.note) = t.note"
HIDDEN = (6_000, 3)


def _opened(folder: Path, hidden: int = HIDDEN[0], mesh: SmallMesh = MESH) -> OpenGateway:
    path = folder / "data" / "rows.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    held = sqlite3.connect(path)
    rows = [one for one, count in (*VISIBLE.items(), ("C", hidden)) for _ in range(count)]
    for table in mesh.tables:
        held.execute(f"CREATE TABLE {table} (id INTEGER, tenant TEXT, note TEXT, day TEXT)")
        held.executemany(
            f"INSERT INTO {table} VALUES (?, ?, 'x', '2020-01-01')",
            # What is open to all is the same in all worlds.
            [(n, one) for n, one in enumerate(rows if table != "plain" else ["P"] * 40)],
        )
    held.commit()
    held.close()
    return opened_mesh(folder, mesh)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenGateway]:
    made = _opened(tmp_path)
    yield made
    made.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What SQLite is asked from here on."""
    found: list[str] = []
    real = SqliteConnection.stream

    def noted(self: SqliteConnection, fragment: Fragment) -> object:
        found.append(fragment.sql)
        return real(self, fragment)

    monkeypatch.setattr(SqliteConnection, "stream", noted)
    return found


def _plan(opened: OpenGateway, user: str, table: str) -> Plan:
    asked = request(opened, user, JOINED.format(table=table))
    return prepare(asked, parse(asked), opened.publisher.current(), opened.services).plan


def _rows(opened: OpenGateway, user: str, table: str) -> float:
    """What is expected of a table by itself."""
    for one in _plan(opened, user, table).fragments:
        for address, rows in one.apart or ((one.tables[0], one.rows),):
            if address.table == table:
                return rows
    raise AssertionError(f"{table} is read by no fragment")


def test_what_somebody_sees_is_known_from_his_first_statement_on(
    opened: OpenGateway, sent: list[str]
) -> None:
    assert _rows(opened, "ada", "filtered") == 1000.0
    assert _rows(opened, "bob", "filtered") == 10.0
    counts = [one for one in sent if "COUNT(*)" in one.upper()]
    assert len(counts) == len(sent) == 2
    assert all("tenant" in one for one in counts)


def test_it_is_counted_once_for_whoever_sees_the_same_rows(
    opened: OpenGateway, sent: list[str]
) -> None:
    for user in ("ada", "amy", "ada"):
        assert _rows(opened, user, "filtered") == 1000.0
    assert len(sent) == 1
    other = open_gateway(opened.config)
    try:
        assert _rows(other, "amy", "filtered") == 1000.0
    finally:
        other.close()
    with reading(opened.state) as connection:
        (row,) = connection.execute(OBSERVED_COUNTS.select()).mappings().all()
    assert row["power"] == 3 and re.fullmatch("rows [0-9a-f]{64}", row["decision"])
    others = {name: value for name, value in row.items() if name not in ("decision", "shape")}
    assert "ada" not in str(others)


def test_bounds_are_those_of_visible_rows_and_clear_columns(
    opened: OpenGateway, sent: list[str]
) -> None:
    """`id` counts all rows, of which B's nine lie behind the 1,200 of A; `day` is masked."""
    for user, low, high in (("ada", 0.0, 1199.0), ("bob", 1200.0, 1208.0)):
        found = _size(opened, user)
        assert (found["id"].low, found["id"].high) == (low, high)
        assert found["id"].distinct is not None and found["id"].distinct <= 1000.0
    assert {*_size(opened, "ada")} == {"id", "day"}
    # Whoever had them counted: what is masked for somebody is not known to his plans.
    assert {*_size(opened, "amy")} == {"id"}
    assert len(sent) == 2
    with reading(opened.state) as connection:
        kept = str(connection.execute(OBSERVED_COUNTS.select()).all())
    assert "1199" not in kept and "1208" not in kept


def _size(opened: OpenGateway, user: str) -> Mapping[str, ColumnSize]:
    """What is known of the columns of `filtered`."""
    joined = "select t.id, t.day from d.filtered t join d.plain p on p.id = t.id"
    asked = request(opened, user, joined)
    snapshot, services = opened.publisher.current(), opened.services
    made = prepare(asked, parse(asked), snapshot, services)
    context = plan_context(made.guarded, asked, snapshot, services)
    (found,) = [size for one, size in context.sizes.items() if one.table == "filtered"]
    return found.columns


@pytest.mark.parametrize("table", ["gated", "grouped", "hourly", "plain"])
def test_what_is_not_counted(opened: OpenGateway, sent: list[str], table: str) -> None:
    """The source would have to send rows; groups only; other rows each second; nothing hidden."""
    sql = JOINED.format(table=table)
    if table == "grouped":
        sql = (
            "select t.tenant, t.n from (select tenant, count(*) as n from d.grouped "
            "group by tenant) t join d.plain p on p.tenant = t.tenant"
        )
    asked = request(opened, "ada", sql)
    prepare(asked, parse(asked), opened.publisher.current(), opened.services)
    assert sent == []


def test_one_table_alone_is_not_counted(opened: OpenGateway, sent: list[str]) -> None:
    asked = request(opened, "ada", "select id from d.filtered")
    prepare(asked, parse(asked), opened.publisher.current(), opened.services)
    assert sent == []


def test_nothing_is_counted_where_the_settings_say_so(tmp_path: Path, sent: list[str]) -> None:
    _opened(tmp_path, mesh=replace(MESH, gateway={})).close()
    settings = tmp_path / "conf" / "gateway.toml"
    settings.write_text(f"{settings.read_text()}\n[planning]\ncount_rows = false\n")
    off = open_gateway(load_config(tmp_path / "conf", {}))
    try:
        assert _rows(off, "ada", "filtered") not in (1000.0, 10.0)
        assert sent == []
    finally:
        off.close()


def _told(opened: OpenGateway, user: str) -> list[object]:
    """His plan, what of it he is shown, and what he gets, as often as he asks."""
    sql = JOINED.format(table="filtered")
    found: list[object] = []
    for _ in range(2):
        made = _plan(opened, user, "filtered").fragments
        found += [[(one.rows, one.apart, one.fragment.sql, one.shown) for one in made]]
        found += [answer(opened, user, f"{how}{sql} order by 1").to_pylist()
                  for how in ("explain ", "explain (format json) ", "")]  # fmt: skip
    return found


def _in_both_worlds(folder: Path, user: str) -> list[list[object]]:
    worlds = [_opened(folder / str(hidden), hidden) for hidden in HIDDEN]
    try:
        return [_told(one, user) for one in worlds]
    finally:
        for one in worlds:
            one.close()


@pytest.mark.parametrize("user", ["ada", "bob"])
def test_hidden_rows_change_no_plan(tmp_path: Path, user: str) -> None:
    first, second = _in_both_worlds(tmp_path, user)
    assert first == second


def test_a_count_from_before_the_policy_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    real = planned

    def raw(asked: OwnStatement, *rest: object) -> object:
        open_to_all = replace(asked.decided, filters=(), scopes=(Scope("all", None, None),))
        return real(replace(asked, decided=open_to_all), *rest)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(visible_rows, "planned", raw)
    first, second = _in_both_worlds(tmp_path, "bob")
    assert first != second


def _decision(opened: OpenGateway, user: str) -> Decision:
    asked = request(opened, user, JOINED.format(table="filtered"))
    return prepare(asked, parse(asked), opened.publisher.current(), opened.services).decision


def test_what_tells_rows_apart(opened: OpenGateway) -> None:
    """Filters and scopes do, masks do not; nothing is shared where the clock says what is seen."""
    found = {}
    for user in ("ada", "amy", "bob"):
        decision = _decision(opened, user)
        (table,) = [one for one in decision.tables.values() if one.filters]
        found[user] = rows_fingerprint(decision, table)
        assert rows_fingerprint(replace(decision, valid_until=None), table) is None
        assert rows_fingerprint(replace(decision, revision="another"), table) != found[user]
        assert rows_fingerprint(decision, replace(table, filters=())) != found[user]
    assert found["ada"] == found["amy"] != found["bob"]


def test_a_source_that_knows_its_caller_teaches_no_counts(opened: OpenGateway) -> None:
    """What one sees there another may not."""
    asked = request(opened, "ada", "select id, note from d.filtered")
    prepared = prepare(asked, parse(asked), opened.publisher.current(), opened.services)
    learning = opened.services.learning
    assert learning is not None
    for personal, expected in (({"d.held"}, {}), ((), {3})):
        result = opened.gateway.answer(asked)
        list(result.batches())
        taught = Learning(learning.prices, learning.counts, 3600.0)
        taught.ran("ada", prepared.decision, prepared.plan, result, personal)
        taught.close(0.0)
        learning.counts.refresh()
        powers = learning.counts.of(prepared.decision.fingerprint).powers
        assert set(powers.values()) == set(expected)


def test_a_slow_count_is_not_waited_for_and_ends_with_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = _opened(tmp_path)
    began, real = threading.Event(), planned

    def slow(*given: object) -> object:
        began.set()
        time.sleep(0.5)
        return real(*given)  # type: ignore[arg-type]  # as it was given

    monkeypatch.setattr(visible_rows, "planned", slow)
    monkeypatch.setattr(visible_rows, "_WAIT_SECONDS", 0.0)
    try:
        guessed = _rows(opened, "ada", "filtered")
        assert began.is_set() and guessed != 1000.0
        until = time.monotonic() + 20
        # The plan that was made meanwhile is not kept.
        while _rows(opened, "ada", "filtered") != 1000.0 and time.monotonic() < until:
            time.sleep(0.05)
        assert _rows(opened, "ada", "filtered") == 1000.0
    finally:
        opened.close()


def test_a_count_that_fails_fails_no_statement_and_is_tried_again(
    opened: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise ValueError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(visible_rows, "planned", broken)
        patch.setattr(visible_rows, "_AGAIN_SECONDS", 0.0)
        assert _rows(opened, "ada", "filtered") != 1000.0
    assert _rows(opened, "ada", "filtered") == 1000.0


def test_who_sees_nothing_is_answered(opened: OpenGateway, sent: list[str]) -> None:
    """His policy is simply false, so that there is nothing to count either."""
    assert answer(opened, "eve", JOINED.format(table="filtered")).num_rows == 0
    assert not any("COUNT(*)" in one.upper() for one in sent)


def test_nobody_waits_for_what_another_has_begun(
    opened: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, began, real = threading.Event(), threading.Event(), planned

    def held(*given: object) -> object:
        began.set()
        assert gate.wait(60)
        return real(*given)  # type: ignore[arg-type]  # as it was given

    monkeypatch.setattr(visible_rows, "planned", held)
    first = threading.Thread(target=_rows, args=(opened, "ada", "filtered"))
    first.start()
    try:
        assert began.wait(60)
        # With the patience of these tests it would be here for half a minute.
        assert _rows(opened, "amy", "filtered") != 1000.0
        assert not gate.is_set() and first.is_alive()
    finally:
        gate.set()
        first.join()


def test_purposes_are_told_apart(opened: OpenGateway) -> None:
    """A source may hear of them."""
    decision = _decision(opened, "ada")
    (table,) = [one for one in decision.tables.values() if one.filters]
    other = replace(decision, purpose="another")
    assert rows_fingerprint(other, table) != rows_fingerprint(decision, table)


def test_days_that_python_does_not_have_are_numbers() -> None:
    days = pa.array([10_000_000, -1_000_000], pa.int32()).cast(pa.date32())
    row = pa.table({"n": [3, 4], "low": days})
    assert numbers_of(row) == [3, 10_000_000]


def test_the_log_has_no_value_of_what_could_not_be_counted(
    opened: OpenGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(row: pa.Table) -> list[object]:
        raise ValueError(f"{row.column(0)[0]} is out of range, as is 4711")

    monkeypatch.setattr(visible_rows, "numbers_of", broken)
    assert _rows(opened, "ada", "filtered") != 1000.0
    assert "could not be counted: ValueError" in caplog.text
    assert "4711" not in caplog.text and "out of range" not in caplog.text
