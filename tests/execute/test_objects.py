"""Tables in a store of objects take keys, give keys and have sizes.

Takes: a large and a small table in Parquet and one in CSV on a server of S3's protocol, beside
tables in SQLite and in a DuckDB file. Gives: the answers of plain DuckDB over the same files; how
many rows moved, how many keys were sent, how many bytes left the store; what EXPLAIN shows of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway.draft import TableSize
from gateway.resolve import Address
from gateway.result import Result
from gateway.statistics import Statistics
from tests.objects.store import BUCKET, Store, serving
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain

ROWS, GROUP, FEW, TEXTS = 400_000, 20_000, 50, 200_000
COLUMNS = {"id": "bigint", "k": "integer", "d": "date", "s": "text"}
# What stands in row n. `id` grows through the objects, `k` and `s` lie everywhere.
_SELECT = (
    "SELECT n AS id, (n * 7919 % 40009)::INTEGER AS k, "
    "DATE '2000-01-01' + (n // 100)::INTEGER AS d, md5((n % 40000)::VARCHAR) AS s "
    "FROM range({}) AS given(n)"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All rows as files, from which plain DuckDB reads."""
    made = tmp_path_factory.mktemp("objects")
    (made / "lake").mkdir()
    with duckdb.connect(made / "rows.duckdb") as held:
        held.execute(f"CREATE TABLE big AS {_SELECT.format(ROWS)}")
        for part in (0, 1):
            half = f"FROM big WHERE id // {ROWS // 2} = {part}"
            held.execute(f"COPY ({half}) TO '{made}/lake/big-{part}.parquet' "
                         f"(FORMAT parquet, ROW_GROUP_SIZE {GROUP})")  # fmt: skip
        # One in eight thousand of the large table's rows.
        few = f"FROM big WHERE id % {ROWS // FEW} = 5"
        held.execute(f"COPY ({few}) TO '{made}/lake/few.parquet' (FORMAT parquet)")
        held.execute(f"COPY (FROM big WHERE id < {TEXTS}) TO '{made}/lake/texts.csv' (HEADER)")
        rows = held.execute(f"SELECT id, k, d::VARCHAR, s {few}").fetchall()
        dense = held.execute("SELECT id, k, d::VARCHAR, s FROM big "
                             "WHERE id BETWEEN 100000 AND 108999").fetchall()  # fmt: skip
    with sqlite3.connect(made / "rows.sqlite") as lite:
        for table, content in (("few", rows), ("dense", dense)):
            lite.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, k INT, d DATE, s TEXT)")
            lite.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", content)
    lite.close()
    return made


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Store]:
    with serving() as made:
        made.put_folder(folder / "lake", "lake")
        yield made


@pytest.fixture(scope="module")
def mesh(folder: Path, store: Store) -> Iterator[PlainMesh]:
    reach = {"store": "s3", "bucket": BUCKET, "endpoint": f"127.0.0.1:{store.port}",
             "prefix": "lake"}  # fmt: skip
    words = {"access_key": "reader", "secret_key": "not-told"}
    sources = {
        "lake": PlainSource("objects", {**reach, "format": "parquet"}, words),
        "texts": PlainSource("objects", {**reach, "format": "csv"}, words),
        "lite": PlainSource("sqlite", {"path": "rows.sqlite"}, {}),
        "duck": PlainSource("duckdb", {"path": "rows.duckdb"}, {}),
    }
    tables = [
        PlainTable("lake", "big", "big-*.parquet", COLUMNS),
        PlainTable("lake", "few", "few.parquet", COLUMNS),
        PlainTable("texts", "rows", "texts.csv", COLUMNS),
        PlainTable("lite", "few", "few", COLUMNS),
        PlainTable("lite", "dense", "dense", COLUMNS),
        PlainTable("duck", "big", "big", COLUMNS),
    ]
    made = open_plain(folder, sources, tables)
    made.hear_sizes(tables)
    yield made
    made.close()


def _plain(folder: Path, sql: str) -> list[tuple[object, ...]]:
    """What DuckDB says over the same files."""
    with duckdb.connect() as held:
        held.execute(f"ATTACH '{folder}/rows.duckdb' AS held (READ_ONLY)")
        names = {
            "lake.big": f"read_parquet('{folder}/lake/big-*.parquet')",
            "lake.few": f"read_parquet('{folder}/lake/few.parquet')",
            "texts.rows": f"read_csv('{folder}/lake/texts.csv')",
            "lite.few": f"(FROM held.big WHERE id % {ROWS // FEW} = 5)",
            "lite.dense": "(FROM held.big WHERE id BETWEEN 100000 AND 108999)",
            "duck.big": "held.big",
        }  # fmt: skip
        for name, place in names.items():
            sql = sql.replace(name, place)
        return held.execute(sql).fetchall()


def _run(mesh: PlainMesh, sql: str) -> tuple[list[tuple[object, ...]], Result]:
    result = mesh.start(sql)
    return [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()], result


JOINED = "select count(*) as n, min(b.s) as s, max(b.id) as m from {big} b join {small} t on {on}"
# Rows of the large table, keys and ranges that were sent for them.
CASES = {
    "whole numbers": ("lake.big", "lite.few", "b.id = t.id", (FEW, FEW, 0)),
    "scattered numbers": ("lake.big", "lite.few", "b.k = t.k", (491, FEW, 0)),
    "texts": ("lake.big", "lite.few", "b.s = t.s", (FEW, 5, 0)),
    "days": ("lake.big", "lite.few", "b.d = t.d", (FEW * 100, FEW, 0)),
    "many without gaps": ("lake.big", "lite.dense", "b.id = t.id", (9_000, 0, 1)),
    "from an object to DuckDB": ("duck.big", "lake.few", "b.id = t.id", (FEW, FEW, 0)),
    "to CSV": ("texts.rows", "lite.few", "b.id = t.id", (FEW // 2, FEW, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_keys_of_the_small_side(mesh: PlainMesh, folder: Path, name: str) -> None:
    big, small, on, wanted = CASES[name]
    sql = JOINED.format(big=big, small=small, on=on)
    answer, result = _run(mesh, sql)
    assert answer == _plain(folder, sql)
    # The large table is named first, so that its input is the first of all.
    first = min(result.fetched)
    took = result.took[first]
    assert (result.fetched[first], took.keys, took.ranges) == wanted


def test_without_keys_all_rows_move(mesh: PlainMesh, folder: Path) -> None:
    """The control."""
    sql = JOINED.format(big="lake.big", small="lite.few", on="b.id = t.id")
    result = mesh.start(sql, push_down=False)
    assert [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()] == (
        _plain(folder, sql)
    )
    assert result.fetched[min(result.fetched)] == ROWS


def test_row_groups_without_a_key_stay_in_the_store(mesh: PlainMesh, store: Store) -> None:
    """Three keys, each in a row group of its own: of 20 row groups three are read."""
    size = sum(len(store.content(f"lake/big-{part}.parquet")) for part in (0, 1))
    of_three = "b.id = t.id and t.id in (5, 200005, 392005)"
    sql = JOINED.format(big="lake.big", small="lite.few", on=of_three)
    store.asked.clear()
    answer, result = _run(mesh, sql)
    assert answer[0][0] == 3 and result.fetched[min(result.fetched)] == 3
    assert store.bytes_read < 0.35 * size, store.bytes_read / size
    store.asked.clear()
    mesh.ask(sql, push_down=False)
    assert store.bytes_read > 0.7 * size, store.bytes_read / size


def test_explain_shows_which_keys_may_come(mesh: PlainMesh) -> None:
    sql = JOINED.format(big="lake.big", small="lite.few", on="b.id = t.id")
    shown = mesh.ask(f"explain {sql}").to_pylist()
    keys = [(row["where"], row["detail"]) for row in shown if row["what"] == "keys"]
    assert ("lake.rows", "id by keys of guarded_1.id") in keys, shown


def test_what_planning_knows(mesh: PlainMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Footers tell rows and bounds; of texts the bytes let rows be guessed, about."""
    real, known = Statistics.permitted, dict[Address, TableSize]()

    def told(self: Statistics, *given: Any) -> Mapping[Address, TableSize]:  # noqa: ANN401 - as given
        known.update(real(self, *given))
        return known

    monkeypatch.setattr(Statistics, "permitted", told)
    mesh.ask("select b.id from lake.big b join texts.rows t on b.id = t.id limit 7")
    sizes = {address.domain: size for address, size in known.items()}
    big, texts = sizes["lake"], sizes["texts"]
    assert big.rows == ROWS and not big.is_guess
    assert (big.columns["id"].low, big.columns["id"].high) == (0, ROWS - 1)
    assert texts.is_guess and TEXTS / 2 < texts.rows < TEXTS * 2 and not texts.columns
