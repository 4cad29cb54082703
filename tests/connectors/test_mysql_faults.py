"""MariaDB goes away, stalls, is full, or takes a permission back: a clear error, nothing left over.

Takes: a server of its own, which is killed, stopped and started. Gives: what the connector says
each time, within its deadline, and that the server runs nothing afterwards.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from connectors.base import (
    Connection,
    ConnectorCancelled,
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    FragmentColumn,
    load_connector,
)
from gateway.demo.mysql import OwnServer
from tests.mysql import running_mysql
from tests.served import within

pytestmark = pytest.mark.long
COLUMN = (FragmentColumn("x", "BIGINT"),)
MANY = Fragment("SELECT a.seq FROM mysql.seq_1_to_3000 a, mysql.seq_1_to_3000 b", COLUMN, ())
FEW = Fragment("SELECT a.seq FROM mysql.seq_1_to_300 a, mysql.seq_1_to_300 b", COLUMN, ())
SLOW = Fragment("SELECT SLEEP(20)", COLUMN, ())
# What nobody can ask to stop any more, and what ends by itself.
SHORT = Fragment("SELECT SLEEP(6)", COLUMN, ())
WITHIN = 60.0


@pytest.fixture(scope="module")
def own() -> Iterator[OwnServer]:
    """A server that may be ended; a few connections are all that it takes."""
    with running_mysql("--max-connections=12") as found:
        assert isinstance(found, OwnServer)
        yield found


@pytest.fixture
def server(own: OwnServer) -> OwnServer:
    """The server, running again whatever was done to it."""
    own.start()
    return own


def opened(server: OwnServer, **settings: str) -> Connection:
    return load_connector("mysql").connect({"url": server.url(), **settings})


def running(server: OwnServer) -> int:
    """Statements of others that run on; what is being ended has some time."""
    sql = "SELECT count(*) FROM information_schema.processlist WHERE command = 'Query' "
    with closing(opened(server)) as other:
        own = Fragment(f"{sql} AND id <> CONNECTION_ID()", COLUMN, ())
        count = -1

        def is_quiet() -> bool:
            nonlocal count
            count = int(next(iter(other.stream(own))).column(0)[0].as_py())
            return not count

        within(WITHIN, is_quiet)
        return count


def fails(connection: Connection, fragment: Fragment) -> None:
    """The statement ends in time, with the error of a source that is gone."""
    began = time.monotonic()
    with pytest.raises(ConnectorUnavailable):
        list(connection.stream(fragment))
    assert time.monotonic() - began < WITHIN
    with pytest.raises(ConnectorUnavailable):
        connection.ping()
    connection.close()


def test_killed_before_a_fragment(server: OwnServer) -> None:
    connection = opened(server)
    server.kill()
    fails(connection, MANY)
    with pytest.raises(ConnectorUnavailable):
        opened(server)


def test_killed_while_it_computes(server: OwnServer) -> None:
    connection = opened(server)
    timer = threading.Timer(0.3, os.kill, (server.process_id, signal.SIGKILL))
    timer.start()
    fails(connection, SLOW)
    timer.join()
    server.kill()


def test_killed_between_batches(server: OwnServer) -> None:
    """What came is never passed off as the whole: the stream does not end, it breaks."""
    connection = opened(server)
    batches = connection.stream(MANY)
    assert next(batches).num_rows > 0
    server.kill()
    with pytest.raises(ConnectorUnavailable):
        list(batches)
    connection.close()


def test_killed_after_a_fragment(server: OwnServer) -> None:
    connection = opened(server)
    assert sum(one.num_rows for one in connection.stream(FEW)) == 90_000
    server.kill()
    fails(connection, MANY)


def test_a_session_that_is_ended(server: OwnServer) -> None:
    connection = opened(server)
    (batch,) = connection.stream(Fragment("SELECT CONNECTION_ID()", COLUMN, ()))
    server.run(f"KILL CONNECTION {batch.column(0)[0]}")
    fails(connection, MANY)


def test_stalled_it_is_cancelled(server: OwnServer) -> None:
    """A server that does not answer cannot be asked to stop; the session is given up in time."""
    connection = opened(server)
    batches = connection.stream(SHORT)

    def stall() -> None:
        os.kill(server.process_id, signal.SIGSTOP)
        connection.cancel()

    timer = threading.Timer(0.3, stall)
    timer.start()
    began = time.monotonic()
    with pytest.raises(ConnectorCancelled):
        next(batches)
    assert time.monotonic() - began < WITHIN
    timer.join()
    os.kill(server.process_id, signal.SIGCONT)
    connection.close()
    assert running(server) == 0


def test_stalled_it_is_gone_after_its_time(server: OwnServer) -> None:
    """Nobody cancels: so many seconds without a byte end the statement."""
    connection = opened(server, timeout="1")
    fails(connection, SLOW)
    assert running(server) == 0


def test_a_greeting_that_does_not_come() -> None:
    """Connecting has its time too, and what is no server is unavailable."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql://a:b@127.0.0.1:{silent.getsockname()[1]}/"
        began = time.monotonic()
        with pytest.raises(ConnectorUnavailable):
            load_connector("mysql").connect({"url": url, "timeout": "2"})
        assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\0\0\0\x0ax\0\0\0"]
)
def test_something_else_at_that_port(says: bytes) -> None:
    """Reset at once, or another protocol."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            one, _ = listening.accept()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if says:
                one.sendall(says)
            one.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConnectorUnavailable):
            url = f"mysql://a:b@127.0.0.1:{listening.getsockname()[1]}/"
            load_connector("mysql").connect({"url": url, "timeout": "2"})
        thread.join()


def test_out_of_connections(server: OwnServer) -> None:
    """The next one is unavailable; a statement that cannot be killed any more still ends here."""
    held: list[Connection] = []
    with pytest.raises(ConnectorError):
        for _ in range(30):
            held.append(opened(server))
    connection = held[0]
    batches = connection.stream(SHORT)
    timer = threading.Timer(0.3, connection.cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(ConnectorCancelled):
        next(batches)
    assert time.monotonic() - began < WITHIN
    timer.join()
    for one in held:
        one.close()
    assert running(server) == 0


def test_a_permission_that_is_taken_back(server: OwnServer) -> None:
    """Between two fragments: an error, and the session goes on."""
    server.run(
        "CREATE OR REPLACE DATABASE kept",
        "CREATE TABLE kept.t (x bigint)",
        "INSERT INTO kept.t VALUES (7)",
        "CREATE OR REPLACE USER reader@'127.0.0.1' IDENTIFIED BY 'word'",
        "GRANT SELECT ON kept.t TO reader@'127.0.0.1'",
    )
    url = server.url("", "reader", "word")
    fragment = Fragment("SELECT x FROM kept.t", COLUMN, ())
    with closing(load_connector("mysql").connect({"url": url})) as connection:
        assert [one.to_pydict() for one in connection.stream(fragment)] == [{"x": [7]}]
        server.run("REVOKE SELECT ON kept.t FROM reader@'127.0.0.1'")
        with pytest.raises(ConnectorError) as told:
            list(connection.stream(fragment))
        assert not isinstance(told.value, ConnectorUnavailable)
        assert not connection.columns("kept.t")
        connection.ping()


def test_a_column_that_changed_its_type(server: OwnServer) -> None:
    """What does not fit any more is an error, not another value."""
    server.run("CREATE OR REPLACE DATABASE kept", "CREATE TABLE kept.t (x bigint)",
               "INSERT INTO kept.t VALUES (7)")  # fmt: skip
    fragment = Fragment("SELECT x FROM kept.t", COLUMN, ())
    with closing(opened(server)) as connection:
        assert list(connection.stream(fragment))
        server.run("ALTER TABLE kept.t MODIFY x varchar(20)")
        with pytest.raises(ConnectorError, match="type is text"):
            list(connection.stream(fragment))


def test_nothing_is_left(server: OwnServer) -> None:
    """Of statements that were left in the middle the server runs none."""
    with closing(opened(server)) as connection:
        batches = connection.stream(MANY)
        next(batches)
        batches.close()  # type: ignore[attr-defined]  # the protocol promises an iterator only
        assert running(server) == 0
        connection.ping()
