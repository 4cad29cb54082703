"""Fences that DuckDB itself offers, attacked by the probe's own statements.

Takes: an arena and the name of a fence. Gives: the statements that tell its worlds apart through
that fence, run by DuckDB alone. Never goes through the gateway, which uses none of them.
"""

from __future__ import annotations

import duckdb

from gateway.probe.arenas import WORLDS, Arena, Attacked
from gateway.probe.oracle import fill
from gateway.probe.outcomes import Outcome, difference, of_batches
from gateway.probe.statements import Statement
from gateway.probe.triples import triples
from gateway.request import Principal

FENCES = {
    "plain": "VIEW {name} AS SELECT {columns} FROM {raw} WHERE {policy}",
    "offset": "VIEW {name} AS SELECT {columns} FROM {raw} WHERE {policy} OFFSET 0",
    "secure view": "TEMP SECURE VIEW {name} AS SELECT {columns} FROM {raw} WHERE {policy}",
    "materialized": "VIEW {name} AS WITH g AS MATERIALIZED (SELECT {columns} FROM {raw} "
    "WHERE {policy}) SELECT * FROM g",
    "own statement": "TEMP TABLE {name} AS SELECT {columns} FROM {raw} WHERE {policy}",
}


def told_apart(arena: Arena, fence: str) -> list[Statement]:
    """The statements whose outcome differs between the worlds."""
    found = []
    for who, principal in enumerate(arena.principals):
        worlds = [_fenced(arena, who, principal, fence, world) for world in WORLDS]
        for triple in triples(arena):
            statement, _ = triple.statement(arena)
            if triple.who == who and difference(*(_asked(arena, one, statement) for one in worlds)):
                found.append(statement)
        for connection in worlds:
            connection.close()
    return found


def _fenced(
    arena: Arena, who: int, principal: Principal, fence: str, world: str
) -> duckdb.DuckDBPyConnection:
    """One world behind the fence. Masked columns are left out: fences are for rows."""
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.execute("SET TimeZone = 'UTC'")
    for table in arena.tables:
        name = table.shape.name
        fill(connection, f"raw_{name}", table.shape.fields, table.rows[world])
        plain = [one for one in table.seen[who].fields if _is_clear(table, one.name)]
        shown = {one.name for one in plain}
        columns = ", ".join(
            one.name if one.name in shown else f"CAST(NULL AS {one.type}) AS {one.name}"
            for one in table.seen[who].fields
        )
        statement = FENCES[fence].format(
            name=name, columns=columns, raw=f"raw_{name}", policy=_policy(table, principal)
        )
        connection.execute(f"CREATE {statement}")
    return connection


def _is_clear(table: Attacked, column: str) -> bool:
    covered = all(one.columns is None or column in one.columns for one in table.rules.grants)
    return covered and column not in table.rules.masks


def _policy(table: Attacked, principal: Principal) -> str:
    parts = [f"({one.plain(principal)}) IS TRUE" for one in table.rules.filters]
    scopes = [one.condition for one in table.rules.grants]
    if all(scopes):
        either = " OR ".join(f"({one.plain(principal)}) IS TRUE" for one in scopes if one)
        parts.append(f"({either})")
    return " AND ".join(parts) or "TRUE"


def _asked(
    arena: Arena, connection: duckdb.DuckDBPyConnection, statement: Statement
) -> Outcome:
    sql = statement.sql
    for table in arena.tables:
        sql = sql.replace(f"{table.shape.address} ", f"{table.shape.name} ")
    try:
        values = list(statement.parameters)
        found = connection.sql(sql, params=values or None).to_arrow_table()
        return of_batches(found.schema, found.to_batches())
    except duckdb.Error:
        return Outcome(("failed",))
