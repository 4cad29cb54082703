"""TPC-DS over five sources.

Takes: a folder, a scale, a PostgreSQL server. Gives: the texts of the 99 statements, the mesh over
the spread tables and plain DuckDB over the same rows. Never changes a row on its way.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg

import bench
from bench.peers import peer_python
from gateway.demo.postgres import Server
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain

DOMAINS: Mapping[str, tuple[str, ...]] = {
    "shops": ("store_sales", "store_returns", "store", "promotion"),
    "online": ("web_sales", "web_returns", "web_site", "web_page", "reason"),
    "people": (
        "customer", "customer_address", "customer_demographics", "household_demographics",
        "income_band",
    ),
    "catalogue": ("catalog_sales", "catalog_returns", "catalog_page", "call_center", "inventory"),
    "reference": ("date_dim", "time_dim", "item", "warehouse", "ship_mode"),
}  # fmt: skip
POSTGRES = ("shops", "online")
_MAKE_SECONDS = 600
_PHYSICAL = {"VARCHAR": "text"}


@dataclass(frozen=True, slots=True)
class Places:
    """All that is compared. `addresses` are the tables' names in the mesh."""

    mesh: PlainMesh
    reference: duckdb.DuckDBPyConnection
    texts: Mapping[int, str]
    addresses: Mapping[str, str]

    def close(self) -> None:
        """Close both."""
        self.mesh.close()
        self.reference.close()


def make_places(folder: Path, scale: float, server: Server) -> Places:
    """Generate the rows, spread them, open a gateway over them."""
    made = folder / "catalogue"
    made.mkdir()
    program, loader = Path(__file__).with_name("generate.py"), next(iter(bench.__path__))
    command = [str(peer_python(folder)), str(program), str(made), str(scale), loader]
    subprocess.run(command, check=True, timeout=_MAKE_SECONDS)
    columns: dict[str, dict[str, str]] = json.loads((made / "columns.json").read_text())
    tables = tuple(_tables(columns))
    for domain in POSTGRES:
        _fill_postgres(server, made, domain, [one for one in tables if one.domain == domain])
    _fill_sqlite(folder, made, [one for one in tables if one.domain == "people"])
    _fill_duckdb(folder, made)
    sources = {domain: _postgres(server, domain) for domain in POSTGRES} | {
        "people": PlainSource("sqlite", {"path": "people.sqlite"}, {}),
        "reference": PlainSource("duckdb", {"path": "reference.duckdb"}, {}),
        "catalogue": PlainSource("files", {"path": "catalogue", "format": "parquet"}, {}),
    }
    reference = duckdb.connect()
    for table in columns:
        reference.execute(f"CREATE VIEW {table} AS SELECT * FROM '{made}/{table}.parquet'")
    texts = dict(json.loads((made / "queries.json").read_text()))
    addresses = {one.name: one.address for one in tables}
    return Places(open_plain(folder, sources, tables), reference, texts, addresses)


def _postgres(server: Server, domain: str) -> PlainSource:
    return PlainSource("postgres", {}, {"url": server.url(f"tpcds_{domain}")})


def _tables(columns: Mapping[str, Mapping[str, str]]) -> Iterable[PlainTable]:
    for domain, names in DOMAINS.items():
        form = {"shops": "public.{}", "online": "public.{}", "catalogue": "{}.parquet"}
        for name in names:
            types = {one: _PHYSICAL.get(kind, kind.lower()) for one, kind in columns[name].items()}
            yield PlainTable(domain, name, form.get(domain, "{}").format(name), types)


def _fill_postgres(
    server: Server, made: Path, domain: str, tables: Iterable[PlainTable]
) -> None:
    server.run("postgres", f"CREATE DATABASE tpcds_{domain}")
    with (
        closing(psycopg.connect(server.url(f"tpcds_{domain}"), autocommit=True)) as database,
        closing(duckdb.connect()) as reader,
    ):
        for table in tables:
            shown = ", ".join(f"{name} {kind}" for name, kind in table.columns.items())
            database.execute(f"CREATE TABLE {table.name} ({shown})")
            lines = made / f"{table.name}.csv"
            rows = f"SELECT * FROM '{made}/{table.name}.parquet'"
            reader.execute(f"COPY ({rows}) TO '{lines}' (HEADER false, NULLSTR '\\N')")
            into = f"COPY {table.name} FROM STDIN (FORMAT csv, NULL '\\N')"
            with database.cursor().copy(into) as copy:
                copy.write(lines.read_bytes())
            lines.unlink()


def _fill_sqlite(folder: Path, made: Path, tables: Iterable[PlainTable]) -> None:
    with (
        closing(sqlite3.connect(folder / "people.sqlite")) as database,
        closing(duckdb.connect()) as reader,
    ):
        for table in tables:
            shown = ", ".join(f"{name} {kind}" for name, kind in table.columns.items())
            database.execute(f"CREATE TABLE {table.name} ({shown})")
            values = ", ".join(
                f"{name}::DOUBLE" if kind.startswith("decimal") else name
                for name, kind in table.columns.items()
            )
            rows = reader.execute(f"SELECT {values} FROM '{made}/{table.name}.parquet'").fetchall()
            marks = ", ".join("?" * len(table.columns))
            database.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows)
        database.commit()


def _fill_duckdb(folder: Path, made: Path) -> None:
    with closing(duckdb.connect(str(folder / "reference.duckdb"))) as database:
        for table in DOMAINS["reference"]:
            rows = f"SELECT * FROM '{made}/{table}.parquet'"
            database.execute(f"CREATE TABLE {table} AS {rows}")
