"""The rows of pg_catalog on the mesh's own tables are PostgreSQL's, column by column."""

from __future__ import annotations

import psycopg
import pytest

from gateway.serve.pgwire.catalog.relations import relations
from tests.pgwire.catalog.comparing import shown
from tests.pgwire.catalog.conftest import Both, Connection

OWN = "(select oid from pg_namespace where nspname in ('customers', 'orders', 'kinds', 'salaries'))"
TABLES = f"(select oid from pg_class where relnamespace in {OWN})"
# Of each relation: which rows are compared, and what no two servers have in common.
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "pg_namespace": (f"oid in {OWN} or nspname = 'public'", ()),
    # Tables with texts have a second place for long ones, in a server that holds rows.
    "pg_class": (f"oid in {TABLES}", ("relpages",)),
    "pg_attribute": (f"attrelid in {TABLES} and attnum > 0", ()),
    "pg_type": (f"typnamespace in {OWN}", ()),
    "pg_constraint": (f"connamespace in {OWN}", ()),
    "pg_index": (f"indrelid in {TABLES}", ("indcheckxmin",)),
    "pg_description": (f"objoid in {TABLES}", ()),
    "pg_roles": ("rolname !~ '^pg_'", ()),
    "pg_database": ("datname = 'shop'", ("datfrozenxid", "datminmxid")),
    "pg_am": ("true", ()),
    "pg_range": ("true", ()),
    "pg_tablespace": ("true", ()),
    "pg_collation": ("oid in (100, 950, 951)", ()),
    "pg_opclass": ("opcdefault and opcmethod = 403", ()),
    "pg_language": ("true", ()),
    "pg_tables": ("schemaname in ('customers', 'orders', 'kinds', 'salaries')", ()),
    "pg_indexes": ("schemaname in ('customers', 'orders', 'kinds', 'salaries')", ()),
    "pg_user": ("true", ()),
    "pg_cast": ("true", ()),
    "pg_opfamily": ("opfmethod = 403 and opfname ~ '^(integer|text|bool|float|uuid)_ops'", ()),
    "pg_stat_all_tables": ("schemaname in ('orders', 'kinds')", (
        "seq_scan", "idx_scan", "seq_tup_read", "idx_tup_fetch",
    )),
    "pg_stat_user_indexes": ("true", ("idx_scan", "idx_tup_read", "idx_tup_fetch")),
    "pg_statio_user_tables": ("false", ()),
    "pg_stat_activity": ("pid = pg_backend_pid()", (
        "pid", "client_addr", "client_port", "backend_start", "xact_start", "query_start",
        "state_change",
    )),
    "pg_stat_gssapi": ("pid = pg_backend_pid()", ("pid",)),
    "pg_stat_database": ("false", ()),
    "pg_timezone_names": ("name in ('UTC', 'Asia/Tokyo')", ("abbrev",)),
    "pg_stat_user_tables": ("true", ("seq_scan", "idx_scan", "seq_tup_read", "idx_tup_fetch")),
}
EMPTY = (
    "pg_attrdef", "pg_default_acl", "pg_enum", "pg_event_trigger", "pg_extension",
    "pg_foreign_data_wrapper", "pg_foreign_server", "pg_foreign_table", "pg_inherits",
    "pg_matviews", "pg_partitioned_table", "pg_policies", "pg_policy", "pg_publication",
    "pg_publication_namespace", "pg_publication_rel", "pg_seclabel", "pg_largeobject_metadata",
    "pg_prepared_xacts", "pg_publication_tables", "pg_seclabels", "pg_stat_replication",
    "pg_replication_slots", "pg_subscription_rel", "pg_user_mappings", "pg_sequence",
    "pg_sequences", "pg_shseclabel", "pg_statistic_ext", "pg_transform",
)  # fmt: skip


@pytest.mark.parametrize("relation", CASES)
def test_a_relation(ours: Connection, theirs: Connection, relation: str) -> None:
    condition, without = CASES[relation]
    sql = f"select * from pg_catalog.{relation} where {condition}"
    told, wanted = (shown(one, sql, without=without) for one in (ours, theirs))
    assert told[0] == wanted[0]
    assert sorted(told[1], key=str) == sorted(wanted[1], key=str)


# What PostgreSQL has of its own, and is not served: they have its columns, and no rows.
NOT_LISTED = (
    "pg_aggregate", "pg_amop", "pg_amproc", "pg_available_extension_versions",
    "pg_available_extensions", "pg_conversion", "pg_locks", "pg_operator", "pg_rewrite",
    "pg_rules", "pg_stats", "pg_timezone_abbrevs", "pg_ts_config", "pg_ts_config_map",
    "pg_ts_dict", "pg_ts_parser", "pg_ts_template",
)  # fmt: skip
# Some columns of these are for superusers only.
OWNERS_ONLY = ("pg_subscription", "pg_user_mapping")


@pytest.mark.parametrize("relation", [*NOT_LISTED, *OWNERS_ONLY])
def test_what_is_not_listed_has_the_same_columns(
    both: Both, ours: Connection, relation: str
) -> None:
    told = shown(ours, f"select * from pg_catalog.{relation}")
    with psycopg.connect(both.owners, autocommit=True) as connection:
        wanted = shown(connection, f"select * from pg_catalog.{relation} where false")
    assert told == wanted


@pytest.mark.parametrize("relation", EMPTY)
def test_what_is_empty_is_empty_there(ours: Connection, theirs: Connection, relation: str) -> None:
    sql = f"select * from pg_catalog.{relation}"
    told, wanted = shown(ours, sql), shown(theirs, sql)
    assert told == wanted


def test_every_relation_is_compared_somewhere() -> None:
    """The others hold less than PostgreSQL's: nothing of its own roles, views and triggers."""
    held = {name for schema, name in relations() if schema == "pg_catalog"}
    assert held - set(CASES) - set(EMPTY) - set(NOT_LISTED) - set(OWNERS_ONLY) == {
        "pg_auth_members", "pg_db_role_setting", "pg_depend", "pg_group", "pg_proc", "pg_settings",
        "pg_shdescription", "pg_trigger", "pg_views",
    }  # fmt: skip
