"""Sources by foreign drivers break: before, during and after a fragment, and on the way.

Takes: PostgreSQL by a dialect of SQLAlchemy and by ADBC, another gateway, a store of objects, each
behind a proxy. Gives: the code of each fault; that the others answer; that nothing is left
running, leased or open; that no part of an answer ends cleanly.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from gateway.demo.postgres import OwnServer, find_server
from gateway.errors import SqluiceError
from gateway.request import Limits
from tests.faults.drivers import (
    BY_POSTGRES,
    KINDS,
    QUIET,
    ROWS,
    Driven,
    Servers,
    drivers,
    make_servers,
    open_driven,
    put_objects,
)
from tests.served import within

pytestmark = pytest.mark.timeout(300)
ENDED = ("source_unavailable", "source_error")
# The rest of an answer that a reader's machine may have taken in before the fault.
LARGE = "select id, s from {}.large"
SMALL = "select count(*) n, min(version) v from {}.small"
MIXED = "select count(*) n, max(l.s) m from {}.large l join sqlite.large q on l.id = q.id"


def _quick(values: Sequence[object], *quick: object) -> list[object]:
    """All of them, of which `make test` takes only some."""
    return [one if one in quick else pytest.param(*_as_tuple(one), marks=pytest.mark.long)
            for one in values]  # fmt: skip


def _as_tuple(one: object) -> tuple[object, ...]:
    return one if isinstance(one, tuple) else (one,)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers that may be killed, whoever else has some."""
    folder = tmp_path_factory.mktemp("drivers")
    server = find_server(folder / "postgres", choices=("system", "wheel"))
    assert isinstance(server, OwnServer)
    server.start()
    made = make_servers(folder, server)
    yield made
    made.close()
    server.discard()


@pytest.fixture
def driven(servers: Servers) -> Iterator[Driven]:
    made = open_driven(servers)
    yield made
    made.close()


def _code(driven: Driven, sql: str, seconds: float = 30) -> str:
    """How a statement ends; an answer must be whole, and no text of a source's is shown."""
    try:
        driven.mesh.ask(sql, limits=Limits(seconds=seconds))
    except SqluiceError as error:
        for word in ("psycopg", "libpq", "127.0.0.1", "status", "Traceback"):
            assert word not in error.message, error.message
        return error.code
    return "ok"


def _midway(driven: Driven, kind: str, fault: Callable[[], object]) -> tuple[str, int]:
    """How a large answer ends whose source breaks after the first batch, and rows until then."""
    result = driven.mesh.start(LARGE.format(kind), limits=Limits(seconds=30))
    batches = result.batches()
    rows = next(batches).num_rows
    fault()
    try:
        rows += sum(batch.num_rows for batch in batches)
    except SqluiceError as error:
        return error.code, rows
    return "ok", rows


def _check_rest(driven: Driven, broken: str) -> None:
    """The others answer, and nothing is left."""
    beside = [QUIET, *(one for one in KINDS if one != broken)]
    for kind in beside:
        if not (broken in BY_POSTGRES and kind in BY_POSTGRES):
            assert _code(driven, SMALL.format(kind)) == "ok", kind
    assert within(60, lambda: driven.leased() == 0), driven.leased()


def _check_nothing_left(driven: Driven) -> None:
    assert within(60, lambda: driven.sessions() == 0)
    driven.mesh.opened.pools.close()
    assert within(60, lambda: drivers(os.getpid()) == 0)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_killed_before_during_and_after(kind: str, driven: Driven) -> None:
    small = SMALL.format(kind)
    assert _code(driven, small) == "ok"
    driven.kill(kind)
    assert _code(driven, small) == "source_unavailable"
    assert _code(driven, MIXED.format(kind)) == "source_unavailable"
    _check_rest(driven, kind)
    driven.restart(kind)
    assert _code(driven, small) == "ok"
    code, rows = _midway(driven, kind, lambda: driven.kill(kind))
    # What had left the server before may be the whole of a small answer.
    assert (code in ENDED and 0 < rows < ROWS) or (code, rows) == ("ok", ROWS)
    _check_rest(driven, kind)
    driven.restart(kind)
    assert _code(driven, LARGE.format(kind)) == "ok"
    driven.kill(kind)
    _check_rest(driven, kind)
    driven.restart(kind)
    assert _code(driven, small) == "ok"
    _check_nothing_left(driven)


@pytest.mark.parametrize("kind", _quick(KINDS, "adbc"))
def test_refused_and_reset(kind: str, driven: Driven) -> None:
    assert _code(driven, SMALL.format(kind)) == "ok"
    proxy = driven.proxies[kind]
    proxy.break_after("reset", 300_000)
    assert _code(driven, LARGE.format(kind)) in ENDED
    assert _code(driven, MIXED.format(kind)) in ENDED
    proxy.mend()
    assert _code(driven, SMALL.format(kind)) == "ok"
    proxy.refuse()
    assert _code(driven, SMALL.format(kind)) == "source_unavailable"
    _check_rest(driven, kind)
    _check_nothing_left(driven)


@pytest.mark.parametrize("kind", _quick(KINDS, "flightsql"))
@pytest.mark.parametrize(
    "size",
    [pytest.param(0, id="from the start", marks=pytest.mark.long),
     pytest.param(300_000, id="midway")],
)  # fmt: skip
def test_stalled(kind: str, size: int, driven: Driven) -> None:
    """Who does not answer meets the deadline, and whoever waited for him goes on."""
    assert _code(driven, SMALL.format(kind)) == "ok"
    driven.proxies[kind].break_after("stall", size)
    began = time.monotonic()
    assert _code(driven, LARGE.format(kind), seconds=1.5) == "timeout"
    # Whoever connects anew waits for a while.
    assert time.monotonic() - began < 60
    assert _code(driven, SMALL.format(QUIET)) == "ok"
    driven.proxies[kind].mend()
    assert within(60, lambda: driven.leased() == 0), driven.leased()
    assert _code(driven, SMALL.format(kind)) == "ok"
    _check_nothing_left(driven)


@pytest.mark.long
@pytest.mark.parametrize("kind", BY_POSTGRES)
def test_permission_lost(kind: str, driven: Driven) -> None:
    sql = SMALL.format(kind)
    assert _code(driven, sql) == "ok"
    driven.server.run("faults", "REVOKE SELECT ON small FROM reader")
    assert _code(driven, sql) == "source_error"
    driven.server.run("faults", "GRANT SELECT ON small TO reader")
    assert _code(driven, sql) == "ok"
    driven.server.run("faults", "ALTER ROLE reader CONNECTION LIMIT 0")
    driven.mesh.opened.pools.close()
    assert _code(driven, sql) == "source_unavailable"
    driven.server.run("faults", "ALTER ROLE reader CONNECTION LIMIT -1")
    assert _code(driven, sql) == "ok"
    _check_rest(driven, kind)
    _check_nothing_left(driven)


@pytest.mark.long
def test_a_grant_is_lost_at_another_gateway(driven: Driven) -> None:
    """That gateway says that there is no such table; whether there is, it tells nobody."""
    sql = SMALL.format("flightsql")
    assert _code(driven, sql) == "ok"
    driven.kill("flightsql")
    driven.restart("flightsql", is_granted=False)
    assert _code(driven, sql) == "source_error"
    _check_rest(driven, "flightsql")
    driven.kill("flightsql")
    driven.restart("flightsql", version="VARCHAR")
    assert _code(driven, "select version from flightsql.small") == "source_error"
    driven.kill("flightsql")
    driven.restart("flightsql", version="BIGINT")
    assert _code(driven, "select version from flightsql.small") == "ok"
    driven.kill("flightsql")
    driven.restart("flightsql")
    assert _code(driven, sql) == "ok"


@pytest.mark.parametrize(
    ("change", "wanted"),
    _quick([
        ("ALTER COLUMN version TYPE text", "source_error"),
        ("ALTER COLUMN version TYPE numeric USING version + 0.5", "source_error"),
        ("ALTER COLUMN version TYPE bigint", "ok"),
        ("ALTER COLUMN version TYPE bigint USING 3000000000", "source_error"),
        ("DROP COLUMN version", "source_error"),
        ("RENAME TO gone", "source_error"),
    ], ("ALTER COLUMN version TYPE text", "source_error")),
)  # fmt: skip
def test_a_changed_column(change: str, wanted: str, driven: Driven) -> None:
    """Another type serves where every value fits, else the source is in error."""
    for kind in BY_POSTGRES:
        assert _code(driven, f"select id, version from {kind}.small") == "ok"
    driven.server.run("faults", f"ALTER TABLE small {change}")
    for kind in BY_POSTGRES:
        assert _code(driven, f"select id, version from {kind}.small") == wanted, kind
    assert _code(driven, SMALL.format(QUIET)) == "ok"
    assert within(60, lambda: driven.leased() == 0)


@pytest.mark.parametrize(
    ("version", "wanted"),
    _quick([
        ("'one'", "source_error"),
        ("1.5::DECIMAL(5,1)", "source_error"),
        ("2::BIGINT", "ok"),
        ("3000000000", "source_error"),
        ("1 AS other, 1", "ok"),
    ], ("3000000000", "source_error")),
)  # fmt: skip
def test_a_changed_object(version: str, wanted: str, driven: Driven) -> None:
    sql = "select id, version from objects.small"
    try:
        assert _code(driven, sql) == "ok"
        put_objects(driven.servers, version)
        assert _code(driven, sql) == wanted
        _check_rest(driven, "objects")
    finally:
        put_objects(driven.servers)
    assert _code(driven, sql) == "ok"


@pytest.mark.long
def test_an_object_that_is_gone(driven: Driven) -> None:
    store = driven.servers.store
    assert store is not None
    store.remove("small.parquet")
    try:
        assert _code(driven, SMALL.format("objects")) == "source_unavailable"
        _check_rest(driven, "objects")
    finally:
        put_objects(driven.servers)
    assert _code(driven, SMALL.format("objects")) == "ok"


def test_through_the_proxies_alone(driven: Driven) -> None:
    """A control: without a fault all of this is whole."""
    for kind in KINDS:
        assert _midway(driven, kind, lambda: None) == ("ok", ROWS)
        assert _code(driven, MIXED.format(kind)) == "ok"
    assert drivers(os.getpid()) > 0
    _check_nothing_left(driven)
