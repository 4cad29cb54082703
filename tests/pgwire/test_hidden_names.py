"""Names that a caller may not know are no names over the wire: not of columns, not of tables.

Takes: two meshes; the contracts of one lack the column and the table that are hidden in the other.
Gives: equality of every message, whatever way a statement is sent. The control may know both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import pytest

from tests.pgwire.small import Small, on_the_wire
from tests.pgwire.wire import SYNC, Message, Wire, bind, describe, execute, parse, query
from tests.small_mesh import SmallMesh, opened_mesh

OPEN = {"id": "INTEGER", "name": "VARCHAR"}
WHOLE = {**OPEN, "salary": "DECIMAL(10,2)"}
QUERY_ID = re.compile(rb"q_[0-9a-f]{24}")
ATTACKS = (
    "select salary from shop.items",
    "select id, salary + 1 from shop.items",
    "select i.salary from shop.items as i",
    "select items.salary from shop.items",
    "select shop.items.salary from shop.items",
    "select id from shop.items where salary = $1",
    "select id from shop.items where $1 < salary or name = $2",
    "select id from shop.items where salary = 'x'",
    "select id from shop.items order by salary",
    "select count(*) from shop.items group by salary",
    "select * exclude (salary) from shop.items",
    "select columns('sal.*') from shop.items",
    "select * from shop.items",
    "select items from shop.items",
    "select id as salary from shop.items order by salary",
    "select (select salary) from shop.items",
    "select a.id from shop.items a join shop.items b using (salary)",
    "select a.id from shop.items a natural join shop.items b",
    "select id from shop.items where salary",
    "select salari from shop.items",
    "select * from shop.pay",
    "select p.x from shop.pay as p where p.x = $1",
    "select * from pay",
    "describe shop.pay",
    "describe shop.items",
    "show tables",
    "show columns",
    "show columns from shop.pay",
    "explain select salary from shop.items",
    "explain policy select salary from shop.items",
    "explain policy select * from shop.pay",
)


@contextmanager
def world(folder: Path, is_there: bool) -> Iterator[Small]:
    """A mesh with, or without, what `part` has no grant on."""
    (folder / "data").mkdir()
    with duckdb.connect(str(folder / "data/held.duckdb")) as connection:
        connection.execute("CREATE TABLE items AS SELECT 1 AS id, 'n' AS name, 9.5 AS salary")
        connection.execute("CREATE TABLE pay AS SELECT 1 AS x")
    items = ("items", WHOLE if is_there else OPEN)
    tables = {"items": items, **({"pay": ("pay", {"x": "INTEGER"})} if is_there else {})}
    grants = [
        {"product": "items", "subjects": [{"users": ["part"]}], "columns": list(OPEN)},
        *({"product": one, "subjects": [{"users": ["all"]}]} for one in tables),
    ]
    source = {"connector": "duckdb", "settings": {"path": "held.duckdb"}}
    mesh = SmallMesh("shop", source, tables, {"all": {}, "part": {}}, grants=tuple(grants))
    with on_the_wire(opened_mesh(folder, mesh)) as made:
        yield made


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Small]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(world(tmp_path_factory.mktemp(name), name == "there"))
            for name in ("there", "absent")
        ]


def ways(attack: str) -> dict[str, tuple[bytes, ...]]:
    """All ways to send a statement; each part ends in one ReadyForQuery."""
    count = len(set(re.findall(r"\$\d", attack)))
    values = [b"1", b"x"][:count]
    typed = parse(attack, "t", *([1700, 25][:count]))
    sent = {
        "simple": (query(attack),),
        "bound": (parse(attack) + bind("", "", *values) + describe("P") + execute() + SYNC,),
        "described": (parse(attack, "s") + describe("S", "s") + SYNC,),
        "typed": (typed + describe("S", "t") + bind("", "t", *values) + execute() + SYNC,),
        # What lies behind an error is skipped, and what a failed transaction takes is told alike.
        "in a transaction": (
            query("begin"), parse(attack) + bind("", "", *values) + execute() + SYNC,
            query(attack), query("rollback"),
        ),
        "of another dialect": (query("set dialect = 'postgres'"), query(attack)),
    }  # fmt: skip
    if attack.startswith("select"):
        sent |= {
            "copied": (query(f"copy ({attack}) to stdout"),),
            "held": (query(f"declare c cursor with hold for {attack}"), query("fetch 1 from c")),
        }
    return sent


COPIES = tuple(
    query(one)
    for one in ("copy shop.items to stdout", "copy shop.items (id, salary) to stdout",
                "copy shop.pay to stdout csv header", "copy shop.items (salari) to stdout")
)  # fmt: skip


def outcome(held: Small, user: str, parts: tuple[bytes, ...]) -> list[Message]:
    with Wire(held.address) as made:
        assert made.sign_in(user)[-1] == ("Z", b"I")
        told = [one for part in parts for one in made.ask(part)]
    # A hash of all files, which are not the same.
    revision = held.opened.publisher.current().mesh.revision[:12].encode()
    return [(kind, QUERY_ID.sub(b"-", body.replace(revision, b"-"))) for kind, body in told]


@pytest.mark.parametrize("way", [*ways(ATTACKS[0]), "tables"])
def test_nobody_learns_of_hidden_names(worlds: list[Small], way: str) -> None:
    told = 0
    for attack in ATTACKS if way != "tables" else ("",):
        parts = ways(attack).get(way) if attack else COPIES
        if parts is None:
            continue
        there, absent = (outcome(one, "part", parts) for one in worlds)
        assert there == absent, attack
        assert not any(b"internal" in body for kind, body in there if kind == "E"), attack
        there, absent = (outcome(one, "all", parts) for one in worlds)
        told += there != absent
    # The control: whoever may know the names is told of them.
    assert told >= (1 if way == "tables" else 12)
