"""A mesh with one table that shows groups only, in three kinds of source.

Takes: a folder. Gives: an open gateway, and the rows. Never holds more than a few hundred rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
from pyarrow import parquet

from gateway.config import load_config
from gateway.identity import principal_of
from gateway.opening import OpenGateway, open_gateway
from gateway.request import Limits, Request
from gateway.sessions import new_query_id

KINDS = ("duckdb", "sqlite", "files")
# person, region, tier, month, amount: a person has one region and tier, and a row a month.
ROWS: tuple[tuple[int, str | None, str, int, int], ...] = tuple(
    (
        person,
        None if person % 17 == 0 else ("north", "south", "east", "tiny")[
            3 if person in (5, 6) else person % 3
        ],
        "gold" if person % 4 == 0 else "blue",
        month,
        10_000 if person == 9 else 10 + person % 7,
    )
    for person in range(1, 61)
    for month in (range(1, 4) if person % 5 else range(1, 3))
)  # fmt: skip
MINIMUM = 5
_COLUMNS = "person integer, region varchar, tier varchar, month integer, amount integer"
_PROPERTIES = """
      - {name: person, logicalType: integer, physicalType: integer}
      - {name: region, logicalType: string, physicalType: varchar}
      - {name: tier, logicalType: string, physicalType: varchar}
      - {name: month, logicalType: integer, physicalType: integer}
      - {name: amount, logicalType: integer, physicalType: integer}
"""
_PHYSICAL = {"duckdb": "main.spend", "sqlite": "spend", "files": "spend/*.parquet"}
_DOMAIN = """
kind: Domain
name: money
description: Spending by month.
owners: [nobody]
sources:
  duckdb: {connector: duckdb, settings: {path: spend.duckdb}}
  sqlite: {connector: sqlite, settings: {path: spend.sqlite}}
  files: {connector: files, settings: {path: files, format: parquet}}
"""
POLICY = """
kind: Policy
id: groups
match: {table: spend}
unless: [{groups: [auditors]}]
effect: {aggregate: {entity: person, minimum: 5, dimensions: [region, tier, month]}}
---
kind: Policy
id: balanced
match: {table: spend}
subjects: [{groups: [careful]}]
effect: {aggregate: {entity: person, minimum: 5, dimensions: [region, tier, month], dominance: 0.5}}
---
kind: Policy
id: few-atoms
match: {table: spend}
subjects: [{groups: [small]}]
effect: {aggregate: {entity: person, minimum: 5, dimensions: [region, tier, month], atoms: 60}}
---
kind: Policy
id: northern
match: {table: spend}
subjects: [{groups: [north]}]
effect: {filter: "region = 'north'"}
"""
USERS = {"ada": "analysts", "bea": "analysts", "cy": "careful", "sue": "small", "nils": "north",
         "olga": "auditors"}  # fmt: skip

# Each of them also as ada0, ada1 ...: whoever has asked nothing yet has an empty ledger.
TWINS = 20


@dataclass(frozen=True, slots=True)
class Money:
    """The open gateway over it."""

    opened: OpenGateway

    def ask(
        self, user: str, sql: str, *, push_down: bool = True, parameters: tuple[object, ...] = ()
    ) -> list[tuple[object, ...]]:
        """The rows of an answer."""
        users = self.opened.publisher.current().mesh.users
        request = Request(
            sql=sql,
            principal=principal_of(next(one for one in users if one.name == user)),
            now=datetime.now(UTC),
            query_id=new_query_id(),
            limits=Limits(seconds=30),
            push_down=push_down,
            parameters=parameters,
        )
        result = self.opened.gateway.answer(request)
        return [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]


def open_money(folder: Path, policy: str = POLICY) -> Money:
    """Build sources and mesh, and open a gateway."""
    data = folder / "data"
    data.mkdir(parents=True)
    _build(data)
    conf = folder / "conf"
    _write(conf, {
        "gateway.toml": "",
        "domains/money/domain.yaml": _DOMAIN,
        "governance/policies/all.yaml": policy,
        "identities.yaml": "kind: Identities\nusers:\n"
        + "".join(
            f"  {name}{number}: {{groups: [{group}]}}\n"
            for name, group in USERS.items() for number in ("", *range(TWINS))
        ),
        **{f"domains/money/{kind}.odps.yaml": _product(kind) for kind in KINDS},
        **{f"domains/money/contracts/{kind}.odcs.yaml": _contract(kind) for kind in KINDS},
        **{
            f"domains/money/grants/{kind}.yaml":
            f"kind: Grant\nid: all-{kind}\nproduct: {kind}\nsubjects: [{{all: true}}]\n"
            for kind in KINDS
        },
    })  # fmt: skip
    return Money(open_gateway(load_config(conf, {"SQLUICE_DATA": str(data)})))


def raw() -> duckdb.DuckDBPyConnection:
    """The rows in a DuckDB of their own."""
    connection = duckdb.connect()
    _fill(connection)
    return connection


def _table() -> pa.Table:
    columns = list(zip(*ROWS, strict=True))
    names = [one.split()[0] for one in _COLUMNS.split(", ")]
    kinds = [pa.int32(), pa.string(), pa.string(), pa.int32(), pa.int32()]
    arrays = [pa.array(held, kind) for held, kind in zip(columns, kinds, strict=True)]
    return pa.Table.from_arrays(arrays, names=names)


def _fill(connection: duckdb.DuckDBPyConnection) -> None:
    connection.register("rows", _table())
    connection.execute("CREATE TABLE spend AS SELECT * FROM rows")
    connection.unregister("rows")


def _build(data: Path) -> None:
    with duckdb.connect(str(data / "spend.duckdb")) as made:
        _fill(made)
    lite = sqlite3.connect(data / "spend.sqlite")
    lite.execute(f"CREATE TABLE spend ({_COLUMNS.replace('varchar', 'text')})")
    lite.executemany("INSERT INTO spend VALUES (?,?,?,?,?)", ROWS)
    lite.commit()
    lite.close()
    (data / "files" / "spend").mkdir(parents=True)
    parquet.write_table(_table(), data / "files" / "spend" / "part.parquet")


def _write(conf: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = conf / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _product(kind: str) -> str:
    return (
        f"apiVersion: v1.0.0\nkind: DataProduct\nid: p-{kind}\nname: {kind}\nversion: 1.0.0\n"
        f"status: active\ndomain: money\noutputPorts: [{{name: {kind}, version: 1.0.0, "
        f"contractId: c-{kind}}}]\n"
        "team: {name: t, members: [{username: nobody, role: owner}]}\n"
    )


def _contract(kind: str) -> str:
    return (
        f"apiVersion: v3.2.0\nkind: DataContract\nid: c-{kind}\nversion: 1.0.0\nstatus: active\n"
        f"customProperties: [{{property: source, value: {kind}, vendor: sqluice}}]\n"
        f"schema:\n  - name: spend\n    physicalName: \"{_PHYSICAL[kind]}\"\n"
        f"    properties:{_PROPERTIES}"
    )
