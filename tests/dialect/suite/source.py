"""Writing at the source, reading through the gateway.

Takes: what the suite executes. Gives: the same; but whatever makes tables or rows goes straight to
the PostgreSQL behind the gateway, and its tables are published before the next statement reads.
Never touches a query.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from sqlalchemy import DDL, create_engine, event, text
from sqlalchemy.engine import Compiled, Engine
from sqlalchemy.schema import CreateTable, DDLElement, DropTable
from sqlalchemy.sql.dml import UpdateBase

from sqluice.sqlalchemy.dialect import SqluiceDialect

WRITER = create_engine(os.environ["SUITE_SOURCE"])
_GATEWAY = SqluiceDialect()
# What a product may be called.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Shown:
    """The tables that the gateway is to publish."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str | None, str], dict[str, Any]] = {}
        self.told: dict[tuple[str | None, str], dict[str, Any]] = {}
        self.is_new = False

    def tell(self) -> None:
        """Publish what has changed."""
        if not self.is_new:
            return
        self.is_new = False
        body = json.dumps(list(self.tables.values())).encode()
        try:
            with urlopen(Request(os.environ["SUITE_CONTROL"], body), timeout=30):
                pass
            self.told = dict(self.tables)
        except HTTPError as error:
            self.tables = dict(self.told)
            raise AssertionError(error.read().decode()) from None


SHOWN = Shown()


def _written(connection: Any, element: Any, multiparams: Any, params: Any, options: Any) -> Any:
    if connection.dialect.name != SqluiceDialect.name:
        return element, multiparams, params
    compiled = isinstance(element, Compiled) and getattr(element, "isinsert", False)
    if compiled:
        element = element.statement
    if isinstance(element, DDLElement | UpdateBase):
        with WRITER.begin() as writer:
            given = multiparams or params
            if isinstance(element, DropTable):
                name = WRITER.dialect.identifier_preparer.format_table(element.element)
                writer.exec_driver_sql(f"DROP TABLE {name} CASCADE")
            else:
                writer.execute(element, *([given] if given else []))
        if isinstance(element, CreateTable):
            table = element.element
            if _NAME.fullmatch(table.name):
                SHOWN.tables[table.schema, table.name] = _table(table)
            SHOWN.is_new = True
        elif isinstance(element, DropTable):
            SHOWN.tables.pop((element.element.schema, element.element.name), None)
            SHOWN.is_new = True
        ddl: Any = DDL
        nothing = ddl("SELECT 1") if isinstance(element, DDLElement) else text("SELECT 1")
        return nothing.compile(dialect=connection.dialect) if compiled else nothing, [], {}
    SHOWN.tell()
    return element, multiparams, params


def _told(connection: Any, *_: Any) -> None:
    if connection.dialect.name == SqluiceDialect.name:
        SHOWN.tell()


event.listen(Engine, "before_execute", _written, retval=True)
event.listen(Engine, "before_cursor_execute", _told)


def _table(table: Any) -> dict[str, Any]:
    keys = [
        {
            "columns": [one.parent.name for one in key.elements],
            "targets": [_target(one.column) for one in key.elements],
        }
        for key in table.foreign_key_constraints
    ]
    order = [one.name for one in table.primary_key.columns]
    columns = [
        {
            "name": str(one.name), "comment": one.comment, "required": not one.nullable,
            "type": _type(one.type.dialect_impl(_GATEWAY).compile(dialect=_GATEWAY)),
            "physical": one.type.compile(dialect=WRITER.dialect),
            "key": order.index(one.name) + 1 if one.name in order else 0,
        }
        for one in table.columns
    ]  # fmt: skip
    return {
        "name": str(table.name), "schema": table.schema, "comment": table.comment,
        "columns": columns, "foreign_keys": keys,
    }  # fmt: skip


def _target(column: Any) -> str:
    table = column.table
    return f"{table.schema or table.name}.{table.name}.{column.name}"


def _type(name: str) -> str:
    """A contract names precision and scale always."""
    if name == "NUMERIC":
        return "DECIMAL(38,10)"
    return name.replace("NUMERIC", "DECIMAL").replace(", ", ",")
