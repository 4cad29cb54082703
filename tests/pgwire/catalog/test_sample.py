"""Over the sample mesh the catalogs show what SHOW TABLES and SHOW COLUMNS show, to each user."""

from __future__ import annotations

import psycopg
import pytest

from tests.served import Served

USERS = ("nora", "carl", "mara", "petra", "otto", "ola")
PARTS = ("domain", "product", "table", "column")
COLUMNS = (
    "select table_schema, table_name, column_name from information_schema.columns "
    "where table_schema not in ('pg_catalog', 'information_schema') order by 1, 2, 3"
)


@pytest.mark.parametrize("user", USERS)
def test_the_same_is_shown_as_elsewhere(gateway: Served, user: str) -> None:
    shown = gateway.query("show columns", user=user).json
    names = [one["name"] for one in shown["columns"]]
    places = [names.index(one) for one in PARTS]
    with psycopg.connect(
        gateway.pgwire, user=user, password=f"{user}-demo", dbname="postgres", autocommit=True
    ) as connection:
        found = connection.execute(COLUMNS.encode()).fetchall()
    wanted = [[row[place] for place in places] for row in shown["rows"]]
    assert found == sorted((f"{one[0]}.{one[1]}", one[2], one[3]) for one in wanted)


def test_users_are_shown_different_things(gateway: Served) -> None:
    told = {
        user: str(gateway.query("show columns", user=user).json["rows"]) for user in USERS
    }  # fmt: skip
    assert len(set(told.values())) > 3


def test_a_domain_is_a_database(gateway: Served) -> None:
    with psycopg.connect(
        gateway.pgwire, user="nora", password="nora-demo", dbname="network", autocommit=True
    ) as connection:
        found = connection.execute(
            "select c.oid::regclass::text, obj_description(c.oid, 'pg_class') is not null "
            "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = 'reference' and c.relkind = 'r' order by 1"
        ).fetchall()
    assert found == [("airlines", True), ("airports", True)]
