"""What drivers of Python ask the catalogs, answered as PostgreSQL answers it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pandas
import psycopg
import pytest
import sqlalchemy
import yaml
from adbc_driver_postgresql import dbapi
from asyncpg.introspection import INTRO_LOOKUP_TYPES
from psycopg.types import TypeInfo
from psycopg.types.composite import CompositeInfo

from tests.pgwire.catalog.comparing import shown
from tests.pgwire.catalog.conftest import Both, Connection

STATEMENTS: dict[str, dict[str, Any]] = {
    one["name"]: one
    for one in yaml.safe_load(
        Path(__file__).with_name("statements.yaml").read_text(encoding="utf-8")
    )
}


FUNCTIONS = yaml.safe_load(
    Path(__file__).with_name("functions.yaml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("sql", FUNCTIONS)
def test_functions(ours: Connection, theirs: Connection, sql: str) -> None:
    assert shown(ours, sql) == shown(theirs, sql)


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("name", STATEMENTS)
def test_psycopg(ours: Connection, theirs: Connection, name: str, binary: bool) -> None:
    sql, parameters = STATEMENTS[name]["sql"], STATEMENTS[name].get("parameters")
    assert shown(ours, sql, parameters, binary=binary) == shown(
        theirs, sql, parameters, binary=binary
    )


def test_types_by_name(ours: Connection, theirs: Connection) -> None:
    for name in ("text", "numeric", "uuid", "nothing", "interval[]"):
        one, other = (TypeInfo.fetch(each, name) for each in (ours, theirs))
        assert str(one) == str(other)
    one, other = (CompositeInfo.fetch(each, "orders.orders") for each in (ours, theirs))
    assert one is not None and other is not None
    assert (one.field_names, one.field_types) == (other.field_names, other.field_types)


def _same(both: Both, ask: Callable[[str], object]) -> None:
    assert ask(both.ours) == ask(both.theirs)


def test_cursors_of_the_server_and_copy(both: Both) -> None:
    sql = "select attname from pg_attribute where attrelid = 'kinds.kinds'::regclass and attnum > 0"

    def ask(address: str) -> object:
        with psycopg.connect(address) as connection, connection.cursor(name="held") as cursor:
            cursor.itersize = 2
            rows = cursor.execute(f"{sql} order by attnum").fetchall()
            with connection.cursor().copy(f"copy ({sql} order by 1) to stdout") as copied:
                return rows, [bytes(one) for one in copied]

    _same(both, ask)


def test_asyncpg(both: Both) -> None:
    async def ask(address: str) -> object:
        connection = await asyncpg.connect(address)
        try:
            told: list[object] = [await connection.fetch(
                "select relname, relkind, relnatts from pg_class "
                'where relname = $1 and relkind = any($2::"char"[])', "orders", [b"r"],
            )]  # fmt: skip
            told.append(await connection.fetch(
                "select attname, attnum, atttypid::regtype as r from pg_attribute "
                "where attrelid = $1::regclass and attnum > 0 order by 2", "orders.orders",
            ))  # fmt: skip
            told.append(await connection.fetch(
                "select indkey, indkey[0] as first, indclass::oid[] as c, "
                "array(select unnest(indkey)) as a from pg_index "
                "where indrelid = 'customers.customers'::regclass order by indisprimary",
            ))  # fmt: skip
            await connection.set_type_codec(
                "json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
            )
            row = await connection.fetchval(
                "select reltype from pg_class where relname = 'orders' and relkind = 'r'"
            )
            rows = await connection.fetch(INTRO_LOOKUP_TYPES, [row])
            told.append(sorted(
                str({key: one[key] for key in one.keys() if "oid" not in key}) for one in rows  # noqa: SIM118 - a record
            ))  # fmt: skip
            await connection.reset()
            return told
        finally:
            await connection.close()

    assert asyncio.run(ask(both.ours)) == asyncio.run(ask(both.theirs))


def test_adbc(both: Both) -> None:
    def ask(address: str) -> object:
        with dbapi.connect(address) as connection:
            objects = connection.adbc_get_objects(depth="all", db_schema_filter="orders")
            found = next(one for one in objects.read_all().to_pylist()
                         if one["catalog_name"] == "shop")  # fmt: skip
            for schema in found["catalog_db_schemas"]:
                for table in schema["db_schema_tables"]:
                    table["table_constraints"].sort(key=lambda one: one["constraint_name"])
                schema["db_schema_tables"].sort(key=lambda one: one["table_name"])
            return str(connection.adbc_get_table_schema("kinds", db_schema_filter="kinds")), found

    _same(both, ask)


def test_pandas(both: Both) -> None:
    def ask(address: str) -> object:
        engine = sqlalchemy.create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
        try:
            listed = pandas.read_sql(
                "select table_name from information_schema.tables "
                "where table_schema not in ('pg_catalog', 'information_schema') order by 1", engine,
            )  # fmt: skip
            with engine.connect() as connection:
                has = pandas.io.sql.SQLDatabase(connection).has_table("orders", "orders")
            return listed.to_dict("list"), has
        finally:
            engine.dispose()

    _same(both, ask)


def test_rows_of_a_reflected_table(both: Both) -> None:
    engine = sqlalchemy.create_engine(both.ours.replace("postgresql:", "postgresql+psycopg:"))
    try:
        read = pandas.read_sql_table("customers", engine, schema="customers", index_col="id")
    finally:
        engine.dispose()
    assert read["name"].to_dict() == {1: "Ada", 2: "Bo"}


def _reflected(address: str, schema: str | None) -> dict[str, Any]:
    engine = sqlalchemy.create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    try:
        seen: Any = sqlalchemy.inspect(engine)
        names = seen.get_table_names(schema)
        made: dict[str, Any] = {
            "schemas": seen.get_schema_names(),
            "tables": sorted(names),
            "default": seen.default_schema_name,
        }
        for method in ("get_view_names", "get_materialized_view_names", "get_enums",
                       "get_sequence_names", "get_domains"):  # fmt: skip
            made[method] = getattr(seen, method)(schema)
        made["has"] = [seen.has_table(one, schema) for one in ("orders", "nothing")]
        for method in ("columns", "pk_constraint", "foreign_keys", "indexes", "unique_constraints",
                       "check_constraints", "table_comment", "table_options"):  # fmt: skip
            made[method] = {
                one: str(getattr(seen, f"get_{method}")(one, schema)) for one in sorted(names)[:1]
            }
            many = getattr(seen, f"get_multi_{method}")(schema)
            made[f"multi {method}"] = {str(key): str(value) for key, value in many.items()}
        metadata = sqlalchemy.MetaData()
        metadata.reflect(engine, schema=schema)
        made["reflected"] = sorted(str(one) for one in metadata.tables)
        return made
    finally:
        engine.dispose()


@pytest.mark.parametrize("schema", [None, "customers", "nothing"])
def test_sqlalchemy_reflects_the_same(both: Both, schema: str | None) -> None:
    ours, theirs = (_reflected(one, schema) for one in (both.ours, both.theirs))
    assert ours == theirs
    assert len(ours) == 26
