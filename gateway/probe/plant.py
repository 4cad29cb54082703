"""Random tables planted at real sources.

Takes: shapes, raw rows, places to plant in. Gives: the same rows in PostgreSQL, MariaDB, SQLite,
DuckDB and Parquet. Never plants anywhere but where it was told, and nothing that breaks a contract.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

import duckdb
from adbc_driver_postgresql import dbapi

from catalog.model import Source
from gateway.probe.mariadb import plant_mariadb
from gateway.probe.oracle import Row, fill
from gateway.probe.shapes import CSV, DOMAIN, MARIADB, Field, Shape

Planted = tuple[Shape, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where to plant: a folder, and the URLs of empty databases that may be filled."""

    folder: Path
    postgres: str | None = None
    mariadb: str | None = None

    def settings(self, source: Source) -> dict[str, str]:
        """The settings of a source of the probe's mesh."""
        types = ", ".join(f"{name} {kind}" for name, kind in CSV)
        paths = {
            "csv": {"path": str(self.folder / "files"), "format": "csv", "types": types},
            "sqlite": {"path": str(self.folder / "probe.sqlite")},
            "duckdb": {"path": str(self.folder / "probe.duckdb")},
            "files": {"path": str(self.folder / "files"), "format": "parquet"},
            "postgres": {"url": self.postgres or ""},
            MARIADB: {"url": self.mariadb or ""},
        }
        return paths["csv" if (source.domain, source.name) == (DOMAIN, "csv") else source.kind]


def physical_name(kind: str, name: str) -> str:
    """What a table is called at its source."""
    forms = {
        "postgres": "public.{}", "sqlite": "{}", "duckdb": "main.{}", "files": "{}/*.parquet",
        "csv": "{}/*.csv", MARIADB: "{}",
    }  # fmt: skip
    return forms[kind].format(name)


def plant(ground: Ground, tables: Iterable[Planted]) -> None:
    """Write all tables, each to a source of its kind."""
    (ground.folder / "files").mkdir(parents=True)
    embedded = duckdb.connect(str(ground.folder / "probe.duckdb"))
    scratch = duckdb.connect(":memory:")
    for one in (embedded, scratch):
        one.execute("SET TimeZone = 'UTC'")
    light = sqlite3.connect(ground.folder / "probe.sqlite")
    light.execute("CREATE TABLE planted (id integer)")
    statements: list[str] = []
    at_mariadb: list[Planted] = []
    for shape, rows in tables:
        name = shape.physical.removeprefix("public.").removeprefix("main.").split("/")[0]
        match shape.kind:
            case "duckdb":
                fill(embedded, name, shape.fields, rows)
            case "files" | "csv":
                _plant_file(scratch, ground.folder / "files" / name, shape, rows)
            case "sqlite":
                _plant_sqlite(light, name, shape, rows)
            case "mysql":
                at_mariadb.append((shape, rows))
            case _:
                statements += _postgres(name, shape, rows)
    light.commit()
    for each in (light, embedded, scratch):
        each.close()
    if at_mariadb and ground.mariadb:
        plant_mariadb(ground.mariadb, at_mariadb)
    if statements and ground.postgres:
        with (
            dbapi.connect(ground.postgres, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)


def _plant_file(
    scratch: duckdb.DuckDBPyConnection, folder: Path, shape: Shape, rows: Sequence[Row]
) -> None:
    folder.mkdir()
    fill(scratch, "made", shape.fields, rows)
    form = "csv" if shape.kind == "csv" else "parquet"
    scratch.execute(f"COPY made TO '{folder}/part.{form}' (FORMAT {form})")
    scratch.execute("DROP TABLE made")


def _plant_sqlite(
    connection: sqlite3.Connection, name: str, shape: Shape, rows: Sequence[Row]
) -> None:
    body = ", ".join(f'"{one.name}" {_sqlite_type(one)}' for one in shape.fields)
    connection.execute(f"CREATE TABLE {name} ({body})")
    marks = ", ".join("?" for _ in shape.fields)
    made = [[_light(value) for value in row] for row in rows]
    connection.executemany(f"INSERT INTO {name} VALUES ({marks})", made)


def _sqlite_type(field: Field) -> str:
    match field.family:
        case "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT":
            return "integer"
        case "DOUBLE":
            return "real"
        case "BOOLEAN":
            return "boolean"
        case "BLOB":
            return "blob"
        case _:
            return "text"


def _light(value: object) -> object:
    """A value as SQLite stores it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date | time | Decimal):
        return str(value)
    return value


_POSTGRES = {"DOUBLE": "float8", "FLOAT": "float4", "BLOB": "bytea", "VARCHAR": "text"}


def _postgres(name: str, shape: Shape, rows: Sequence[Row]) -> list[str]:
    types = [_POSTGRES.get(one.type, one.type) for one in shape.fields]
    body = ", ".join(
        f'"{one.name}" {kind}' for one, kind in zip(shape.fields, types, strict=True)
    )
    made = [f"CREATE TABLE public.{name} ({body})"]
    for start in range(0, len(rows), 500):
        values = ", ".join(_tuple(row, types) for row in rows[start : start + 500])
        made.append(f"INSERT INTO public.{name} VALUES {values}")
    return made


def _tuple(row: Row, types: Sequence[str]) -> str:
    return "(" + ", ".join(map(_cell, row, types)) + ")"


def _cell(value: object, kind: str) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'::bytea"
    if isinstance(value, float):
        return f"'{value!r}'::{kind}"
    return "'" + str(value).replace("'", "''") + f"'::{kind}"
