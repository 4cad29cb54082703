"""SQLite's values among others: a column of many classes, beyond the first batch, with NULLs.

What a single value becomes is in types.yaml; here it comes late, and the plain statement has
delivered rows already.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml

from connectors.base import (
    ConnectorError,
    Fragment,
    FragmentColumn,
    load_connector,
    stream_schema,
)
from connectors.sqlite import SqliteConnection

CASES: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("types.yaml").read_text(encoding="utf-8")
)["sqlite"]
TYPES = sorted({one["type"] for one in CASES if "gives" in one} - {"INTERVAL"})
ROWS = 70_000  # more than a batch
CENTS = 2000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a table of more than a batch."""
    made = tmp_path_factory.mktemp("sqlite") / "rows.sqlite"
    with closing(sqlite3.connect(made)) as connection:
        connection.execute("CREATE TABLE numbers (i INTEGER PRIMARY KEY, s TEXT COLLATE NOCASE)")
        connection.execute(
            "INSERT INTO numbers WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r "
            f"WHERE i < {ROWS}) SELECT i, 'row ' || i FROM r"
        )
        connection.commit()
    return made


@pytest.fixture(scope="module")
def connection(path: Path) -> Iterator[SqliteConnection]:
    """A connection to it."""
    opened = load_connector("sqlite").connect({"path": str(path)})
    assert isinstance(opened, SqliteConnection)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def oracle() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB, to say what a value is."""
    with duckdb.connect() as opened:
        opened.execute("SET TimeZone = 'UTC'")
        yield opened


def split(name: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The values that fit a type, and those that do not."""
    cases = [one for one in CASES if one["type"] == name]
    return [one for one in cases if "gives" in one], [one for one in cases if "gives" not in one]


def column(values: list[str], many: bool) -> str:
    """Those values one after another, with more than a batch of the first in front or not."""
    front = f"SELECT i - {ROWS} - 1, {values[0]} FROM main.numbers UNION ALL " if many else ""
    listed = " UNION ALL ".join(f"SELECT {place}, {one}" for place, one in enumerate(values))
    rows = f"SELECT NULL AS i, NULL AS x WHERE 0 UNION ALL {front}{listed} ORDER BY 1"
    return f"SELECT x FROM ({rows}) AS t"


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("many", [False, True])
def test_values_of_one_column(
    connection: SqliteConnection, oracle: duckdb.DuckDBPyConnection, name: str, many: bool
) -> None:
    """All that fit arrive, in order; among those that do not, only those are told."""
    fitting, others = split(name)
    values = [one["sql"] for one in fitting]
    wanted = [
        oracle.sql(f"SELECT CAST({one['gives']} AS {name}) AS x").to_arrow_table()
        for one in fitting
    ]
    plain = Fragment(column(values, many), (FragmentColumn("x", name),), ())
    found = pa.Table.from_batches(connection.stream(plain))
    start = ROWS if many else 0
    assert found.num_rows == start + len(values)
    assert found.slice(start).to_pylist() == pa.concat_tables(wanted).to_pylist()
    if not others:
        return
    mixed = list(itertools.chain(values, (one["sql"] for one in others), values))
    sql = column(mixed, many)
    with pytest.raises(ConnectorError, match=r"'x'"):
        list(connection.stream(Fragment(sql, plain.columns, ())))
    told = Fragment(sql, plain.columns, (), tells_misfits=True)
    table = pa.Table.from_batches(connection.stream(told), stream_schema(told)).slice(start)
    half = pa.concat_tables(wanted).to_pylist()
    nothing = [{"x": None}] * len(others)
    assert table.select(["x"]).to_pylist() == [*half, *nothing, *half]
    flags = [False] * len(half) + [True] * len(others) + [False] * len(half)
    assert table.column(1).to_pylist() == flags


def test_a_text_column_compares_by_bytes_whatever_its_collation(
    connection: SqliteConnection,
) -> None:
    """A column's own collation plays no part in what class a value is of."""
    fragment = Fragment(
        "SELECT i, s FROM main.numbers",
        (FragmentColumn("i", "BIGINT"), FragmentColumn("s", "VARCHAR")),
        ("numbers",),
    )
    found = pa.Table.from_batches(connection.stream(fragment))
    assert found.column("s").to_pylist() == [f"row {one}" for one in range(1, ROWS + 1)]


DECIMALS = (
    ("0.0", "0"), ("-0.0", "0"), ("9999999999999.99", "9999999999999.99"),
    ("-9999999999999.99", "-9999999999999.99"), ("0.1 + 0.2", None), ("0.07 * 100", None),
    ("1e-300", None), ("9e999", None), ("1e14 + 0.1", None), ("999999999999999", "999999999999999"),
    ("1000000000000000", None), ("-1000000000000000", None), ("'7.10'", "7.1"), ("x'37'", None),
    ("9007199254740993", None), ("4.35", "4.35"), ("1.005", None), ("-2.675", None),
)  # fmt: skip


@pytest.mark.parametrize(("sql", "gives"), DECIMALS)
def test_decimals_that_were_floats(
    connection: SqliteConnection, oracle: duckdb.DuckDBPyConnection, sql: str, gives: str | None
) -> None:
    """A float is the decimal that it is the nearest float of, if that has two digits."""
    fragment = Fragment(f"SELECT {sql}", (FragmentColumn("x", "DECIMAL(18,2)"),), ())
    if gives is None:
        with pytest.raises(ConnectorError):
            list(connection.stream(fragment))
        return
    wanted = oracle.sql(f"SELECT CAST({gives} AS DECIMAL(18,2)) AS x").to_arrow_table()
    assert pa.Table.from_batches(connection.stream(fragment)).equals(wanted)


def test_every_cent_up_to_twenty(
    connection: SqliteConnection, oracle: duckdb.DuckDBPyConnection
) -> None:
    """As the nearest floats and as products that may be others: exact or told."""
    sql = f"SELECT i / 100.0, i * 0.01 FROM main.numbers WHERE i <= {CENTS} ORDER BY i"
    columns = (FragmentColumn("a", "DECIMAL(9,2)"), FragmentColumn("b", "DECIMAL(9,2)"))
    made = Fragment(sql, columns, (), tells_misfits=True)
    found = pa.Table.from_batches(connection.stream(made), stream_schema(made))
    wanted = oracle.sql(
        f"SELECT (range::DECIMAL(18,2) / 100)::DECIMAL(9,2) AS a FROM range(1, {CENTS + 1})"
    ).to_arrow_table()
    assert found.column("a").combine_chunks().equals(wanted.column("a").combine_chunks())
    quotients = [one / 100.0 == one * 0.01 for one in range(1, CENTS + 1)]
    assert found.column("misfit of b").to_pylist() == [not one for one in quotients]
    assert 0 < sum(quotients) < CENTS


def test_misfits_in_more_columns_than_a_flag_holds(connection: SqliteConnection) -> None:
    """Each is told in its own column."""
    names = [f"c {one}" for one in range(70)]
    wrong = {0, 31, 32, 63, 64, 69}
    values = ", ".join("'text'" if place in wrong else "1" for place in range(70))
    columns = tuple(FragmentColumn(one, "BIGINT") for one in names)
    made = Fragment(f"SELECT {values}", columns, (), tells_misfits=True)
    found = pa.Table.from_batches(connection.stream(made), stream_schema(made))
    told = [found.column(f"misfit of {one}")[0].as_py() for one in names]
    assert {place for place, one in enumerate(told) if one} == wrong


def test_rows_that_might_come_in_another_order(connection: SqliteConnection) -> None:
    """Where the second statement finds rows otherwise, nothing follows what came."""
    value = "CASE WHEN i < 69000 THEN i ELSE json_extract('{}', s) END"
    fails = f"SELECT 0 UNION ALL SELECT {value} FROM main.numbers"
    goes_on = "SELECT 0 UNION ALL SELECT i FROM main.numbers"
    other = "SELECT 0 UNION ALL SELECT i FROM main.numbers ORDER BY 1"

    def rows(second: str) -> list[int]:
        asked = [{"sql": one, "types": ["int64"]} for one in (fails, second)]
        return [row for _, batch in connection._read(asked) for row in batch.column(0).to_pylist()]

    assert rows(goes_on) == list(range(1, ROWS + 1))
    with pytest.raises(OSError, match="cannot be told"):
        rows(other)


def test_nothing_is_locked_between_statements(path: Path, connection: SqliteConnection) -> None:
    """Who writes to the file need not wait for an idle connection; the next statement sees it."""
    count = Fragment("SELECT count(*) FROM main.numbers", (FragmentColumn("n", "BIGINT"),), ())
    assert next(iter(connection.stream(count))).to_pylist() == [{"n": ROWS}]
    with closing(sqlite3.connect(path, timeout=0)) as writer:
        writer.execute("INSERT INTO numbers VALUES (-1, 'new')")
        writer.commit()
        assert next(iter(connection.stream(count))).to_pylist() == [{"n": ROWS + 1}]
        writer.execute("DELETE FROM numbers WHERE i = -1")
        writer.commit()
