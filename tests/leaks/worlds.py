"""Two meshes that differ only in what nobody of the test may see.

Takes: a folder and a PostgreSQL server. Gives: two open gateways over four kinds of source. In
world `calm` hidden rows and cells hold harmless values, in world `wild` the values on which casts,
divisions and patterns fail. Never differs in anything visible.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from gateway.config import load_config
from gateway.demo.postgres import Server
from gateway.opening import OpenGateway, open_gateway

KINDS = ("postgres", "sqlite", "duckdb", "files")
VISIBLE = (
    (1, "A", "10", 5, "alpha"),
    (2, "A", "20", 6, "beta"),
    (3, "A", None, None, "gamma"),
    (4, "A", "30", 8, None),
)
HIDDEN: Mapping[str, tuple[tuple[int, str, str | None, int | None, str | None], ...]] = {
    "calm": ((7, "B", "40", 9, "delta"),),
    "wild": (
        (7, "B", "SECRET-7", 7, "S\\"),
        (8, "B", "2024-02-30", 2147483647, "("),
        (9, "b", "", -2147483648, "%"),
    ),
}
# For the users whose cells are masked, not their rows: the same rows with other cells.
CELLS: Mapping[str, tuple[str | None, int]] = {"calm": ("40", 9), "wild": ("SECRET-7", 7)}
USERS = {
    "filter": "tenant IN (subject.tenant)",
    "either": "tenant = 'A' OR number IS NULL AND id < 4",
    "folded": "lower(note) <> 'delta' AND tenant = 'A' OR tenant = 'A'",
    "cases": "CASE WHEN id > 6 THEN FALSE ELSE tenant = 'A' END",
}


@dataclass(frozen=True, slots=True)
class World:
    """One open gateway."""

    name: str
    opened: OpenGateway


def open_world(name: str, folder: Path, server: Server) -> World:
    """Build the databases and the mesh of a world."""
    data = folder / name
    data.mkdir(parents=True)
    rows, cells = VISIBLE + HIDDEN[name], CELLS[name]
    masked = tuple((i, t, cells[0], cells[1], cells[0]) for i, t, *_ in VISIBLE)
    _build_postgres(name, server, rows, masked)
    _build_sqlite(data, rows, masked)
    _build_duckdb(data, rows, masked)
    _build_files(data, rows, masked)
    conf = data / "conf"
    _write_mesh(conf)
    secret = data / "secrets" / "leaks" / "URL"
    secret.parent.mkdir(parents=True)
    secret.write_text(server.url(f"leaks_{name}"))
    key = data / "secrets" / "governance" / "PSEUDONYM_PEOPLE"
    key.parent.mkdir(parents=True)
    key.write_text("k" * 40)
    return World(name, open_gateway(load_config(conf, {"SQLUICE_DATA": str(data)})))


Rows = tuple[tuple[object, ...], ...]
_DDL = "(id integer, tenant {text}, secret {text}, number integer, note {text})"


def _build_postgres(name: str, server: Server, rows: Rows, masked: Rows) -> None:
    database = f"leaks_{name}"
    server.run("postgres", f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    server.run("postgres", f"CREATE DATABASE {database}")
    with dbapi.connect(server.url(database)) as connection, connection.cursor() as cursor:
        for table, content in (("people", rows), ("cells", masked)):
            cursor.execute(f"CREATE TABLE public.{table} {_DDL.format(text='text')}")
            for row in content:
                cursor.execute(f"INSERT INTO public.{table} VALUES {_literal(row)}")
        # What the control's policies look subjects up in.
        cursor.execute("CREATE TABLE public.entitlements AS SELECT 'A' AS t")
        connection.commit()


def _literal(row: tuple[object, ...]) -> str:
    values = [
        "NULL" if one is None else str(one) if isinstance(one, int) else f"'{one}'" for one in row
    ]
    return f"({', '.join(values)})"


def _build_sqlite(data: Path, rows: Rows, masked: Rows) -> None:
    connection = sqlite3.connect(data / "leaks.sqlite")
    for table, content in (("people", rows), ("cells", masked)):
        connection.execute(f"CREATE TABLE {table} {_DDL.format(text='text')}")
        connection.executemany(f"INSERT INTO {table} VALUES (?,?,?,?,?)", content)
    connection.commit()
    connection.close()


def _build_duckdb(data: Path, rows: Rows, masked: Rows) -> None:
    connection = duckdb.connect(str(data / "leaks.duckdb"))
    for table, content in (("people", rows), ("cells", masked)):
        connection.execute(f"CREATE TABLE {table} {_DDL.format(text='varchar')}")
        connection.executemany(
            f"INSERT INTO {table} VALUES (?,?,?,?,?)", [list(r) for r in content]
        )
    connection.close()


def _build_files(data: Path, rows: Rows, masked: Rows) -> None:
    connection = duckdb.connect()
    for table, content in (("people", rows), ("cells", masked)):
        (data / "files" / table).mkdir(parents=True)
        columns = list(zip(*content, strict=True))
        made = pa.table(
            {
                "id": pa.array(columns[0], pa.int32()),
                "tenant": pa.array(columns[1], pa.string()),
                "secret": pa.array(columns[2], pa.string()),
                "number": pa.array(columns[3], pa.int32()),
                "note": pa.array(columns[4], pa.string()),
            }
        )
        connection.register("made", made)
        connection.execute(f"COPY made TO '{data}/files/{table}/part.parquet' (FORMAT parquet)")
        connection.unregister("made")
    connection.close()


_COLUMNS = """
      - {name: id, logicalType: integer, physicalType: integer, required: true}
      - {name: tenant, logicalType: string, physicalType: varchar}
      - {name: secret, logicalType: string, physicalType: varchar, tags: [hidden.text]}
      - {name: number, logicalType: integer, physicalType: integer, tags: [hidden.number]}
      - {name: note, logicalType: string, physicalType: varchar, tags: [hidden.note]}
"""
_PHYSICAL = {
    "postgres": "public.{}",
    "sqlite": "{}",
    "duckdb": "main.{}",
    "files": "{}/*.parquet",
}
_SOURCES = """
kind: Domain
name: leaks
description: Four kinds of source.
owners: [nobody]
sources:
  postgres: {connector: postgres, secrets: {url: URL}}
  sqlite: {connector: sqlite, settings: {path: leaks.sqlite}}
  duckdb: {connector: duckdb, settings: {path: leaks.duckdb}}
  files: {connector: files, settings: {path: files, format: parquet}}
"""
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
"""


def _write_mesh(conf: Path) -> None:
    base = conf / "domains" / "leaks"
    for folder in (base / "contracts", base / "grants", conf / "governance" / "policies"):
        folder.mkdir(parents=True)
    (conf / "gateway.toml").write_text("")
    (base / "domain.yaml").write_text(_SOURCES)
    (conf / "governance" / "taxonomy.yaml").write_text(
        "kind: Taxonomy\ntags: {hidden.text: x, hidden.number: x, hidden.note: x}\n"
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
    for kind in KINDS:
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
        f"    properties:{_COLUMNS}"
        for table in ("people", "cells")
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
        f"scope: \"tenant = 'A'\"\n"
    )
