"""A small shop whose policies, grants and rows a test case gives.

Takes: the files below shop/ and what a case adds to them. Gives: a compiled mesh, a decision,
and the rows that the guarded query yields over a few rows in DuckDB. Never asks a source.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import yaml

from gateway.authorize import authorize, directory, visible
from gateway.bind import bind
from gateway.decision import Decision, PolicyIndex, Standing
from gateway.guard import GuardedQuery, guard
from gateway.parse import parse
from gateway.publish import build_snapshot
from gateway.request import Principal, Request
from gateway.resolve import resolve

SHOP = Path(__file__).with_name("shop")
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday
ROWS = """
    (1, 'EU', 'ada@example.org', '+1-555-0101', DATE '1815-12-10',
     TIMESTAMPTZ '2026-01-05 23:30:00+00', 12.50),
    (2, 'US', 'bob@example.com', '+1-555-0102', DATE '1990-05-17',
     TIMESTAMPTZ '2026-02-10 08:00:00+00', 99.99),
    (3, NULL, 'nobody', NULL, NULL, NULL, NULL),
    (4, 'EU', NULL, '12', DATE '2001-02-03', TIMESTAMPTZ '2026-03-01 12:45:10+00', -7.25)
"""
# Where a case writes what: its key, the kind, the file.
_PLACES = {
    "governance": ("Policy", "governance/policies/case.yaml"),
    "shop": ("Policy", "domains/shop/policies/case.yaml"),
    "staff": ("Policy", "domains/staff/policies/case.yaml"),
    "ceilings": ("Ceiling", "governance/ceilings.yaml"),
    "grants": ("Grant", "domains/shop/grants/case.yaml"),
    "exceptions": ("Exception", "governance/exceptions/case.yaml"),
    "shop_exceptions": ("Exception", "domains/shop/exceptions/case.yaml"),
    "entitlements": ("Entitlement", "governance/entitlements/case.yaml"),
    "staff_entitlements": ("Entitlement", "domains/staff/entitlements/case.yaml"),
}
_DEFAULTS: dict[str, list[dict[str, Any]]] = {
    "grants": [{"id": "all", "product": "orders", "subjects": [{"all": True}]}]
}


def write_mesh(folder: Path, case: Mapping[str, Any]) -> Path:
    """The shop's files with those of a case."""
    shutil.copytree(SHOP, folder, dirs_exist_ok=True)
    for key, (kind, file) in _PLACES.items():
        documents = case.get(key, _DEFAULTS.get(key, []))
        if documents:
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump_all([{"kind": kind, **one} for one in documents]))
    for file, text in case.get("files", {}).items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def index_of(folder: Path, case: Mapping[str, Any]) -> PolicyIndex:
    """The compiled policies; raises InvalidConfig where the case is no mesh."""
    index = build_snapshot(write_mesh(folder, case)).index
    said = case.get("state", {})
    revoked = frozenset((one[0], one[1]) for one in said.get("revoked", []))
    approved = frozenset(said.get("approved", []))
    return index.under(Standing(1, revoked, approved)) if said else index


def principal_of(case: Mapping[str, Any]) -> Principal:
    """Who asks in a case."""
    asked = {"user": "ada", **case.get("as", {})}
    for key in ("groups", "roles"):
        asked[key] = frozenset(asked.get(key, ()))
    for key in ("attributes", "entitlements"):
        asked[key] = {name: tuple(values) for name, values in asked.get(key, {}).items()}
    return Principal(**asked)


def now_of(case: Mapping[str, Any]) -> datetime:
    """When the case asks."""
    return datetime.fromisoformat(case["now"]) if "now" in case else NOW


def decide(index: PolicyIndex, case: Mapping[str, Any]) -> tuple[Decision, GuardedQuery]:
    """The decision and the guarded query of a case."""
    principal, now = principal_of(case), now_of(case)
    request = Request(
        sql=case.get("sql", "SELECT * FROM shop.orders ORDER BY id"), principal=principal,
        now=now, query_id="q", purpose=case.get("purpose"),
    )  # fmt: skip
    resolved = resolve(parse(request), directory(index, principal, now), None)
    decision = authorize(resolved, request, index)
    return decision, guard(bind(resolved, visible(decision)), decision)


def rows_of(guarded: GuardedQuery, timezone: str = "UTC") -> list[list[str | None]]:
    """The rows as text, each relation a statement of its own."""
    connection = _connection().cursor()
    connection.execute(f"SET TimeZone = '{timezone}'")
    for one in guarded.relations.values():
        values = ", ".join(f'{c.expression.sql("duckdb")} AS "{c.name}"' for c in one.columns)
        where = " AND ".join(f"({f.sql}) IS TRUE" for f in one.filters) or "TRUE"
        connection.execute(
            f'CREATE OR REPLACE TEMP TABLE "{one.name}" AS SELECT {values} FROM raw WHERE {where}'
        )
    found = connection.execute(guarded.tree.sql("duckdb")).fetchall()
    connection.close()
    return [[None if value is None else str(value) for value in row] for row in found]


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE raw (id INTEGER, region VARCHAR, email VARCHAR, phone VARCHAR, born DATE, "
        'placed TIMESTAMPTZ, amount DECIMAL(12,2))'
    )
    connection.execute(f"INSERT INTO raw VALUES {ROWS}")
    connection.create_function(
        "pseudonym", lambda value, group: f"p({value})", ["VARCHAR", "VARCHAR"], "VARCHAR"
    )
    return connection

