"""PostgreSQL breaks: before, during and after a fragment, by itself and on the way.

Takes: a server of its own behind a proxy. Gives: the code of each fault; that the other sources
answer; that nothing is left running, leased or open; that no part of an answer ends cleanly.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.postgres import OwnServer, find_server
from tests.faults.outcomes import ENDED, WHOLE, check_rest, code_of, leased, midway
from tests.faults.places import ROLE, ROWS, Broken, make_places, open_broken, port_of
from tests.served import within

LARGE, SMALL = "select id, s from postgres.large", "select count(*) n from postgres.small"
MIXED = "select count(*) n from postgres.large l join sqlite.large q on l.id = q.id"


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
    process.wait(60)


def _restart(broken: Broken) -> None:
    broken.server.stop()
    broken.server.start()
    broken.proxy.target = port_of(broken.server)


@pytest.mark.long
def test_killed_before_during_and_after(broken: Broken) -> None:
    assert code_of(broken.mesh, SMALL) == "ok"
    _kill(broken)
    assert code_of(broken.mesh, SMALL) == "source_unavailable"
    assert code_of(broken.mesh, MIXED) == "source_unavailable"
    check_rest(broken.mesh)
    _restart(broken)
    assert code_of(broken.mesh, SMALL) == "ok"
    code, rows = midway(broken.mesh, LARGE, lambda: _kill(broken))
    assert code in ENDED and 0 < rows < ROWS
    check_rest(broken.mesh)
    _restart(broken)
    assert code_of(broken.mesh, LARGE) == "ok"
    _kill(broken)
    check_rest(broken.mesh)
    _restart(broken)
    assert code_of(broken.mesh, SMALL) == "ok"
    assert within(60, lambda: broken.sessions() == 0)


def test_refused_and_reset(broken: Broken) -> None:
    assert code_of(broken.mesh, SMALL) == "ok"
    code, rows = midway(broken.mesh, LARGE, lambda: broken.proxy.break_after("reset", 0))
    assert code in ENDED and 0 < rows < ROWS
    check_rest(broken.mesh)
    broken.proxy.break_after("reset", 20_000_000)
    assert code_of(broken.mesh, LARGE) in ENDED
    broken.proxy.break_after("reset", 3_000_000)
    assert code_of(broken.mesh, MIXED) in ENDED
    broken.proxy.mend()
    assert code_of(broken.mesh, SMALL) == "ok"
    assert within(60, lambda: broken.sessions() == 0)
    broken.proxy.refuse()
    assert code_of(broken.mesh, SMALL) == "source_unavailable"
    check_rest(broken.mesh)


@pytest.mark.parametrize(
    "size",
    [pytest.param(0, id="from the start", marks=pytest.mark.long),
     pytest.param(20_000_000, id="midway")],
)  # fmt: skip
def test_stalled(broken: Broken, size: int) -> None:
    """Who does not answer meets the deadline, and whoever waited for him goes on."""
    assert code_of(broken.mesh, SMALL) == "ok"
    broken.proxy.break_after("stall", size)
    began = time.monotonic()
    assert code_of(broken.mesh, LARGE, seconds=2) == "timeout"
    assert time.monotonic() - began < 60
    for domain in WHOLE:
        assert code_of(broken.mesh, f"select count(*) n from {domain}.small") == "ok"
    broken.proxy.mend()
    assert within(60, lambda: leased(broken.mesh) == 0), leased(broken.mesh)
    assert within(60, lambda: broken.sessions() == 0)
    assert code_of(broken.mesh, SMALL) == "ok"


def test_slow_meets_the_deadline_at_the_source(broken: Broken) -> None:
    began = time.monotonic()
    assert code_of(broken.mesh, "select s from postgres.slow", seconds=1) == "timeout"
    assert time.monotonic() - began < 60
    assert within(60, lambda: broken.sessions() == 0)
    check_rest(broken.mesh)


def test_out_of_connections_and_permission_lost(broken: Broken) -> None:
    broken.server.run("faults", f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
    assert code_of(broken.mesh, SMALL) == "source_unavailable"
    check_rest(broken.mesh)
    broken.server.run("faults", f"ALTER ROLE {ROLE} CONNECTION LIMIT 9")
    assert code_of(broken.mesh, SMALL) == "ok"
    broken.server.run("faults", f"REVOKE SELECT ON small FROM {ROLE}")
    assert code_of(broken.mesh, SMALL) == "source_error"
    broken.server.run("faults", f"GRANT SELECT ON small TO {ROLE}")
    assert code_of(broken.mesh, SMALL) == "ok"
    broken.server.run("faults", f"ALTER ROLE {ROLE} PASSWORD 'another'")
    code, rows = midway(
        broken.mesh, LARGE,
        lambda: broken.server.run("faults", f"REVOKE SELECT ON large FROM {ROLE}")
    )
    # What began with the right to read may end; the next may not begin.
    assert (code, rows) == ("ok", ROWS)
    assert code_of(broken.mesh, LARGE) == "source_error"
    check_rest(broken.mesh)
    assert within(60, lambda: broken.sessions() == 0)


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
    assert code_of(broken.mesh, sql) == "ok"
    broken.server.run("faults", f"ALTER TABLE small {change}")
    assert code_of(broken.mesh, sql) == wanted
    check_rest(broken.mesh)


def test_through_the_proxy_alone(broken: Broken) -> None:
    """A control: without a fault all of this is whole, and leaves sessions that are idle."""
    assert midway(broken.mesh, LARGE, lambda: None) == ("ok", ROWS)
    assert code_of(broken.mesh, MIXED) == "ok"
    assert within(60, lambda: broken.sessions() == 0)
    assert broken.sessions("true") > 0
    broken.mesh.opened.pools.close()
    assert within(60, lambda: broken.sessions("true") == 0)
