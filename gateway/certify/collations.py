"""How the columns of text that the mesh names compare at their source.

Takes: a connection, its dialect's data, the tables of the mesh in that source. Gives: for each of
their columns of text its collation and what the probe found of it: `bytes`, `equality` (only equal
texts are equal) or `other`. Never reads a row: each collation is tried on texts of our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from connectors.base import Connection, ConnectorError
from gateway.certify.ask import Outcome as Answer
from gateway.certify.ask import outcome, same
from gateway.certify.rows import Dialect


@dataclass(frozen=True, slots=True)
class Collated:
    """A column of text, its collation by the source's own name, and how that compares."""

    table: str
    column: str
    collation: str
    compares: str


def collated(
    connection: Connection,
    dialect: Dialect,
    wanted: Iterable[tuple[str, str]],
    reference: duckdb.DuckDBPyConnection,
) -> tuple[Collated, ...]:
    """The columns among `wanted`, (table, column), that the source calls text."""
    sql = dialect.asks.get("collations")
    if sql is None:
        return ()
    asked = set(wanted)
    found = outcome(connection, sql, ["VARCHAR"] * 3)
    if found.rows is None:
        raise ConnectorError(found.error)
    rows = [(str(t), str(c), str(n)) for t, c, n in found.rows if (str(t), str(c)) in asked]
    texts = _texts(reference)
    names = sorted({name for _, _, name in rows})
    known = {name: compares(connection, dialect, name, texts) for name in names}
    return tuple(Collated(table, column, name, known[name]) for table, column, name in sorted(rows))


def bytewise(found: Iterable[Collated], dialect: Dialect) -> frozenset[tuple[str, str]]:
    """The columns that may be sent as they are: proved, and of a collation that mixes with C."""
    allowed = dialect.asks.get("bytewise", "").split()
    return frozenset(
        (one.table, one.column)
        for one in found
        if one.compares == "bytes" and one.collation in allowed
    )


def compares(connection: Connection, dialect: Dialect, name: str, texts: Sequence[str]) -> str:
    """What a collation does to every pair of our texts."""
    template = dialect.asks["collated"] if name != "default" else "{text}"
    shown = template.format(text="CAST(a.x AS TEXT)", collation=name.replace('"', '""'))
    rows = " UNION ALL ".join(
        f"SELECT {place} AS n, {dialect.literal(text, 'VARCHAR', is_first=True)} AS x"
        for place, text in enumerate(texts)
    )
    sql = (
        f"SELECT a.n, b.n, {shown} = b.x, {shown} < b.x FROM ({rows}) AS a, ({rows}) AS b"
    )
    found = outcome(connection, sql, ["INTEGER", "INTEGER", "BOOLEAN", "BOOLEAN"])
    pairs = [(a, b) for a in range(len(texts)) for b in range(len(texts))]
    raw = [one.encode() for one in texts]
    equal = [(a, b, raw[a] == raw[b]) for a, b in pairs]
    wanted = Answer(tuple((a, b, e, raw[a] < raw[b]) for a, b, e in equal))
    if same(wanted, found):
        return "bytes"
    plain = Answer(tuple((a, b, e) for a, b, e, _ in found.rows or ()) if found.rows else None)
    return "equality" if same(Answer(tuple(equal)), plain) else "other"


def _texts(reference: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    rows = reference.execute("SELECT DISTINCT s FROM probe WHERE s IS NOT NULL ORDER BY s")
    return tuple(str(row[0]) for row in rows.fetchall())


def columns_of(tables: Mapping[str, Iterable[str]]) -> Iterable[tuple[str, str]]:
    """(table, column) of physical names."""
    return ((table, column) for table, names in tables.items() for column in names)
