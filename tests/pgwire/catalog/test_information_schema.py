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
    "view_table_usage", "view_column_usage", "attributes", "check_constraint_routine_usage",
    "column_column_usage", "column_domain_usage", "column_options", "column_udt_usage",
    "foreign_data_wrappers", "foreign_servers", "foreign_table_options", "role_routine_grants",
    "role_udt_grants", "role_usage_grants", "triggered_update_columns", "user_defined_types",
    "user_mappings", "view_routine_usage",
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


# PostgreSQL lists its own functions and domains there, which are not served.
NOT_LISTED = (
    "routines", "parameters", "routine_privileges", "domains", "domain_constraints",
    "domain_udt_usage", "udt_privileges", "usage_privileges",
)


@pytest.mark.parametrize("view", NOT_LISTED)
def test_what_is_not_listed_has_the_same_columns(
    ours: Connection, theirs: Connection, view: str
) -> None:
    sql = f"select * from information_schema.{view}"
    told, wanted = (shown(one, sql) for one in (ours, theirs))
    assert told == (wanted[0], [])


@pytest.mark.parametrize("view", KEYS)
def test_a_view_of_keys(ours: Connection, both: Both, view: str) -> None:
    with psycopg.connect(both.owners, autocommit=True) as owner:
        told = rows(ours, view)
        assert told == rows(owner, view)
        assert told[1]
