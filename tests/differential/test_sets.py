"""Rows fetched once wherever they may be: the same answer.

Takes: the mesh of the traps and the mesh of joins, with an estimate that says everything repeats.
Gives: equality with plain DuckDB, over every kind and flavour of source. A control shows that a
column whose equal values can be told apart would be noticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from gateway.demo.postgres import Server, find_server
from gateway.draft import Draft, Input
from gateway.guard import GuardedRelation
from gateway.passes import fetch_distinct
from tests.differential.compare import assert_same, is_ordered
from tests.differential.test_traps import traps
from tests.differential.traps_mesh import TrapsMesh
from tests.joins.places import ADDRESSES, Joined, open_joined
from tests.joins.sets import as_a_set
from tests.mysql import mysql_or_none
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain
from tests.settled import settled

__all__ = ["traps"]
STATEMENTS = (
    "select distinct reverse(s) as x from {t}",
    "select distinct reverse(s) as x, b, n from {t} where id > 2",
    "select distinct reverse(cast(m as varchar)) as x from {t}",
    "select distinct reverse(cast(t as varchar)) as x, cast(d as varchar) as y from {t}",
    "select distinct reverse(cast(c as varchar)) as x, u, l from {t}",
    "select count(distinct reverse(s)) as x, max(reverse(s)) as y from {t}",
    "select b, count(distinct reverse(s)) as x, min(n) as y from {t} group by b",
    "select a.id as x from {o} a where a.s in (select b.s from {t} b where b.id <> 4)",
    "select a.id as x from {o} a where a.s not in (select b.s from {t} b where b.s <> '')",
    "select a.id as x from {o} a where exists (select 1 from {t} b where b.s = a.s and b.n < a.n)",
    "select a.id as x from {o} a anti join {t} b on b.s = a.s and b.i = a.i",
    "select a.s as x from {o} a union select b.s from {t} b",
    "select a.m as x from {o} a intersect select b.m from {t} b",
    "select a.s as x, a.b from {o} a except select b.s, b.b from {t} b",
    "select distinct y.s as x from (select a.s from {o} a union all select b.s from {t} b) y",
    "select a.id as x, count(*) as n from {o} a join {t} b on a.s = b.s group by a.id",
)
OTHER = "traps.sqlite.probe"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Whatever is asked about repeats; what was made of it shows in the notes of a plan."""
    asked: list[str] = []

    def always(draft: Draft, one: Input, columns: Sequence[tuple[GuardedRelation, str]]) -> bool:
        asked.append(one.relations[0].name)
        return bool(columns)

    monkeypatch.setattr(fetch_distinct, "often_repeats", always)
    yield asked


def _check_traps(sql: str, product: str, user: str, traps: TrapsMesh) -> None:
    text = sql.format(t=f"traps.{product}.probe", o=OTHER)
    want = traps.reference[user].sql(text).to_arrow_table()
    try:
        assert_same(traps.ask(user, text), want, is_ordered(text))
    except AssertionError as error:
        error.add_note(f"{user}: {text}")
        raise


@pytest.mark.parametrize("sql", STATEMENTS)
def test_one_answer(sql: str, traps: TrapsMesh, told: list[str]) -> None:
    for number, product in enumerate(traps.products):
        _check_traps(sql, product, ("open", "narrow", "masked")[number % 3], traps)
    # Who counts the rows wants all of them.
    assert bool(told) == ("count(*)" not in sql)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with find_server(tmp_path_factory.mktemp("sets")) as made:
        yield made
        made.discard()


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Joined]:
    folder = tmp_path_factory.mktemp("joins")
    with mysql_or_none() as mariadb, closing(open_joined(folder, server, mariadb)) as made:
        yield made


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[PlainMesh]:
    """Values that are equal and not the same, at a source that keeps them apart."""
    server.run(
        "postgres",
        "CREATE DATABASE alike",
    )
    server.run(
        "alike",
        "CREATE TABLE one (f double precision, m numeric, c char(5))",
        "INSERT INTO one VALUES ('0.0', 1.0, 'a'), ('-0.0', 1.00, 'a '), ('0.0', 1.000, 'A')",
    )
    columns = {"f": "double precision", "m": "decimal(10,2)", "c": "text"}
    source = PlainSource("postgres", {}, {"url": server.url("alike")})
    table = PlainTable("alike", "one", "public.one", columns)
    with closing(open_plain(tmp_path_factory.mktemp("alike"), {"alike": source}, [table])) as made:
        yield made


@pytest.mark.parametrize(
    ("column", "wanted"), [("f", ["0.0", "0.0-"]), ("m", ["00.1"]), ("c", ["A", "a"])]
)
def test_what_is_equal_and_not_the_same(
    column: str, wanted: list[str], alike: PlainMesh, told: list[str]
) -> None:
    sql = f"select distinct reverse(cast({column} as varchar)) as x from alike.one order by x"
    assert alike.ask(sql).column("x").to_pylist() == wanted
    assert told


def test_floats_as_if_they_were_exact(
    alike: PlainMesh, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control: without their exception one of two rows is lost."""
    monkeypatch.setattr(fetch_distinct, "_EXACT", fetch_distinct._EXACT | {"DOUBLE"})
    sql = "select distinct reverse(cast(f as varchar)) as y from alike.one"
    assert alike.ask(sql).num_rows == 1


def _check_joined(first: int, count: int, joined: Joined) -> None:
    for seed in range(first, first + count):
        sql = as_a_set(seed, ADDRESSES)
        pushed, pulled, want = joined.answers(sql)
        for got, way in ((pushed, "pushed"), (pulled, "pulled")):
            try:
                assert_same(got, want, is_ordered(sql))
            except AssertionError as error:
                error.add_note(f"{way}: {sql}")
                raise


def test_generated_ones(joined: Joined, told: list[str]) -> None:
    _check_joined(0, 40, joined)
    assert len(told) > 40


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_many_more(joined: Joined, told: list[str]) -> None:
    with settled():
        _check_joined(10_000, 1500, joined)
