"""Hidden rows change nothing of what comes over the wire; where nothing hides them, they do.

Takes: two endpoints over tables that differ in hidden rows only. Gives: equality of every message,
for each attack and each way to send it. The control reads all rows, and the same attacks tell the
worlds apart for him.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.pgwire.small import Small, small
from tests.pgwire.wire import SYNC, Message, Wire, bind, describe, execute, parse, query

ROW = "({}, '{}', {}, '{}')"
VISIBLE = [(1, "10", 5, "alpha"), (2, "20", 6, "beta"), (3, "30", 8, "gamma")]
HIDDEN = {
    "calm": [(7, "40", 9, "delta")],
    "wild": [(7, "SECRET", 7, "S\\"), (8, "2024-02-30", 2147483647, "("), (9, "", 0, "%")],
}
COLUMNS = {"id": "INTEGER", "secret": "VARCHAR", "number": "INTEGER", "note": "VARCHAR"}
ATTACKS = (
    "select count(*) as n from shop.items where cast(secret as integer) > 0",
    "select id from shop.items where 10 // (number - 7) > 0 order by id",
    "select number + 2147483640 as x from shop.items order by id",
    "select chr(number) as x from shop.items order by id",
    "select id from shop.items where note like 'S%' order by id",
    "select max(secret) as m, min(number) as n, count(distinct note) as c from shop.items",
    "select id from shop.items order by cast(secret as integer) limit 1",
    "select cast(secret as date) as d from shop.items order by id",
    "select id from shop.items order by number desc limit 2",
    "select list(secret order by id) as l from shop.items",
    "describe shop.items",
    "explain select * from shop.items where number = 7",
)
QUERY_ID = re.compile(rb"q_[0-9a-f]{24}")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Small]]:
    made = []
    managers = []
    for name, hidden in HIDDEN.items():
        rows = ", ".join(ROW.format(*one) for one in [*VISIBLE, *hidden])
        table = f"SELECT * FROM (VALUES {rows}) AS t({', '.join(COLUMNS)})"
        manager = small(tmp_path_factory.mktemp(name), table, COLUMNS)
        managers.append(manager)
        made.append(manager.__enter__())
    yield made
    for manager in managers:
        manager.__exit__(None, None, None)


def ways(attack: str) -> dict[str, tuple[bytes, ...]]:
    """All ways to send a statement; each ends in one ReadyForQuery for each part."""
    sent = {
        "simple": (query(attack),),
        "text": (parse(attack) + bind() + describe("P") + execute() + SYNC,),
        "binary": (parse(attack) + bind(form=1) + describe("P") + execute() + SYNC,),
        "described": (parse(attack, "s") + describe("S", "s") + SYNC,),
        "portal": (query("begin"), parse(attack) + bind("p") + execute("p", 1) + SYNC,
                   execute("p", 1) + SYNC),
    }  # fmt: skip
    if attack.startswith("select"):
        sent |= {
            "cursor": (query("begin"), query(f"declare c cursor for {attack}"),
                       query("fetch 1 from c"), query("fetch all from c")),
            "copy": (query(f"copy ({attack}) to stdout (format binary)"),),
            "csv": (query(f"copy ({attack}) to stdout csv header"),),
        }  # fmt: skip
    return sent


def outcome(held: Small, user: str, parts: tuple[bytes, ...]) -> list[Message]:
    with Wire(held.address) as made:
        assert made.sign_in(user)[-1] == ("Z", b"I")
        told = [one for part in parts for one in made.ask(part)]
    return [(kind, QUERY_ID.sub(b"-", body)) for kind, body in told]


@pytest.mark.parametrize("way", ways(ATTACKS[0]))
def test_nobody_learns_of_hidden_rows(worlds: list[Small], way: str) -> None:
    told = 0
    for attack in ATTACKS:
        parts = ways(attack).get(way)
        if parts is None:
            continue
        calm, wild = (outcome(one, "part", parts) for one in worlds)
        assert calm == wild, attack
        assert not any(b"internal" in body for kind, body in calm if kind == "E"), attack
        calm, wild = (outcome(one, "all", parts) for one in worlds)
        told += calm != wild
    # The control: without the row policy the same statements tell the worlds apart.
    assert told >= (0 if way == "described" else 5)


def test_the_notices_of_a_cut_answer_count_visible_rows(worlds: list[Small]) -> None:
    parts = (query("set row_limit = 2"), query("select id from shop.items order by id"))
    calm, wild = (outcome(one, "part", parts) for one in worlds)
    assert calm == wild and "N" in {kind for kind, _ in calm}
