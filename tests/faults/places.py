"""A mesh of four sources, each of which can be broken alone.

Takes: a folder, a PostgreSQL server of its own. Gives: a mesh in which PostgreSQL is reached
through a proxy, and what shows whether anything is left behind. Each source has a large table
`<domain>.large`, whose rows all have the same `version`, and a small one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import psycopg

from gateway.demo.postgres import Server
from tests.faults.outcomes import leased
from tests.faults.proxy import Proxy
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain

ROWS = 400_000
# Rows of the large table of a file.
STORED = 200_000
ROLE, WORD = "reader", "word"
COLUMNS = {"id": "integer", "version": "integer", "s": "text"}
_WIDE = "repeat('x', 150)"


@dataclass(slots=True)
class Broken:
    """The mesh, and hands on what it stands on."""

    folder: Path
    server: Server
    proxy: Proxy
    mesh: PlainMesh

    def leased(self) -> int:
        """How many connections are out of their pools."""
        return leased(self.mesh)

    def sessions(self, condition: str = "state <> 'idle'") -> int:
        """How many sessions of the gateway's the server has."""
        sql = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}' AND {condition}"
        with psycopg.connect(self.server.url("faults"), autocommit=True) as connection:
            found = connection.execute(sql).fetchone()
        assert found is not None
        return int(found[0])

    def close(self) -> None:
        """Close everything but the server."""
        self.proxy.close()
        self.mesh.close()


def make_places(folder: Path, server: Server) -> None:
    """Make all rows; `slow` sleeps before its first one."""
    write_files(folder)
    rows = f"SELECT g::int AS id, 1 AS version, {_WIDE} AS s FROM generate_series(1, {ROWS}) g"
    server.run("postgres", "CREATE DATABASE faults", f"CREATE ROLE {ROLE} LOGIN PASSWORD '{WORD}'")
    # Views, since only what comes over the wire counts.
    server.run(
        "faults",
        f"CREATE VIEW large AS {rows}",
        "CREATE VIEW slow AS SELECT 1 AS id, 1 AS version, pg_sleep(600)::text AS s",
        f"GRANT SELECT ON large, slow TO {ROLE}",
    )


def open_broken(folder: Path, server: Server) -> Broken:
    """Open the mesh over whole places; what a test before has broken in PostgreSQL is mended."""
    server.run(
        "faults",
        f"ALTER ROLE {ROLE} PASSWORD '{WORD}' CONNECTION LIMIT -1",
        "DROP TABLE IF EXISTS small, gone",
        "CREATE TABLE small AS SELECT g::int AS id, 1 AS version, 'x'::text AS s "
        "FROM generate_series(1, 9) g",
        f"GRANT SELECT ON small, large TO {ROLE}",
        # A test kills the server, which commits before it has written.
        "CHECKPOINT",
    )
    proxy = Proxy(port_of(server))
    url = f"postgresql://{ROLE}:{WORD}@127.0.0.1:{proxy.port}/faults"
    mesh = open_beside(folder, "postgres", PlainSource("postgres", {}, {"url": url}), "public.{}")
    return Broken(folder, server, proxy, mesh)


def open_beside(folder: Path, domain: str, source: PlainSource, form: str) -> PlainMesh:
    """A mesh of a source that can be broken, and of the files."""
    sources: Mapping[str, PlainSource] = {
        domain: source,
        "sqlite": PlainSource("sqlite", {"path": "sqlite/rows.sqlite"}, {}),
        "duckdb": PlainSource("duckdb", {"path": "duckdb/rows.duckdb"}, {}),
        "files": PlainSource("files", {"path": "files", "format": "parquet"}, {}),
    }
    forms = {domain: form, "files": "{}.parquet"}
    tables = [
        PlainTable(one, name, forms.get(one, "{}").format(name), COLUMNS)
        for one in sources
        for name in ("large", "small")
    ]
    slow = PlainTable(domain, "slow", form.format("slow"), COLUMNS)
    return open_plain(folder, sources, [*tables, slow])


def port_of(server: Server) -> int:
    """The server's own port."""
    return int(urlsplit(server.url("postgres")).port or 0)


def write_files(folder: Path) -> None:
    """The rows of the sources that are files."""
    for name in ("sqlite", "duckdb", "files"):
        write_file(folder, name, 1)


def write_file(folder: Path, name: str, version: int, in_place: bool = False) -> None:
    """The rows of a version in the file of a source, put in the place of what was there."""
    home, kept = folder / name, folder / "written" / f"{name}.{version}"
    home.mkdir(exist_ok=True)
    if not kept.exists():
        kept.mkdir(parents=True)
        _make(kept, name, version)
    for one in sorted(kept.iterdir()):
        # Beside its target, since it is to be renamed.
        made = home / f"{one.name}.part"
        shutil.copyfile(one, made)
        _put(made, home / one.name, in_place)


def _make(folder: Path, name: str, version: int) -> None:
    """The files of a source, which are made once and copied."""
    for table, count in (("large", STORED), ("small", 9)):
        rows = f"SELECT range::INT AS id, {version} AS version, {_WIDE} AS s FROM range({count})"
        path = folder / (f"{table}.parquet" if name == "files" else f"rows.{name}")
        with closing(duckdb.connect(str(path) if name == "duckdb" else ":memory:")) as maker:
            if name == "files":
                maker.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
            elif name == "duckdb":
                maker.execute(f"CREATE TABLE {table} AS {rows}")
            else:
                with closing(sqlite3.connect(path)) as light:
                    light.execute(f"CREATE TABLE {table} (id integer, version integer, s text)")
                    found = maker.execute(rows).fetchall()
                    light.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", found)
                    light.commit()


def _put(made: Path, target: Path, in_place: bool) -> None:
    """Renamed over it, or written into it, as one who knows no better would."""
    if in_place:
        target.write_bytes(made.read_bytes())
        made.unlink()
    else:
        os.replace(made, target)
