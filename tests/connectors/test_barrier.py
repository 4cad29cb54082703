"""Behind a barrier nothing of the user's meets a hidden row; without one it does."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache

import pytest

from connectors.base import (
    Connection,
    ConnectorError,
    Fragment,
    FragmentColumn,
    load_abilities,
    load_connector,
)
from gateway.certify.barrier import ATTACK, HIDDEN, hidden_row, plain_row
from gateway.demo import mysql as mariadb
from gateway.demo.postgres import Server

COLUMNS = (
    "id integer PRIMARY KEY, tenant text, ref integer, secret text, day text, word text, "
    "pattern text, amount integer, big bigint, mark text, one integer"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A source with the table that is attacked."""

    kind: str
    connection: Connection

    def ask(self, guarded: str, shape: str, predicate: str) -> object:
        """The answer, or the text of the error."""
        sql = ATTACK["shapes"][shape].format(
            guarded=guarded, predicate=ATTACK[self.kind]["predicates"][predicate]
        )
        if self.kind == "postgres":
            sql = re.sub(r"\b(t|entitled|many)\b(?= AS)", r"public.\1", sql)
        if self.kind == "mysql":
            sql = re.sub(r"\b(t|entitled|many|visible)\b(?= AS)", r"attack.\1", sql)
        fragment = Fragment(sql, (FragmentColumn("n", "BIGINT"),), ())
        try:
            (batch,) = self.connection.stream(fragment)
        except ConnectorError as error:
            return str(error)
        return batch.column(0)[0].as_py()

    def attacks(self, guarded: str) -> Iterator[tuple[str, str, object]]:
        """Every shape with every predicate."""
        for shape in ATTACK["shapes"]:
            for predicate in ATTACK[self.kind]["predicates"]:
                yield shape, predicate, self.ask(guarded, shape, predicate)


def rows(kind: str) -> Iterator[tuple[object, ...]]:
    """Plain rows, and the one whose every value makes something fail."""
    for number in range(1, ATTACK["rows"][kind] + 1):
        yield hidden_row() if number == HIDDEN else plain_row(number)


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else f"'{value}'"


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The table in SQLite."""
    path = tmp_path_factory.mktemp("attack") / "attack.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute(f"CREATE TABLE t ({COLUMNS})")
        made.executemany(f"INSERT INTO t VALUES ({', '.join('?' * 11)})", rows("sqlite"))
        made.execute("CREATE TABLE entitled (tenant text)")
        made.execute("INSERT INTO entitled VALUES ('a')")
        made.execute("ANALYZE")
        made.commit()
    with closing(load_connector("sqlite").connect({"path": str(path)})) as connection:
        yield Target("sqlite", connection)


@pytest.fixture(scope="module")
def postgres(server: Server) -> Iterator[Target]:
    """The table in PostgreSQL."""
    values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows("postgres"))
    server.run("postgres", "CREATE DATABASE attack")
    server.run(
        "attack",
        f"CREATE TABLE t ({COLUMNS})",
        f"INSERT INTO t VALUES {values}",
        "CREATE TABLE entitled (tenant text)",
        "INSERT INTO entitled VALUES ('a')",
        "CREATE TABLE many (k integer, n integer)",
        f"INSERT INTO many VALUES ({HIDDEN}, 1), ({HIDDEN}, 2)",
        *(f"ANALYZE {name}" for name in ("t", "entitled", "many")),
    )
    with closing(load_connector("postgres").connect({"url": server.url("attack")})) as connection:
        yield Target("postgres", connection)


@pytest.fixture(scope="module")
def mysql(mysql_server: mariadb.Server) -> Iterator[Target]:
    """The table in MariaDB."""
    values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows("mysql"))
    columns = COLUMNS.replace(" text", " varchar(20)")
    mysql_server.run(
        "DROP DATABASE IF EXISTS attack",
        "CREATE DATABASE attack CHARACTER SET utf8mb4",
        f"CREATE TABLE attack.t ({columns})",
        f"INSERT INTO attack.t VALUES {values}",
        f"CREATE TABLE attack.visible AS SELECT * FROM attack.t WHERE id <> {HIDDEN}",
        "CREATE TABLE attack.entitled (tenant varchar(20))",
        "INSERT INTO attack.entitled VALUES ('a')",
        "CREATE TABLE attack.many (k integer, n integer)",
        f"INSERT INTO attack.many VALUES ({HIDDEN}, 1), ({HIDDEN}, 2)",
        "ANALYZE TABLE attack.t, attack.entitled, attack.many",
    )
    settings = {"url": mysql_server.url("attack")}
    with closing(load_connector("mysql").connect(settings)) as connection:
        yield Target("mysql", connection)


@cache
def truth(target: Target) -> list[tuple[str, str, object]]:
    """What each attack answers where the hidden row does not exist."""
    if target.kind == "mysql":  # it reads a row for the user before it drops it by its key
        return list(target.attacks("(SELECT * FROM visible AS t)"))
    return list(target.attacks(f"(SELECT * FROM t AS t WHERE t.id <> {HIDDEN})"))


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Target:
    """The source of a kind."""
    found: Target = request.getfixturevalue(request.param)
    return found


def guarded(policy: str, barrier: str | None) -> str:
    """The table under a policy, with what ends the sub-query."""
    return f"(SELECT * FROM t AS t WHERE {ATTACK['policies'][policy]} {barrier or ''})"


@pytest.mark.parametrize("target", ["mysql", "postgres", "sqlite"], indirect=True)
@pytest.mark.parametrize("policy", ATTACK["policies"])
def test_nothing_passes_the_barrier(target: Target, policy: str) -> None:
    """Every answer is what it would be if the hidden row did not exist."""
    assert all(isinstance(answer, int | None) for _, _, answer in truth(target))
    behind = guarded(policy, load_abilities(target.kind).barrier)
    assert list(target.attacks(behind)) == truth(target)


KINDS = ("mysql", "postgres", "sqlite")
CONTROLS = [(kind, name) for kind in KINDS for name in ATTACK[kind]["leaks"]]


@pytest.mark.parametrize(("target", "policy"), CONTROLS, indirect=["target"])
def test_the_control_leaks(target: Target, policy: str) -> None:
    """Without the barrier the same attacks see the hidden row: they are attacks."""
    found = [answer for _, _, answer in target.attacks(guarded(policy, None))]
    assert any(isinstance(answer, str) for answer in found)


@pytest.mark.parametrize("kind", ["duckdb", "files"])
def test_duckdb_has_no_barrier_inside_a_statement(kind: str) -> None:
    """So none is declared: its policies run as statements of their own."""
    assert load_abilities(kind).barrier is None
