"""A small mesh whose sources can be broken, each test its own gateway.

Takes: a folder and a PostgreSQL server. Gives: an open gateway over PostgreSQL, SQLite and files.
Never touches the sample mesh.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from adbc_driver_postgresql import dbapi

from gateway.config import load_config
from gateway.demo.postgres import Server
from gateway.errors import SqluiceError
from gateway.identity import principal_of
from gateway.opening import OpenGateway, open_gateway
from gateway.request import Limits, Principal, Request
from gateway.result import Result
from gateway.sessions import new_query_id

DATABASE = "bad_input"
PRODUCTS = {
    "records": ("ledger", "public.{}", ("parts", "many", "slow")),
    "stock": ("store", "{}", ("parts",)),
    "archive": ("shelf", "{}/*.parquet", ("parts",)),
}
VERIFIER = (
    "SCRAM-SHA-256$4096:hPsBEloi/pRaAbsMfDUxqA==$CExpI5jPaMKVG7UcNnLs21k6cvwGt3wavuke/xDTkD0=:"
    "RmRK/yT26leb1GEgBvsjlvXJ+jZmgtfKsAh3IXPeqVg="
)
_DOMAIN = """kind: Domain
name: plant
description: Three kinds of source.
owners: [nobody]
sources:
  ledger: {connector: postgres, secrets: {url: LEDGER_URL}}
  store: {connector: sqlite, settings: {path: store.sqlite}}
  shelf: {connector: files, settings: {path: shelf, format: parquet}}
"""
_COLUMNS = """    properties:
      - {name: id, logicalType: integer, physicalType: integer, required: true}
      - {name: note, logicalType: string, physicalType: varchar, tags: [part.note]}
"""
_VIEWS = (
    "CREATE TABLE public.parts AS SELECT 1 AS id, 'a'::text AS note",
    "CREATE VIEW public.many AS SELECT i::integer AS id, repeat('x', 500) AS note "
    "FROM generate_series(1, 3000000) AS i",
    "CREATE VIEW public.slow AS SELECT count(*)::integer AS id, 'x'::text AS note "
    "FROM generate_series(1, 100000) AS a, generate_series(1, 1000000) AS b",
)


def build_database(server: Server) -> None:
    """Make the database, its small table, its large and its slow view."""
    server.run("postgres", f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    server.run("postgres", f"CREATE DATABASE {DATABASE}")
    server.run(DATABASE, *_VIEWS)


@dataclass(frozen=True, slots=True)
class Plant:
    """A mesh in a folder, with its databases; `opened` is made by `open`."""

    server: Server
    folder: Path

    @property
    def conf(self) -> Path:
        """The mesh."""
        return self.folder / "conf"

    @property
    def secret(self) -> Path:
        """The file that holds the address of PostgreSQL."""
        return self.folder / "secrets" / "plant" / "LEDGER_URL"

    def open(self) -> OpenGateway:
        """A gateway; whoever opens it closes it."""
        return open_gateway(load_config(self.conf, {"SQLUICE_DATA": str(self.folder)}))

    def running(self) -> int:
        """How many statements of others run in the database."""
        return int(self._tell("SELECT count(*)"))

    def terminate(self) -> int:
        """End the sessions that run a statement; gives how many."""
        return int(self._tell("SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))"))

    def _tell(self, what: str) -> int:
        sql = (
            f"{what} FROM pg_stat_activity WHERE datname = '{DATABASE}' AND state = 'active' "
            "AND pid <> pg_backend_pid()"
        )
        with (
            dbapi.connect(self.server.url("postgres"), autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
            row = cursor.fetchone()
            assert row is not None
            return int(row[0])


def build_plant(server: Server, folder: Path) -> Plant:
    """Write the files of the mesh and the sources that are files."""
    made = Plant(server, folder)
    made.secret.parent.mkdir(parents=True)
    made.secret.write_text(server.url(DATABASE))
    connection = sqlite3.connect(folder / "store.sqlite")
    connection.execute("CREATE TABLE parts (id integer, note text)")
    connection.execute("INSERT INTO parts VALUES (2, 'b')")
    connection.commit()
    connection.close()
    (folder / "shelf" / "parts").mkdir(parents=True)
    with duckdb.connect() as other:
        place = folder / "shelf" / "parts" / "part.parquet"
        other.execute(f"COPY (SELECT 3 AS id, 'c' AS note) TO '{place}' (FORMAT parquet)")
    _write_mesh(made.conf)
    return made


def _write_mesh(conf: Path) -> None:
    base = conf / "domains" / "plant"
    for place in (base / "contracts", base / "grants", conf / "governance" / "policies"):
        place.mkdir(parents=True)
    (conf / "gateway.toml").write_text("")
    (base / "domain.yaml").write_text(_DOMAIN)
    (conf / "governance" / "taxonomy.yaml").write_text("kind: Taxonomy\ntags: {part.note: x}\n")
    (conf / "identities.yaml").write_text(
        f"kind: Identities\nusers:\n  nora: {{groups: [staff], verifier: '{VERIFIER}'}}\n"
    )
    for product, (source, physical, tables) in PRODUCTS.items():
        (base / f"{product}.odps.yaml").write_text(
            f"apiVersion: v1.0.0\nkind: DataProduct\nid: p-{product}\nname: {product}\n"
            f"version: 1.0.0\nstatus: active\ndomain: plant\noutputPorts: [{{name: {product}, "
            f"version: 1.0.0, contractId: c-{product}}}]\n"
            "team: {name: t, members: [{username: nobody, role: owner}]}\n"
        )
        schema = "".join(
            f'  - name: {table}\n    physicalName: "{physical.format(table)}"\n{_COLUMNS}'
            for table in tables
        )
        (base / "contracts" / f"{product}.odcs.yaml").write_text(
            f"apiVersion: v3.2.0\nkind: DataContract\nid: c-{product}\nversion: 1.0.0\n"
            f"status: active\ncustomProperties: [{{property: source, value: {source}, "
            f"vendor: sqluice}}]\nschema:\n{schema}"
        )
        (base / "grants" / f"{product}.yaml").write_text(
            f"kind: Grant\nid: all-{product}\nproduct: {product}\nsubjects: [{{groups: [staff]}}]\n"
        )


def principal(opened: OpenGateway) -> Principal:
    """The one user of the mesh."""
    return principal_of(opened.publisher.current().mesh.users[0])


def start(opened: OpenGateway, sql: str, **fields: object) -> Result:
    """The result of a statement, its first batch ready."""
    made = Request(sql, principal(opened), datetime.now(UTC), new_query_id())
    made = replace(made, limits=Limits(seconds=20))
    changed = replace(made, **fields)  # type: ignore[arg-type]  # fields of Request by name
    return opened.gateway.answer(changed)


def answer(opened: OpenGateway, sql: str) -> list[dict[str, object]]:
    """All rows of an answer."""
    result = start(opened, sql)
    return [row for batch in result.batches() for row in batch.to_pylist()]


def failure_of(opened: OpenGateway, sql: str) -> SqluiceError | None:
    """The error of a statement, if it has one."""
    try:
        answer(opened, sql)
    except SqluiceError as error:
        return error
    return None


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
