"""The rows of `gateway/certify/rows.sql` in a source of each kind, and in DuckDB as the reference.

Takes: folders and servers. Gives: a `Sample` for each kind and flavour. A flavour changes how
PostgreSQL compares text by itself; what the gateway asks for must not notice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from connectors.base import (
    Abilities,
    Connection,
    Fragment,
    FragmentColumn,
    load_abilities,
    load_connector,
)
from gateway.certify.ask import Asker, physical
from gateway.certify.rows import reference
from gateway.demo import mysql
from gateway.demo.postgres import Server

# The type of s, and how its database sorts and compares when nobody says otherwise.
FLAVOURS: Mapping[str, tuple[str, str, str]] = {
    "bytes": ("text", "", ""),
    "linguistic": ("text", "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'", ""),
    "varchar": ('varchar(20) COLLATE "en-x-icu"', "", ""),
    "char": ("char(20)", "", ""),
    "citext": ("citext", "", "CREATE EXTENSION citext"),
    "no_case": (
        "text COLLATE no_case",
        "",
        "CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', "
        "deterministic = false)",
    ),
}
_POSTGRES = {
    "id": "integer", "b": "boolean", "n": "smallint", "i": "integer", "l": "bigint",
    "m": "numeric(12,2)", "f": "double precision", "d": "date", "t": "timestamp",
    "z": "timestamptz", "c": "time", "u": "uuid", "h": "numeric(38,0)",
}  # fmt: skip
_SQLITE = {
    "id": "INTEGER", "b": "BOOLEAN", "n": "SMALLINT", "i": "INTEGER", "l": "BIGINT", "m": "TEXT",
    "f": "DOUBLE", "s": "TEXT", "d": "DATE", "t": "TIMESTAMP", "z": "TIMESTAMP", "c": "TIME",
    "u": "UUID", "h": "BIGINT",
}  # fmt: skip
_MYSQL = {
    "id": "int", "b": "tinyint(1)", "n": "smallint", "i": "int", "l": "bigint",
    "m": "decimal(12,2)", "f": "double", "d": "date", "t": "datetime(6)",
    "z": "timestamp(6) NULL", "c": "time(6)",
    "u": "uuid", "h": "decimal(38,0)",
}  # fmt: skip
# The type of s in MariaDB; each compares texts in another way when nobody says otherwise.
MYSQL_FLAVOURS: Mapping[str, str] = {
    "no_case": "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    "padded": "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "linguistic": "text CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_nopad_ci",
    "char": "char(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_swedish_ci",
    "latin": "varchar(20) CHARACTER SET latin1 COLLATE latin1_german2_ci",
    "enum": "enum",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One source with the rows, open, beside the same rows in DuckDB."""

    kind: str
    flavour: str
    table: str
    connection: Connection
    reference: duckdb.DuckDBPyConnection

    @property
    def abilities(self) -> Abilities:
        """What its kind declares."""
        return load_abilities(self.kind)

    @property
    def asker(self) -> Asker:
        """Asks both for the same."""
        relation = physical(self.table, self.abilities)
        return Asker(
            self.abilities, self.connection, self.reference, relation, (self.table,)
        )


def in_duckdb(folder: Path, collation: str = "") -> Sample:
    """The rows in a DuckDB file; `collation` is that of its column of text."""
    path, held = folder / "rows.duckdb", reference()
    types = {str(row[0]): str(row[1]) for row in held.execute("DESCRIBE probe").fetchall()}
    types["s"] += f" COLLATE {collation}" if collation else ""
    shown = ", ".join(f"{name} {kind}" for name, kind in types.items())
    held.execute(f"ATTACH '{path}' AS other; CREATE TABLE other.probe ({shown})")
    held.execute("INSERT INTO other.probe FROM probe; DETACH other")
    connection = load_connector("duckdb").connect({"path": str(path)})
    return Sample("duckdb", collation, "main.probe", connection, held)


def in_files(folder: Path) -> Sample:
    """The rows in Parquet files."""
    held = reference()
    (folder / "rows").mkdir()
    for part in (0, 1):
        # Parquet has no whole numbers of 128 bits.
        rows = f"SELECT * REPLACE (h::DECIMAL(38, 0) AS h) FROM probe WHERE id % 2 = {part}"
        held.execute(f"COPY ({rows}) TO '{folder}/rows/{part}.parquet'")
    connection = load_connector("files").connect({"path": str(folder), "format": "parquet"})
    return Sample("files", "", "rows/*.parquet", connection, held)


def in_sqlite(folder: Path) -> Sample:
    """The rows in a SQLite file; it has no NaN and no whole number beyond 64 bits."""
    path, held = folder / "rows.sqlite", reference()
    held.execute("UPDATE probe SET f = NULL WHERE isnan(f)")
    held.execute("UPDATE probe SET h = NULL WHERE abs(h) > 9223372036854775807")
    rows = held.execute(f"SELECT {', '.join(map(_sqlite_value, _SQLITE))} FROM probe").fetchall()
    with closing(sqlite3.connect(path)) as database:
        shown = ", ".join(f"{name} {kind}" for name, kind in _SQLITE.items())
        database.execute(f"CREATE TABLE probe ({shown})")
        marks = ", ".join("?" * len(_SQLITE))
        database.executemany(f"INSERT INTO probe VALUES ({marks})", rows)
        database.commit()
    connection = load_connector("sqlite").connect({"path": str(path)})
    return Sample("sqlite", "", "probe", connection, held)


def _sqlite_value(name: str) -> str:
    if name == "z":
        return "strftime(z, '%Y-%m-%d %H:%M:%S.%f') || 'Z'"
    return f"{name}::VARCHAR" if name in "mdtcu" else name


# Databases by server: several modules ask for the same rows, and none of them writes.
_FILLED: dict[str, set[str]] = {}


def in_postgres(server: Server, flavour: str) -> Sample:
    """The rows in a database of one flavour; raises what the server cannot do."""
    held = reference()
    kind, options, first = FLAVOURS[flavour] if flavour in FLAVOURS else _enum(held)
    database = f"rows_{flavour}"
    is_there = database in _FILLED.setdefault(server.url("postgres"), set())
    if not is_there:
        server.run("postgres", f"CREATE DATABASE {database} TEMPLATE template0 {options}")
        if first:
            server.run(database, first)
    if flavour == "char":
        held.execute("UPDATE probe SET s = rtrim(s, ' ')")
    types = _POSTGRES | {"s": kind}
    names = [row[0] for row in held.execute("DESCRIBE probe").fetchall()]
    shown = ", ".join(f"{name} {types[name]}" for name in names)
    rows = held.execute("SELECT COLUMNS(*)::VARCHAR FROM probe").fetchall()
    values = ", ".join(
        "("
        + ", ".join(_literal(value, types[name]) for value, name in zip(row, names, strict=True))
        + ")"
        for row in rows
    )
    if not is_there:
        server.run(database, f"CREATE TABLE probe ({shown})", f"INSERT INTO probe VALUES {values}")
        _FILLED[server.url("postgres")].add(database)
    connection = load_connector("postgres").connect({"url": server.url(database)})
    return Sample("postgres", flavour, "public.probe", connection, held)


def in_mysql(server: mysql.Server, flavour: str) -> Sample:
    """The rows in a database of one flavour; no NaN, no moment beyond 2038 with a zone."""
    held = reference()
    held.execute("UPDATE probe SET f = NULL WHERE isnan(f) OR isinf(f)")
    first, last = ("TIMESTAMPTZ '1970-01-01 00:00:00+00'", "TIMESTAMPTZ '2038-01-01 00:00:00+00'")
    held.execute(f"UPDATE probe SET z = NULL WHERE z <= {first} OR z > {last}")
    kind = MYSQL_FLAVOURS[flavour]
    if flavour == "char":
        held.execute("UPDATE probe SET s = rtrim(s, ' ')")
    if flavour == "latin":
        held.execute("UPDATE probe SET s = NULL WHERE regexp_matches(s, '[^\\x01-\\xff]')")
    if kind == "enum":  # a label loses the blanks at its end
        held.execute("UPDATE probe SET s = NULL WHERE s <> rtrim(s, ' ')")
        found = held.execute("SELECT DISTINCT s FROM probe WHERE s IS NOT NULL ORDER BY md5(s)")
        texts = [row[0].replace("\\", "\\\\").replace("'", "''") for row in found.fetchall()]
        labels = ", ".join(f"'{one}'" for one in texts)
        kind = f"enum({labels}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    types = _MYSQL | {"s": kind}
    names = [row[0] for row in held.execute("DESCRIBE probe").fetchall()]
    shown = ", ".join(f"{name} {types[name]}" for name in names)
    picked = ["(z AT TIME ZONE 'UTC')::VARCHAR" if n == "z" else f"{n}::VARCHAR" for n in names]
    rows = held.execute(f"SELECT {', '.join(picked)} FROM probe").fetchall()
    values = ", ".join(f"({', '.join(map(_mysql_literal, row, names))})" for row in rows)
    database = f"rows_{flavour}"
    server.run(
        f"DROP DATABASE IF EXISTS {database}",
        f"CREATE DATABASE {database}",
        "SET time_zone = '+00:00'",
        f"CREATE TABLE {database}.probe ({shown})",
        f"INSERT INTO {database}.probe VALUES {values}",
    )
    connection = load_connector("mysql").connect({"url": server.url(database)})
    return Sample("mysql", flavour, f"{database}.probe", connection, held)


def _mysql_literal(value: str | None, name: str) -> str:
    if value is None:
        return "NULL"
    if name == "s":
        return f"_utf8mb4 x'{value.encode().hex()}'"
    return {"true": "1", "false": "0"}.get(value, f"'{value}'")


def _enum(held: duckdb.DuckDBPyConnection) -> tuple[str, str, str]:
    """Text as an enum whose order is no order of texts."""
    found = held.execute("SELECT DISTINCT s FROM probe WHERE s IS NOT NULL ORDER BY md5(s)")
    labels = ", ".join(_literal(row[0], "text")[:-6] for row in found.fetchall())
    return "word", "", f"CREATE TYPE word AS ENUM ({labels})"


def _literal(value: str | None, kind: str) -> str:
    if value is None:
        return "NULL"
    return "'" + value.replace("'", "''") + "'::" + kind.split(" COLLATE", maxsplit=1)[0]


def lacks(sample: Sample, flavour: str) -> str | None:
    """What a flavour needs and the server does not have."""
    name, sql = {
        "bytes": ("", ""),
        "char": ("", ""),
        "citext": ("citext", "SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'"),
    }.get(flavour, ("ICU", "SELECT count(*) FROM pg_collation WHERE collname = 'en-x-icu'"))
    if not sql:
        return None
    batches = list(sample.connection.stream(Fragment(sql, (FragmentColumn("n", "BIGINT"),), ())))
    return None if batches[0].column(0)[0].as_py() else name
