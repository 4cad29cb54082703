"""Files are rewritten while they are read, and the process that reads SQLite is killed.

Takes: a mesh over files, of which each row says its version. Gives: an answer of one version and
whole, or an error that says so; never a mixture, never a part.
"""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.compute as pc
import pytest

from connectors.sqlite import SqliteConnection
from gateway.demo.postgres import Server, find_server
from gateway.errors import SqluiceError
from tests.faults.places import STORED, Broken, make_places, open_broken, write_file
from tests.served import within

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
ENDED = ("source_unavailable", "source_error")
KINDS = ("sqlite", "duckdb", "files")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = find_server(tmp_path_factory.mktemp("postgres"))
    made.start()
    yield made
    made.discard()


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Broken]:
    folder = tmp_path_factory.mktemp("faults")
    make_places(folder, server)
    with closing(open_broken(folder, server)) as made:
        yield made


def _midway(broken: Broken, kind: str, fault: Callable[[], object]) -> tuple[str, Counter[int]]:
    """How an answer ends whose file changes after the first batch, and rows by version."""
    versions: Counter[int] = Counter()
    try:
        batches = broken.mesh.start(f"select version, s from {kind}.large").batches()
        for number, batch in enumerate(batches):
            counts = pc.value_counts(batch.column("version")).to_pylist()
            versions.update({one["values"]: one["counts"] for one in counts})
            if number == 0:
                fault()
    except SqluiceError as error:
        assert "xxx" not in error.message and str(broken.folder) not in error.message
        return error.code, versions
    return "ok", versions


@pytest.mark.parametrize("in_place", [False, True], ids=["renamed", "in place"])
@pytest.mark.parametrize("kind", KINDS)
def test_rewritten_while_read(kind: str, in_place: bool, broken: Broken) -> None:
    write_file(broken.folder, kind, 1)
    code, versions = _midway(
        broken, kind, lambda: write_file(broken.folder, kind, 2, in_place)
    )
    assert code in ("ok", *ENDED), code
    if code == "ok":
        assert len(versions) == 1 and versions.total() == STORED, versions
    assert within(60, lambda: broken.leased() == 0)
    after = broken.mesh.ask(f"select distinct version from {kind}.large").to_pylist()
    assert after == [{"version": 2}]
    for other in KINDS:
        if other != kind:
            assert broken.mesh.ask(f"select count(*) n from {other}.small").to_pylist() == [
                {"n": 9}
            ]


@pytest.mark.parametrize("in_place", [False, True], ids=["renamed", "in place"])
@pytest.mark.parametrize("kind", KINDS)
def test_rewritten_between_two_statements(kind: str, in_place: bool, broken: Broken) -> None:
    """All connections that wait in the pool know the old file; nobody hears of it."""
    write_file(broken.folder, kind, 1)
    held = [broken.mesh.start(f"select version from {kind}.small") for _ in range(3)]
    for one in held:
        assert sum(batch.num_rows for batch in one.batches()) == 9
    for version in (2, 1):
        write_file(broken.folder, kind, version, in_place)
        for _ in range(4):
            found = broken.mesh.ask(f"select distinct version from {kind}.large").to_pylist()
            assert found == [{"version": version}]


@pytest.mark.parametrize("in_place", [False, True], ids=["renamed", "in place"])
def test_rewritten_while_the_merge_reads(in_place: bool, broken: Broken) -> None:
    """The merge reads Parquet itself: an answer over two versions does not end well."""
    write_file(broken.folder, "files", 1)
    versions: Counter[int] = Counter()
    sql = "select l.version v, l.s from files.large l left join sqlite.small s on s.id = l.id"
    assert any(
        "the merge reads the files" in str(line)
        for line in broken.mesh.ask(f"explain {sql}").to_pylist()
    )
    with pytest.raises(SqluiceError) as caught:
        for number, batch in enumerate(broken.mesh.start(sql).batches()):
            versions.update(batch.column("v").to_pylist())
            if number == 0:
                write_file(broken.folder, "files", 2, in_place)
    assert caught.value.code in ENDED and str(broken.folder) not in caught.value.message
    assert versions.total() > 0
    found = broken.mesh.ask(f"select distinct v from ({sql})").to_pylist()
    assert found == [{"v": 2}]


@pytest.mark.parametrize("kind", KINDS)
def test_gone(kind: str, broken: Broken) -> None:
    """No file, no answer; back again, the next statement has it."""
    write_file(broken.folder, kind, 1)
    home = broken.folder / kind
    away = home.with_name(f"{kind}.away")
    assert broken.mesh.ask(f"select version from {kind}.small").num_rows == 9
    home.rename(away)
    try:
        with pytest.raises(SqluiceError) as caught:
            broken.mesh.ask(f"select version from {kind}.small")
        assert caught.value.code in ENDED
    finally:
        away.rename(home)
    assert broken.mesh.ask(f"select version from {kind}.small").num_rows == 9


def test_a_reader_that_is_killed(broken: Broken) -> None:
    """What read the file is gone in the middle; no process stays behind."""
    write_file(broken.folder, "sqlite", 1)

    def kill() -> None:
        for connection in _active(broken):
            assert connection._process is not None
            os.kill(connection._process.pid, signal.SIGKILL)

    code, versions = _midway(broken, "sqlite", kill)
    assert code in ENDED and 0 < versions.total() < STORED, (code, versions)
    assert within(60, lambda: broken.leased() == 0)
    assert broken.mesh.ask("select version from sqlite.small").num_rows == 9
    broken.mesh.opened.pools.close()
    assert within(60, lambda: _readers(broken.folder) == 0)


def _active(broken: Broken) -> list[SqliteConnection]:
    """The connections to SQLite of this mesh that have a process."""
    return [
        one
        for one in gc.get_objects()
        if isinstance(one, SqliteConnection)
        and one._process is not None
        and str(one._path).startswith(str(broken.folder))
    ]


def _readers(folder: Path) -> int:
    """How many processes read files of a folder, by the system's own list."""
    found = 0
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = one.read_bytes()
        except OSError:
            continue
        found += b"sqlite_reader" in line and str(folder).encode() in line
    return found
