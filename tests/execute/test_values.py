"""Values of sub-queries sent as bounds: the same answer, and fewer rows.

Takes: a table of every kind of column in a DuckDB file, what its columns are compared with in
SQLite, and a choice that sends every value. Gives: equality with what is fetched whole, how many
rows left, and that another value would be noticed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import yaml

from gateway import loading, outwards, valuing
from gateway.choosing import Choice, Ended, Prices, choose
from gateway.draft import PlannedFragment
from gateway.errors import SqluiceError
from gateway.outwards import Bounds
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain

CASES = yaml.safe_load(Path(__file__).with_name("values.yaml").read_text(encoding="utf-8"))
BIG = {
    "id": "bigint", "i": "integer", "d": "decimal(15,2)", "f": "double precision", "t": "text",
    "day": "date", "at": "timestamp", "zoned": "timestamptz", "u": "text",
}  # fmt: skip
SMALL = {"id": "bigint", "i": "integer", "f": "double precision", "t": "text", "day": "date"}
ROWS = 1_000
# The input that a statement names first.
LARGE = "guarded_0"
FILL = f"""
CREATE TABLE big AS SELECT n AS id, (n % 100)::INTEGER AS i, (n * 0.37)::DECIMAL(15,2) AS d,
  CASE n WHEN 990 THEN 'nan'::DOUBLE WHEN 991 THEN 'inf'::DOUBLE WHEN 992 THEN '-inf'::DOUBLE
    WHEN 993 THEN NULL ELSE n / 7 END AS f,
  CASE n % 5 WHEN 0 THEN 'é' WHEN 1 THEN 'Z' WHEN 2 THEN 'a' WHEN 3 THEN NULL
    ELSE 'b' || n END AS t,
  CASE WHEN n = 994 THEN NULL ELSE DATE '2020-01-01' + n::INTEGER END AS day,
  TIMESTAMP '2020-01-01 00:00:00.000001' + n * INTERVAL 1 HOUR AS at,
  TIMESTAMPTZ '2020-01-01 00:00:00+00' + n * INTERVAL 1 HOUR AS zoned,
  upper(format('00000000-0000-4000-8000-{{:012x}}', n)) AS u
FROM range({ROWS}) AS given(n)
"""


def every_value(
    one: PlannedFragment,
    fragments: Mapping[str, PlannedFragment],
    ended: Ended,
    prices: Mapping[str, Prices],
    most_keys: int | None,
) -> Choice:
    """All values and no keys."""
    values = one.keyed.values if one.keyed is not None else ()
    waits = frozenset(name for slot in values for name in slot.providers) - set(ended.rows)
    return Choice(waits, (), one.rows, 0.0, 0.0, values=values)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainMesh]:
    folder = tmp_path_factory.mktemp("values")
    with duckdb.connect(folder / "big.duckdb") as held:
        held.execute("SET TimeZone = 'UTC'")
        held.execute(FILL)
    lite = sqlite3.connect(folder / "small.sqlite")
    lite.execute("CREATE TABLE small (id INTEGER, i INTEGER, f REAL, t TEXT, day DATE)")
    given = [(1, 40, 71.5, "a", "2021-01-01"), (2, 60, 98.25, "b99", "2021-06-01"),
             (3, None, None, None, None)]  # fmt: skip
    lite.executemany("INSERT INTO small VALUES (?, ?, ?, ?, ?)", given)
    lite.commit()
    lite.close()
    sources = {
        "south": PlainSource("duckdb", {"path": str(folder / "big.duckdb")}, {}),
        "north": PlainSource("sqlite", {"path": str(folder / "small.sqlite")}, {}),
    }
    # Another source, so that no block goes down whole.
    sources["west"] = sources["south"]
    tables = [PlainTable("south", "big", "big", BIG), PlainTable("north", "small", "small", SMALL),
              PlainTable("west", "big", "big", BIG)]  # fmt: skip
    made = open_plain(folder, sources, tables)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "choose", every_value)


def _statement(where: str) -> str:
    return f"select b.id, b.f from south.big b where {where} order by b.id"


def _run(mesh: PlainMesh, sql: str, **fields: object) -> tuple[object, int]:
    """The answer, or the code of its error; and how many rows of the large table were fetched."""
    try:
        result = mesh.start(sql, **fields)
        rows = [repr(row) for batch in result.batches() for row in batch.to_pylist()]
    except SqluiceError as error:
        return error.code, -1
    return rows, result.fetched.get(LARGE, 0)


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["where"][:70])
def test_the_answer_is_the_same(case: dict[str, object], mesh: PlainMesh) -> None:
    sql = _statement(str(case["where"]))
    want, whole = _run(mesh, sql, push_down=False)
    got, moved = _run(mesh, sql)
    assert got == want
    assert case.get("error") == (want if isinstance(want, str) else None)
    if "rows" in case:
        assert (moved, whole) == (case["rows"], ROWS)


def test_a_wrong_bound_would_be_noticed(
    mesh: PlainMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a bound that leaves out one row too many changes the answer."""
    where = "b.i >= (select min(s.i) from north.small s)"
    right = _run(mesh, _statement(where))[0]
    real = outwards.bounds

    def narrower(operator: str, values: Sequence[pa.Scalar], kind: str) -> Bounds | None:
        made = real(operator, values, kind)
        assert made is not None and isinstance(made.low, int)
        return replace(made, low=made.low + 1)

    monkeypatch.setattr(valuing, "bounds", narrower)
    assert _run(mesh, _statement(where))[0] != right


def test_parameters_are_those_of_the_statement(mesh: PlainMesh) -> None:
    """Also when the plan is used again with others."""
    where = "b.i > (select max(s.i) - $1 from north.small s) and b.i < $2"
    for values in ((10, 99), (30, 35), (0, 200)):
        got, moved = _run(mesh, _statement(where), parameters=values)
        assert got == _run(mesh, _statement(where), parameters=values, push_down=False)[0]
        low, high = 60 - values[0], min(values[1], 100)
        assert moved == max(high - low - 1, 0) * 10


def test_keys_of_what_is_bounded_follow(mesh: PlainMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is chosen by estimates: the value is waited for, since the table is large."""
    monkeypatch.setattr(loading, "choose", choose)
    sql = "select count(*) as n from south.big b where b.i > (select max(s.i) from north.small s)"
    result = mesh.start(sql, link_cost="dear")
    assert [row for batch in result.batches() for row in batch.to_pylist()] == [{"n": 390}]
    assert result.fetched.get(LARGE, 0) == 390
