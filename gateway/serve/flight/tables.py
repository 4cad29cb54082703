"""The answers to Flight SQL's metadata commands, as tables with the schemas of the standard.

Takes: what the caller may know. Gives: Arrow tables. Never tells of anything that
`gateway.metadata` did not show to this caller.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from connectors.base import arrow_type
from gateway.metadata import VisibleColumn, VisibleTable

_UTF8 = pa.string()
CATALOGS = pa.schema([pa.field("catalog_name", _UTF8, False)])
SCHEMAS = pa.schema(
    [
        pa.field("catalog_name", _UTF8),
        pa.field("db_schema_name", _UTF8, False),
    ]
)
TABLES = pa.schema(
    [
        pa.field("catalog_name", _UTF8),
        pa.field("db_schema_name", _UTF8),
        pa.field("table_name", _UTF8, False),
        pa.field("table_type", _UTF8, False),
    ]
)
TABLES_WITH_SCHEMA = TABLES.append(pa.field("table_schema", pa.binary(), False))
TABLE_TYPES = pa.schema([pa.field("table_type", _UTF8, False)])
PRIMARY_KEYS = pa.schema(
    [
        pa.field("catalog_name", _UTF8),
        pa.field("db_schema_name", _UTF8),
        pa.field("table_name", _UTF8, False),
        pa.field("column_name", _UTF8, False),
        pa.field("key_sequence", pa.int32(), False),
        pa.field("key_name", _UTF8),
    ]
)
FOREIGN_KEYS = pa.schema(
    [
        pa.field("pk_catalog_name", _UTF8),
        pa.field("pk_db_schema_name", _UTF8),
        pa.field("pk_table_name", _UTF8, False),
        pa.field("pk_column_name", _UTF8, False),
        pa.field("fk_catalog_name", _UTF8),
        pa.field("fk_db_schema_name", _UTF8),
        pa.field("fk_table_name", _UTF8, False),
        pa.field("fk_column_name", _UTF8, False),
        pa.field("key_sequence", pa.int32(), False),
        pa.field("fk_key_name", _UTF8),
        pa.field("pk_key_name", _UTF8),
        pa.field("update_rule", pa.uint8(), False),
        pa.field("delete_rule", pa.uint8(), False),
    ]
)
_NO_ACTION = 3


def like(pattern: str | None) -> Callable[[str], bool]:
    """A filter pattern of SQL: % and _, with a backslash before one that is meant; None: all."""
    if pattern is None:
        return lambda _: True
    parts = [
        {"%": ".*", "_": "."}.get(one) or re.escape(one[-1])
        for one in re.findall(r"(?s)\\.|.", pattern)
    ]
    expression = re.compile("".join(parts), re.IGNORECASE | re.DOTALL)
    return lambda text: expression.fullmatch(text) is not None


def catalogs(tables: Sequence[VisibleTable]) -> pa.Table:
    """One row a domain."""
    names = sorted({one.address.domain for one in tables})
    return pa.table({"catalog_name": names}, schema=CATALOGS)


def schemas(tables: Sequence[VisibleTable], catalog: str | None, pattern: str | None) -> pa.Table:
    """One row a product."""
    fits = like(pattern)
    rows = sorted(
        {
            (one.address.domain, one.address.product)
            for one in tables
            if catalog in (None, one.address.domain) and fits(one.address.product)
        }
    )
    return _rows(SCHEMAS, rows)


@dataclass(frozen=True, slots=True)
class TableFilter:
    """Which tables a client asks for: a catalog, patterns of LIKE, kinds of tables."""

    catalog: str | None = None
    schema: str | None = None
    name: str | None = None
    types: tuple[str, ...] = ()


def tables(shown: Sequence[VisibleTable], wanted: TableFilter, include_schema: bool) -> pa.Table:
    """One row a table; with `include_schema` its Arrow schema, serialized."""
    schema_fits, name_fits = like(wanted.schema), like(wanted.name)
    rows = []
    for one in shown:
        address = one.address
        if wanted.catalog not in (None, address.domain) or not schema_fits(address.product):
            continue
        if not name_fits(address.table) or (wanted.types and "TABLE" not in wanted.types):
            continue
        row: tuple[object, ...] = (address.domain, address.product, address.table, "TABLE")
        rows.append((*row, bytes(table_schema(one).serialize())) if include_schema else row)
    return _rows(TABLES_WITH_SCHEMA if include_schema else TABLES, rows)


def table_schema(one: VisibleTable) -> pa.Schema:
    """The Arrow schema of a table as the caller sees it, with comments for clients."""
    return pa.schema([_field(one, column) for column in one.columns])


def _field(one: VisibleTable, column: VisibleColumn) -> pa.Field:
    metadata = {
        "ARROW:FLIGHT:SQL:CATALOG_NAME": one.address.domain,
        "ARROW:FLIGHT:SQL:SCHEMA_NAME": one.address.product,
        "ARROW:FLIGHT:SQL:TABLE_NAME": one.address.table,
        "ARROW:FLIGHT:SQL:TYPE_NAME": column.type,
        "ARROW:FLIGHT:SQL:REMARKS": column.description,
        "ARROW:FLIGHT:SQL:IS_READ_ONLY": "1",
        "ARROW:FLIGHT:SQL:IS_SEARCHABLE": "1",
        "sqluice.masked": column.masked,
    }
    kept = {key: value for key, value in metadata.items() if value}
    return pa.field(column.name, arrow_type(column.type), not column.required, kept)


def table_types() -> pa.Table:
    """Tables only."""
    return pa.table({"table_type": ["TABLE"]}, schema=TABLE_TYPES)


def primary_keys(
    shown: Sequence[VisibleTable], catalog: str | None, schema: str | None, name: str
) -> pa.Table:
    """The declared key of a table, where the caller sees all of it unmasked."""
    rows = [
        (*_path(one), column, number, f"{one.address.table}_key")
        for one in shown
        if _is(one, catalog, schema, name)
        for number, column in enumerate(one.primary_key, start=1)
    ]
    return _rows(PRIMARY_KEYS, rows)


def foreign_keys(
    shown: Sequence[VisibleTable],
    keep: Callable[[VisibleTable, VisibleTable], bool],
) -> pa.Table:
    """Declared relationships between tables that the caller sees; `keep` gets (from, to)."""
    by_path = {str(one.address): one for one in shown}
    rows = []
    for one in shown:
        for relationship in one.table.relationships:
            target = by_path.get(relationship.target)
            if target is None or not keep(one, target) or not _shows(one, relationship.columns):
                continue
            if not _shows(target, relationship.target_columns):
                continue
            pairs = zip(relationship.columns, relationship.target_columns, strict=False)
            for number, (column, target_column) in enumerate(pairs, start=1):
                name = f"{one.address.table}_{relationship.columns[0]}_fkey"
                rows.append(
                    (
                        *_path(target),
                        target_column,
                        *_path(one),
                        column,
                        number,
                        name,
                        f"{target.address.table}_key",
                        _NO_ACTION,
                        _NO_ACTION,
                    )
                )
    return _rows(FOREIGN_KEYS, rows)


def _shows(one: VisibleTable, columns: Sequence[str]) -> bool:
    return set(columns) <= {column.name for column in one.columns}


def _is(one: VisibleTable, catalog: str | None, schema: str | None, name: str) -> bool:
    return (
        one.address.table.casefold() == name.casefold()
        and (not catalog or catalog.casefold() == one.address.domain.casefold())
        and (not schema or schema.casefold() == one.address.product.casefold())
    )


def is_named(catalog: str | None, schema: str | None, name: str) -> Callable[[VisibleTable], bool]:
    """Whether a table is the one named."""
    return lambda one: _is(one, catalog, schema, name)


def _path(one: VisibleTable) -> tuple[str, str, str]:
    return one.address.domain, one.address.product, one.address.table


def _rows(schema: pa.Schema, rows: Sequence[tuple[object, ...]]) -> pa.Table:
    columns = [
        pa.array([row[place] for row in rows], field.type) for place, field in enumerate(schema)
    ]
    return pa.Table.from_arrays(columns, schema=schema)
