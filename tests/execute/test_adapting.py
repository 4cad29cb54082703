"""What a fragment really brings decides how the next ones run.

Takes: a large table in a DuckDB file, smaller ones in SQLite whose sizes are guessed wrongly.
Gives: how many rows move, with what was learned on the way and without; and the same answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest

from gateway import loading, render
from gateway.choosing import Choice, Ended, Prices, choose
from gateway.draft import PlannedFragment
from gateway.fetching import Fetching, Narrowed
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain
from tests.served import within

ROWS = 200_000
REAL_BATCHES = Fetching.batches
# Of whoever waits for what a busy machine is late with.
PATIENCE = 20.0
BIG = {"id": "bigint", "k": "integer", "j": "integer", "d": "date"}
SMALL = {"id": "bigint", "k": "integer", "j": "integer", "d": "date", "note": "text"}
# What each holds: how many rows, and what of row n is `id`; all other columns follow from that.
HELD = {
    "few": (300, "n"),
    "wrong": (40_000, "n"),
    "dense": (10_000, "190000 + n"),
    "sparse": (2_000, "n * 100"),
    "days": (300, "n * 100"),
}
JOINED = "select count(*) as n, sum(b.id) as s from south.big b join north.{table} t on {on}"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainMesh]:
    folder = tmp_path_factory.mktemp("adapting")
    with duckdb.connect(folder / "big.duckdb") as held:
        held.execute(
            "CREATE TABLE big AS SELECT n AS id, (n % 1000)::INTEGER AS k, "
            "(n % 20000)::INTEGER AS j, DATE '2000-01-01' + (n // 100)::INTEGER AS d "
            f"FROM range({ROWS}) AS given(n)"
        )
    lite = sqlite3.connect(folder / "small.sqlite")
    for table, (rows, key) in HELD.items():
        lite.execute(f"CREATE TABLE {table} (id INTEGER, k INTEGER, j INTEGER, d DATE, note TEXT)")
        lite.execute(
            f"INSERT INTO {table} WITH RECURSIVE given(n) AS (SELECT 0 UNION ALL SELECT n + 1 "
            f"FROM given WHERE n < {rows - 1}) SELECT {key}, n % 100 * 10, n % 20000, "
            f"date('2000-01-01', '+' || (({key}) / 100) || ' days'), "
            "CASE WHEN n < 3 THEN 'y' ELSE 'x' END FROM given"
        )
    lite.execute("CREATE INDEX by_k ON wrong (k)")
    lite.execute("CREATE INDEX by_id ON dense (id)")
    lite.execute("ANALYZE")
    lite.commit()
    lite.close()
    sources = {
        "south": PlainSource("duckdb", {"path": str(folder / "big.duckdb")}, {}),
        "north": PlainSource("sqlite", {"path": str(folder / "small.sqlite")}, {}),
    }
    tables = [PlainTable("south", "big", "big", BIG)]
    tables += [PlainTable("north", name, name, SMALL) for name in HELD]
    made = open_plain(folder, sources, tables)
    made.hear_sizes(tables)
    yield made
    made.close()


def _run(mesh: PlainMesh, sql: str) -> tuple[list[dict[str, object]], int, int, int]:
    """The answer; of the large table the rows that moved, keys and ranges that were sent."""
    result = mesh.start(sql)
    rows = [row for batch in result.batches() for row in batch.to_pylist()]
    # The large table is named first, so that its input is the first of all.
    name = min(result.fetched)
    took = result.took[name]
    return rows, result.fetched[name], took.keys, took.ranges


def _moved(mesh: PlainMesh, sql: str) -> int:
    """Rows of all fragments."""
    result = mesh.start(sql)
    for _ in result.batches():
        pass
    return sum(result.fetched.values())


def _want(mesh: PlainMesh, sql: str) -> list[dict[str, object]]:
    return list(mesh.ask(sql, push_down=False).to_pylist())


def test_the_number_of_values_counts_and_not_that_of_rows(
    mesh: PlainMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40,000 rows with 100 values, as SQLite's statistics tell."""
    sql = JOINED.format(table="wrong", on="b.k = t.k")
    answer, moved, *sent = _run(mesh, sql)
    assert answer == _want(mesh, sql)
    assert (moved, sent) == (ROWS // 10, [100, 0])
    monkeypatch.setattr(render, "values_at_provider", lambda _draft, _edge: None)
    # Another text, so that it is planned anew.
    assert _run(mesh, f"{sql} ")[1:3] == (ROWS, 0)


@pytest.mark.parametrize(
    ("table", "on", "sent"),
    [
        ("dense", "b.id = t.id", [10_000, 0, 1]),
        ("sparse", "b.id = t.id", [2_000, 2_000, 0]),
        ("days", "b.d = t.d", [30_000, 0, 1]),
    ],
    ids=["whole numbers without gaps", "with gaps", "dates"],
)
def test_a_range_for_many_keys(mesh: PlainMesh, table: str, on: str, sent: list[int]) -> None:
    """Rows that moved, keys and ranges that were sent for them."""
    sql = JOINED.format(table=table, on=on)
    answer, *found = _run(mesh, sql)
    assert answer == _want(mesh, sql)
    assert found == sent


def test_more_keys_than_a_source_takes(mesh: PlainMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """The range goes in their place: of twice as many rows, and not of all."""
    monkeypatch.setattr(loading.Loading, "_most_keys", lambda _self, _source: 50)
    sql = JOINED.format(table="dense", on="b.id = t.id and t.id % 2 = 0 and t.note = 'x'")
    answer, moved, keys, ranges = _run(mesh, sql)
    assert answer == _want(mesh, sql)
    assert (keys, ranges) == (0, 1) and moved < 10_001
    monkeypatch.setattr(loading, "_ends", lambda _slot, _keys: ())
    assert _run(mesh, sql)[1] == ROWS


THREE = (
    "select count(*) as n from south.big b join north.few f on f.k = b.k "
    "join north.wrong w on w.j = b.j where w.note <> 'x'"
)


def test_fewer_rows_than_expected_narrow_what_waits(
    mesh: PlainMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wrong` was expected to bring nearly all of its rows and brings three."""
    want = _want(mesh, THREE)
    told = _slowed(monkeypatch, "few", "wrong is known", PATIENCE)

    def noting(
        one: PlannedFragment, fragments: Mapping[str, PlannedFragment], ended: Ended,
        prices: Mapping[str, Prices], most_keys: int | None,
    ) -> Choice:  # fmt: skip
        if ended.rows:
            told.append("wrong is known")
        return choose(one, fragments, ended, prices, most_keys)

    monkeypatch.setattr(loading, "choose", noting)
    assert mesh.ask(THREE).to_pylist() == want
    told.clear()
    adapted = _moved(mesh, THREE)
    first: dict[str, Choice] = {}

    def as_planned(
        one: PlannedFragment, fragments: Mapping[str, PlannedFragment], ended: Ended,
        prices: Mapping[str, Prices], most_keys: int | None,
    ) -> Choice:  # fmt: skip
        made = first.setdefault(one.name, choose(one, fragments, Ended(), prices, most_keys))
        return replace(made, waits=made.waits - set(ended.rows))

    monkeypatch.setattr(loading, "choose", as_planned)
    assert mesh.ask(THREE).to_pylist() == want
    first.clear()
    planned = _moved(mesh, THREE)
    assert planned > 10 * adapted, (planned, adapted)


def test_more_rows_than_expected_hold_nobody_up(
    mesh: PlainMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a few keys does not wait on when all rows come."""
    sql = JOINED.format(table="wrong", on="b.j = t.j and t.note = 'x'")
    told = _slowed(monkeypatch, "wrong", "big begins", PATIENCE)
    want = mesh.ask(sql).to_pylist()
    assert told.index("big begins") < told.index("wrong ends"), told
    told = _slowed(monkeypatch, "wrong", "big begins", 0.4)
    monkeypatch.setattr(loading.Loading, "_expect_no_less", lambda _self, _running: None)
    assert mesh.ask(sql).to_pylist() == want
    assert told.index("big begins") > told.index("wrong ends"), told


def _slowed(
    monkeypatch: pytest.MonkeyPatch, table: str, awaited: str, seconds: float
) -> list[str]:
    """A table's source pauses after a batch until something is told, no longer than so.

    Gives: when fragments begin and end.
    """
    real, told = REAL_BATCHES, list[str]()

    def slow(
        self: Fetching, one: PlannedFragment, narrowed: Narrowed | None = None
    ) -> Iterator[pa.RecordBatch]:
        name = one.tables[0].table
        told.append(f"{name} begins")
        for batch in real(self, one, narrowed):
            yield batch
            if name == table:
                within(seconds, lambda: awaited in told)
        told.append(f"{name} ends")

    monkeypatch.setattr(Fetching, "batches", slow)
    return told
