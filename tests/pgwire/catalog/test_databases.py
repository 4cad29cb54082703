"""What is a database: the domain, or none; what a path and settings change."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.pgwire.catalog.conftest import Connection
from tests.pgwire.small import DOMAIN, Small

SCHEMAS = (
    "select nspname from pg_namespace where nspname not in ('pg_catalog', 'information_schema')"
)
DOTTED = [
    ("public",),
    *((f"{DOMAIN}.{one}",) for one in ("customers", "kinds", "orders", "salaries")),
]


@pytest.fixture
def undomained(endpoint: Small) -> Iterator[Connection]:
    """Connected as tools do that know no other database."""
    with endpoint.connect("all", dbname="postgres") as made:
        yield made


def test_without_a_domain_schemas_have_its_name(undomained: Connection) -> None:
    found = undomained.execute(f"{SCHEMAS} and nspname !~ '^mesh' order by 1".encode()).fetchall()
    assert found == DOTTED
    name = undomained.execute(
        "select oid::regclass::text from pg_class "
        f"where oid = '\"{DOMAIN}.orders\".orders'::regclass".encode()
    ).fetchone()
    assert name == ("orders",)
    assert undomained.execute(
        f'select count(*) from "{DOMAIN}.orders".orders'.encode()
    ).fetchone() == (2,)
    keys = undomained.execute(
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'orders_customer_fkey'"
    ).fetchone()
    assert keys == ("FOREIGN KEY (customer) REFERENCES customers(id)",)
    known = undomained.execute("select datname from pg_database order by 1").fetchall()
    assert known == [("mesh",), ("postgres",), (DOMAIN,)]
    assert undomained.execute(
        "select distinct table_catalog from information_schema.tables"
    ).fetchall() == [("postgres",)]


def test_the_domain_of_the_session_counts(undomained: Connection) -> None:
    undomained.execute(f"set domain = '{DOMAIN}'".encode())
    assert undomained.execute(f"{SCHEMAS} order by 1".encode()).fetchall() == [
        ("customers",), ("kinds",), ("orders",), ("public",), ("salaries",),
    ]  # fmt: skip


def test_what_nobody_may_know_is_no_database(endpoint: Small) -> None:
    with endpoint.connect("all", dbname="nothing") as made:
        assert (
            made.execute(f"{SCHEMAS} and nspname !~ '^mesh' order by 1".encode()).fetchall()
            == DOTTED
        )


def test_the_path_says_what_is_visible(endpoint: Small) -> None:
    visible = "select relname from pg_class where relkind = 'r' and pg_table_is_visible(oid) " \
              "and relname !~ '^pg_' order by 1"  # fmt: skip
    with endpoint.connect("all", dbname=DOMAIN) as made:
        assert len(made.execute(visible.encode()).fetchall()) == 4
        made.execute("set search_path = orders")
        assert made.execute(visible.encode()).fetchall() == [("orders",)]
        told = made.execute(
            "select current_schemas(false), 'orders'::regclass::text, "
            "'customers.customers'::regclass::text, to_regclass('customers')::text"
        ).fetchone()
        assert told == (["orders"], "orders", "customers.customers", None)
        with pytest.raises(psycopg.errors.UndefinedTable):
            made.execute("select 'customers'::regclass")
        set_ = made.execute("select set_config('search_path', 'kinds', false)").fetchone()
        assert set_ == ("kinds",)
        assert made.execute("show search_path").fetchone() == ("kinds",)


@pytest.mark.parametrize("prepare", [False, True])
def test_settings_by_parameters(endpoint: Small, prepare: bool) -> None:
    def given(*values: object) -> object:
        sql = "select set_config(%s, %s::text, %s)"
        return made.execute(sql, values, prepare=prepare).fetchone()

    with endpoint.connect("all", dbname=DOMAIN, autocommit=True) as made:
        assert given("search_path", "kinds", False) == ("kinds",)
        assert given("search_path", "kinds, orders", False) == ("kinds, orders",)
        assert made.execute("show search_path").fetchone() == ("kinds, orders",)
        assert given("timezone", "Asia/Tokyo", False) == ("Asia/Tokyo",)
        with made.transaction():
            assert given("timezone", "Europe/Berlin", True) == ("Europe/Berlin",)
        assert made.execute("show timezone").fetchone() == ("Asia/Tokyo",)
        assert given("timezone", None, False) == ("UTC",)
        for wrong in (("nothing", "x", False), ("timezone", "Mars", False), (None, "x", False)):
            with pytest.raises(psycopg.Error):
                given(*wrong)
        assert made.execute("show timezone").fetchone() == ("UTC",)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            made.execute("select set_config('timezone', relname, false) from pg_class")


def test_settings_as_a_relation(endpoint: Small) -> None:
    with endpoint.connect("all", dbname=DOMAIN) as made:
        made.execute("set timezone = 'Asia/Tokyo'")
        found = made.execute(
            "select setting, current_setting('server_encoding') from pg_settings "
            "where name = 'TimeZone'"
        ).fetchone()
        assert found == ("Asia/Tokyo", "UTF8")


def test_a_refusal_names_what_is_not_served(
    endpoint: Small, caplog: pytest.LogCaptureFixture
) -> None:
    with endpoint.connect("all", dbname=DOMAIN) as made:
        for sql, text in {
            "select * from pg_catalog.pg_shadow": "pg_catalog.pg_shadow",
            "select pg_stat_reset()": "pg_stat_reset",
            'select * from "other".pg_catalog.pg_class': "other",
            "select * from pg_class, orders.orders": "orders.orders",
            "select 1::pg_catalog.tsvector": "tsvector",
            "select 1 from pg_class where relname similar to relkind": "SIMILAR TO",
            "select avg(relname) from pg_class": "avg",
            "select to_char(relnatts, '999') from pg_class": "to_char",
            "select upper(oid::regclass) from pg_class": "upper",
        }.items():
            with pytest.raises(psycopg.Error) as error:
                made.execute(sql.encode())
            assert text in str(error.value)
            assert text in caplog.text
        with pytest.raises(psycopg.errors.UndefinedFunction):
            made.execute("select pg_catalog.nothing(oid) from pg_class where relname = 'hush'")
        with pytest.raises(psycopg.errors.UndefinedFunction):
            made.execute("select pg_catalog.nothing(7319) /* 8642 */")
    assert "where relname = ?" in caplog.text and "hush" not in caplog.text
    assert "7319" not in caplog.text and "8642" not in caplog.text
