"""Changing hidden rows and cells changes nothing: answer, error code, error text, shown plan.

Takes: two worlds that differ in hidden values only. Gives: equality of every outcome, for each
attack, each kind of policy, each kind of source, with push-down and without. The controls show
that the same attacks tell the worlds apart where nothing protects them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from adbc_driver_postgresql import dbapi

from gateway import loading, valuing
from gateway.errors import SqluiceError
from gateway.identity import principal_of
from gateway.parse import parse
from gateway.prepare import prepare
from gateway.request import Limits, Request
from gateway.sessions import new_query_id
from tests.execute.test_values import every_value
from tests.leaks.worlds import (
    HIDDEN,
    KINDS,
    OPEN,
    USERS,
    VISIBLE,
    World,
    ddl,
)
from tests.mysql import no_mysql
from tests.sample import SampleMesh

ATTACKS = [
    line.removesuffix(";")
    for line in Path(__file__).with_name("attacks.sql").read_text().splitlines()
    if line and not line.startswith("--")
]
IN_MERGE = [one for one in ATTACKS if not one.startswith(("explain", "describe"))]
CASES = [
    (user, table)
    for user in (*USERS, "scope")
    for table in ("people", "cells")
    if table == "people" or user == "filter"
]
# Where the caller's time zone is not that of the policies, days and years begin elsewhere.
ELSEWHERE = "America/Los_Angeles"
# How sub-queries stand in attacks whose value bounds the rows of another input.
_COMPARES = re.compile(r"[<>]=? \(select .* from {t}|{t} p where p\.\w+ [<>]=? \(select")
# The table joined to one of another source, so that what the attack does is done by the merge.
MERGED = "(select t.* from {t} t join {x} x on x.id = t.id)"


def outcome(
    world: World, user: str, sql: str, push_down: bool, timezone: str = "UTC"
) -> tuple[object, ...]:
    """Everything that a caller gets."""
    users = world.opened.publisher.current().mesh.users
    request = Request(
        sql=sql,
        principal=principal_of(next(one for one in users if one.name == user)),
        now=datetime.now(UTC),
        query_id=new_query_id(),
        limits=Limits(seconds=30),
        push_down=push_down,
        timezone=timezone,
    )
    try:
        result = world.opened.gateway.answer(request)
        rows = [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]
        return ("rows", str(result.schema), sorted(map(repr, rows)), result.masked)
    except SqluiceError as error:
        return ("error", error.code, error.message, error.remedy, error.line, error.column)


def statement(attack: str, kind: str, table: str, merged: bool = False) -> str:
    """The attack on a table of a kind of source."""
    # One that is there without a server of MariaDB.
    other = KINDS[(KINDS.index(kind) + 1) % (len(KINDS) - 1)]
    sql = attack.replace("{t}", MERGED) if merged else attack
    names = {"{t}": f"{kind}.{table}", "{o}": f"{kind}.open", "{x}": f"{other}.open"}
    for mark, name in names.items():
        sql = sql.replace(mark, f"leaks.{name}")
    return sql


def zones(attack: str) -> tuple[str, ...]:
    """The time zones in which an attack is worth its time."""
    return ("UTC", ELSEWHERE) if "moment" in attack else ("UTC",)


def told_apart(
    worlds: list[World], user: str, statements: list[str], push_down: bool = True
) -> None:
    """Assert that no statement tells the worlds apart."""
    if any("leaks.mysql." in one for one in statements) and "mysql" not in worlds[0].kinds:
        no_mysql()
    told = []
    for sql in statements:
        for zone in zones(sql):
            calm, wild = (outcome(one, user, sql, push_down, zone) for one in worlds)
            if calm != wild:
                told.append((sql, zone, calm, wild))
            assert calm[:2] != ("error", "internal"), (sql, calm)
    assert told == []


# What runs at each change: every attack once, and those that need a second table of the source
# with each kind. All of it, everywhere, is long.
SHORT = (
    ("postgres", "filter", "people"),
    ("files", "cases", "people"),
    ("sqlite", "filter", "cells"),
    ("duckdb", "dated", "people"),
    ("mysql", "filter", "people"),
)


def share(number: int) -> list[str]:
    """One of five parts of the attacks."""
    always = ("{o}", "moment") if SHORT[number][2] == "cells" else ("{o}",)
    return [
        one
        for place, one in enumerate(ATTACKS)
        if place % len(SHORT) == number or any(mark in one for mark in always)
    ]


@pytest.mark.parametrize("number", range(len(SHORT)), ids=["-".join(one) for one in SHORT])
def test_hidden_values_have_no_influence(worlds: list[World], number: int) -> None:
    kind, user, table = SHORT[number]
    told_apart(worlds, user, [statement(one, kind, table) for one in share(number)])


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("push_down", [True, False], ids=["pushed", "pulled"])
@pytest.mark.parametrize(("user", "table"), CASES, ids=[f"{u}-{t}" for u, t in CASES])
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_values_have_no_influence_anywhere(
    worlds: list[World], kind: str, user: str, table: str, push_down: bool
) -> None:
    # Pulled up, the engine is the same whatever the kind: each kind takes its share of them.
    attacks = ATTACKS if push_down else ATTACKS[KINDS.index(kind) :: len(KINDS)]
    told_apart(worlds, user, [statement(one, kind, table) for one in attacks], push_down)


def test_hidden_values_have_no_influence_on_the_merge(worlds: list[World]) -> None:
    """The same where the table comes to the attack through a join of two sources."""
    attacks = [one for one in IN_MERGE if "//" in one or "cast" in one][::3]
    told_apart(worlds, "filter", [statement(one, "files", "people", True) for one in attacks])


@pytest.mark.parametrize(
    "kind", [KINDS[0], *(pytest.param(one, marks=pytest.mark.long) for one in KINDS[1:])]
)
def test_hidden_values_have_no_influence_through_bounds(
    worlds: list[World], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where values of sub-queries are sent whenever they may be, to the table and from it."""
    sent: list[str] = []
    real = valuing.bounds_of

    def counting(*given: Any) -> object:  # noqa: ANN401 - as it is called
        made = real(*given)
        sent.append("nothing" if made is None else given[0].target)
        return made

    monkeypatch.setattr(loading, "choose", every_value)
    monkeypatch.setattr(loading, "bounds_of", counting)
    statements = [statement(one, kind, "people") for one in ATTACKS if _COMPARES.search(one)]
    for user in ("filter", "scope"):
        told_apart(worlds, user, statements)
    assert {"id", "number"} <= set(sent), sent


def test_hidden_values_have_no_influence_on_what_runs_teach(worlds: list[World]) -> None:
    """Neither on what is shown after it nor on what the planner then expects."""
    # No equality: keys that come in time for one world and not for the other would narrow it.
    join = "select t.id, x.word from {t} t join {x} x on x.id <> t.id where t.number >= 0"
    statements = [
        statement(f"{how}{join}", kind, "people")
        for kind in KINDS for how in ("", "explain ", "explain analyze ")
    ]  # fmt: skip
    for user in ("filter", "scope"):
        for _ in range(2):
            told_apart(worlds, user, statements)
            for world in worlds:
                learning = world.opened.services.learning
                assert learning is not None
                learning.refresh()
        calm, wild = ([expected(one, user, sql) for sql in statements] for one in worlds)
        assert calm == wild
        # Something was taught: nobody guesses so few.
        assert all(rows <= 10 for fragment in calm for rows in fragment), calm


def expected(world: World, user: str, sql: str) -> list[float]:
    """How many rows the planner expects of each fragment."""
    opened = world.opened
    found = next(one for one in opened.publisher.current().mesh.users if one.name == user)
    asked = Request(
        sql=sql, principal=principal_of(found), now=datetime.now(UTC), query_id=new_query_id()
    )
    made = prepare(asked, parse(asked), opened.publisher.current(), opened.services)
    return [one.rows for one in made.plan.fragments if one.tables[0].table == "people"]


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("user", "table"), [("filter", "people"), ("scope", "people"), ("filter", "cells")]
)
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_values_have_no_influence_on_any_merge(
    worlds: list[World], kind: str, user: str, table: str
) -> None:
    # The merge is the same whatever the kind: each kind takes its half of them, two kinds each.
    attacks = IN_MERGE[KINDS.index(kind) % 2 :: 2]
    told_apart(worlds, user, [statement(one, kind, table, merged=True) for one in attacks])


def test_most_attacks_run(worlds: list[World]) -> None:
    """The suite is no list of refusals: most attacks give rows."""
    attacks = ATTACKS[::3]
    kinds = [
        outcome(worlds[0], "filter", statement(one, "postgres", "people"), True)[0]
        for one in attacks
    ]
    assert kinds.count("rows") >= len(attacks) * 2 / 3


def test_the_control_tells_the_worlds_apart() -> None:
    """Where nothing protects them the same attacks see the difference."""
    answers = [_unprotected(name) for name in ("calm", "wild")]
    told = [calm != wild for calm, wild in zip(*answers, strict=True)]
    assert told.count(True) >= 60
    pairs = zip(IN_MERGE, told, strict=True)
    assert any(is_told for attack, is_told in pairs if _COMPARES.search(attack))


def _unprotected(name: str) -> list[object]:
    """What each attack gets of the raw tables of a world."""
    connection = duckdb.connect()
    for table, rows in (("people", VISIBLE + HIDDEN[name]), ("open", OPEN)):
        connection.execute(f"CREATE TABLE {table} {ddl(table, 'varchar')}")
        marks = ",".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", [list(r) for r in rows])
    answers: list[object] = []
    for attack in IN_MERGE:
        sql = attack.replace("{t}", "people").replace("{o}", "open").replace("{x}", "open")
        try:
            answers.append(sorted(map(repr, connection.sql(sql).fetchall())))
        except duckdb.Error as error:
            answers.append(str(error))
    connection.close()
    return answers


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
