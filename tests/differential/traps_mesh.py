"""A mesh over the rows of the conformance suite: one product for each kind and flavour of source.

Takes: a folder and a PostgreSQL server. Gives: an open gateway and, for each user, plain DuckDB
over what that user may see. The rows hold what trips engines up: NULLs, NaN, blanks, both cases,
characters outside ASCII, extremes; a flavour changes how PostgreSQL itself compares text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import yaml

from gateway.config import load_config
from gateway.demo import mysql
from gateway.demo.postgres import Server
from gateway.identity import principal_of
from gateway.opening import OpenGateway, open_gateway
from gateway.request import Limits, Request
from gateway.sessions import new_query_id
from tests.connectors.conformance.samples import (
    FLAVOURS,
    MYSQL_FLAVOURS,
    Sample,
    in_duckdb,
    in_files,
    in_mysql,
    in_postgres,
    in_sqlite,
    lacks,
)

EMBEDDED = {"sqlite": in_sqlite, "duckdb": in_duckdb, "files": in_files}
_SOURCES: Mapping[str, Mapping[str, object]] = {
    "sqlite": {"connector": "sqlite", "settings": {"path": "sqlite/rows.sqlite"}},
    "duckdb": {"connector": "duckdb", "settings": {"path": "duckdb/rows.duckdb"}},
    "files": {"connector": "files", "settings": {"path": "files", "format": "parquet"}},
}
_COLUMNS = {
    "id": "integer, physicalType: integer", "b": "boolean, physicalType: boolean",
    "n": "integer, physicalType: smallint", "i": "integer, physicalType: integer",
    "l": "integer, physicalType: bigint", "m": 'number, physicalType: "decimal(12,2)"',
    "f": "number, physicalType: double precision", "s": "string, physicalType: text",
    "d": "date, physicalType: date", "t": "timestamp, physicalType: timestamp",
    "z": "timestamp, physicalType: timestamptz", "c": "time, physicalType: time",
    "u": "string, physicalType: uuid",
}  # fmt: skip
_POLICIES = """
kind: Policy
id: no-far-rows
match: {table: probe}
subjects: [{groups: [narrow]}]
effect: {filter: "id < 30 AND s IS DISTINCT FROM 'A' AND (l > -10 OR b)"}
---
kind: Policy
id: numbers
match: {tags: [hidden.n]}
subjects: [{groups: [masked]}]
effect: {mask: {kind: constant, value: 3}}
---
kind: Policy
id: texts
match: {tags: [hidden.s]}
subjects: [{groups: [masked]}]
effect: {mask: {kind: partial, keepLast: 1}}
---
kind: Policy
id: days
match: {tags: [hidden.d]}
subjects: [{groups: [masked]}]
effect: {mask: {kind: bucket, unit: year}}
---
kind: Policy
id: floats
match: {tags: [hidden.f]}
subjects: [{groups: [masked]}]
effect: {mask: {kind: "null"}}
"""
# What each user may see, said a second time: columns and rows.
VISIBLE: Mapping[str, tuple[str, str]] = {
    "open": ("*", "true"),
    "narrow": ("*", "id < 30 AND s IS DISTINCT FROM 'A' AND (l > -10 OR b)"),
    "masked": (
        "* REPLACE (3::SMALLINT AS n, NULL::DOUBLE AS f, date_trunc('year', d)::DATE AS d, "
        "CASE WHEN length(s) <= 1 THEN repeat('*', length(s)) "
        "ELSE repeat('*', length(s) - 1) || right(s, 1) END AS s)",
        "true",
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A source as its domain's file says it, its secrets, its table, its rows in plain DuckDB."""

    source: Mapping[str, object]
    secrets: Mapping[str, str]
    table: str
    reference: duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class TrapsMesh:
    """An open gateway, the products it has, and the reference of each user."""

    opened: OpenGateway
    products: tuple[str, ...]
    reference: Mapping[str, duckdb.DuckDBPyConnection]

    def ask(self, user: str, sql: str, **fields: object) -> pa.Table:
        """The gateway's answer."""
        users = self.opened.publisher.current().mesh.users
        request = Request(
            sql=sql,
            principal=principal_of(next(one for one in users if one.name == user)),
            now=datetime.now(UTC),
            query_id=new_query_id(),
            limits=Limits(seconds=60),
            **fields,  # type: ignore[arg-type]  # fields of Request by name
        )
        result = self.opened.gateway.answer(request)
        return pa.Table.from_batches(list(result.batches()), result.schema)

    def close(self) -> None:
        """Close the gateway and the references."""
        self.opened.close()
        for one in self.reference.values():
            one.close()


def open_traps(folder: Path, server: Server, mariadb: mysql.Server | None = None) -> TrapsMesh:
    """Build the sources, those flavours that the server can do, and open a gateway over them.

    The flavours of MariaDB, where there is one, are products of their names after `mariadb_`.
    """
    samples = dict(_samples(folder, server, mariadb))
    urls = {}
    for one in (each for each in samples if each not in EMBEDDED):
        text = one.removeprefix("mariadb_")
        where = server if text == one or mariadb is None else mariadb
        urls[one] = where.url(f"rows_{text}")
    return open_over(folder, samples, urls)


def open_over(
    folder: Path, samples: Mapping[str, Sample], urls: Mapping[str, str], settings: str = ""
) -> TrapsMesh:
    """Open a gateway over these sources, with these lines in gateway.toml."""
    places = {name: place_of(name, sample, urls.get(name)) for name, sample in samples.items()}
    return open_places(folder, places, settings)


def place_of(name: str, sample: Sample, url: str | None = None) -> Place:
    """Where the rows of a sample lie; closes its connection."""
    sample.connection.close()
    source = _SOURCES.get(name) or {"connector": sample.kind}
    return Place(source, {} if url is None else {"url": url}, sample.table, sample.reference)


def open_places(folder: Path, places: Mapping[str, Place], settings: str = "") -> TrapsMesh:
    """Open a gateway over the rows at these places; closes their references."""
    conf = folder / "conf"
    _write_mesh(conf, places)
    (conf / "gateway.toml").write_text(settings)
    for name, place in places.items():
        for setting, value in place.secrets.items():
            secret = folder / "secrets" / "traps" / _secret(setting, name)
            secret.parent.mkdir(parents=True, exist_ok=True)
            secret.write_text(value)
    reference = {user: _permitted(user, places) for user in VISIBLE}
    for place in places.values():
        place.reference.close()
    opened = open_gateway(load_config(conf, {"SQLUICE_DATA": str(folder)}))
    return TrapsMesh(opened, tuple(places), reference)


def _samples(
    folder: Path, server: Server, mariadb: mysql.Server | None
) -> Iterable[tuple[str, Sample]]:
    for text in MYSQL_FLAVOURS if mariadb is not None else ():
        assert mariadb is not None
        yield f"mariadb_{text}", in_mysql(mariadb, text)
    for kind, make in EMBEDDED.items():
        (folder / kind).mkdir()
        yield kind, make(folder / kind)
    plain = in_postgres(server, "bytes")
    yield "bytes", plain
    for flavour in (*FLAVOURS, "enum"):
        if flavour != "bytes" and not lacks(plain, flavour):
            yield flavour, in_postgres(server, flavour)


def _permitted(user: str, places: Mapping[str, Place]) -> duckdb.DuckDBPyConnection:
    columns, rows = VISIBLE[user]
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("ATTACH ':memory:' AS traps")
    for product, place in places.items():
        raw = place.reference.sql(f"SELECT {', '.join(_COLUMNS)} FROM probe").to_arrow_table()
        described = place.reference.execute("DESCRIBE probe").fetchall()
        types = {row[0]: row[1] for row in described}
        shown = ", ".join(f"{name}::{types[name]} AS {name}" for name in _COLUMNS)
        connection.register("raw_rows", raw)
        connection.execute(f"CREATE SCHEMA traps.{product}")
        connection.execute(
            f"CREATE TABLE traps.{product}.probe AS SELECT {columns} FROM "
            f"(SELECT {shown} FROM raw_rows WHERE {rows})"
        )
        connection.unregister("raw_rows")
    return connection


def _write_mesh(conf: Path, places: Mapping[str, Place]) -> None:
    base = conf / "domains" / "traps"
    for folder in (base / "contracts", base / "grants", conf / "governance" / "policies"):
        folder.mkdir(parents=True)
    (conf / "gateway.toml").write_text("")
    domain = {
        "kind": "Domain", "name": "traps", "description": "Rows that trip engines up.",
        "owners": ["nobody"],
        "sources": {
            name: {**one.source, "secrets": {key: _secret(key, name) for key in one.secrets}}
            for name, one in places.items()
        },
    }  # fmt: skip
    (base / "domain.yaml").write_text(yaml.safe_dump(domain, sort_keys=False))
    (conf / "governance" / "taxonomy.yaml").write_text(
        "kind: Taxonomy\ntags: {hidden.n: x, hidden.s: x, hidden.d: x, hidden.f: x}\n"
    )
    users = "".join(f"  {name}: {{groups: [{name}]}}\n" for name in VISIBLE)
    (conf / "identities.yaml").write_text(f"kind: Identities\nusers:\n{users}")
    (conf / "governance" / "policies" / "all.yaml").write_text(_POLICIES)
    for name, place in places.items():
        _write_product(base, name, place.table)


def _secret(setting: str, product: str) -> str:
    return f"{setting}_{product}".upper()


def _write_product(base: Path, name: str, table: str) -> None:
    (base / f"{name}.odps.yaml").write_text(
        f"apiVersion: v1.0.0\nkind: DataProduct\nid: p-{name}\nname: {name}\nversion: 1.0.0\n"
        f"status: active\ndomain: traps\noutputPorts: [{{name: {name}, version: 1.0.0, "
        f"contractId: c-{name}}}]\n"
        "team: {name: t, members: [{username: nobody, role: owner}]}\n"
    )
    tagged = dict.fromkeys("nsdf")
    columns = "".join(
        f'      - {{name: {column}, logicalType: {kind}'
        f"{f', tags: [hidden.{column}]' if column in tagged else ''}}}\n"
        for column, kind in _COLUMNS.items()
    )
    (base / "contracts" / f"{name}.odcs.yaml").write_text(
        f"apiVersion: v3.2.0\nkind: DataContract\nid: c-{name}\nversion: 1.0.0\nstatus: active\n"
        f"customProperties: [{{property: source, value: {name}, vendor: sqluice}}]\n"
        f'schema:\n  - name: probe\n    physicalName: "{table}"\n'
        f"    properties:\n{columns}"
    )
    everyone = ", ".join(f"{{groups: [{user}]}}" for user in VISIBLE)
    (base / "grants" / f"{name}.yaml").write_text(
        f"kind: Grant\nid: all-{name}\nproduct: {name}\nsubjects: [{everyone}]\n"
    )
