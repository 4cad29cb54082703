"""PostgreSQL breaks: before, during and after a fragment, by itself and on the way.

Takes: a server of its own behind a proxy. Gives: the code of each fault; that the other sources
answer; that nothing is left running, leased or open; that no part of an answer ends cleanly.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.demo.postgres import OwnServer, find_server
from gateway.errors import SqluiceError
from gateway.request import Limits
from tests.faults.places import ROLE, ROWS, Broken, make_places, open_broken, port_of
from tests.served import within

LARGE, SMALL = "select id, s from postgres.large", "select count(*) n from postgres.small"
MIXED = "select count(*) n from postgres.large l join sqlite.large q on l.id = q.id"
ENDED = ("source_unavailable", "source_error")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, OwnServer]]:
    """A server that may be killed, whoever else has one."""
    folder = tmp_path_factory.mktemp("faults")
    server = find_server(folder / "postgres", choices=("system", "wheel"))
    assert isinstance(server, OwnServer)
    server.start()
    make_places(folder, server)
    yield folder, server
    server.discard()


@pytest.fixture
def broken(home: tuple[Path, OwnServer]) -> Iterator[Broken]:
    folder, server = home
    made = open_broken(folder, server)
    yield made
    made.close()


def _kill(broken: Broken) -> None:
    """The server ends at once, and its sessions with it."""
    assert isinstance(broken.server, OwnServer)
    process = broken.server._process
    assert process is not None
    process.send_signal(signal.SIGQUIT)
    process.wait(20)


def _restart(broken: Broken) -> None:
    broken.server.stop()
    broken.server.start()
    broken.proxy.target = port_of(broken.server)


def _code(broken: Broken, sql: str, seconds: float = 30) -> str:
    """How a statement ends; an answer must be whole."""
    try:
        broken.mesh.ask(sql, limits=Limits(seconds=seconds))
    except SqluiceError as error:
        assert "postgres" not in error.message.replace("postgres.large", "").replace(
            "postgres.small", ""
        ).replace("postgres.slow", ""), "a source's own text"
        return error.code
    return "ok"


def _midway(broken: Broken, fault: Callable[[], object], seconds: float = 30) -> tuple[str, int]:
    """How a large answer ends whose source breaks after the first batch, and rows until then."""
    result = broken.mesh.start(LARGE, limits=Limits(seconds=seconds))
    batches = result.batches()
    rows = next(batches).num_rows
    fault()
    try:
        rows += sum(batch.num_rows for batch in batches)
    except SqluiceError as error:
        return error.code, rows
    return "ok", rows


def _check_rest(broken: Broken) -> None:
    """The others answer, and nothing is left."""
    for domain in ("sqlite", "duckdb", "files"):
        assert _code(broken, f"select count(*) n from {domain}.small") == "ok"
    assert within(10, lambda: broken.leased() == 0), broken.leased()


@pytest.mark.long
def test_killed_before_during_and_after(broken: Broken) -> None:
    assert _code(broken, SMALL) == "ok"
    _kill(broken)
    assert _code(broken, SMALL) == "source_unavailable"
    assert _code(broken, MIXED) == "source_unavailable"
    _check_rest(broken)
    _restart(broken)
    assert _code(broken, SMALL) == "ok"
    code, rows = _midway(broken, lambda: _kill(broken))
    assert code in ENDED and 0 < rows < ROWS
    _check_rest(broken)
    _restart(broken)
    assert _code(broken, LARGE) == "ok"
    _kill(broken)
    _check_rest(broken)
    _restart(broken)
    assert _code(broken, SMALL) == "ok"
    assert broken.sessions() == 0


def test_refused_and_reset(broken: Broken) -> None:
    assert _code(broken, SMALL) == "ok"
    code, rows = _midway(broken, lambda: broken.proxy.break_after("reset", 0))
    assert code in ENDED and 0 < rows < ROWS
    _check_rest(broken)
    broken.proxy.break_after("reset", 20_000_000)
    assert _code(broken, LARGE) in ENDED
    broken.proxy.break_after("reset", 3_000_000)
    assert _code(broken, MIXED) in ENDED
    broken.proxy.mend()
    assert _code(broken, SMALL) == "ok"
    assert within(10, lambda: broken.sessions() == 0)
    broken.proxy.refuse()
    assert _code(broken, SMALL) == "source_unavailable"
    _check_rest(broken)


@pytest.mark.parametrize(
    "size",
    [pytest.param(0, id="from the start", marks=pytest.mark.long),
     pytest.param(20_000_000, id="midway")],
)  # fmt: skip
def test_stalled(broken: Broken, size: int) -> None:
    """Who does not answer meets the deadline, and whoever waited for him goes on."""
    assert _code(broken, SMALL) == "ok"
    broken.proxy.break_after("stall", size)
    began = time.monotonic()
    assert _code(broken, LARGE, seconds=2) == "timeout"
    assert time.monotonic() - began < 10
    for domain in ("sqlite", "duckdb", "files"):
        assert _code(broken, f"select count(*) n from {domain}.small") == "ok"
    broken.proxy.mend()
    assert within(15, lambda: broken.leased() == 0), broken.leased()
    assert within(15, lambda: broken.sessions() == 0)
    assert _code(broken, SMALL) == "ok"


def test_slow_meets_the_deadline_at_the_source(broken: Broken) -> None:
    began = time.monotonic()
    assert _code(broken, "select s from postgres.slow", seconds=1) == "timeout"
    assert time.monotonic() - began < 5
    assert within(5, lambda: broken.sessions() == 0)
    _check_rest(broken)


def test_out_of_connections_and_permission_lost(broken: Broken) -> None:
    broken.server.run("faults", f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
    assert _code(broken, SMALL) == "source_unavailable"
    _check_rest(broken)
    broken.server.run("faults", f"ALTER ROLE {ROLE} CONNECTION LIMIT 9")
    assert _code(broken, SMALL) == "ok"
    broken.server.run("faults", f"REVOKE SELECT ON small FROM {ROLE}")
    assert _code(broken, SMALL) == "source_error"
    broken.server.run("faults", f"GRANT SELECT ON small TO {ROLE}")
    assert _code(broken, SMALL) == "ok"
    broken.server.run("faults", f"ALTER ROLE {ROLE} PASSWORD 'another'")
    code, rows = _midway(
        broken, lambda: broken.server.run("faults", f"REVOKE SELECT ON large FROM {ROLE}")
    )
    # What began with the right to read may end; the next may not begin.
    assert (code, rows) == ("ok", ROWS)
    assert _code(broken, LARGE) == "source_error"
    _check_rest(broken)
    assert broken.sessions() == 0


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("ALTER COLUMN version TYPE text", "source_error"),
        ("ALTER COLUMN version TYPE numeric USING version + 0.5", "source_error"),
        ("ALTER COLUMN version TYPE bigint", "ok"),
        ("ALTER COLUMN version TYPE bigint USING 3000000000", "source_error"),
        ("DROP COLUMN version", "source_error"),
        ("RENAME TO gone", "source_error"),
    ],
)
def test_a_changed_column(change: str, wanted: str, broken: Broken) -> None:
    """Another type serves where every value fits, else the source is in error."""
    sql = "select id, version from postgres.small"
    assert _code(broken, sql) == "ok"
    broken.server.run("faults", f"ALTER TABLE small {change}")
    assert _code(broken, sql) == wanted
    _check_rest(broken)


def test_through_the_proxy_alone(broken: Broken) -> None:
    """A control: without a fault all of this is whole, and leaves sessions that are idle."""
    assert _midway(broken, lambda: None) == ("ok", ROWS)
    assert _code(broken, MIXED) == "ok"
    assert broken.sessions() == 0
    assert broken.sessions("true") > 0
    broken.mesh.opened.pools.close()
    assert within(5, lambda: broken.sessions("true") == 0)
