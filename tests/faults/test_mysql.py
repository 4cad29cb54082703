"""MariaDB breaks: before, during and after a fragment, by itself and on the way.

Takes: a server of its own behind a proxy. Gives: the code of each fault; that the other sources
answer; that nothing is left running, leased or open; that no part of an answer ends cleanly.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from gateway.demo.mysql import OwnServer
from tests.faults.mariadb import (
    ACCOUNT,
    BrokenMariadb,
    connected,
    make_mariadb,
    open_mariadb,
    port_of,
)
from tests.faults.outcomes import ENDED, WHOLE, check_rest, code_of, leased, midway
from tests.faults.places import ROLE, ROWS
from tests.mysql import running_mysql
from tests.served import within

LARGE, SMALL = "select id, s from mariadb.large", "select count(*) n from mariadb.small"
MIXED = "select count(*) n from mariadb.large l join sqlite.large q on l.id = q.id"
# Few enough that a test may have them all.
_CONNECTIONS = 12


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, OwnServer]]:
    """A server that may be killed, whoever else has one."""
    folder = tmp_path_factory.mktemp("faults")
    options = ("--innodb-flush-log-at-trx-commit=1", f"--max-connections={_CONNECTIONS}")
    with running_mysql(*options) as server:
        assert isinstance(server, OwnServer)
        make_mariadb(folder, server)
        yield folder, server


@pytest.fixture
def broken(home: tuple[Path, OwnServer]) -> Iterator[BrokenMariadb]:
    folder, server = home
    server.start()
    made = open_mariadb(folder, server)
    yield made
    made.close()


def _restart(broken: BrokenMariadb) -> None:
    broken.server.start()
    broken.proxy.target = port_of(broken.server)


@pytest.mark.long
def test_killed_before_during_and_after(broken: BrokenMariadb) -> None:
    mesh = broken.mesh
    assert code_of(mesh, SMALL) == "ok"
    broken.server.kill()
    assert code_of(mesh, SMALL) == "source_unavailable"
    assert code_of(mesh, MIXED) == "source_unavailable"
    check_rest(mesh)
    _restart(broken)
    assert code_of(mesh, SMALL) == "ok"
    code, rows = midway(mesh, LARGE, broken.server.kill)
    assert code in ENDED and 0 < rows < ROWS
    check_rest(mesh)
    _restart(broken)
    assert code_of(mesh, LARGE) == "ok"
    broken.server.kill()
    check_rest(mesh)
    _restart(broken)
    assert code_of(mesh, SMALL) == "ok"
    assert within(60, lambda: broken.sessions() == 0)


def test_refused_and_reset(broken: BrokenMariadb) -> None:
    mesh = broken.mesh
    assert code_of(mesh, SMALL) == "ok"
    code, rows = midway(mesh, LARGE, lambda: broken.proxy.break_after("reset", 0))
    assert code in ENDED and 0 < rows < ROWS
    check_rest(mesh)
    broken.proxy.break_after("reset", 20_000_000)
    assert code_of(mesh, LARGE) in ENDED
    broken.proxy.break_after("reset", 3_000_000)
    assert code_of(mesh, MIXED) in ENDED
    broken.proxy.mend()
    assert code_of(mesh, SMALL) == "ok"
    assert within(60, lambda: broken.sessions() == 0)
    broken.proxy.refuse()
    assert code_of(mesh, SMALL) == "source_unavailable"
    check_rest(mesh)


@pytest.mark.long
@pytest.mark.parametrize("size", [0, 20_000_000], ids=["from the start", "midway"])
def test_stalled(broken: BrokenMariadb, size: int) -> None:
    """Who does not answer meets the deadline, and whoever waited for him goes on."""
    mesh = broken.mesh
    assert code_of(mesh, SMALL) == "ok"
    broken.proxy.break_after("stall", size)
    began = time.monotonic()
    assert code_of(mesh, LARGE, seconds=2) == "timeout"
    assert time.monotonic() - began < 60
    for domain in WHOLE:
        assert code_of(mesh, f"select count(*) n from {domain}.small") == "ok"
    broken.proxy.mend()
    assert within(60, lambda: leased(mesh) == 0), leased(mesh)
    assert within(60, lambda: broken.sessions() == 0)
    assert code_of(mesh, SMALL) == "ok"


def test_slow_meets_the_deadline_at_the_source(broken: BrokenMariadb) -> None:
    began = time.monotonic()
    assert code_of(broken.mesh, "select s from mariadb.slow", seconds=1) == "timeout"
    assert time.monotonic() - began < 60
    assert within(60, lambda: broken.sessions() == 0)
    check_rest(broken.mesh)


def test_out_of_connections(broken: BrokenMariadb) -> None:
    """Others have them all; then they give them back."""
    mesh = broken.mesh
    with contextlib.ExitStack() as held:
        with pytest.raises(pymysql.OperationalError, match="Too many connections"):
            for _ in range(_CONNECTIONS + 1):
                held.enter_context(connected(broken.server, ROLE))
        assert code_of(mesh, SMALL) == "source_unavailable"
        check_rest(mesh)
    assert within(60, lambda: code_of(mesh, SMALL) == "ok")


def test_permission_lost(broken: BrokenMariadb) -> None:
    mesh, server = broken.mesh, broken.server
    assert code_of(mesh, SMALL) == "ok"
    server.run(f"REVOKE SELECT ON faults.small FROM {ACCOUNT}")
    assert code_of(mesh, SMALL) == "source_error"
    server.run(f"GRANT SELECT ON faults.small TO {ACCOUNT}")
    assert code_of(mesh, SMALL) == "ok"
    server.run(f"ALTER USER {ACCOUNT} IDENTIFIED BY 'another'")
    revoked = f"REVOKE SELECT ON faults.large FROM {ACCOUNT}"
    # What began with the right to read may end; the next may not begin.
    assert midway(mesh, LARGE, lambda: server.run(revoked)) == ("ok", ROWS)
    assert code_of(mesh, LARGE) == "source_error"
    mesh.opened.pools.close()
    assert code_of(mesh, SMALL) == "source_unavailable"
    check_rest(mesh)
    assert within(60, lambda: broken.sessions() == 0)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (("MODIFY version text",), "source_error"),
        (("MODIFY version decimal(10,1)",), "ok"),
        (("DROP version", "ADD version decimal(10,1) DEFAULT 1.5"), "source_error"),
        (("MODIFY version bigint",), "ok"),
        (("DROP version", "ADD version bigint DEFAULT 3000000000"), "source_error"),
        (("DROP version",), "source_error"),
        (("RENAME TO faults.gone",), "source_error"),
    ],
    ids=str,
)  # fmt: skip
def test_a_changed_column(changes: tuple[str, ...], wanted: str, broken: BrokenMariadb) -> None:
    """Another type serves where every value fits, else the source is in error."""
    sql = "select id, version from mariadb.small"
    assert code_of(broken.mesh, sql) == "ok"
    broken.server.run(*(f"ALTER TABLE faults.small {one}" for one in changes))
    assert code_of(broken.mesh, sql) == wanted
    check_rest(broken.mesh)


@pytest.mark.long
def test_through_the_proxy_alone(broken: BrokenMariadb) -> None:
    """A control: without a fault all of this is whole, and leaves sessions that are idle."""
    assert midway(broken.mesh, LARGE, lambda: None) == ("ok", ROWS)
    assert code_of(broken.mesh, MIXED) == "ok"
    assert within(60, lambda: broken.sessions() == 0)
    assert broken.sessions("true") > 0
    broken.mesh.opened.pools.close()
    assert within(60, lambda: broken.sessions("true") == 0)
