"""Nobody learns of hidden products and columns by the catalogs; who may know them, does.

Takes: two users of one mesh, of whom one may not know a product and a column. Gives: every relation
of the catalogs, every function on what is hidden, by each of them. The control asks the same as the
other user, and finds all of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import yaml

from gateway.request import Principal, TokenScope
from gateway.serve.pgwire.catalog.activity import Activity, Speakers
from gateway.serve.pgwire.catalog.relations import relations
from gateway.serve.pgwire.catalog.rows import number_of
from tests.pgwire.catalog.conftest import Connection
from tests.pgwire.catalog.mesh import HIDDEN, serving
from tests.pgwire.small import DOMAIN, Small

# Questions that name what is hidden; each says by a value or an error whether it is known.
PROBES = (
    "select to_regclass('salaries.salaries')::text",
    "select 'salaries.salaries'::regclass::oid",
    "select to_regnamespace('salaries')::text",
    "select to_regtype('salaries.salaries')::text",
    "select has_table_privilege('salaries.salaries', 'SELECT')",
    "select has_schema_privilege('salaries', 'USAGE')",
    "select has_column_privilege('customers.customers', 'margin', 'SELECT')",
    "select 'salaries'::regnamespace::oid",
    f"select {number_of('table', f'{DOMAIN}.salaries@1.salaries')}::regclass::text",
    f"select pg_table_is_visible({number_of('table', f'{DOMAIN}.salaries@1.salaries')})",
    f"select obj_description({number_of('table', f'{DOMAIN}.salaries@1.salaries')}, 'pg_class')",
    f"select format_type({number_of('row', f'{DOMAIN}.salaries@1.salaries')}, null)",
    "select pg_get_constraintdef(oid) from pg_constraint where conname like 'salaries%'",
    "select col_description('customers.customers'::regclass, 4)",
    "select attname from pg_attribute where attrelid = 'customers.customers'::regclass "
    "and attnum = 4",
    "select relnatts from pg_class where relname = 'customers' and relkind = 'r'",
    "select count(*) from pg_class",
    "select count(*) from pg_constraint where confrelid = 'customers.customers'::regclass",
)  # fmt: skip


def connected(endpoint: Small, user: str, database: str) -> Connection:
    return endpoint.connect(user, dbname=database)


def everything(connection: Connection) -> str:
    """Every row of every relation, as text."""
    told = []
    for schema, name in relations():
        told += [str(row) for row in connection.execute(f"select * from {schema}.{name}".encode())]
    return "\n".join(told)


@pytest.mark.parametrize("database", [DOMAIN, "postgres"])
def test_no_relation_holds_a_hidden_name(endpoint: Small, database: str) -> None:
    with connected(endpoint, "part", database) as part:
        hidden = everything(part)
    with connected(endpoint, "all", database) as other:
        shown = everything(other)
    assert not [one for one in HIDDEN if one in hidden]
    assert [one for one in HIDDEN if one in shown] == list(HIDDEN)
    assert "customers" in hidden


def outcome(connection: Connection, sql: str) -> str:
    try:
        return str(connection.execute(sql.encode()).fetchall())
    except psycopg.Error as error:
        return f"{error.sqlstate} {error.diag.message_primary}"


def test_hidden_and_missing_look_alike(endpoint: Small) -> None:
    """What is hidden is answered as what never was: with other names nothing changes."""
    with connected(endpoint, "part", DOMAIN) as part, connected(endpoint, "all", DOMAIN) as all_:
        told = 0
        for sql in PROBES:
            hidden = outcome(part, sql)
            told += hidden != outcome(all_, sql)
            if "salaries" not in sql:
                continue
            other = sql.replace("salaries", "nothings")
            assert hidden.replace("salaries", "nothings") == outcome(part, other), sql
    # The control: to him who may know it, each of them tells something else.
    assert told == len(PROBES)


def test_the_catalog_follows_the_grants(tmp_path: Path) -> None:
    """A grant that ends, and one that is dropped, end in an open session."""
    with serving(tmp_path) as small:
        folder = tmp_path / "conf" / "domains" / DOMAIN / "grants"
        listed = "select nspname from pg_namespace where nspname in ('kinds', 'orders') order by 1"
        with small.connect("all", dbname=DOMAIN) as connection:
            assert connection.execute(listed).fetchall() == [("kinds",), ("orders",)]
            for seconds in (3, 30):  # the second for a machine that is late
                end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
                _rewrite(folder / "1.yaml", until=f"{end:%Y-%m-%dT%H:%M:%SZ}")
                assert small.opened.publisher.reload(), small.opened.publisher.failure
                told = connection.execute(listed).fetchall()
                if datetime.now(UTC) < end:
                    break
            assert told == [("kinds",), ("orders",)]
            time.sleep(max(0.0, end.timestamp() - time.time()))
            assert connection.execute(listed).fetchall() == [("orders",)]
            (folder / "2.yaml").unlink()
            (folder / "5.yaml").unlink()
            assert small.opened.publisher.reload(), small.opened.publisher.failure
            assert connection.execute(listed).fetchall() == []


def _rewrite(path: Path, **said: object) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**content, **said}, sort_keys=False), encoding="utf-8")


def test_a_revoked_user_asks_in_vain(tmp_path: Path) -> None:
    with serving(tmp_path) as small, small.connect("part", dbname=DOMAIN) as connection:
        assert connection.execute("select count(*) from pg_class").fetchone()
        path = tmp_path / "conf" / "identities.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        del content["users"]["part"]
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        assert small.opened.publisher.reload(), small.opened.publisher.failure
        with pytest.raises(psycopg.Error) as error:
            connection.execute("select count(*) from pg_class")
        assert error.value.sqlstate == "28000"


def test_nobody_sees_what_others_do(endpoint: Small) -> None:
    """In pg_stat_activity each finds his own connections, and nothing of anybody else's."""
    sql = "select usename, pid, query from pg_stat_activity order by pid = %s"
    mark = "select 'a value of mine' from pg_class limit 1"
    with connected(endpoint, "all", DOMAIN) as all_, connected(endpoint, "part", DOMAIN) as part:
        all_.execute(mark.encode())
        seen = part.execute(sql, [part.info.backend_pid]).fetchall()
        assert {one[0] for one in seen} == {"part"} and seen[-1][1] == part.info.backend_pid
        assert "value of mine" not in str(seen)
        with connected(endpoint, "all", DOMAIN) as another:
            shown = another.execute(sql, [another.info.backend_pid]).fetchall()
        # The control: he himself sees it from another connection.
        assert {one[0] for one in shown} == {"all"}
        assert (all_.info.backend_pid, mark) in [one[1:] for one in shown]


def test_who_acts_for_another_sees_only_that() -> None:
    speakers = Speakers()
    states = [
        Speaking(pid, Principal("nora", actor=actor, credential=credential))
        for pid, (actor, credential) in enumerate([("", "password"), ("", "token 1"), ("ola", "x")])
    ]
    for one in states:
        speakers.enter(one)
    narrow = Principal("nora", credential="token 1", scope=TokenScope(purposes=frozenset({"p"})))
    seen = {
        name: [row["pid"] for row in speakers.rows(principal)]
        for name, principal in {
            "herself": states[0].principal, "narrow": narrow, "acting": states[2].principal,
            "another": Principal("carl"),
        }.items()
    }  # fmt: skip
    assert seen == {"herself": [0, 1], "narrow": [1], "acting": [2], "another": []}
    speakers.leave(states[0])
    assert [row["pid"] for row in speakers.rows(states[1].principal)] == [1]


@dataclass
class Speaking:
    """A connection that only is."""

    pid: int
    principal: Principal
    status: str = "I"
    activity: Activity = field(default_factory=Activity)
    named: tuple[str, str, str, str] = ("shop", "nora", "", "")


@pytest.fixture(scope="module")
def part(endpoint: Small) -> Iterator[Connection]:
    with connected(endpoint, "part", DOMAIN) as connection:
        yield connection


# Ways out of the catalog that DuckDB itself would know.
ESCAPES: tuple[str, ...] = (
    "select * from pg_class where relname = (select content from read_text('/etc/passwd'))",
    "select * from pg_class, read_csv('/etc/passwd') r",
    "select * from pg_class, '/etc/passwd' r",
    "select * from pg_class, duckdb_settings() s",
    "select * from pg_class, duckdb_tables() s",
    "select * from pg_class, pragma_database_list() s",
    "select * from pg_class union all select * from pg.this",
    "select * from pg_class c, pg.this",
    "select * from pg_class c, info.tables",
    "select * from pg_class c, main.pg_class",
    "select * from pg_class c, memory.pg.pg_class x",
    "select * from pg_class c, duckdb_functions() f",
    "select getenv('HOME') from pg_class",
    "select current_query() from pg_class",
    "select getvariable('x') from pg_class",
    "select udf_quoted('x') from pg_class",
    "select pg_catalog.udf_quoted('x')",
    "select query('select 1') from pg_class",
    "select * from pg_class, query_table('pg_class')",
    "select pg_read_file('/etc/passwd')",
    "select pg_catalog.pg_ls_dir('/')",
    "select lo_import('/etc/passwd') from pg_class",
    "select pg_sleep(10) from pg_class",
    "select dblink('x', 'y') from pg_class",
    "copy (select * from pg_class) to 'out.csv'",
    "select * into x from pg_class",
    "with x as (delete from pg_class returning *) select * from x",
    "update pg_class set relname = 'x' where oid in (select oid from pg_catalog.pg_class)",
    "create table x as select * from pg_catalog.pg_class",
    "attach 'x.db' as pg_catalog.x",
    "select * from pg_class for update",
    "select columns('rel.*') from pg_class",
    "select * exclude (relname) from pg_class",
    "select * from pg_class tablesample 10 percent",
    "pivot pg_catalog.pg_class on relkind",
    "select * from pg_class c, customers.customers",
    "select * from information_schema.tables, orders.orders",
    "select (select count(*) from orders.orders) from pg_class",
    "select * from pg_catalog.pg_authid",
    "select * from pg_stat_statements",
    "select * from pg_catalog.pg_shadow",
    "select * from pg_catalog.pg_statistic",
    "select pg_stat_get_activity(null)",
    'select * from "memory".pg_catalog.pg_class',
    "select udf_average('1', '2') from pg_class",
    "select udf_moment(1, 'YYYY', 'UTC') from pg_class",
    "select pg_timezone_names() from pg_class",
    "select * from pg_class, pg_timezone_names()",
)


@pytest.mark.parametrize("sql", ESCAPES)
def test_nothing_else_is_reached(part: Connection, sql: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        part.execute(sql.encode()).fetchall()
    text = str(error.value)
    assert error.value.sqlstate in ("0A000", "42883", "42601", "25006", "42P01", "42703"), text
    assert "internal" not in text and "passwd:" not in text and "root:" not in text
