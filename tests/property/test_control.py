"""Controls: what is known to leak leaks, so that a green suite is not a blunt one.

Takes: lots of the probe, and each engine by itself. Gives: a failure where the property does not
notice a policy that is wrapped as a plain sub-query, or where a fence that research measured as
weak holds. Lives in tests alone: no switch of the gateway turns a barrier off.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from adbc_driver_postgresql import dbapi

from connectors.base import Abilities, load_abilities
from gateway import opening, render
from gateway.demo.postgres import Server
from gateway.passes import push_filters
from gateway.probe.arenas import build_arena
from gateway.probe.triples import Tally, triples, try_triple
from tests.property.fences import told_apart
from tests.property.runs import open_lot

ENOUGH = 200


@pytest.fixture
def plain_subqueries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policy and masks as a sub-query that nothing ends, and every predicate beside them."""

    def without_barrier(kind: str) -> Abilities:
        found = load_abilities(kind)
        return found if found.barrier is not None else replace(found, barrier="")

    monkeypatch.setattr(render, "_end_with_barrier", lambda select, abilities: None)
    monkeypatch.setattr(push_filters, "is_safe", lambda predicate, is_clear, checker: True)
    monkeypatch.setattr(opening, "load_abilities", without_barrier)


@pytest.mark.usefixtures("plain_subqueries")
# A leak here is an error in the middle of a stream: what the driver says of that is its own.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_property_finds_a_plain_subquery(tmp_path: Path, server: Server) -> None:
    tally = Tally()
    with open_lot(range(8, 12), tmp_path / "lot", server) as lot:
        for arena in lot.arenas:
            for triple in triples(arena):
                if triple.target(arena).shape.kind != "duckdb":
                    continue
                if tally.tried < ENOUGH and not tally.findings:
                    try_triple(lot, arena, triple, tally)
    assert any(one.kind == "leak" for one in tally.findings), tally


ROWS = [
    (number, "a" if number % 2 else "b", f"{number}" if number % 2 else "S\\", number % 9)
    for number in range(1, 200)
]
POLICIES = (
    "tenant = 'a'",
    "tenant IN (SELECT t FROM allowed)",
    "tenant = 'a' OR id % 3 = 9",
    "CASE WHEN id % 2 = 0 THEN FALSE ELSE tenant = 'a' END",
    "EXISTS (SELECT 1 FROM allowed WHERE t = tenant)",
)


@pytest.mark.parametrize(
    ("fence", "arena", "leaks"),
    [("plain", 26, True), ("materialized", 26, True), ("offset", 7, True),
     ("secure view", 106, True), *(("own statement", arena, False) for arena in (7, 26, 106))],
)  # fmt: skip
def test_what_looks_like_a_barrier_on_duckdb_is_none(fence: str, arena: int, leaks: bool) -> None:
    """The generator's own statements tell the worlds apart through it, and not through ours."""
    assert bool(told_apart(build_arena(arena), fence)) is leaks


@pytest.mark.parametrize(("end", "leaks"), [("", True), ("OFFSET 0", False)])
def test_on_postgres_offset_is_a_barrier_and_a_plain_subquery_is_none(
    server: Server, end: str, leaks: bool
) -> None:
    policies = (POLICIES[1], POLICIES[4], "coalesce(n, 2) % 2 = 5 OR tenant = 'a'")
    values = ", ".join(str(row).replace("\\\\", "\\") for row in ROWS)
    with (
        dbapi.connect(server.url("postgres"), autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TEMP TABLE raw (id int, tenant text, secret text, n int)")
        cursor.execute(f"INSERT INTO raw VALUES {values}")
        cursor.execute("CREATE TEMP TABLE allowed AS SELECT 'a'::text AS t")
        found = 0
        for policy in policies:
            source = f"(SELECT * FROM raw WHERE {policy} {end})"
            sql = f"SELECT count(*) FROM {source} p WHERE CAST(p.secret AS integer) > 0"
            try:
                cursor.execute(sql)
                cursor.fetchall()
            except dbapi.Error:
                found += 1
    assert (found > 0) is leaks


@pytest.mark.parametrize(("end", "leaks"), [("", True), ("LIMIT -1 OFFSET 0", False)])
def test_on_sqlite_the_limit_is_a_barrier_and_a_plain_subquery_is_none(
    end: str, leaks: bool
) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE raw (id integer, tenant text, secret text, n integer)")
    connection.executemany("INSERT INTO raw VALUES (?, ?, ?, ?)", ROWS)
    connection.execute("UPDATE raw SET n = -9223372036854775808 WHERE tenant = 'b'")
    connection.execute("CREATE TABLE allowed AS SELECT 'a' AS t")
    failed = 0
    for policy in (POLICIES[1], POLICIES[4]):
        for probe in ("abs(p.n) >= 0", "json_extract('[' || p.secret, '$') IS NOT NULL AND 1"):
            source = f"(SELECT * FROM raw WHERE {policy} {end})"
            probe_sql = probe.replace("'[' ||", "'' ||")
            try:
                connection.execute(f"SELECT count(*) FROM {source} p WHERE {probe_sql}").fetchall()
            except sqlite3.Error:
                failed += 1
    connection.close()
    assert (failed > 0) is leaks
