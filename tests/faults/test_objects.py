"""A store of objects that denies what it gave before: a permission that is lost in the middle.

Takes: a mesh over a store and a SQLite file; at each request of a statement the store begins to
deny. Gives: the code; that no part of an answer ends as if it were whole; that nothing is left
open, and that the same statement is answered when the permission is there again.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing

import duckdb
import pyarrow as pa
import pytest

from connectors.base import ConnectorError, Fragment
from connectors.objects import ObjectsConnection
from gateway.errors import SqluiceError
from gateway.request import Limits
from tests.faults.outcomes import leased
from tests.faults.places import COLUMNS, write_file
from tests.objects.store import BUCKET, Store, serving
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain
from tests.served import within

ROWS, GROUP = 120_000, 10_000
WHOLE = "select id, s from lake.large"
BY_KEYS = "select l.id, l.s from lake.large l join sqlite.small q on l.id = q.id"
ANSWERS = {WHOLE: ROWS, BY_KEYS: 9}


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def mesh(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainMesh]:
    folder = tmp_path_factory.mktemp("denied")
    write_file(folder, "sqlite", 1)
    path = folder / "large.parquet"
    with duckdb.connect() as held:
        held.execute(
            f"COPY (SELECT range::INT AS id, 1 AS version, md5(range::VARCHAR) AS s "
            f"FROM range({ROWS})) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE {GROUP})"
        )
    store.put("denied/large.parquet", path.read_bytes())
    settings = {"store": "s3", "bucket": BUCKET, "endpoint": f"127.0.0.1:{store.port}",
                "prefix": "denied", "format": "parquet"}  # fmt: skip
    sources = {
        "lake": PlainSource("objects", settings, {"access_key": "a", "secret_key": "b"}),
        "sqlite": PlainSource("sqlite", {"path": "sqlite/rows.sqlite"}, {}),
    }
    tables = [
        PlainTable("lake", "large", "large.parquet", COLUMNS),
        PlainTable("sqlite", "small", "small", COLUMNS),
    ]
    with closing(open_plain(folder, sources, tables)) as made:
        # What planning asks is no request of the statements below.
        assert made.ask(BY_KEYS).num_rows == ANSWERS[BY_KEYS]
        statistics = made.opened.services.statistics
        assert statistics is not None
        assert within(60, lambda: not statistics.is_asking(("lake.rows", "sqlite.rows")))
        yield made


class _Denying:
    """Denies all from a request on; 0: counts them and denies none."""

    def __init__(self, step: int) -> None:
        self.step, self.count = step, 0

    def __call__(self, method: str, path: str) -> bool:
        self.count += 1
        return 0 < self.step <= self.count


def _outcome(mesh: PlainMesh, sql: str) -> tuple[str, int]:
    """How a statement ends, and how many rows had come by then."""
    rows = 0
    try:
        for batch in mesh.start(sql, limits=Limits(seconds=30)).batches():
            rows += batch.num_rows
    except SqluiceError as error:
        assert not any(word in error.message for word in ("ACCESS", "AWS", "large.parquet", BUCKET))
        # The owner reads what it was.
        assert "ACCESS_DENIED" in str(error.private)
        return error.code, rows
    return "ok", rows


def _is_quiet(mesh: PlainMesh) -> bool:
    """Whether no connection is out, and nobody waits for the store."""
    waiting = [one for one in threading.enumerate() if one.name == "object-store"]
    return leased(mesh) == 0 and not waiting


def _requests(mesh: PlainMesh, store: Store, sql: str) -> int:
    """How many requests a statement makes that nobody denies."""
    store.denies = told = _Denying(0)
    assert _outcome(mesh, sql) == ("ok", ANSWERS[sql])
    return told.count


@pytest.fixture(autouse=True)
def _permitted(store: Store) -> Iterator[None]:
    yield
    store.denies = lambda method, path: False


@pytest.mark.parametrize("sql", ANSWERS, ids=["whole", "by keys"])
def test_denied_from_some_request_on(mesh: PlainMesh, store: Store, sql: str) -> None:
    """List, look, footer, ranges and the last look: at each of them it ends with an error."""
    most = _requests(mesh, store, sql)
    assert 4 <= most < 60
    outcomes: Counter[str] = Counter()
    for step in range(1, most + 1):
        store.denies = _Denying(step)
        code, rows = _outcome(mesh, sql)
        # How many ranges are asked for is chance: the last steps may lie behind the end.
        assert (code, rows) == ("ok", ANSWERS[sql]) if code == "ok" else code == "source_error"
        outcomes[code] += 1
        assert within(60, lambda: _is_quiet(mesh))
        # Others go on, and nobody has to open anything anew.
        assert mesh.ask("select count(*) n from sqlite.small").to_pylist() == [{"n": 9}]
        store.denies = lambda method, path: False
    assert outcomes["source_error"] >= 4, outcomes
    assert _outcome(mesh, sql) == ("ok", ANSWERS[sql])


def test_denied_when_rows_have_left(mesh: PlainMesh, store: Store) -> None:
    """Who has rows already is told that they are not all."""
    batches = mesh.start(WHOLE, limits=Limits(seconds=30)).batches()
    rows = next(batches).num_rows
    store.denies = lambda method, path: True
    with pytest.raises(SqluiceError) as caught:
        for batch in batches:
            rows += batch.num_rows
    assert caught.value.code == "source_error" and rows > 0
    assert within(60, lambda: _is_quiet(mesh))


def test_an_error_that_is_hidden_would_be_noticed(
    mesh: PlainMesh, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a connector that ends where it is denied passes a part off as the whole."""
    real = ObjectsConnection._batches

    def hiding(
        self: ObjectsConnection, fragment: Fragment
    ) -> Generator[pa.RecordBatch, None, None]:
        with contextlib.suppress(*self.errors, ConnectorError):
            yield from real(self, fragment)

    monkeypatch.setattr(ObjectsConnection, "_batches", hiding)
    outcomes = []
    for step in range(1, _requests(mesh, store, WHOLE) + 1):
        store.denies = _Denying(step)
        outcomes.append(_outcome(mesh, WHOLE))
    assert any(code == "ok" and rows < ROWS for code, rows in outcomes), outcomes


def test_keys_are_what_is_denied(mesh: PlainMesh) -> None:
    """The control: one of the statements above sends keys."""
    result = mesh.start(BY_KEYS)
    assert sum(batch.num_rows for batch in result.batches()) == ANSWERS[BY_KEYS]
    assert sorted(result.fetched.values()) == [9, 9]


def test_planning_goes_on_where_sizes_are_denied(
    mesh: PlainMesh, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What footers tell is denied: the statement says so by itself, or is answered after all."""
    statistics = mesh.opened.services.statistics
    assert statistics is not None
    monkeypatch.setattr(statistics, "_known", {})
    store.denies = lambda method, path: True
    assert _outcome(mesh, f"{BY_KEYS} and q.id > 0")[0] == "source_error"
    assert within(60, lambda: not statistics.is_asking(("lake.rows",)))
    store.denies = lambda method, path: False
    assert _outcome(mesh, f"{BY_KEYS} and q.id > -1") == ("ok", ANSWERS[BY_KEYS])
