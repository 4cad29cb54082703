"""A table of PostgreSQL that two connections read breaks: nothing is left, nothing is half.

Takes: a server of its own with a table that is large enough. Gives: that two sessions read it and
the answer is whole; that an error in one of them, a cancel, a deadline, a server that is killed and
a reader who goes away end both; that one connection reads where there is no second.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from connectors.base import ConnectorError
from connectors.postgres import PostgresConnection
from gateway.demo.postgres import OwnServer, find_server
from gateway.errors import Cancelled
from gateway.request import Limits
from tests.faults.outcomes import ENDED, code_of, leased, midway
from tests.faults.places import port_of
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain
from tests.served import within

ROWS = 400_000
ROLE = "reader"
ALL = "select id, s from postgres.large"
# Its last value is no number, and the second session meets it.
FAILING = "select id, s, d from postgres.large"
COLUMNS = {"id": "integer", "s": "text", "d": "decimal(15,2)"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, OwnServer]]:
    """A server that may be killed, whoever else has one."""
    folder = tmp_path_factory.mktemp("parts")
    server = find_server(folder / "postgres", choices=("system", "wheel"))
    assert isinstance(server, OwnServer)
    server.start()
    server.run("postgres", "CREATE DATABASE parts", f"CREATE ROLE {ROLE} LOGIN PASSWORD 'word'")
    server.run(
        "parts",
        "CREATE TABLE large AS SELECT g::int AS id, repeat('x', 150) AS s, "
        f"CASE g WHEN {ROWS} THEN 'NaN'::numeric ELSE g END::numeric(15, 2) AS d "
        f"FROM generate_series(1, {ROWS}) g",
        f"GRANT SELECT ON large TO {ROLE}",
        "ANALYZE large",
        "CHECKPOINT",
    )
    yield folder, server
    server.discard()


@pytest.fixture
def mesh(home: tuple[Path, OwnServer]) -> Iterator[PlainMesh]:
    folder, server = home
    server.run("parts", f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
    url = f"postgresql://{ROLE}:word@127.0.0.1:{port_of(server)}/parts"
    source = PlainSource("postgres", {}, {"url": url})
    table = PlainTable("postgres", "large", "public.large", COLUMNS)
    made = open_plain(folder, {"postgres": source}, [table])
    yield made
    made.opened.close()


def _sessions(server: OwnServer, condition: str = "state <> 'idle'") -> int:
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}' AND {condition}"
    with psycopg.connect(server.url("parts"), autocommit=True) as connection:
        found = connection.execute(sql).fetchone()
    assert found is not None
    return int(found[0])


def _is_over(server: OwnServer, mesh: PlainMesh) -> bool:
    """Whether no statement runs, no transaction is open and no connection is out."""
    return within(10, lambda: _sessions(server) == 0 and leased(mesh) == 0)


def test_two_sessions_read_it_and_it_is_whole(
    home: tuple[Path, OwnServer], mesh: PlainMesh
) -> None:
    seen: list[int] = []
    code, rows = midway(mesh, ALL, lambda: seen.append(_sessions(home[1])))
    assert (code, rows, seen) == ("ok", ROWS, [2])
    assert _is_over(home[1], mesh)
    ids = mesh.ask(ALL)["id"].to_pylist()
    assert sorted(ids) == list(range(1, ROWS + 1))
    # Both are kept, and no transaction is left open.
    assert _sessions(home[1], "state = 'idle'") == 2


def test_both_are_kept_where_they_cannot_be_put_together(
    home: tuple[Path, OwnServer], mesh: PlainMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reads then, and the other goes back as it came: it is neither closed nor asked anew."""
    opened, tried = list[object](), list[object]()
    plain = PostgresConnection.prepare

    def counted(self: PostgresConnection) -> None:
        opened.append(self)
        plain(self)

    def not_exported(self: PostgresConnection) -> str:
        tried.append(self)
        raise ConnectorError("no snapshot is to be had")

    monkeypatch.setattr(PostgresConnection, "prepare", counted)
    monkeypatch.setattr(PostgresConnection, "_exported", not_exported)
    seen: list[int] = []
    for _ in range(3):
        seen.clear()
        assert midway(mesh, ALL, lambda: seen.append(_sessions(home[1]))) == ("ok", ROWS)
        assert seen == [1]
        assert _is_over(home[1], mesh)
        assert _sessions(home[1], "state = 'idle'") == 2
    assert len(tried) == 3 and len(opened) == 2


def test_an_error_in_one_ends_both(home: tuple[Path, OwnServer], mesh: PlainMesh) -> None:
    assert code_of(mesh, FAILING) == "source_error"
    assert _is_over(home[1], mesh)
    assert code_of(mesh, ALL) == "ok"


def test_cancel_and_deadline(home: tuple[Path, OwnServer], mesh: PlainMesh) -> None:
    result = mesh.start(ALL)
    batches = result.batches()
    next(batches)
    result.cancel(Cancelled("enough"))
    with pytest.raises(Cancelled):
        list(batches)
    assert _is_over(home[1], mesh)
    result = mesh.start(ALL, limits=Limits(seconds=1))
    batches = result.batches()
    next(batches)
    # Who reads no more meets the deadline, and so do both sessions.
    assert _is_over(home[1], mesh)


def test_a_reader_who_goes_away_ends_both(home: tuple[Path, OwnServer], mesh: PlainMesh) -> None:
    batches = mesh.start(ALL).batches()
    next(batches)
    batches.close()  # type: ignore[attr-defined]  # a generator
    assert _is_over(home[1], mesh)


@pytest.mark.parametrize("place", [0, 1])
def test_a_session_that_is_ended_ends_the_other(
    place: int, home: tuple[Path, OwnServer], mesh: PlainMesh
) -> None:
    end = (
        "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity "
        f"WHERE usename = '{ROLE}' ORDER BY backend_start OFFSET {place} LIMIT 1) AS one"
    )
    code, rows = midway(mesh, ALL, lambda: home[1].run("parts", end))
    assert code in ENDED and 0 < rows < ROWS
    assert _is_over(home[1], mesh)
    assert code_of(mesh, ALL) == "ok"


def test_a_server_that_is_killed(home: tuple[Path, OwnServer], mesh: PlainMesh) -> None:
    server = home[1]

    def kill() -> None:
        process = server._process
        assert process is not None
        process.send_signal(signal.SIGQUIT)
        process.wait(20)

    code, rows = midway(mesh, ALL, kill)
    assert code in ENDED and 0 < rows < ROWS
    assert within(10, lambda: leased(mesh) == 0)
    server.stop()
    server.start()


def test_one_reads_where_there_is_no_second(home: tuple[Path, OwnServer], mesh: PlainMesh) -> None:
    server = home[1]
    seen: list[int] = []
    server.run("parts", f"ALTER ROLE {ROLE} CONNECTION LIMIT 1")
    assert midway(mesh, ALL, lambda: seen.append(_sessions(server))) == ("ok", ROWS)
    server.run("parts", f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")
    assert seen == [1]
    with ExitStack() as stack:
        # Two others read slowly, and hold half of the pool: the other half is for who needs one.
        for _ in range(2):
            batches = mesh.start(ALL).batches()
            stack.callback(batches.close)  # type: ignore[attr-defined]  # a generator
            next(batches)
        assert leased(mesh) == 4
        assert midway(mesh, ALL, lambda: seen.append(leased(mesh))) == ("ok", ROWS)
        assert seen[-1] == 5
    assert _is_over(server, mesh)
