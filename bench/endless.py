"""A small table in each kind of source, and a statement over it that takes far too long.

Takes: a folder. Gives: places whose domains keep the same rows in PostgreSQL, in MariaDB where
there is one, in SQLite and in Parquet; for each kind the statement, and for servers whether they
still work. Never waits for an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import psycopg
import pymysql

from bench.mariadb import fill_mysql
from bench.mesh import write_mesh
from bench.places import Places, fill_postgres, fill_sqlite
from bench.tables import Layout, TpchTable
from gateway.demo import mysql
from gateway.demo.postgres import find_server

_ROWS = 5_000
_COLUMNS = {"id": "bigint", "other": "bigint"}
# By the name that is shown: the domain, and what it keeps its rows in.
_KINDS = {
    "PostgreSQL": ("live", "postgres"), "MariaDB": ("shop", "mysql"), "SQLite": ("store", "sqlite"),
    "Parquet": ("kept", "files"),
}  # fmt: skip
# All triples of rows, which no index and no sort makes fewer.
_COUNT = (
    "SELECT count(*) AS n FROM {table} a, {table} b, {table} c "
    "WHERE a.id <> b.other AND b.id <> c.other"
)
_BUSY = (
    "SELECT {} FROM pg_stat_activity WHERE state = 'active' AND datname = current_database() "
    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_BUSY_MARIADB = (
    "SELECT id FROM information_schema.processlist WHERE command = 'Query' AND db = %s "
    "AND id <> connection_id()"
)
End = Callable[[], None]


def _table(domain: str) -> TpchTable:
    return TpchTable(f"rows_{domain}", domain, _COLUMNS, ("id",))


@contextmanager
def placed_rows(folder: Path) -> Iterator[Places]:
    """The rows in all places that there are, and the mesh over them."""
    home = folder / "cancel"
    with find_server(home / "postgres") as server, ExitStack() as stack:
        mariadb = _found_mariadb(stack)
        domains = {
            domain: kind
            for domain, kind in _KINDS.values() if kind != "mysql" or mariadb is not None
        }  # fmt: skip
        layout = Layout("cancel", domains, tuple(map(_table, domains)))
        files, sqlite = home / "files", home / "supply.sqlite"
        places = Places(home, files, sqlite, server, layout, mariadb=mariadb)
        _make_files(places)
        for domain, kind in domains.items():
            if kind == "postgres":
                fill_postgres(places, domain, layout.of(domain))
            elif kind == "sqlite" and not sqlite.exists():
                fill_sqlite(places, layout.of(domain))
            elif kind == "mysql" and mariadb is not None:
                fill_mysql(places, mariadb, domain, layout.of(domain))
        write_mesh(places)
        yield places


def _found_mariadb(stack: ExitStack) -> mysql.Server | None:
    """A server of the run's own, None where there is none to be had."""
    with suppress(mysql.NoMysql):
        found = mysql.find_server()
        stack.callback(found.discard)
        return stack.enter_context(found)
    return None


def _make_files(places: Places) -> None:
    for table in places.layout.tables:
        made = places.files / table.name / "rows.parquet"
        if not made.exists():
            made.parent.mkdir(parents=True, exist_ok=True)
            rows = f"SELECT i AS id, -i - 1 AS other FROM range({_ROWS}) AS made(i)"
            with closing(duckdb.connect()) as connection:
                connection.execute(f"COPY ({rows}) TO '{made}' (FORMAT parquet)")


def statements(places: Places) -> Mapping[str, str]:
    """By kind of source what is asked of it."""
    return {
        name: _COUNT.format(table=_table(domain).address)
        for name, (domain, _) in _KINDS.items() if domain in places.layout.domains
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """A server: whether it runs a statement for anybody else, and what ends all of those."""

    is_busy: Callable[[], bool]
    end: End


@contextmanager
def watched(places: Places) -> Iterator[Mapping[str, Source]]:
    """The servers by kind, over connections that are kept; nothing of who has no server."""
    with psycopg.connect(places.url("live"), autocommit=True) as postgres, ExitStack() as stack:

        def is_busy() -> bool:
            return bool(postgres.execute(_BUSY.format("pid")).fetchall())

        def end() -> None:
            postgres.execute(_BUSY.format("pg_terminate_backend(pid)"))

        found = {"PostgreSQL": Source(is_busy, end)}
        if places.mariadb is not None:
            found["MariaDB"] = _watched_mariadb(places, stack)
        yield found


def _watched_mariadb(places: Places, stack: ExitStack) -> Source:
    parts = urlsplit(places.url("shop"))
    connection = pymysql.connect(
        host=parts.hostname, port=parts.port or 3306, user=parts.username,
        password=parts.password or "", autocommit=True,
    )  # fmt: skip
    cursor = stack.enter_context(stack.enter_context(connection).cursor())

    def running() -> list[int]:
        cursor.execute(_BUSY_MARIADB, (places.database("shop"),))
        return [int(one) for (one,) in cursor.fetchall()]

    def end() -> None:
        for one in running():
            cursor.execute("KILL %s", (one,))

    return Source(lambda: bool(running()), end)
