"""The rows of TPC-H, made once and put where the domains keep them.

Takes: a folder, a scale factor, a PostgreSQL server. Gives: Parquet files of all tables, which are
the reference too; databases and a SQLite file as a layout wants them. Never makes again what is
there.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg

from bench.link import SlowLink
from bench.tables import MESH, TABLES, Layout, TpchTable
from gateway.demo import mysql
from gateway.demo.postgres import Server

MAKE_SECONDS = 3600
_BLOCK = 1 << 20
_LOGICAL = {"integer": "INTEGER", "bigint": "BIGINT", "text": "VARCHAR", "date": "DATE"}


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything lies. `files` holds Parquet, a folder for each table.

    `link` is what the databases of PostgreSQL are reached through; `mariadb` is there where the
    layout wants it.
    """

    folder: Path
    files: Path
    sqlite: Path
    server: Server
    layout: Layout = MESH
    link: SlowLink | None = None
    mariadb: mysql.Server | None = None

    def database(self, domain: str) -> str:
        """The name of a domain's database."""
        return f"bench_{domain}"

    def url(self, domain: str) -> str:
        """The URL of a domain's database."""
        if self.mariadb is not None and self.layout.domains[domain] == "mysql":
            return self.mariadb.url(self.database(domain))
        url = self.server.url(self.database(domain))
        return url if self.link is None else self.link.through(url)

    def parquet(self, table: str) -> str:
        """What DuckDB reads a table of."""
        return str(self.files / table / "*.parquet")


def make_places(folder: Path, scale: float, server: Server, layout: Layout = MESH) -> Places:
    """All places but MariaDB's, filled."""
    made = Places(folder, folder / "files", folder / "supply.sqlite", server, layout)
    folder.mkdir(parents=True, exist_ok=True)
    if not made.files.exists():
        _make_files(made, scale)
    for domain, kind in layout.domains.items():
        tables = layout.of(domain)
        if kind == "postgres":
            fill_postgres(made, domain, tables)
        elif kind == "sqlite" and not made.sqlite.exists():
            fill_sqlite(made, tables)
    return made


def _make_files(places: Places, scale: float) -> None:
    """Parquet with the types of the contracts; the maker's own types are wider."""
    raw = places.folder / "made"
    command = Path(sys.executable).with_name("tpchgen-cli")
    subprocess.run(
        [command, "parquet", "-s", str(scale), f"--output-dir={raw}"],
        check=True, timeout=MAKE_SECONDS, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    unready = places.folder / "files.part"
    with closing(duckdb.connect()) as connection:
        for table in TABLES:
            (unready / table.name).mkdir(parents=True, exist_ok=True)
            shown = ", ".join(
                f"{name}::{_LOGICAL.get(kind, kind)} AS {name}"
                for name, kind in table.columns.items()
            )
            target = unready / table.name / "rows.parquet"
            connection.execute(
                f"COPY (SELECT {shown} FROM '{raw / table.name}.parquet') TO '{target}'"
            )
    for one in raw.iterdir():
        one.unlink()
    raw.rmdir()
    unready.rename(places.files)


def fill_postgres(places: Places, domain: str, tables: Iterable[TpchTable]) -> None:
    """A domain's tables in a database of its own, unless it is there."""
    name = places.database(domain)
    with closing(psycopg.connect(places.server.url("postgres"), autocommit=True)) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if found.fetchone():
            return
        connection.execute(f'CREATE DATABASE "{name}.part"')
    with closing(psycopg.connect(places.server.url(f"{name}.part"), autocommit=True)) as made:
        for table in tables:
            _copy(places, table, made)
        made.execute("VACUUM ANALYZE")
    with closing(psycopg.connect(places.server.url("postgres"), autocommit=True)) as connection:
        connection.execute(f'ALTER DATABASE "{name}.part" RENAME TO "{name}"')


def _copy(places: Places, table: TpchTable, connection: psycopg.Connection) -> None:
    shown = ", ".join(f'"{name}" {kind} NOT NULL' for name, kind in table.columns.items())
    connection.execute(f"CREATE TABLE {table.name} ({shown})")
    lines = places.folder / f"{table.name}.csv"
    with closing(duckdb.connect()) as reader:
        reader.execute(
            f"COPY (SELECT * FROM '{places.parquet(table.name)}') TO '{lines}' (HEADER false)"
        )
    with connection.cursor().copy(f"COPY {table.name} FROM STDIN (FORMAT csv)") as copy:
        for block in _blocks(lines):
            copy.write(block)
    lines.unlink()
    connection.execute(f"ALTER TABLE {table.name} ADD PRIMARY KEY ({', '.join(table.key)})")
    for column in table.indexes:
        connection.execute(f"CREATE INDEX ON {table.name} ({column})")


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def fill_sqlite(places: Places, tables: Iterable[TpchTable]) -> None:
    """A domain's tables in the SQLite file."""
    unready = places.sqlite.with_suffix(".part")
    unready.unlink(missing_ok=True)
    with closing(duckdb.connect()) as reader, closing(sqlite3.connect(unready)) as database:
        for table in tables:
            shown = ", ".join(f"{name} {kind} NOT NULL" for name, kind in table.columns.items())
            key = ", ".join(table.key)
            database.execute(f"CREATE TABLE {table.name} ({shown}, PRIMARY KEY ({key}))")
            marks = ", ".join("?" * len(table.columns))
            values = ", ".join(
                f"{name}::DOUBLE" if kind.startswith("decimal") else name
                for name, kind in table.columns.items()
            )
            rows = reader.execute(f"SELECT {values} FROM '{places.parquet(table.name)}'")
            while found := rows.fetchmany(50_000):
                database.executemany(f"INSERT INTO {table.name} VALUES ({marks})", found)
        database.commit()
        database.execute("ANALYZE")
    unready.rename(places.sqlite)
