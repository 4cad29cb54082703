"""PostgreSQL's own JDBC driver: metadata beside a real PostgreSQL, pages, cancelling."""

from __future__ import annotations

import pytest

from tests.clients.jdbc.asking import POSTGRESQL, ask, needs_java, rows
from tests.pgwire.catalog.conftest import USER, Both

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
# What depends on PostgreSQL's own relations is asked for the mesh's schemas alone.
CALLS = (
    ("getTables", "null", "orders", "%", "null"),
    ("getTables", "null", "%", "orders%", "[TABLE,VIEW]"),
    ("getColumns", "null", "kinds", "%", "%"),
    ("getColumns", "null", "customers", "cust%", "%"),
    ("getPrimaryKeys", "null", "customers", "customers"),
    ("getImportedKeys", "null", "orders", "orders"),
    ("getExportedKeys", "null", "customers", "customers"),
    ("getCrossReference", "null", "customers", "customers", "null", "orders", "orders"),
    ("getIndexInfo", "null", "customers", "customers", "true", "true"),
    ("getSchemas",),
    ("getSchemas", "null", "ord%"),
    ("getTableTypes",),
    ("getTablePrivileges", "null", "orders", "%"),
    ("getColumnPrivileges", "null", "orders", "orders", "%"),
    ("getProcedures", "null", "orders", "%"),
    ("getFunctions", "null", "orders", "%"),
    ("getUDTs", "null", "orders", "%", "null"),
    ("getVersionColumns", "null", "orders", "orders"),
    ("getClientInfoProperties",),
)  # fmt: skip
# Told by whatever has no arguments; these say what only a server of its own can.
OWN = {"getURL", "getConnection", "getDatabaseProductVersion", "getDatabaseMinorVersion",
       "getCatalogs", "getTypeInfo"}  # fmt: skip


@pytest.fixture(autouse=True)
def _java() -> None:
    needs_java()


def told(address: str, *steps: tuple[str, ...]) -> list[str]:
    """What the program printed of each step."""
    place = address.rpartition("@")[2]
    return ask(POSTGRESQL, f"jdbc:postgresql://{place}", USER, steps)


def test_metadata(both: Both) -> None:
    steps = [("metadata",), *(("call", *one) for one in CALLS)]
    ours, theirs = told(both.ours, *steps), told(both.theirs, *steps)
    found, wanted = (
        {name: value for name, value in map(tuple, rows(one[0])) if name not in OWN}
        for one in (ours, theirs)
    )
    assert found == wanted
    assert len(found) > 130
    differing = {
        CALLS[at]: (one, other)
        for at, (one, other) in enumerate(zip(ours[1:], theirs[1:], strict=True))
        if sorted(rows(one)) != sorted(rows(other))
    }
    assert not differing


def test_catalogs_and_types(both: Both) -> None:
    catalogs, types = told(both.ours, ("call", "getCatalogs"), ("call", "getTypeInfo"))
    assert rows(catalogs) == [("mesh",), ("shop",)]
    (theirs,) = told(both.theirs, ("call", "getTypeInfo"))
    known = {row[0]: row for row in rows(theirs)}
    mine = {row[0]: row for row in rows(types)}
    assert {"int4", "text", "numeric", "_int4", "timestamptz", "json", "uuid"} <= set(mine)
    assert not {name for name, row in mine.items() if known.get(name) != row}


KINDS = (
    "select true as flag, 7::smallint as small, 8 as whole, 9::bigint as big, 1.5::real as real, "
    "2.5::double as double, 12.34::decimal(12,2) as money, 'wörds' as words, "
    "date '2024-02-29' as day, time '01:02:03' as clock, "
    "timestamp '2024-01-02 03:04:05' as moment, "
    "'00000000-0000-0000-0000-000000000001'::uuid as number, [1, 2] as counts"
)
FIVE_ROWS = (
    "select attname from pg_attribute where attrelid = 'kinds.kinds'::regclass and attnum < 6 "
    "order by attnum"
)
HEAVY = (
    "select count(*) from pg_attribute a, pg_attribute b, pg_attribute c, pg_attribute d "
    "where a.attname || b.attname < c.attname || d.attname"
)


def test_statements_pages_and_types(both: Both) -> None:
    plain, paged, shape, again, columns, kinds = told(
        both.ours,
        ("query", "select id, name from customers.customers order by id"),
        ("portal", "2", FIVE_ROWS),
        ("shape", "select oid, relname, relkind, relacl, reltuples from pg_class limit 1"),
        ("prepare", "select relname from pg_class where relname = ? and relnatts > ?",
         *(("text:orders", "int:1", "") * 7)[:-1]),
        ("shape", KINDS),
        ("query", KINDS),
    )  # fmt: skip
    assert rows(plain) == [("1", "Ada"), ("2", "Bo")]
    assert rows(paged) == [("flag",), ("small",), ("whole",), ("big",), ("real",)]
    assert [row[1] for row in rows(shape)] == ["oid", "name", "char", "_aclitem", "float4"]
    # After five executions the driver asks for binary.
    assert rows(again) == [("orders",)] * 7
    assert [row[1] for row in rows(columns)] == [
        "bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "date", "time",
        "timestamp", "uuid", "_int4",
    ]  # fmt: skip
    assert rows(kinds)[0][:9] == (
        "true", "7", "8", "9", "1.5", "2.5", "12.34", "wörds", "2024-02-29",
    )  # fmt: skip


def test_a_question_to_the_catalog_is_cancelled(both: Both) -> None:
    cancelled, after = told(
        both.ours,
        ("cancel", "300", HEAVY),
        ("query", "select count(*) from pg_namespace where nspname = 'orders'"),
    )
    assert cancelled.startswith("!PSQLException 57014")
    assert rows(after) == [("1",)]
