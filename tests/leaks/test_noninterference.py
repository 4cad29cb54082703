"""Changing hidden rows and cells changes nothing: answer, error code, error text, shown plan.

Takes: two worlds that differ in hidden values only. Gives: equality of every outcome, for each
attack, each kind of policy, each kind of source, with push-down and without. The controls show
that the same attacks tell the worlds apart where nothing protects them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from adbc_driver_postgresql import dbapi

from gateway.errors import SqluiceError
from gateway.identity import principal_of
from gateway.request import Limits, Request
from gateway.sessions import new_query_id
from tests.leaks.worlds import HIDDEN, KINDS, USERS, VISIBLE, World, open_world
from tests.sample import SampleMesh

ATTACKS = [
    line.removesuffix(";")
    for line in Path(__file__).with_name("attacks.sql").read_text().splitlines()
    if line and not line.startswith("--")
]
CASES = [
    (user, table)
    for user in (*USERS, "scope")
    for table in ("people", "cells")
    if table == "people" or user == "filter"
]


@pytest.fixture(scope="session")
def worlds(sample: SampleMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[World]]:
    folder = tmp_path_factory.mktemp("leaks")
    made = [open_world(name, folder, sample.server) for name in ("calm", "wild")]
    yield made
    for one in made:
        one.opened.close()


def outcome(world: World, user: str, sql: str, push_down: bool) -> tuple[object, ...]:
    """Everything that a caller gets."""
    users = world.opened.publisher.current().mesh.users
    request = Request(
        sql=sql,
        principal=principal_of(next(one for one in users if one.name == user)),
        now=datetime.now(UTC),
        query_id=new_query_id(),
        limits=Limits(seconds=30),
        push_down=push_down,
    )
    try:
        result = world.opened.gateway.answer(request)
        rows = [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]
        return ("rows", str(result.schema), sorted(map(repr, rows)), result.masked)
    except SqluiceError as error:
        return ("error", error.code, error.message, error.remedy, error.line, error.column)


def told_apart(worlds: list[World], kind: str, user: str, table: str, push_down: bool) -> None:
    """Assert that no attack tells the worlds apart."""
    told = []
    for attack in ATTACKS:
        sql = attack.replace("{t}", f"leaks.{kind}.{table}")
        calm, wild = (outcome(one, user, sql, push_down) for one in worlds)
        if calm != wild:
            told.append((sql, calm, wild))
        assert calm[:2] != ("error", "internal"), (sql, calm)
    assert told == []


@pytest.mark.parametrize(
    ("kind", "user", "table"),
    [("postgres", "filter", "people"), ("sqlite", "cases", "people"), ("files", "filter", "cells")],
)
def test_hidden_values_have_no_influence(
    worlds: list[World], kind: str, user: str, table: str
) -> None:
    told_apart(worlds, kind, user, table, True)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("push_down", [True, False], ids=["pushed", "pulled"])
@pytest.mark.parametrize(("user", "table"), CASES, ids=[f"{u}-{t}" for u, t in CASES])
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_values_have_no_influence_anywhere(
    worlds: list[World], kind: str, user: str, table: str, push_down: bool
) -> None:
    told_apart(worlds, kind, user, table, push_down)


def test_most_attacks_run(worlds: list[World]) -> None:
    """The suite is no list of refusals: most attacks give rows."""
    kinds = [
        outcome(worlds[0], "filter", one.replace("{t}", "leaks.postgres.people"), True)[0]
        for one in ATTACKS
    ]
    assert kinds.count("rows") >= 60


def test_the_control_tells_the_worlds_apart() -> None:
    """Where nothing protects them the same attacks see the difference."""
    told = 0
    for attack in ATTACKS:
        if attack.startswith(("explain", "describe")):
            continue
        answers = []
        for name in ("calm", "wild"):
            connection = duckdb.connect()
            connection.execute(
                "CREATE TABLE raw (id integer, tenant varchar, secret varchar, number integer, "
                "note varchar)"
            )
            rows = [list(one) for one in VISIBLE + HIDDEN[name]]
            connection.executemany("INSERT INTO raw VALUES (?,?,?,?,?)", rows)
            try:
                found = connection.sql(attack.replace("{t}", "raw")).fetchall()
                answers.append(sorted(map(repr, found)))
            except duckdb.Error as error:
                answers.append([str(error)])
            connection.close()
        told += answers[0] != answers[1]
    assert told >= 40


PLAIN = "(SELECT * FROM public.people WHERE {policy}) p"
FENCED = "(SELECT * FROM public.people WHERE {policy} OFFSET 0) p"
POLICIES = (
    "tenant IN (SELECT t FROM public.entitlements)",
    "EXISTS (SELECT 1 FROM public.entitlements WHERE t = tenant)",
    "coalesce(number, 2) % 2 = 5 OR tenant = 'A'",
)


def test_the_plain_wrap_leaks_where_the_barrier_does_not(
    worlds: list[World], sample: SampleMesh
) -> None:
    """On PostgreSQL a sub-query alone is no barrier: the probe bites on it, and not on ours."""
    leaks = {PLAIN: 0, FENCED: 0}
    for form in leaks:
        for policy in POLICIES:
            texts = []
            for world in worlds:
                sql = f"SELECT count(*) FROM {form.format(policy=policy)} "
                sql += "WHERE CAST(p.secret AS integer) >= 0"
                with (
                    dbapi.connect(sample.server.url(f"leaks_{world.name}")) as connection,
                    connection.cursor() as cursor,
                ):
                    try:
                        cursor.execute(sql)
                        texts.append(str(cursor.fetchall()))
                    except dbapi.Error as error:
                        texts.append(str(error))
            leaks[form] += texts[0] != texts[1]
    assert leaks[PLAIN] >= 1
    assert leaks[FENCED] == 0
