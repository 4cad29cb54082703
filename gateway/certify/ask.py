"""One statement, asked of DuckDB and of a source.

Takes: statements over a relation `probe`. Gives: them in a source's dialect, as the planner sends
them (text by bytes, names quoted), what each side answers, and whether that is one answer. Never
compares the texts of errors: two failures are one answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from connectors.base import Abilities, Connection, ConnectorError, Fragment, FragmentColumn
from gateway.certify.probes import COLUMNS, FULL_TYPES, Probe
from gateway.dialects import written
from gateway.pushable import Checker
from gateway.spelling import spelled

Row = tuple[object, ...]
# What stands in the place of a reference to `probe`.
Relation = Callable[[exp.Table], exp.Expression]
_TEXTS = ("s", "s2")
_ROWS = range(1, 37)
_TYPES = {"id": "INTEGER"} | {
    one["column"]: FULL_TYPES.get(name, name) for name, one in COLUMNS.items()
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rows, or that the statement failed."""

    rows: tuple[Row, ...] | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Asker:
    """A live source beside a DuckDB that holds the same rows.

    `relation` writes `probe` for the source, `tables` are the physical names that it reads.
    """

    abilities: Abilities
    connection: Connection
    reference: duckdb.DuckDBPyConnection
    relation: Relation
    tables: tuple[str, ...] = ()

    def expected(self, sql: str) -> Outcome:
        """What DuckDB gives."""
        try:
            table = self.reference.sql(sql).to_arrow_table()
            return Outcome(tuple(zip(*map(_listed, table.columns), strict=True)))
        except duckdb.Error as error:
            return Outcome(None, str(error))

    def found(self, sql: str) -> Outcome:
        """What the source gives for the same statement in its own dialect."""
        described = self.reference.execute(f"DESCRIBE {sql}").fetchall()
        types = [str(row[1]) for row in described]
        return outcome(self.connection, rendered(sql, self), types, self.tables)

    def difference(self, probe: Probe) -> tuple[str, Outcome, Outcome] | None:
        """The first statement whose answers differ, with DuckDB's and the source's; else None."""
        for sql in probe.statements:
            for one in self._by_row(sql):
                wanted, got = self.expected(one), self.found(one)
                if not same(wanted, got, probe.approximate, probe.ordered):
                    return one, wanted, got
        return None

    def _by_row(self, sql: str) -> Iterator[str]:
        """A statement that fails in DuckDB is asked for each row: one error hides the others."""
        plain = sql.startswith("SELECT id, ") and " WHERE " not in sql
        if plain and self.expected(sql).rows is None:
            yield from (f"{sql} WHERE id = {number}" for number in _ROWS)
        else:
            yield sql


def outcome(
    connection: Connection, sql: str, types: Sequence[str], tables: tuple[str, ...] = ()
) -> Outcome:
    """What a source gives for a statement of its own dialect whose columns have these types."""
    columns = tuple(FragmentColumn(f"c{place}", kind) for place, kind in enumerate(types))
    rows: list[Row] = []
    try:
        for batch in connection.stream(Fragment(sql, columns, tables)):
            rows += zip(*map(_listed, batch.columns), strict=True)
    except (ConnectorError, OverflowError) as error:
        return Outcome(None, str(error))
    return Outcome(tuple(rows))


def _listed(column: pa.Array | pa.ChunkedArray) -> list[object]:
    """Python's values; moments before the year 1, which it has not, as numbers."""
    try:
        found: list[object] = column.to_pylist()
    except OverflowError:
        found = column.cast(pa.int64()).to_pylist()
    return found


def rendered(sql: str, asker: Asker) -> str:
    """A statement over `probe` as the planner sends it."""

    def place(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Table) and node.name == "probe":
            return asker.relation(node)
        if isinstance(node, exp.Column) and node.name in _TEXTS:
            made = by_bytes(node, asker.abilities)
            is_output = isinstance(node.parent, exp.Select) and node.arg_key == "expressions"
            name = exp.to_identifier(node.name)
            return exp.Alias(this=made, alias=name) if is_output else made
        return node

    tree = exp.Paren(this=sqlglot.parse_one(sql, read="duckdb"))
    if not asker.abilities.is_reference:
        checker = Checker(asker.abilities, lambda column: _TYPES.get(column.name), (), "UTC")
        spelled(tree, checker.type_name, checker.has_doubles)
    return written(tree.this.transform(place), asker.abilities.dialect)


def physical(table: str, abilities: Abilities) -> Relation:
    """A table of the source by its physical name."""

    def relation(node: exp.Table) -> exp.Expression:
        parts = table.split(".") if abilities.qualified_names else [table]
        names = [exp.to_identifier(part, quoted=True) for part in reversed(parts)]
        made = exp.Table(**dict(zip(("this", "db"), names, strict=False)))
        made.set("alias", exp.TableAlias(this=exp.to_identifier(node.alias or "probe")))
        return made

    return relation


def by_bytes(node: exp.Column, abilities: Abilities) -> exp.Expression:
    """A column of text as the planner sends it."""
    made: exp.Expression = node.copy()
    if abilities.text_cast:
        made = exp.cast(made, abilities.text_cast)
    if abilities.text_collation:
        collation = exp.Var(this=abilities.text_collation)
        # In brackets: PostgreSQL's BETWEEN and POSITION take no COLLATE without.
        made = exp.Paren(this=exp.Collate(this=made, expression=collation))
    return made


def same(one: Outcome, other: Outcome, approximate: bool = False, ordered: bool = False) -> bool:
    """Whether two outcomes are one answer; two failures are."""
    if one.rows is None or other.rows is None:
        return one.rows is other.rows
    if ordered and one.rows == other.rows:
        return True
    first, second = (_sorted(each.rows or (), ordered) for each in (one, other))
    return len(first) == len(second) and all(
        len(a) == len(b) and all(_equal(x, y, approximate) for x, y in zip(a, b, strict=True))
        for a, b in zip(first, second, strict=True)
    )


def _sorted(rows: Sequence[Row], ordered: bool) -> list[Row]:
    plain = [tuple(map(_plain, row)) for row in rows]
    return plain if ordered else sorted(plain, key=repr)


def _plain(value: object) -> object:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value + 0.0  # -0.0 is 0.0
    if isinstance(value, Decimal):
        return value.normalize() + 0
    return value


def _equal(one: object, other: object, approximate: bool) -> bool:
    if approximate and isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return type(one) is type(other) and one == other
