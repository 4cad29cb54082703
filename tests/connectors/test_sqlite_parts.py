"""A large table of SQLite is read in parts by two readers, which see one state of the file.

Takes: tables of many shapes, plain and careful statements, writers at the worst moment. Gives: the
rows of the whole table, whatever it looks like, or an error; where the readers must not differ,
a control in which they do.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

import connectors.sqlite
from connectors.base import (
    ConnectorCancelled,
    ConnectorError,
    Fragment,
    FragmentColumn,
    load_connector,
    stream_schema,
)
from connectors.sqlite import SqliteConnection
from connectors.sqlite_values import PART, with_part

ROWS = 150_000
# Dense numbers, numbers with a gap, numbers at both ends of what there is; tables without any.
TABLES = {
    "dense": "CREATE TABLE dense (a INTEGER, b TEXT)",
    "sparse": "CREATE TABLE sparse (a INTEGER PRIMARY KEY, b TEXT)",
    "ends": "CREATE TABLE ends (a INTEGER PRIMARY KEY, b TEXT)",
    "named": "CREATE TABLE named (a INTEGER, b TEXT, rowid TEXT, oid TEXT)",
    "hiding": "CREATE TABLE hiding (a INTEGER, b TEXT, rowid TEXT, _RowId_ TEXT, oid TEXT)",
    "keyed": "CREATE TABLE keyed (a INTEGER PRIMARY KEY, b TEXT) WITHOUT ROWID",
    "found": "CREATE TABLE found (a INTEGER, b TEXT)",
    "small": "CREATE TABLE small (a INTEGER, b TEXT)",
}
NUMBERS = {
    "sparse": "CASE WHEN i < 1000 THEN i ELSE i + 9000000 END",
    "ends": "CASE i WHEN 1 THEN -9223372036854775808 WHEN 2 THEN 9223372036854775807 ELSE i END",
}
PARTED = {"dense", "sparse", "ends", "named"}
COLUMNS = (FragmentColumn("a", "BIGINT"), FragmentColumn("b", "VARCHAR"))
_SERIES = (
    "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < {}) "
    "SELECT {}, 'row ' || (i % 1000) FROM r"
)
_READER = Path(connectors.sqlite.__file__).with_name("sqlite_reader.py")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables, and a view."""
    made = tmp_path_factory.mktemp("parts") / "rows.sqlite"
    with closing(sqlite3.connect(made)) as connection:
        for name, text in TABLES.items():
            connection.execute(text)
            rows = 1000 if name == "small" else ROWS
            connection.execute(
                f"INSERT INTO {name} (a, b) " + _SERIES.format(rows, NUMBERS.get(name, "i"))
            )
        connection.execute("CREATE INDEX by_a ON found (a)")
        connection.execute("CREATE VIEW viewed AS SELECT a, b FROM dense")
        connection.commit()
    return made


@pytest.fixture
def connection(path: Path) -> Iterator[SqliteConnection]:
    opened = load_connector("sqlite").connect({"path": str(path)})
    assert isinstance(opened, SqliteConnection)
    with closing(opened):
        yield opened


def whole(table: str, where: str = "") -> Fragment:
    """All rows of a table, as the gateway asks for them."""
    sql = f'SELECT "a" AS "a", "b" AS "b" FROM "main"."{table}"{where}'
    return Fragment(sql, COLUMNS, (table,), is_by_row=True)


def rows(connection: SqliteConnection, fragment: Fragment) -> Counter[tuple[Any, ...]]:
    """All rows, whatever their order."""
    table = pa.Table.from_batches(connection.stream(fragment), stream_schema(fragment))
    return Counter(zip(*(one.to_pylist() for one in table.columns), strict=True))


def in_reader(path: Path, program: str) -> Any:  # noqa: ANN401 - whatever it prints
    """What a program prints as JSON in whose process the reader's own parts are at hand."""
    start = (
        f"import json, sys; sys.path.insert(0, {str(_READER.parent)!r})\n"
        f"import sqlite_reader as r; path = {str(path)!r}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", start + program], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("table", [*TABLES, "viewed"])
def test_the_rows_of_a_table(connection: SqliteConnection, table: str) -> None:
    fragment = whole(table)
    wanted = rows(connection, replace(fragment, is_by_row=False))
    assert wanted.total() == (1000 if table == "small" else ROWS)
    assert rows(connection, fragment) == wanted


def test_which_tables_are_read_in_parts(path: Path) -> None:
    """Large ones with numbered rows that are read from end to end: others would gain nothing."""
    found = in_reader(
        path,
        f"names = {[*TABLES, 'viewed', 'none']!r}\n"
        "held = r._Held(path); held.look()\n"
        "answer = r._Answer(held, b'', None, None)\n"
        "def cut(name, where=''):\n"
        "    sql = f'SELECT a, b FROM main.{name}{where}'\n"
        "    return len(answer._cut({'sql': sql}, name))\n"
        "made = {name: cut(name) for name in names if name != 'none'}\n"
        "made['none'] = len(answer._cut({'sql': 'SELECT 1'}, 'none'))\n"
        "made['by index'] = cut('found', ' WHERE a = 7')\n"
        "print(json.dumps(made))",
    )
    parts = found["dense"]
    assert parts > 1
    assert found == {
        **{name: parts if name in {*PARTED, "found"} else 1 for name in [*TABLES, "viewed"]},
        "none": 1, "by index": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("where", "values", "types"),
    [
        (" WHERE a < 100000", (), ()),
        (" WHERE a < 10 OR a > 140000", (), ()),
        (" WHERE b = 'it FROM \"main\".\"dense\" WHERE'' is' OR a > 5", (), ()),
        (" WHERE a < ?1 OR b = ?2", (120_000, "row 7"), ("BIGINT", "VARCHAR")),
        (" WHERE a IN (SELECT value FROM json_each(?1))", (pa.array([1, 7, 149_999]),),
         ("BIGINT[]",)),
        (" WHERE a < 0", (), ()),
    ],
)  # fmt: skip
def test_predicates_hold_in_each_part(
    connection: SqliteConnection, where: str, values: tuple[object, ...], types: tuple[str, ...]
) -> None:
    fragment = replace(whole("dense", where), parameters=values, parameter_types=types)
    assert PART in with_part(fragment)
    assert rows(connection, fragment) == rows(connection, replace(fragment, is_by_row=False))


@pytest.mark.parametrize(
    "fragment",
    [
        replace(whole("dense"), is_by_row=False),
        replace(whole("dense"), tables=("dense", "sparse")),
        replace(whole("dense"), expected_rows=10),
        replace(whole("dense"), sql='SELECT "a", "b" FROM "main"."dense" LIMIT 5'),
        replace(whole("dense"), sql='SELECT "a", "b" FROM "main"."dense" AS "t"'),
        whole("dense", ' WHERE a IN (SELECT max(a) FROM "main"."dense")'),
        replace(whole("dense"), sql='SELECT \' FROM "main"."dense"\' AS a, 1 AS b'),
    ],
)
def test_what_is_not_read_in_parts(fragment: Fragment) -> None:
    assert with_part(fragment) == ""


@pytest.fixture
def misfits(path: Path, tmp_path: Path) -> Iterator[SqliteConnection]:
    """A file in which values of some parts are not of the class that their contract says."""
    made = tmp_path / "misfits.sqlite"
    shutil.copy(path, made)
    with closing(sqlite3.connect(made)) as writer:
        writer.execute("UPDATE dense SET a = 'text' WHERE rowid IN (60001, 100000)")
        writer.commit()
    opened = load_connector("sqlite").connect({"path": str(made)})
    assert isinstance(opened, SqliteConnection)
    with closing(opened):
        yield opened


def test_a_part_that_is_read_carefully(misfits: SqliteConnection) -> None:
    """The rows that came stay, what follows in its part is read again, the others are whole."""
    told = replace(whole("dense"), tells_misfits=True)
    found = rows(misfits, told)
    assert found == rows(misfits, replace(told, is_by_row=False))
    assert found.total() == ROWS
    assert sum(count for row, count in found.items() if row[2]) == 2
    with pytest.raises(ConnectorError, match="'a'"):
        rows(misfits, whole("dense"))
    assert rows(misfits, whole("sparse")).total() == ROWS  # the connection lives on


def test_a_cancel_stops_both(connection: SqliteConnection) -> None:
    batches = connection.stream(whole("dense"))
    assert next(batches).num_rows
    process = connection._process
    assert process is not None
    began = time.monotonic()
    threading.Thread(target=connection.cancel).start()
    with pytest.raises(ConnectorCancelled):
        list(batches)
    assert time.monotonic() - began < 5 and process.poll() is not None
    assert rows(connection, whole("dense")).total() == ROWS


def test_a_killed_reader_is_no_end(connection: SqliteConnection) -> None:
    batches = connection.stream(whole("dense"))
    assert next(batches).num_rows
    assert connection._process is not None
    connection._process.kill()
    with pytest.raises(ConnectorError):
        list(batches)
    assert rows(connection, whole("dense")).total() == ROWS


# A writer commits when the first reader has begun and the second has not.
_WRITER = """
import io, subprocess
from concurrent.futures import ThreadPoolExecutor
# In another process: locks of files are a process's own.
write = (
    "import sqlite3, sys; writer = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None); "
    "writer.execute('UPDATE dense SET a = a + 1000000')"
)
begin, refused, times = r._Answer._begin, [], []
def meddling(answer):
    begin(answer)
    times.append(1)
    if len(times) in MOMENTS:
        done = subprocess.run([sys.executable, "-c", write, path], capture_output=True, timeout=60)
        if b"database is locked" in done.stderr:
            refused.append(1)
r._Answer._begin = meddling
held, out = r._Held(path), io.BytesIO()
if not COMPARED:
    r._Held._version = lambda held: len(r._rows(held.second, "SELECT 1 FROM dense LIMIT 1"))
answer = r._Answer(held, b"", out, ThreadPoolExecutor(1))
sql = "SELECT a FROM main.dense"
answer.give([{"sql": sql, "types": None, "parted": [sql + " WHERE ", ""]}], "dense")
out.seek(0)
table = r.pa.ipc.open_stream(out).read_all()
values = table.column(0).to_pylist()
old = sum(one < 1000000 for one in values)
print(json.dumps([old, len(values) - old, len(times), len(refused), held.second is not None]))
"""


def _meddled(
    path: Path, tmp_path: Path, mode: str, moments: tuple[int, ...], compared: bool
) -> list[int]:
    """Rows of the old and of the new state, how often it began, refused writers, a second reader.

    moments: at which beginnings somebody writes. compared: whether the readers compare.
    """
    made = tmp_path / "meddled.sqlite"
    shutil.copy(path, made)
    with closing(sqlite3.connect(made)) as writer:
        writer.execute(f"PRAGMA journal_mode = {mode}")
    program = _WRITER.replace("MOMENTS", repr(moments)).replace("COMPARED", repr(compared))
    found: list[int] = in_reader(made, program)
    return found


def test_two_readers_see_one_state(path: Path, tmp_path: Path) -> None:
    """A commit between the starts of the two is noticed, and both begin anew."""
    old, new, times, refused, second = _meddled(path, tmp_path, "wal", (2,), True)
    assert (old, new) == (0, ROWS) and times == 3 and not refused and second


def test_who_cannot_see_one_state_reads_alone(path: Path, tmp_path: Path) -> None:
    """Where somebody commits each time, the first reader reads it all: what it saw last."""
    old, new, times, _, _ = _meddled(path, tmp_path, "wal", (1, 2, 3, 4), True)
    assert sorted((old, new)) == [0, ROWS] and times == 4


def test_without_the_comparison_they_would_see_two(path: Path, tmp_path: Path) -> None:
    """The control: the same writer, and nobody compares."""
    old, new, _, _, _ = _meddled(path, tmp_path, "wal", (2,), False)
    assert old and new and old + new == ROWS


def test_a_lock_keeps_writers_away(path: Path, tmp_path: Path) -> None:
    """Without a write-ahead log nobody commits once the first has begun."""
    old, new, times, refused, second = _meddled(path, tmp_path, "delete", (1,), True)
    assert (old, new) == (ROWS, 0) and times == 1 and refused == 1 and second


def test_a_file_that_is_written_over_is_no_answer(
    connection: SqliteConnection, path: Path, tmp_path: Path
) -> None:
    made = tmp_path / "over.sqlite"
    shutil.copy(path, made)
    with closing(load_connector("sqlite").connect({"path": str(made)})) as opened:
        batches = opened.stream(whole("dense"))
        assert next(batches).num_rows
        made.write_bytes(path.read_bytes())
        with pytest.raises(ConnectorError):
            list(batches)
        assert sum(one.num_rows for one in opened.stream(whole("dense"))) == ROWS


def test_a_file_that_another_took_the_place_of(path: Path, tmp_path: Path) -> None:
    """Both read on in the one that they hold; the next statement has the new one."""
    made, other = tmp_path / "placed.sqlite", tmp_path / "other.sqlite"
    for one in (made, other):
        shutil.copy(path, one)
    with closing(sqlite3.connect(other)) as writer:
        writer.execute("DELETE FROM dense WHERE a > 100000")
        writer.commit()
    with closing(load_connector("sqlite").connect({"path": str(made)})) as opened:
        batches = opened.stream(whole("dense"))
        count = next(batches).num_rows
        other.replace(made)
        assert count + sum(one.num_rows for one in batches) == ROWS
        assert sum(one.num_rows for one in opened.stream(whole("dense"))) == 100_000


@pytest.mark.parametrize("table", ["small", "dense"])
def test_a_file_that_a_writer_holds_is_no_empty_answer(
    table: str, path: Path, tmp_path: Path
) -> None:
    place = Path(shutil.copy(path, tmp_path / "held.sqlite"))
    opened = load_connector("sqlite").connect({"path": str(place)})
    with closing(opened), closing(sqlite3.connect(place, isolation_level=None)) as writer:
        assert isinstance(opened, SqliteConnection)
        want = rows(opened, whole(table))
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConnectorError, match="locked"):
            rows(opened, whole(table))
        writer.execute("ROLLBACK")
        assert rows(opened, whole(table)) == want


def test_a_file_that_is_written_all_the_time_is_read_whole(path: Path, tmp_path: Path) -> None:
    place = Path(shutil.copy(path, tmp_path / "busy.sqlite"))
    stopped = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(place, timeout=30, isolation_level=None)) as writer:
            while not stopped.is_set():
                writer.execute("UPDATE small SET b = 'new' WHERE a < 50")
                time.sleep(0.005)

    writing = threading.Thread(target=write)
    writing.start()
    opened = load_connector("sqlite").connect({"path": str(place)})
    try:
        with closing(opened):
            assert isinstance(opened, SqliteConnection)
            for table in ("small", "dense") * 5 + ("small",) * 40:
                found = rows(opened, whole(table)).total()
                assert found == (1000 if table == "small" else ROWS)
    finally:
        stopped.set()
        writing.join()


def test_what_was_never_begun_is_over_when_it_is_closed(connection: SqliteConnection) -> None:
    batches = connection.stream(whole("small"))
    assert connection._run is not None
    cast(Any, batches).close()
    assert connection._run is None
    assert rows(connection, whole("small")).total() == 1000
