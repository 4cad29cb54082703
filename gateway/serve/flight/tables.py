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
from gateway import __version__
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


_INFO: dict[int, object] = {
    0: "sqluice",
    1: __version__,
    2: pa.__version__,
    3: True,
    4: True,
    5: False,
    6: "",
    7: "",
    8: 1,
    9: True,
    100: 0,
    101: 0,
    500: False,
    501: False,
    502: False,
    503: 1,
    504: '"',
    505: 1,
    506: True,
    507: 3,
    508: ["SELECT", "FROM", "WHERE", "GROUP", "ORDER", "QUALIFY"],
    509: ["abs", "ceil", "floor", "round", "sqrt"],
    510: ["concat", "length", "lower", "upper"],
    511: [],
    512: ["date_trunc", "date_diff", "now"],
    513: "\\",
    514: "",
    515: True,
    516: True,
    517: False,
    518: False,
    519: 1,
    520: False,
    521: False,
    522: True,
    523: True,
    524: 0,
    525: 1,
    526: 0,
    527: 1,
    528: "product",
    529: "function",
    530: "domain",
    531: 0,
    532: 0,
    533: False,
    534: False,
    535: 0,
    536: 0,
    537: 0,
    538: 0,
    561: True,
    562: 0,
    563: False,
}


def sql_info(wanted: Sequence[int]) -> pa.Table:
    """GetSqlInfo: a dense union of six kinds, in the standard's order."""
    chosen = {key: _INFO[key] for key in (wanted or _INFO) if key in _INFO}
    children: list[list[object]] = [[] for _ in range(6)]
    types: list[int] = []
    offsets: list[int] = []
    for value in chosen.values():
        kind = _kind_of(value)
        types.append(kind)
        offsets.append(len(children[kind]))
        children[kind].append(value)
    mapping = pa.map_(pa.int32(), pa.list_(pa.int32()))
    arrays = [
        pa.array(children[0], pa.string()),
        pa.array(children[1], pa.bool_()),
        pa.array(children[2], pa.int64()),
        pa.array(children[3], pa.int32()),
        pa.array(children[4], pa.list_(pa.string())),
        pa.array(children[5], mapping),
    ]
    names = [
        "string_value",
        "bool_value",
        "bigint_value",
        "int32_bitmask",
        "string_list",
        "int32_to_int32_list_map",
    ]
    union = pa.UnionArray.from_dense(
        pa.array(types, pa.int8()), pa.array(offsets, pa.int32()), arrays, names
    )
    schema = pa.schema(
        [
            pa.field("info_name", pa.uint32(), False),
            pa.field("value", union.type, False),
        ]
    )
    return pa.Table.from_arrays([pa.array(list(chosen), pa.uint32()), union], schema=schema)


def _kind_of(value: object) -> int:
    if isinstance(value, bool):
        return 1
    return {str: 0, int: 3, list: 4}[type(value)]


_XDBC = (
    ("BOOLEAN", 16, 1, None),
    ("TINYINT", -6, 3, None),
    ("SMALLINT", 5, 5, None),
    ("INTEGER", 4, 10, None),
    ("BIGINT", -5, 19, None),
    ("FLOAT", 7, 24, None),
    ("DOUBLE", 8, 53, None),
    ("DECIMAL", 3, 38, None),
    ("VARCHAR", 12, None, "'"),
    ("BLOB", -3, None, None),
    ("DATE", 91, 10, "'"),
    ("TIME", 92, 15, "'"),
    ("TIMESTAMP", 93, 26, "'"),
    ("TIMESTAMP WITH TIME ZONE", 2014, 32, "'"),
)
XDBC_TYPES = pa.schema(
    [
        pa.field("type_name", _UTF8, False),
        pa.field("data_type", pa.int32(), False),
        pa.field("column_size", pa.int32()),
        pa.field("literal_prefix", _UTF8),
        pa.field("literal_suffix", _UTF8),
        pa.field("create_params", pa.list_(pa.field("item", _UTF8, False))),
        pa.field("nullable", pa.int32(), False),
        pa.field("case_sensitive", pa.bool_(), False),
        pa.field("searchable", pa.int32(), False),
        pa.field("unsigned_attribute", pa.bool_()),
        pa.field("fixed_prec_scale", pa.bool_(), False),
        pa.field("auto_increment", pa.bool_()),
        pa.field("local_type_name", _UTF8),
        pa.field("minimum_scale", pa.int32()),
        pa.field("maximum_scale", pa.int32()),
        pa.field("sql_data_type", pa.int32(), False),
        pa.field("datetime_subcode", pa.int32()),
        pa.field("num_prec_radix", pa.int32()),
        pa.field("interval_precision", pa.int32()),
    ]
)


def xdbc_types(wanted: int | None) -> pa.Table:
    """GetXdbcTypeInfo."""
    rows = [
        (
            name,
            code,
            size,
            quote,
            quote,
            None,
            1,
            name == "VARCHAR",
            3,
            False,
            False,
            False,
            name,
            None,
            None,
            code,
            None,
            10 if size and not quote else None,
            None,
        )
        for name, code, size, quote in _XDBC
        if wanted in (None, code)
    ]
    return _rows(XDBC_TYPES, rows)
