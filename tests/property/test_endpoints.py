"""Non-interference through every endpoint of a served gateway, byte for byte.

Takes: an arena as files, two gateways that `sqluice serve` started over its two worlds. Gives: a
failure where an insider gets anything else in one world than in the other: rows, types, schema
metadata, status, headers, error texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from adbc_driver_flightsql import dbapi

from gateway.demo.postgres import Server
from gateway.probe.arenas import WORLDS, Arena, build_arena
from gateway.probe.plant import plant
from gateway.probe.triples import PER_ARENA, Triple
from tests.property.endpoints import FORMS, Gateway, Wire, over_flight, over_pgwire, serving
from tests.property.files import write_mesh, write_secrets
from tests.property.runs import ground_of

ARENA = 9
# Two of the arena's triples of each clause and more.
SAMPLE = [Triple(ARENA, number) for number in range(0, PER_ARENA, 3)]
TOLD = ("SHOW TABLES", "SHOW SCHEMAS", "DESCRIBE {table}", "SELECT * FROM {table} ORDER BY id",
        "EXPLAIN SELECT * FROM {table}", "EXPLAIN POLICY SELECT * FROM {table}",
        "EXPLAIN ANALYZE SELECT count(*) FROM {table}", "SELECT nothing FROM {table}",
        "EXPLAIN (ANALYZE, FORMAT json) SELECT count(*) FROM {table}",
        "EXPLAIN (FORMAT mermaid) SELECT * FROM {table}")  # fmt: skip


@pytest.fixture(scope="module")
def arena() -> Arena:
    return build_arena(ARENA)


@pytest.fixture(scope="module")
def worlds(
    arena: Arena, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Gateway]]:
    conf = tmp_path_factory.mktemp("served")
    write_mesh(conf, arena)
    with ExitStack() as stack:
        made = []
        for world in WORLDS:
            data = tmp_path_factory.mktemp(world)
            ground = ground_of(data, server, f"served_{world}")
            plant(ground, arena.planted(world))
            write_secrets(data, server, f"served_{world}")
            made.append(stack.enter_context(serving(conf, data)))
        yield made


@pytest.mark.parametrize("form", FORMS)
def test_over_http(arena: Arena, worlds: list[Gateway], form: str) -> None:
    statuses: Counter[object] = Counter()
    for triple in SAMPLE:
        statement, _ = triple.statement(arena)
        user = arena.principals[triple.who].user
        told = [
            one.over_http(user, form, statement.sql, statement.parameters) for one in worlds
        ]
        assert told[0] == told[1], (triple, user, statement)
        assert isinstance(told[0], tuple)
        statuses[told[0][0]] += 1
    assert statuses[200] >= len(SAMPLE) // 2, statuses


def test_over_flight(arena: Arena, worlds: list[Gateway]) -> None:
    answered = 0
    with ExitStack() as stack:
        signed: list[list[dbapi.Connection]] = [
            [stack.enter_context(one.flight_of(who.user)) for one in worlds]
            for who in arena.principals
        ]
        for triple in SAMPLE:
            statement, _ = triple.statement(arena)
            told = [
                over_flight(one, statement.sql, statement.parameters) for one in signed[triple.who]
            ]
            assert told[0] == told[1], (triple, statement)
            assert isinstance(told[0], tuple)
            answered += len(told[0]) == 2
    assert answered >= len(SAMPLE) // 2


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_over_the_postgresql_wire(arena: Arena, worlds: list[Gateway], binary: bool) -> None:
    answered = 0
    with ExitStack() as stack:
        signed: list[list[Wire]] = [
            [stack.enter_context(one.pgwire_of(who.user)) for one in worlds]
            for who in arena.principals
        ]
        for triple in SAMPLE:
            statement, _ = triple.statement(arena)
            told = [
                over_pgwire(one, statement.sql, statement.parameters, binary)
                for one in signed[triple.who]
            ]
            assert told[0] == told[1], (triple, statement)
            assert isinstance(told[0], tuple)
            answered += len(told[0]) == 2
        for who in range(len(arena.principals)):
            for relation in arena.relations(who):
                for form in TOLD:
                    sql = form.format(table=relation.name)
                    told = [over_pgwire(one, sql, (), binary) for one in signed[who]]
                    assert told[0] == told[1], sql
    assert answered >= len(SAMPLE) // 2


def test_what_the_gateway_itself_tells(arena: Arena, worlds: list[Gateway]) -> None:
    """Names, types, plans, policies and refusals."""
    for who, principal in enumerate(arena.principals):
        for relation in arena.relations(who):
            for form in TOLD:
                sql = form.format(table=relation.name)
                told = [one.over_http(principal.user, "json", sql, ()) for one in worlds]
                assert told[0] == told[1], sql


def test_what_another_asked_before_changes_nothing(arena: Arena, worlds: list[Gateway]) -> None:
    """The same text by one insider, the other, and the first again: nothing is remembered."""
    first, other = (one.user for one in arena.principals)
    for relation in arena.relations(0):
        sql = f"SELECT * FROM {relation.name}"
        before, _, after = (
            worlds[0].over_http(user, "json", sql, ()) for user in (first, other, first)
        )
        assert before == after, sql
