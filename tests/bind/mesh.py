"""A small mesh in a DuckDB of its own, and the stages up to bind over it.

Takes: text. Gives: bound queries, and the same tables in DuckDB under the same names. Never
touches a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import duckdb

from gateway.bind import BoundQuery, bind
from gateway.parse import parse_query
from gateway.resolve import Address, Directory, KnownProduct, resolve

DOMAIN = "m"

# A product with one table answers to its own name, so that `t` means m.t.t in the mesh and, by
# the search path, in DuckDB.
SETUP = """
ATTACH ':memory:' AS m;
CREATE SCHEMA m.t; CREATE SCHEMA m.u; CREATE SCHEMA m.w; CREATE SCHEMA m.ss;
CREATE SCHEMA m.s1; CREATE SCHEMA m.s2;
CREATE TABLE m.t.t (Id INTEGER, a INTEGER, b INTEGER, s VARCHAR);
INSERT INTO m.t.t VALUES (1, 10, 100, 'x'), (2, 20, 200, 'y'), (5, 30, 100, NULL),
    (6, NULL, 50, 'x');
CREATE TABLE m.u.u (id INTEGER, a INTEGER, c INTEGER);
INSERT INTO m.u.u VALUES (1, 10, 7), (3, 30, 9), (5, 30, 7);
CREATE TABLE m.w.w (id INTEGER, c INTEGER, z INTEGER);
INSERT INTO m.w.w VALUES (1, 5, 8), (4, 6, 9), (3, 7, 1);
CREATE TABLE m.ss.ss (st STRUCT(f INTEGER, g STRUCT(h INTEGER)), j JSON, l INTEGER[], t INTEGER);
INSERT INTO m.ss.ss VALUES ({'f': 1, 'g': {'h': 2}}, '{"a":5}', [1, 2, 3], 4);
CREATE TABLE m.s1.x (p INTEGER);
CREATE TABLE m.s2.x (p INTEGER, q INTEGER);
INSERT INTO m.s1.x VALUES (1);
INSERT INTO m.s2.x VALUES (1, 2);
SET TimeZone = 'UTC';
SET search_path = 'm.t,m.u,m.w,m.ss,m.s1,m.s2';
"""
_COLUMNS = """
SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns()
WHERE database_name = 'm' ORDER BY schema_name, table_name, column_index
"""

Columns = Mapping[Address, tuple[tuple[str, str], ...]]


def address_of(table: str) -> Address:
    """The address of `t` or `s1.x`."""
    product, _, name = table.partition(".")
    return Address(DOMAIN, product, name or product)


def database(*hidden: str) -> duckdb.DuckDBPyConnection:
    """The tables, with rows, as if they had never had the columns hidden."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(SETUP)
    for one in hidden:
        table, column = one.rsplit(".", 1)
        connection.execute(f"ALTER TABLE m.{address_of(table).product}.{table.split('.')[-1]} "
                           f"DROP COLUMN {column}")
    return connection


@cache
def columns_of(*hidden: str) -> Columns:
    """The columns of such a database."""
    found: dict[Address, list[tuple[str, str]]] = {}
    with database(*hidden) as connection:
        for product, table, name, kind in connection.execute(_COLUMNS).fetchall():
            found.setdefault(Address(DOMAIN, product, table), []).append((name, kind))
    return {address: tuple(columns) for address, columns in found.items()}


COLUMNS = columns_of()


def without(*hidden: str) -> Columns:
    """All columns but those hidden, each written `table.column`."""
    gone = {tuple(one.rsplit(".", 1)) for one in hidden}
    return {
        address: tuple(
            (name, kind) for name, kind in columns
            if (address.table, name) not in gone
            and (f"{address.product}.{address.table}", name) not in gone
        )
        for address, columns in COLUMNS.items()
    }


def _directory() -> Directory:
    products: dict[tuple[str, str], list[str]] = {}
    for one in COLUMNS:
        products.setdefault((one.domain, one.product), []).append(one.table)
    return Directory({
        key: KnownProduct(*key, {1: tuple(tables)}, {1: None}, 1)
        for key, tables in products.items()
    })


DIRECTORY = _directory()


def bound(sql: str, visible: Columns = COLUMNS) -> BoundQuery:
    """The text after parse, resolve and bind."""
    return bind(resolve(parse_query(sql), DIRECTORY, DOMAIN), visible)


def statements(name: str) -> Iterator[tuple[str, str]]:
    """The statements of a data file, each with the comment above it.

    A statement ends with a semicolon at the end of a line.
    """
    text, comment = "", ""
    path = Path(__file__).with_name(name)
    for line in path.read_text(encoding="utf-8").splitlines():
        if not text and line.startswith("--"):
            comment = line.removeprefix("--").strip()
        elif line.strip():
            text = f"{text}\n{line}" if text else line
            if text.endswith(";"):
                yield text.removesuffix(";"), comment
                text, comment = "", ""
        else:
            comment = "" if not text else comment
