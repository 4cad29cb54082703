"""Outputs without a name have the one that PostgreSQL gives them, where its SQL is spoken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psycopg
import pytest
import yaml

from tests.pgwire.catalog.conftest import Both, Connection

LISTS = yaml.safe_load(Path(__file__).with_name("names.yaml").read_text(encoding="utf-8"))
STATEMENTS = [
    *(f"select {one} from kinds.kinds k" for one in LISTS),
    "select count(*), count(*) filter (where flag), sum(small)::bigint from kinds.kinds",
    "select count(distinct words), min(words), avg(whole), bool_and(flag) from kinds.kinds",
    "select string_agg(words, ','), count(*) + 1, 1 from kinds.kinds group by flag, words",
    "with one as (select 1 as a) select a + 1, upper('x') from one",
    "(select 1 + 1) union all select 2",
    "values (1, 'a'), (2, 'b')",
    "select 1 + 1 from kinds.kinds order by whole limit 1",
]


@pytest.fixture(scope="module")
def speaking(both: Both) -> Iterator[Connection]:
    with psycopg.connect(both.ours, autocommit=True, options="-c dialect=postgres") as connection:
        yield connection


def _names(connection: Connection, sql: str) -> list[str]:
    description = connection.execute(sql.encode()).description
    return [one.name for one in description or ()]


@pytest.mark.parametrize("sql", STATEMENTS)
def test_as_postgresql(speaking: Connection, theirs: Connection, sql: str) -> None:
    assert _names(speaking, sql) == _names(theirs, sql)


def test_wherever_columns_are_told(speaking: Connection, theirs: Connection, both: Both) -> None:
    sql = "select 1 + 1, upper(words), * from kinds.kinds"

    def told(connection: Connection) -> list[object]:
        with connection.transaction():
            connection.execute(f"declare c cursor for {sql}".encode())
            fetched = connection.execute("fetch 1 from c").description
        with connection.cursor() as cursor:
            copy = f"copy ({sql}) to stdout with (format csv, header)"
            with cursor.copy(copy.encode()) as rows:
                head = b"".join(bytes(one) for one in rows).partition(b"\n")[0]
        return [[one.name for one in fetched or ()], head]

    assert told(speaking) == told(theirs)


def test_where_they_are_told_before_it_runs(both: Both) -> None:
    async def told(address: str, **settings: str) -> list[str]:
        connection = await asyncpg.connect(address, server_settings=settings)
        try:
            prepared = await connection.prepare("select 1 + $1::int, upper(words) from kinds.kinds")
            await prepared.fetch(1)
            return [one.name for one in prepared.get_attributes()]
        finally:
            await connection.close()

    ours = asyncio.run(told(both.ours, dialect="postgres"))
    assert ours == asyncio.run(told(both.theirs)) == ["?column?", "upper"]


def test_in_duckdbs_sql_they_are_duckdbs(ours: Connection) -> None:
    assert _names(ours, "select 1, 1 + 1, upper('a')") == ["1", "(1 + 1)", "upper('a')"]
    assert _names(ours, "select 1") == ["1"]
