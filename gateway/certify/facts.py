"""The traps of `traps.yaml`, asked of a source and of DuckDB.

Takes: a connection and its dialect. Gives: one `Fact` for each trap: what both say. Never needs a
table; never decides what to push, except where a trap names abilities that it disproves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import yaml

from connectors.base import Connection
from gateway.certify.ask import Outcome, outcome, same

TRAPS: tuple[Mapping[str, Any], ...] = tuple(
    yaml.safe_load(Path(__file__).with_name("traps.yaml").read_text(encoding="utf-8"))
)
_FAILS = "fails"


@dataclass(frozen=True, slots=True)
class Fact:
    """What a source says to a trap, and what DuckDB says; both as text.

    Where nothing is asked, `source` tells who sees to it.
    """

    trap: int
    name: str
    source: str
    duckdb: str
    is_same: bool
    disproves: tuple[str, ...] = ()
    is_asked: bool = True


def facts(
    connection: Connection,
    dialect: str,
    reference: duckdb.DuckDBPyConnection,
    unasked: str = "",
) -> Iterator[Fact]:
    """Every trap that the dialect knows, but the one of that name: the kind has no words for it."""
    for one in TRAPS:
        if one["name"] == unasked:
            continue
        if "gateway" in one:
            yield Fact(one["trap"], one["name"], one["gateway"], "", True, is_asked=False)
            continue
        sql = one.get(dialect, one["sql"])
        if sql is None:
            continue
        kind = one.get("type", "VARCHAR")
        ours = _in_duckdb(reference, one.get("duckdb", one["sql"]), kind)
        theirs = outcome(connection, sql, [kind])
        is_same = same(ours, theirs, approximate=True, ordered=True)
        disproves = () if is_same else tuple(one.get("disproves", ()))
        yield Fact(one["trap"], one["name"], _shown(theirs), _shown(ours), is_same, disproves)


def _in_duckdb(reference: duckdb.DuckDBPyConnection, sql: str, kind: str) -> Outcome:
    try:
        rows = reference.sql(f"SELECT CAST(value AS {kind}) FROM ({sql}) AS asked(value)")
        return Outcome(tuple(rows.fetchall()))
    except duckdb.Error as error:
        return Outcome(None, str(error))


def _shown(one: Outcome) -> str:
    if one.rows is None:
        return _FAILS
    return " ".join("null" if value is None else str(value) for row in one.rows for value in row)
