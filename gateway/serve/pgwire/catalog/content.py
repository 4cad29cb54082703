"""What one caller's catalog is about: databases, schemas, tables, keys, comments.

Takes: what `gateway.metadata` shows to him, the name of his database and of his default domain.
Gives: a `Content`, which two callers share only where it is the same for both. Never knows a
table or a column that he may not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from connectors.base import ConnectorError, arrow_type
from gateway.metadata import VisibleTable
from gateway.serve.pgwire.encoding.types import TEXT, WireType, wire_type

# Schemas that every database has; a product of such a name is shown with its domain.
RESERVED = frozenset({"pg_catalog", "information_schema", "pg_toast"})
PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class ShownColumn:
    """A column: the number of its type, its modifier (-1: none)."""

    name: str
    type: int
    modifier: int
    size: int
    is_required: bool
    description: str


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns that refer to those of another table, which its key in the content names."""

    name: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownTable:
    """A table; `key` is its address in the mesh, from which its number follows."""

    key: str
    schema: str
    name: str
    description: str
    columns: tuple[ShownColumn, ...]
    primary_key: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownSchema:
    """A product."""

    key: str
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Content:
    """All that a catalog is filled from."""

    database: str
    user: str
    databases: tuple[tuple[str, str], ...]
    schemas: tuple[ShownSchema, ...]
    tables: tuple[ShownTable, ...]


def content_of(
    tables: Sequence[VisibleTable],
    database: str,
    domain: str | None,
    user: str,
    domains: Mapping[str, str],
) -> Content:
    """The content of a caller's catalog; `domains` are the descriptions of domains.

    A domain that is set and known is the database: its products are the schemas. Else all
    products are, as `domain.product`.
    """
    folded = (domain or "").casefold()
    within = [one for one in tables if one.address.domain.casefold() == folded]
    shown = within or tables
    majors = Counter(
        (domain_, product)
        for domain_, product, _ in {
            (one.address.domain, one.address.product, one.address.major) for one in shown
        }
    )
    names = {_key(one): _schema(one, bool(within), majors) for one in shown}
    schemas = {
        _product_key(one): ShownSchema(
            _product_key(one), names[_key(one)], one.product.description or one.product.purpose
        )
        for one in shown
    }
    by_path = {str(one.address): one for one in shown}
    held = {one.address.domain for one in tables}
    others = {one for one in held if one.casefold() != database.casefold()}
    databases = [(one, domains.get(one, "")) for one in sorted(others)]
    databases.append((database, next(
        (domains.get(one, "") for one in held if one.casefold() == database.casefold()), ""
    )))  # fmt: skip
    return Content(
        database,
        user,
        tuple(databases),
        tuple(sorted(schemas.values(), key=lambda one: one.name)),
        tuple(_table(one, names[_key(one)], by_path) for one in shown),
    )


def _key(one: VisibleTable) -> str:
    return f"{_product_key(one)}.{one.address.table}"


def _product_key(one: VisibleTable) -> str:
    return f"{one.address.domain}.{one.address.product}@{one.address.major}"


def _schema(one: VisibleTable, is_within: bool, majors: Mapping[tuple[str, str], int]) -> str:
    address = one.address
    name = address.product
    if majors[address.domain, address.product] > 1:
        name = f"{name}@{address.major}"
    return name if is_within and name not in RESERVED else f"{address.domain}.{name}"


def _table(one: VisibleTable, schema: str, by_path: Mapping[str, VisibleTable]) -> ShownTable:
    key = one.primary_key
    clear = {column.name for column in one.columns if not column.masked}
    unique = tuple(
        column.name
        for column in one.table.columns
        if column.unique and column.name in clear and (column.name,) != key
    )
    return ShownTable(
        _key(one), schema, one.address.table, one.table.description,
        tuple(
            ShownColumn(
                column.name, kind.oid, kind.modifier, kind.size,
                column.required or column.name in key, column.description,
            )
            for column in one.columns
            for kind in (_kind(column.type),)
        ),
        key, unique, _foreign_keys(one, by_path),
    )  # fmt: skip


def _foreign_keys(one: VisibleTable, by_path: Mapping[str, VisibleTable]) -> tuple[ForeignKey, ...]:
    """Relationships between tables of which the caller sees the columns."""
    found: list[ForeignKey] = []
    shown = {column.name for column in one.columns}
    for relation in one.table.relationships:
        target = by_path.get(relation.target)
        if target is None or not set(relation.columns) <= shown:
            continue
        if not set(relation.target_columns) <= {column.name for column in target.columns}:
            continue
        name = f"{one.address.table}_{'_'.join(relation.columns)}_fkey"
        taken = {known.name for known in found}
        number = next(at for at in range(len(taken) + 1) if f"{name}{at or ''}" not in taken)
        found.append(ForeignKey(
            f"{name}{number or ''}", relation.columns, _key(target), relation.target_columns
        ))  # fmt: skip
    return tuple(found)


def _kind(duckdb_type: str) -> WireType:
    """The type that values of the column have on the wire."""
    try:
        kind = arrow_type(duckdb_type)
    except ConnectorError:
        return TEXT
    return wire_type(pa.field("value", kind, True, {"type": duckdb_type}))
