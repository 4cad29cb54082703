"""A table of PostgreSQL that several sessions read: every row once, of one moment.

Takes: a table of its own, changed while it is read. Gives: the rows as they were when the first
session began. Controls show that without the exported snapshot rows are lost and doubled, and that
without the lock a table that is emptied meanwhile loses them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import cast

import psycopg
import pytest

from connectors import postgres_parts
from connectors.base import (
    ConnectorError,
    Fragment,
    FragmentColumn,
    arrow_schema,
    load_connector,
)
from connectors.parting import NotPartedError
from connectors.postgres import PostgresConnection
from gateway.demo.postgres import Server
from tests.served import within

ROWS = 6_000
_PLAIN = 'SELECT "id" AS "id", "version" AS "version" FROM "public"."parts" AS p'
_WHERE = " WHERE ctid >= CAST(${} AS tid) AND ctid < CAST(${} AS tid)"
COLUMNS = (FragmentColumn("id", "INTEGER"), FragmentColumn("version", "INTEGER"))
WHOLE = Fragment(_PLAIN, COLUMNS, ("public.parts",), ranged=_PLAIN + _WHERE.format(1, 2))
WANTED = Counter((one, 1) for one in range(1, ROWS + 1))
# Each row that is met moves behind all others.
MOVE = "UPDATE parts SET version = version + 1 WHERE id % 3 = 0"


@pytest.fixture
def changing(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """Another session, over a table that counts as large."""
    monkeypatch.setattr(postgres_parts, "LARGE_BYTES", 8192)
    with psycopg.connect(server.url("postgres"), autocommit=True) as made:
        made.execute("DROP TABLE IF EXISTS parts CASCADE")
        made.execute(
            "CREATE TABLE parts WITH (autovacuum_enabled = off) AS SELECT g::int AS id, "
            f"1 AS version, repeat('x', 100) AS s FROM generate_series(1, {ROWS}) g"
        )
        made.execute("SET lock_timeout = '200ms'")
        yield made
        made.execute("DROP TABLE IF EXISTS parts CASCADE")


@pytest.fixture
def sessions(server: Server) -> Iterator[tuple[PostgresConnection, ...]]:
    with ExitStack() as stack:
        yield tuple(_open(stack, server, streams="3") for _ in range(3))


def _open(stack: ExitStack, server: Server, **settings: str) -> PostgresConnection:
    made = load_connector("postgres").connect({"url": server.url("postgres"), **settings})
    return cast(PostgresConnection, stack.enter_context(closing(made)))


def _rows(session: PostgresConnection, fragment: Fragment) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for batch in session.stream(fragment):
        assert batch.schema == arrow_schema(COLUMNS)
        found.update(zip(*(one.to_pylist() for one in batch.columns), strict=True))
    return found


def _are_at_rest(sessions: tuple[PostgresConnection, ...], other: psycopg.Connection) -> bool:
    """Whether no transaction is open, and the next is as usual."""
    pids = [one._rows("SELECT pg_backend_pid()")[0][0] for one in sessions]
    levels = [one._rows("SELECT current_setting('transaction_isolation')") for one in sessions]
    sql = "SELECT state FROM pg_stat_activity WHERE pid = ANY(%s)"
    states = {state for (state,) in other.execute(sql, (pids,))}
    return states == {"idle"} and levels == [[("read committed",)]] * len(sessions)


@pytest.mark.parametrize("count", [2, 3])
def test_every_row_once_while_they_move(
    count: int, changing: psycopg.Connection, sessions: tuple[PostgresConnection, ...]
) -> None:
    lead, *others = sessions[:count]
    assert lead.streams(WHOLE) == 3
    found: Counter[tuple[int, int]] = Counter()
    with lead.parted(WHOLE, others) as parts:
        assert len(parts) == count
        for session, part in zip((lead, *others), parts, strict=True):
            alone = _rows(session, part)
            assert 0 < alone.total() < ROWS
            found += alone
            changing.execute(MOVE)
            changing.execute("DELETE FROM parts WHERE id % 5 = 0")
            changing.execute("INSERT INTO parts SELECT 100000 + id, 1, s FROM parts LIMIT 500")
    assert found == WANTED
    assert _are_at_rest(sessions, changing)


def test_control_without_the_snapshot_rows_are_lost_and_doubled(
    changing: psycopg.Connection, sessions: tuple[PostgresConnection, ...]
) -> None:
    with sessions[0].parted(WHOLE, sessions[1:2]) as parts:
        pass
    found: Counter[int] = Counter()
    for session, part in zip(sessions, parts, strict=False):
        found.update(id for id, _ in _rows(session, part).elements())
        changing.execute(MOVE)
        changing.execute(f"DELETE FROM parts WHERE id = {ROWS}")
    assert ROWS not in found
    assert max(found.values()) == 2


def test_a_table_cannot_be_emptied_meanwhile(
    changing: psycopg.Connection, sessions: tuple[PostgresConnection, ...]
) -> None:
    """A snapshot does not bring back what TRUNCATE took; the lock of each session does."""
    with sessions[0].parted(WHOLE, sessions[1:2]) as parts:
        found = _rows(sessions[0], parts[0])
        with pytest.raises(psycopg.errors.LockNotAvailable):
            changing.execute("TRUNCATE parts")
        found += _rows(sessions[1], parts[1])
    assert found == WANTED
    changing.execute("TRUNCATE parts")
    with sessions[0].parted(WHOLE, sessions[1:2]) as parts:
        assert not sum((_rows(*each) for each in zip(sessions, parts, strict=False)), Counter())


def test_a_locked_table_is_not_waited_for(
    changing: psycopg.Connection, sessions: tuple[PostgresConnection, ...]
) -> None:
    with changing.transaction():
        changing.execute("LOCK TABLE parts IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(NotPartedError), sessions[0].parted(WHOLE, sessions[1:]):
            pass
        assert _are_at_rest(sessions, changing)
    assert _rows(sessions[0], WHOLE) == WANTED


def test_sessions_of_two_servers_are_not_put_together(
    changing: psycopg.Connection,
    sessions: tuple[PostgresConnection, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A copy of a server may know a snapshot of the same name."""
    told = iter(range(9))
    states = {**postgres_parts.SQL, "state": "SELECT 'one'"}
    monkeypatch.setattr(postgres_parts, "SQL", states)
    monkeypatch.setattr(
        PostgresConnection, "_exported",
        lambda self: states.update(state=f"SELECT 'other {next(told)}'")
        or self._rows("SELECT pg_export_snapshot()")[0][0],
    )  # fmt: skip
    with pytest.raises(NotPartedError), sessions[0].parted(WHOLE, sessions[1:]):
        pass
    assert _are_at_rest(sessions, changing)


def test_an_error_in_a_part_leaves_the_session_well(
    changing: psycopg.Connection, sessions: tuple[PostgresConnection, ...]
) -> None:
    failing = f'SELECT "id" AS "id", (1 / ("id" - {ROWS}))::int AS "version" FROM "public"."parts"'
    fragment = Fragment(failing, COLUMNS, ("public.parts",), ranged=failing + _WHERE.format(1, 2))
    with sessions[0].parted(fragment, sessions[1:2]) as parts:
        assert _rows(sessions[0], parts[0])
        with pytest.raises(ConnectorError, match="division by zero"):
            _rows(sessions[1], parts[1])
    assert _are_at_rest(sessions, changing)
    assert _rows(sessions[1], WHOLE) == WANTED


@pytest.mark.parametrize(
    "made",
    [
        "CREATE VIEW {} AS SELECT * FROM parts",
        "CREATE TABLE {} (id int, version int) PARTITION BY RANGE (id)",
        "CREATE TABLE {} AS SELECT 1 AS id, 1 AS version WHERE false",
        "CREATE TABLE {} AS TABLE parts; CREATE TABLE heir () INHERITS ({})",
    ],
)
def test_what_is_no_large_table_of_its_own_is_read_by_one(
    made: str, changing: psycopg.Connection, sessions: tuple[PostgresConnection, ...]
) -> None:
    changing.execute("DROP VIEW IF EXISTS apart")
    try:
        for one in made.format("apart", "apart").split("; "):
            changing.execute(one)
        ranged = WHOLE.ranged.replace("parts", "apart")
        fragment = Fragment(ranged, COLUMNS, ("public.apart",), ranged=ranged)
        assert sessions[0].streams(fragment) == 1
    finally:
        kind = "VIEW" if "VIEW" in made else "TABLE"
        changing.execute(f"DROP {kind} apart CASCADE")


def test_when_one_session_is_enough(
    changing: psycopg.Connection, sessions: tuple[PostgresConnection, ...], server: Server
) -> None:
    lead = sessions[0]
    fields = {name: getattr(WHOLE, name) for name in ("sql", "columns", "tables", "ranged")}
    assert lead.streams(Fragment(**fields, expected_rows=postgres_parts.MANY_ROWS)) == 3
    assert lead.streams(Fragment(**fields, expected_rows=1000)) == 1
    assert lead.streams(Fragment(**{**fields, "ranged": ""})) == 1
    # What cannot be written into COPY is bound, and read through a cursor of one session.
    bound = {**fields, "ranged": f"{_PLAIN}{_WHERE.format(2, 3)} AND $1::text <> ''"}
    assert lead.streams(Fragment(**bound, parameters=("x",), parameter_types=("VARCHAR",))) == 3
    odd = Fragment(**bound, parameters=("\\",), parameter_types=("VARCHAR",))
    assert lead.streams(odd) == 1
    lead._version = 130_000
    assert lead.streams(WHOLE) == 1
    with ExitStack() as stack:
        assert _open(stack, server, streams="1").streams(WHOLE) == 1
        assert _open(stack, server).streams(WHOLE) == postgres_parts.DEFAULT_STREAMS == 2


@pytest.mark.parametrize("text", ["0", "9", "two", "-1", "1.5", ""])
def test_a_setting_that_is_none(text: str, server: Server) -> None:
    with pytest.raises(ConnectorError, match="streams"):
        load_connector("postgres").connect({"url": server.url("postgres"), "streams": text})


def test_an_index_that_somebody_wants_to_lock_keeps_nobody(
    server: Server, changing: psycopg.Connection, sessions: tuple[PostgresConnection, ...]
) -> None:
    changing.execute("CREATE INDEX by_id ON parts (id)")

    def reindex() -> None:
        with psycopg.connect(server.url("postgres"), autocommit=True) as other:
            other.execute("REINDEX INDEX by_id")

    def is_waiting() -> bool:
        sql = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        return changing.execute(sql).fetchone() != (0,)

    lead, other, _ = sessions
    wanting = threading.Thread(target=reindex)
    # Without a session who cancels, both would wait for one another for ever.
    ending = threading.Timer(60, other.cancel)
    with lead.parted(WHOLE, (other,)) as parts:
        wanting.start()
        assert within(60, is_waiting)
        ending.start()
        found = _rows(lead, parts[0]) + _rows(other, parts[1])
    ending.cancel()
    wanting.join(60)
    assert found == WANTED
    assert _are_at_rest(sessions, changing)


def test_a_table_that_is_dropped_meanwhile_is_read_by_one(
    changing: psycopg.Connection, sessions: tuple[PostgresConnection, ...]
) -> None:
    assert sessions[0].streams(WHOLE) == 3
    changing.execute("DROP TABLE parts")
    assert sessions[0].streams(WHOLE) == 1
