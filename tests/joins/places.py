"""Small tables with awkward keys over six sources, and the same in plain DuckDB.

Takes: a folder, a PostgreSQL server, a MariaDB server where there is one. Gives: a mesh whose
tables are joined by `k`, of another type in each, and by `s`, and a DuckDB in which they have the
same addresses. Keys are NULL, repeated, negative, beyond a narrower type, or without a partner;
texts differ by case and blanks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import duckdb
import pyarrow as pa

from gateway.demo import mysql
from gateway.demo.postgres import Server
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain

# By table: its domain, the type of its key, how many rows.
TABLES: Mapping[str, tuple[str, str, int]] = {
    "a": ("north", "integer", 16), "b": ("north", "bigint", 15), "c": ("south", "bigint", 14),
    "d": ("south", "smallint", 0), "e": ("east", "integer", 13), "f": ("east", "bigint", 9),
    "g": ("west", "integer", 12), "h": ("west", "decimal(10,0)", 10), "i": ("files", "bigint", 40),
    "j": ("files", "integer", 1), "k": ("shore", "bigint", 15), "l": ("shore", "integer", 12),
}  # fmt: skip
ADDRESSES = tuple(f"{domain}.{name}" for name, (domain, _, _) in TABLES.items())
_KEYS = (None, None, 1, 1, 2, 2, 3, 4, 5, 7, -1, 0)
_WIDE = (2**31, -(2**40), 40000)
_TEXTS = (None, "", "a", "A", "a ", "b", "é", "1", "2")
_NUMBERS = (None, -2, 0, 1, 2, 3)
_SHORE, _EQUAL = "joins_shore", "utf8mb4_general_ci"
_SERVERS = {"north": "joins_north", "south": "joins_south"}


@dataclass(frozen=True, slots=True)
class Joined:
    """The mesh and its reference."""

    mesh: PlainMesh
    reference: duckdb.DuckDBPyConnection

    def answers(self, sql: str) -> tuple[pa.Table, pa.Table, pa.Table]:
        """Pushed, pulled, and plain DuckDB's."""
        want = self.reference.sql(sql).to_arrow_table()
        return self.mesh.ask(sql), self.mesh.ask(sql, push_down=False), want

    def close(self) -> None:
        """Close both."""
        self.mesh.close()
        self.reference.close()


def open_joined(folder: Path, server: Server, mariadb: mysql.Server | None) -> Joined:
    """Make the rows, spread them, open a gateway over them; without MariaDB the shore is SQLite."""
    reference = duckdb.connect()
    for domain in dict.fromkeys(domain for domain, _, _ in TABLES.values()):
        reference.execute(f"CREATE SCHEMA {domain}")
    for name, (domain, kind, count) in TABLES.items():
        reference.execute(f"CREATE TABLE {domain}.{name} ({_columns(kind)})")
        for row in _rows(name, kind, count):
            reference.execute(f"INSERT INTO {domain}.{name} VALUES (?, ?, ?, ?)", row)
    for domain, database in _SERVERS.items():
        server.run("postgres", f"CREATE DATABASE {database}")
        for name, (kind, rows) in _of(reference, domain).items():
            server.run(database, f"CREATE TABLE {name} ({_columns(kind)})")
            if rows:
                values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
                server.run(database, f"INSERT INTO {name} VALUES {values}")
    _fill_files(folder, reference)
    if mariadb is None:
        _fill_sqlite(folder, reference, "shore")
        shore = PlainSource("sqlite", {"path": "shore.sqlite"}, {})
    else:
        _fill_mariadb(mariadb, reference)
        shore = PlainSource("mysql", {}, {"url": mariadb.url(_SHORE)})
    sources = {**_sources(server), "shore": shore}
    return Joined(open_plain(folder, sources, _tables()), reference)


def _fill_mariadb(server: mysql.Server, reference: duckdb.DuckDBPyConnection) -> None:
    """By itself it takes texts that differ in case, or by blanks at their end, for equal."""
    server.run(f"DROP DATABASE IF EXISTS {_SHORE}", f"CREATE DATABASE {_SHORE} COLLATE {_EQUAL}")
    for name, (kind, rows) in _of(reference, "shore").items():
        server.run(f"CREATE TABLE {_SHORE}.{name} ({_columns(kind)})")
        values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
        server.run(f"INSERT INTO {_SHORE}.{name} VALUES {values}")


def _fill_sqlite(folder: Path, reference: duckdb.DuckDBPyConnection, domain: str) -> None:
    with closing(sqlite3.connect(folder / f"{domain}.sqlite")) as database:
        for name, (kind, rows) in _of(reference, domain).items():
            database.execute(f"CREATE TABLE {name} ({_columns(kind)})")
            database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", rows)
        database.commit()


def _fill_files(folder: Path, reference: duckdb.DuckDBPyConnection) -> None:
    _fill_sqlite(folder, reference, "east")
    reference.execute(f"ATTACH '{folder}/west.duckdb' AS other")
    for name in _of(reference, "west"):
        reference.execute(f"CREATE TABLE other.{name} AS FROM west.{name}")
    reference.execute("DETACH other")
    (folder / "files").mkdir()
    for name in _of(reference, "files"):
        reference.execute(f"COPY files.{name} TO '{folder}/files/{name}.parquet'")


def _sources(server: Server) -> Mapping[str, PlainSource]:
    return {
        **{
            domain: PlainSource("postgres", {}, {"url": server.url(database)})
            for domain, database in _SERVERS.items()
        },
        "east": PlainSource("sqlite", {"path": "east.sqlite"}, {}),
        "west": PlainSource("duckdb", {"path": "west.duckdb"}, {}),
        "files": PlainSource("files", {"path": "files", "format": "parquet"}, {}),
    }


def _tables() -> list[PlainTable]:
    forms = {"north": "public.{}", "south": "public.{}", "files": "{}.parquet"}
    return [
        PlainTable(
            domain, name, forms.get(domain, "{}").format(name),
            {"id": "integer", "k": kind, "s": "text", "v": "integer"},
        )
        for name, (domain, kind, _) in TABLES.items()
    ]  # fmt: skip


def _columns(kind: str) -> str:
    return f"id integer, k {kind}, s text, v integer"


def _rows(name: str, kind: str, count: int) -> list[tuple[object, ...]]:
    chance = Random(f"rows of {name}")
    keys = (*_KEYS, *_WIDE) if kind == "bigint" else _KEYS
    return [
        (number, chance.choice(keys), chance.choice(_TEXTS), chance.choice(_NUMBERS))
        for number in range(1, count + 1)
    ]


def _of(
    reference: duckdb.DuckDBPyConnection, domain: str
) -> Mapping[str, tuple[str, list[tuple[object, ...]]]]:
    """The tables of a domain: the type of the key, and the rows."""
    return {
        name: (kind, reference.execute(f"FROM {domain}.{name} ORDER BY id").fetchall())
        for name, (there, kind, _) in TABLES.items()
        if there == domain
    }


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
