"""The views of information_schema hold what PostgreSQL's hold."""

from __future__ import annotations

import re

import psycopg
import pytest

from tests.pgwire.catalog.comparing import Shown, shown
from tests.pgwire.catalog.conftest import Both, Connection

VIEWS = (
    "schemata", "tables", "columns", "views", "key_column_usage", "table_privileges",
    "column_privileges", "role_table_grants", "role_column_grants", "enabled_roles",
    "applicable_roles", "administrable_role_authorizations", "information_schema_catalog_name",
    "character_sets", "element_types", "sequences", "triggers", "foreign_tables",
    "view_table_usage", "view_column_usage",
)  # fmt: skip
# Shown to whoever sees the tables, where PostgreSQL shows them to the owner alone.
KEYS = (
    "table_constraints", "referential_constraints", "constraint_column_usage",
    "constraint_table_usage", "check_constraints",
)  # fmt: skip
_OWN = ("pg_catalog", "information_schema", "pg_toast")


def rows(connection: Connection, view: str) -> Shown:
    """The rows of a view, without those on PostgreSQL's own relations, without its numbers."""
    columns, held = shown(connection, f"select * from information_schema.{view}")
    names = [name for name, _ in columns]
    places = [names.index(one) for one in
              ("table_schema", "schema_name", "object_schema", "constraint_schema")
              if one in names]  # fmt: skip
    kept = [row for row in held if not places or row[places[0]] not in _OWN]
    return columns, sorted(
        (tuple(re.sub(r"^\d+_\d+_", "", str(value)) for value in row) for row in kept), key=str
    )


@pytest.mark.parametrize("view", VIEWS)
def test_a_view(ours: Connection, theirs: Connection, view: str) -> None:
    assert rows(ours, view) == rows(theirs, view)


@pytest.mark.parametrize("view", KEYS)
def test_a_view_of_keys(ours: Connection, both: Both, view: str) -> None:
    with psycopg.connect(both.owners, autocommit=True) as owner:
        told = rows(ours, view)
        assert told == rows(owner, view)
        assert told[1]
