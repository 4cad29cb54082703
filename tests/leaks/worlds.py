"""Two meshes that differ only in what nobody of the test may see.

Takes: a folder, a PostgreSQL server, a MariaDB server where there is one. Gives: two open gateways
over five kinds of source, over four without MariaDB. In world `calm` hidden rows and cells hold
harmless values, in world `wild` the values on which casts, divisions and patterns fail. Never
differs in anything visible.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
from adbc_driver_postgresql import dbapi

from gateway.config import load_config
from gateway.demo import mysql
from gateway.demo.postgres import Server
from gateway.opening import OpenGateway, open_gateway

KINDS = ("postgres", "sqlite", "duckdb", "files", "mysql")
Row = tuple[object, ...]
# id, tenant, secret, number, note, moment, code, amount
VISIBLE: tuple[Row, ...] = (
    (1, "A", "10", 5, "alpha", "2013-06-01 12:00:00+00:00", "aaaa11", "110.00"),
    (2, "A", "20", 6, "beta", "2013-01-01 03:00:00+00:00", "bbbb22", "120.00"),
    (3, "A", None, None, "gamma", None, None, None),
    (4, "A", "30", 8, None, "2013-12-31 20:00:00+00:00", "dddd44", "199.99"),
)
HIDDEN: Mapping[str, tuple[Row, ...]] = {
    "calm": ((7, "B", "40", 9, "delta", "2014-01-01 03:00:00+00:00", "eeee77", "110.00"),),
    "wild": (
        (7, "B", "SECRET-7", 7, "S\\", "2014-01-01 12:00:00+00:00", "SECRET", "199.99"),
        (8, "B", "2024-02-30", 2147483647, "(", "2199-01-01 00:00:00+00:00", "", "0.00"),
        (9, "b", "", -2147483648, "%", None, "x", "-99999999.99"),
    ),
}
# And a row that breaks its contract: what does not fit in a hidden row is no error to anybody.
BROKEN: Mapping[str, Row] = {
    "postgres": (10, "B", "x", 1, "delta", "infinity", "x", "NaN"),
    "sqlite": (10, "B", "x", "abc", "delta", "never", "x", "much"),
    "duckdb": (10, "B", "x", 1, "delta", "infinity", "x", "0.00"),
    # Whose tenant is the caller's to who ignores case and blanks at the end.
    "mysql": (10, "a ", "x", 1, "delta", "0000-00-00 00:00:00", "x", "0.00"),
}
# For the users whose cells are masked, not their rows: the same rows with other cells, which the
# masks make the same.
CELLS: Mapping[str, Row] = {
    "calm": ("40", 9, "40", "2013-06-01 05:00:00+00:00", "aaaa77", "110.00"),
    "wild": ("SECRET-7", 7, "S\\", "2013-06-01 22:00:00+00:00", "SECR77", "199.99"),
}
OPEN: tuple[Row, ...] = tuple((number, f"w{number}") for number in range(10))
USERS = {
    "filter": "tenant IN (subject.tenant)",
    "either": "tenant = 'A' OR number IS NULL AND id < 4",
    "folded": "lower(note) <> 'delta' AND tenant = 'A' OR tenant = 'A'",
    "cases": "CASE WHEN id > 6 THEN FALSE ELSE tenant = 'A' END",
    "dated": "year(moment) = 2013 OR id = 3",
}
COLUMNS = {
    "id": "integer",
    "tenant": "{text}",
    "secret": "{text}",
    "number": "integer",
    "note": "{text}",
    "moment": "timestamp with time zone",
    "code": "{text}",
    "amount": "decimal(10,2)",
}


@dataclass(frozen=True, slots=True)
class World:
    """One open gateway."""

    name: str
    opened: OpenGateway
    kinds: tuple[str, ...]


def open_world(
    name: str, folder: Path, server: Server, mariadb: mysql.Server | None = None
) -> World:
    """Build the databases and the mesh of a world."""
    data = folder / name
    data.mkdir(parents=True)
    masked = tuple((*one[:2], *CELLS[name]) for one in VISIBLE)

    def tables(kind: str) -> Tables:
        broken = (BROKEN[kind],) if name == "wild" else ()
        rows = VISIBLE + HIDDEN[name] + broken
        return {"people": rows, "cells": masked, "open": OPEN}

    _build_postgres(name, server, tables("postgres"))
    _build_sqlite(data, tables("sqlite"))
    _build_duckdb(data, tables("duckdb"))
    conf, secrets = data / "conf", data / "secrets" / "leaks"
    secrets.mkdir(parents=True)
    (secrets / "URL").write_text(server.url(f"leaks_{name}"))
    kinds: tuple[str, ...] = KINDS
    if mariadb is None:
        kinds = tuple(one for one in KINDS if one != "mysql")
    else:
        _build_mysql(name, mariadb, tables("mysql"))
        (secrets / "MYSQL").write_text(mariadb.url(f"leaks_{name}"))
    _write_mesh(conf, kinds)
    key = data / "secrets" / "governance" / "PSEUDONYM_PEOPLE"
    key.parent.mkdir(parents=True)
    key.write_text("k" * 40)
    return World(name, open_gateway(load_config(conf, {"SQLUICE_DATA": str(data)})), kinds)


Tables = Mapping[str, tuple[Row, ...]]


def ddl(table: str, text: str) -> str:
    """The columns of a table, with the source's word for text."""
    if table == "open":
        return f"(id integer, word {text})"
    return f"({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})".format(text=text)


def _build_postgres(name: str, server: Server, tables: Tables) -> None:
    database = f"leaks_{name}"
    server.run("postgres", f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    server.run("postgres", f"CREATE DATABASE {database}")
    with dbapi.connect(server.url(database)) as connection, connection.cursor() as cursor:
        for table, content in tables.items():
            cursor.execute(f"CREATE TABLE public.{table} {ddl(table, 'text')}")
            for row in content:
                cursor.execute(f"INSERT INTO public.{table} VALUES {_literal(row)}")
        # What the control's policies look subjects up in.
        cursor.execute("CREATE TABLE public.entitlements AS SELECT 'A' AS t")
        connection.commit()


def _build_mysql(name: str, server: mysql.Server, tables: Tables) -> None:
    """Text ignores case and blanks at the end unless it is told otherwise."""
    database = f"leaks_{name}"
    text = "varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
    statements = []
    for table, content in tables.items():
        columns = ddl(table, text).replace("timestamp with time zone", "timestamp(6) NULL")
        # No offset is written, and a moment with a zone ends in 2038.
        rows = ", ".join(map(_literal, content)).replace("+00:00", "").replace("2199-", "2037-")
        rows = rows.replace("\\", "\\\\")
        statements += [f"CREATE TABLE {database}.{table} {columns}",
                       f"INSERT INTO {database}.{table} VALUES {rows}"]  # fmt: skip
    server.run(
        f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}",
        "SET time_zone = '+00:00', sql_mode = ''", *statements,
    )  # fmt: skip


def _literal(row: Row) -> str:
    values = [
        "NULL" if one is None else str(one) if isinstance(one, int) else f"'{one}'" for one in row
    ]
    return f"({', '.join(values)})"


def _build_sqlite(data: Path, tables: Tables) -> None:
    connection = sqlite3.connect(data / "leaks.sqlite")
    for table, content in tables.items():
        connection.execute(f"CREATE TABLE {table} {ddl(table, 'text')}")
        marks = ",".join("?" * len(content[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", content)
    connection.commit()
    connection.close()


def _build_duckdb(data: Path, tables: Tables) -> None:
    """The DuckDB file, and the Parquet files from it."""
    connection = duckdb.connect(str(data / "leaks.duckdb"))
    for table, content in tables.items():
        connection.execute(f"CREATE TABLE {table} {ddl(table, 'varchar')}")
        marks = ",".join("?" * len(content[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", [list(r) for r in content])
        (data / "files" / table).mkdir(parents=True)
        connection.execute(f"COPY {table} TO '{data}/files/{table}/part.parquet' (FORMAT parquet)")
    connection.close()


_COLUMNS = """
      - {name: id, logicalType: integer, physicalType: integer, required: true}
      - {name: tenant, logicalType: string, physicalType: varchar}
      - {name: secret, logicalType: string, physicalType: varchar, tags: [hidden.text]}
      - {name: number, logicalType: integer, physicalType: integer, tags: [hidden.number]}
      - {name: note, logicalType: string, physicalType: varchar, tags: [hidden.note]}
      - name: moment
        logicalType: timestamp
        physicalType: timestamp with time zone
        tags: [hidden.moment]
      - {name: code, logicalType: string, physicalType: varchar, tags: [hidden.code]}
      - {name: amount, logicalType: number, physicalType: "decimal(10,2)", tags: [hidden.amount]}
"""
_OPEN_COLUMNS = """
      - {name: id, logicalType: integer, physicalType: integer, required: true}
      - {name: word, logicalType: string, physicalType: varchar}
"""
_PHYSICAL = {
    "postgres": "public.{}",
    "sqlite": "{}",
    "duckdb": "main.{}",
    "files": "{}/*.parquet",
    "mysql": "{}",
}
_SOURCES = """
kind: Domain
name: leaks
description: All kinds of source.
owners: [nobody]
sources:
  postgres: {connector: postgres, secrets: {url: URL}}
  sqlite: {connector: sqlite, settings: {path: leaks.sqlite}}
  duckdb: {connector: duckdb, settings: {path: leaks.duckdb}}
  files: {connector: files, settings: {path: files, format: parquet}}
"""
_MYSQL = "  mysql: {connector: mysql, secrets: {url: MYSQL}}\n"
_POLICIES = """
kind: Policy
id: mask-text
match: {tags: [hidden.text], table: cells}
effect: {mask: {kind: "null"}}
---
kind: Policy
id: mask-number
match: {tags: [hidden.number], table: cells}
effect: {mask: {kind: constant, value: 3}}
---
kind: Policy
id: hide-note
match: {tags: [hidden.note], table: cells}
effect: {hide: true}
---
kind: Policy
id: mask-moment
match: {tags: [hidden.moment], table: cells}
effect: {mask: {kind: bucket, unit: day}}
---
kind: Policy
id: mask-code
match: {tags: [hidden.code], table: cells}
effect: {mask: {kind: partial, keepLast: 2}}
---
kind: Policy
id: mask-amount
match: {tags: [hidden.amount], table: cells}
effect: {mask: {kind: bucket, size: 100}}
"""


def _write_mesh(conf: Path, kinds: tuple[str, ...]) -> None:
    base = conf / "domains" / "leaks"
    for folder in (base / "contracts", base / "grants", conf / "governance" / "policies"):
        folder.mkdir(parents=True)
    (conf / "gateway.toml").write_text("")
    (base / "domain.yaml").write_text(_SOURCES + (_MYSQL if "mysql" in kinds else ""))
    (conf / "governance" / "taxonomy.yaml").write_text(
        "kind: Taxonomy\ntags: {hidden.text: x, hidden.number: x, hidden.note: x, "
        "hidden.moment: x, hidden.code: x, hidden.amount: x}\n"
        "joinGroups: {people: x}\n"
    )
    users = "".join(
        f"  {name}: {{groups: [{name}], attributes: {{tenant: [A]}}}}\n"
        for name in (*USERS, "scope")
    )
    (conf / "identities.yaml").write_text(f"kind: Identities\nusers:\n{users}")
    policies = [_POLICIES]
    for name, condition in USERS.items():
        policies.append(
            f"kind: Policy\nid: rows-{name}\nmatch: {{table: people}}\n"
            f'subjects: [{{groups: [{name}]}}]\neffect: {{filter: "{condition}"}}\n'
        )
    (conf / "governance" / "policies" / "all.yaml").write_text("---\n".join(policies))
    for kind in kinds:
        _write_product(base, kind)


def _write_product(base: Path, kind: str) -> None:
    (base / f"{kind}.odps.yaml").write_text(
        f"apiVersion: v1.0.0\nkind: DataProduct\nid: p-{kind}\nname: {kind}\nversion: 1.0.0\n"
        f"status: active\ndomain: leaks\noutputPorts: [{{name: {kind}, version: 1.0.0, "
        f"contractId: c-{kind}}}]\n"
        "team: {name: t, members: [{username: nobody, role: owner}]}\n"
    )
    tables = "".join(
        f'  - name: {table}\n    physicalName: "{_PHYSICAL[kind].format(table)}"\n'
        f"    properties:{_OPEN_COLUMNS if table == 'open' else _COLUMNS}"
        for table in ("people", "cells", "open")
    )
    (base / "contracts" / f"{kind}.odcs.yaml").write_text(
        f"apiVersion: v3.2.0\nkind: DataContract\nid: c-{kind}\nversion: 1.0.0\nstatus: active\n"
        f"customProperties: [{{property: source, value: {kind}, vendor: sqluice}}]\n"
        f"schema:\n{tables}"
    )
    everyone = ", ".join(f"{{groups: [{name}]}}" for name in USERS)
    (base / "grants" / f"{kind}.yaml").write_text(
        f"kind: Grant\nid: all-{kind}\nproduct: {kind}\nsubjects: [{everyone}]\n---\n"
        f"kind: Grant\nid: scope-{kind}\nproduct: {kind}\nsubjects: [{{groups: [scope]}}]\n"
        f"tables: [people, cells]\nscope: \"tenant = 'A'\"\n---\n"
        f"kind: Grant\nid: open-{kind}\nproduct: {kind}\nsubjects: [{{groups: [scope]}}]\n"
        f"tables: [open]\n"
    )
