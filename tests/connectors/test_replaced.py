"""Files that change under their readers: a fresh answer, or an error, never a mixture.

Takes: SQLite and DuckDB files and Parquet files that are replaced or written over between two
statements and in the middle of one. Gives: which rows came, or how the statement ended.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from connectors import duckdb as duckdb_files
from connectors.base import (
    Connection,
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    FragmentColumn,
    load_connector,
)
from connectors.file_states import HeldFile, changed, settled

ROWS = 150_000
KINDS = ("sqlite", "duckdb", "files")
_COLUMNS = (FragmentColumn("v", "INTEGER"), FragmentColumn("s", "VARCHAR"))
WHOLE = {
    "sqlite": Fragment("SELECT v, s FROM main.t", _COLUMNS, ("t",)),
    "duckdb": Fragment('SELECT v, s FROM "main"."t"', _COLUMNS, ("t",)),
    "files": Fragment('SELECT v, s FROM "main"."t.parquet"', _COLUMNS, ("t.parquet",)),
}


def _make(kind: str, path: Path, version: int) -> None:
    rows = f"SELECT {version}::INT AS v, repeat('x', 100) AS s FROM range({ROWS})"
    path.unlink(missing_ok=True)
    if kind == "files":
        with closing(duckdb.connect()) as made:
            made.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 20000)")
    elif kind == "duckdb":
        with closing(duckdb.connect(str(path))) as made:
            made.execute(f"CREATE TABLE t AS {rows}")
    else:
        with closing(sqlite3.connect(path)) as light:
            light.execute("CREATE TABLE t (v integer, s text)")
            light.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                "INSERT INTO t SELECT ?, printf('%.100c', 'x') FROM n",
                (ROWS, version),
            )
            light.commit()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of each kind of file; those of one kind have one size."""
    folder = tmp_path_factory.mktemp("versions")
    for kind in KINDS:
        for version in (1, 2):
            _make(kind, folder / f"{kind}.{version}", version)
    return folder


@pytest.fixture
def opened(request: pytest.FixtureRequest, made: Path, tmp_path: Path) -> Iterator[Connection]:
    kind = request.getfixturevalue("kind")
    shutil.copy(made / f"{kind}.1", tmp_path / _name(kind))
    settings = {"path": str(tmp_path / _name(kind))}
    if kind == "files":
        settings = {"path": str(tmp_path), "format": "parquet"}
    with closing(load_connector(kind).connect(settings)) as connection:
        yield connection


def _name(kind: str) -> str:
    return "t.parquet" if kind == "files" else f"t.{kind}"


def _rename(source: Path, target: Path) -> None:
    shutil.copy(source, target.with_name("part"))
    os.replace(target.with_name("part"), target)


def _write_over(source: Path, target: Path) -> None:
    with open(target, "r+b") as file:
        file.write(source.read_bytes())
        file.truncate()


def _remove(source: Path, target: Path) -> None:
    target.unlink()


CHANGES: tuple[Callable[[Path, Path], None], ...] = (_rename, _write_over)


def _versions(connection: Connection, kind: str) -> set[int]:
    return {
        version
        for batch in connection.stream(WHOLE[kind])
        for version in batch.column("v").unique().to_pylist()
    }


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_between_two_statements(
    kind: str, change: Callable[[Path, Path], None], opened: Connection, made: Path, tmp_path: Path
) -> None:
    """The next one has the new rows, or says before the first of them that it cannot."""
    assert _versions(opened, kind) == {1}
    change(made / f"{kind}.2", tmp_path / _name(kind))
    if kind == "duckdb":
        with pytest.raises(ConnectorUnavailable, match="another file"):
            _versions(opened, kind)
        with closing(load_connector(kind).connect({"path": str(tmp_path / _name(kind))})) as fresh:
            assert _versions(fresh, kind) == {2}
            with pytest.raises(ConnectorUnavailable):
                opened.ping()
    else:
        assert _versions(opened, kind) == {2}


@pytest.mark.parametrize("change", [*CHANGES, _remove])
@pytest.mark.parametrize("kind", KINDS)
def test_in_the_middle_of_one(
    kind: str, change: Callable[[Path, Path], None], opened: Connection, made: Path, tmp_path: Path
) -> None:
    """Who holds the file reads it to its end whatever lies there; no other answer ends well."""
    batches = opened.stream(WHOLE[kind])
    found = set(next(batches).column("v").to_pylist())
    change(made / f"{kind}.2", tmp_path / _name(kind))
    if kind != "files" and change is not _write_over:
        for batch in batches:
            found |= set(batch.column("v").to_pylist())
        assert found == {1}
        return
    with pytest.raises(ConnectorError):
        list(batches)


@pytest.mark.parametrize("kind", KINDS)
def test_gone(kind: str, opened: Connection, tmp_path: Path) -> None:
    assert _versions(opened, kind) == {1}
    (tmp_path / _name(kind)).unlink()
    with pytest.raises(ConnectorUnavailable):
        _versions(opened, kind)


def test_a_file_that_comes_meanwhile(made: Path, tmp_path: Path) -> None:
    """Is part of the answer or not: no reason to refuse it."""
    shutil.copy(made / "files.1", tmp_path / "a.parquet")
    settings = {"path": str(tmp_path), "format": "parquet"}
    fragment = Fragment('SELECT v, s FROM "main"."*.parquet"', _COLUMNS, ("*.parquet",))
    with closing(load_connector("files").connect(settings)) as connection:
        batches = connection.stream(fragment)
        rows = next(batches).num_rows
        shutil.copy(made / "files.1", tmp_path / "b.parquet")
        assert rows + sum(one.num_rows for one in batches) == ROWS


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_lock_is_kept_as_long_as_somebody_reads(
    kind: str, opened: Connection, tmp_path: Path
) -> None:
    """Whoever respects it waits; when the statement has ended he may write."""
    with closing(sqlite3.connect(tmp_path / _name(kind), timeout=0)) as writer:
        batches = opened.stream(WHOLE[kind])
        rows = next(batches).num_rows
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            writer.execute("UPDATE t SET v = 2")
            writer.commit()
        writer.rollback()
        assert rows + sum(one.num_rows for one in batches) == ROWS
        writer.execute("UPDATE t SET v = 3")
        writer.commit()
    assert _versions(opened, kind) == {3}


@pytest.mark.parametrize("kind", ["duckdb"])
def test_another_process_may_not_write_what_is_open(
    kind: str, opened: Connection, tmp_path: Path
) -> None:
    """To look whether a file has changed lets go of no lock, nor does a connection that ends."""
    path = tmp_path / _name(kind)
    with closing(load_connector(kind).connect({"path": str(path)})) as other:
        assert _versions(other, kind) == {1}
    assert _versions(opened, kind) == {1}
    program = "import duckdb, sys; duckdb.connect(sys.argv[1])"
    told = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, timeout=60, check=False
    )
    assert b"Could not set lock" in told.stderr, told.stderr


@pytest.mark.parametrize("kind", ["duckdb"])
def test_instances_end_with_their_connections(
    kind: str, opened: Connection, made: Path, tmp_path: Path
) -> None:
    path = tmp_path / _name(kind)
    _rename(made / f"{kind}.2", path)
    fresh = load_connector(kind).connect({"path": str(path)})
    assert path in duckdb_files._instances
    fresh.close()
    fresh.close()
    assert path not in duckdb_files._instances


@pytest.mark.parametrize("name", ["main", "memory.db", "temp.duckdb", 'a b"c.d.e', ".hidden"])
def test_names_of_files(name: str, tmp_path: Path) -> None:
    """Whatever a file is called, its tables are found."""
    with closing(duckdb.connect(str(tmp_path / name))) as made:
        made.execute("CREATE TABLE t AS SELECT 7::INT AS v, 'x' AS s")
        called = made.execute("SELECT current_database()").fetchall()[0][0]
    with closing(load_connector("duckdb").connect({"path": str(tmp_path / name)})) as connection:
        assert _versions(connection, "duckdb") == {7}
        if name not in ("memory.db", ".hidden"):
            columns = connection.columns(f"{called}.main.t") if '"' not in name else ("t",)
            assert columns


def test_a_file_that_was_just_written_is_waited_for(tmp_path: Path) -> None:
    """Two writes within one tick of the clock look like one."""
    path = tmp_path / "a"
    path.write_text("1")
    states = settled([path])
    assert time.time() - path.stat().st_mtime > 0.01
    assert changed(states) is None
    path.write_text("2")
    assert changed(states) is not None
    assert settled([tmp_path / "none"]) == ()


def test_a_held_file_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("1")
    held = HeldFile(path)
    assert held.is_named() and not held.is_written()
    with open(path, "a") as open_one:
        os.replace(path, tmp_path / "b")
        path.write_text("1")
        assert not held.is_named() and not held.is_written()
        open_one.write("2")
    assert held.is_written()
    held.close()
    held.close()
