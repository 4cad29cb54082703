"""What a question to the catalogs may take, and what happens to wrong ones."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.pgwire.catalog.conftest import Connection
from tests.pgwire.small import DOMAIN, Small
from tests.served import again_and_again

MANY = "pg_attribute a, pg_attribute b, pg_attribute c, pg_attribute d"
HEAVY = f"select count(*) from {MANY} where a.attname || b.attname < c.attname || d.attname"
WIDE = f"select string_agg(a.attname || b.attname || c.attname, ',') from {MANY}"
LONG = f"select a.*, b.*, c.* from {MANY}"


@pytest.fixture(scope="module")
def connection(endpoint: Small) -> Iterator[Connection]:
    with endpoint.connect("all", dbname=DOMAIN) as made:
        yield made


def test_a_statement_ends_in_time(connection: Connection) -> None:
    connection.execute("set statement_timeout = '400ms'")
    began = time.monotonic()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(HEAVY)
    assert time.monotonic() - began < 60
    connection.execute("reset statement_timeout")
    assert connection.execute("select 1 from pg_class limit 1").fetchall() == [(1,)]


def test_a_statement_is_cancelled(connection: Connection) -> None:
    with again_and_again(connection.cancel_safe), pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(HEAVY)


@pytest.mark.parametrize("sql", [WIDE, LONG], ids=["memory", "answer"])
def test_memory_is_bounded(connection: Connection, sql: str) -> None:
    with pytest.raises(psycopg.Error) as error:
        connection.execute(sql.encode())
    assert error.value.sqlstate in ("53400", "54000", "57014"), error.value
    assert connection.execute("select 1 from pg_class limit 1").fetchall() == [(1,)]


def test_connections_ask_side_by_side(endpoint: Small) -> None:
    sql = (
        "select c.relname, a.attname, format_type(a.atttypid, a.atttypmod) from pg_class c "
        "join pg_attribute a on a.attrelid = c.oid where a.attnum > 0 "
        "and pg_table_is_visible(c.oid) and c.relkind = 'r' order by 1, 2"
    )

    def ask(number: int) -> int:
        user = ("all", "part")[number % 2]
        with endpoint.connect(user, dbname=DOMAIN) as made:
            found = {str(made.execute(sql.encode()).fetchall()) for _ in range(8)}
        assert len(found) == 1
        return len(found.pop())

    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(ask, range(8)))
    assert len(set(sizes)) == 2


def test_what_was_told_of_a_prepared_statement_holds(connection: Connection) -> None:
    sql = "select coalesce(%s, relname), relnatts, %s from pg_class where relname = %s"
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        for _ in range(3):
            cursor.execute(sql, ["x", "y", "orders"], prepare=True)
            assert cursor.fetchall() == [("x", 4, "y")]


def test_broken_statements_are_the_clients_fault(connection: Connection) -> None:
    """Questions of tools, with words lost, moved and put in: no answer is `internal`."""
    files = sorted(Path(__file__).with_name("tools").glob("*.yaml"))
    texts = [
        case["sql"]
        for file in files
        for case in yaml.safe_load(file.read_text(encoding="utf-8"))
        if 100 < len(case["sql"]) < 1_500
    ]
    chance, told = random.Random(5), set()
    for _ in range(150):
        words = re.findall(r"\w+|\s+|.", chance.choice(texts))
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(words) - 4)
            if chance.random() < 0.5:
                del words[place : place + chance.randint(1, 3)]
            else:
                words.insert(
                    place, chance.choice(["'", "(", "::regclass", "[1]", "null", "*", "1"])
                )
        try:
            connection.execute("".join(words).encode()).fetchall()
        except psycopg.Error as error:
            told.add(error.sqlstate)
            assert error.sqlstate != "XX000", "".join(words)
    assert len(told) > 3


@pytest.mark.parametrize("made", [
    "length(repeat('ab', 2000000000))", "length(lpad('a', 2000000000))",
    "length(rpad('a', 2000000000, 'b'))",
    "array_length(array(select generate_series(1, 100000)), 1)",
    "to_char(now()::timestamptz, repeat('\"a\"', 1000))",
])  # fmt: skip
def test_no_text_and_no_list_is_made_without_bound(connection: Connection, made: str) -> None:
    """Of neither does DuckDB's limit of memory know."""
    with pytest.raises(psycopg.Error) as error:
        connection.execute(f"select {made} from pg_class".encode())
    assert error.value.sqlstate == "54000", error.value


def test_what_stays_small_is_made(connection: Connection) -> None:
    sql = (
        "select repeat('ab', 2), repeat('ab', -1), lpad('a', 3, 'b'), rpad('a', 2) || '.', "
        "array(select generate_series(5, 1, -2)), repeat(null, 3) from pg_class limit 1"
    )
    expected = ("abab", "", "bba", "a .", [5, 3, 1], None)
    assert connection.execute(sql.encode()).fetchone() == expected


@pytest.mark.parametrize("call", [
    "substring({} from '(.)')", "pg_indexam_has_property(403, {}::text)::text",
    "format('%s', {}::bool)",
])  # fmt: skip
def test_calls_within_calls_are_soon_refused(connection: Connection, call: str) -> None:
    sql, few = "relname", ""
    for number in range(30):
        sql = call.replace("{}", sql)
        few = sql if number == 2 else few
    began = time.monotonic()
    with pytest.raises(psycopg.Error) as error:
        connection.execute(f"select {sql} from pg_class".encode())
    assert (error.value.sqlstate, time.monotonic() - began < 100) == ("54001", True)
    # The control: a few of them are served, or fail by their values.
    try:
        connection.execute(f"select {few} from pg_class".encode())
    except psycopg.Error as failure:
        assert failure.sqlstate != "54001", failure
