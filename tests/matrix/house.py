"""The mesh that all endpoints of this room serve: one gateway in a process of its own.

Takes: a folder, a PostgreSQL server. Gives: where the gateway listens, and the folder of the same
mesh for those who open it in process. Never shared with another room: its sources break on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import psycopg
import sqlalchemy

import sqluice
from gateway.demo.postgres import Server, find_server
from tests.connectors.physical import Physical, fill
from tests.leaks.worlds import HIDDEN, VISIBLE, ddl
from tests.matrix.kinds import COLUMNS, HELD, table_sql
from tests.served import Served, started
from tests.small_mesh import SmallMesh, write_mesh

DATABASE = "matrix"
PEOPLE = {
    "id": "INTEGER", "tenant": "VARCHAR", "secret": "VARCHAR", "number": "INTEGER",
    "note": "VARCHAR", "moment": "TIMESTAMP WITH TIME ZONE", "code": "VARCHAR",
    "amount": "DECIMAL(10,2)",
}  # fmt: skip
_PAIR = {"id": "INTEGER", "other": "INTEGER"}
# nora reads all, and may stand in for nobody; `part` is the one whom policies restrict.
_USERS: Mapping[str, Mapping[str, Any]] = {
    "nora": {}, "part": {"groups": ["part"], "attributes": {"tenant": ["A"]}},
    "all": {"groups": ["all"]},
}  # fmt: skip
_TABLES = {
    "people": ("public.people", PEOPLE),
    "cells": ("public.people", PEOPLE),
    "open": ("public.open", {"id": "INTEGER", "word": "VARCHAR"}),
    "many": ("public.many", _PAIR),
    "slow": ("public.slow", _PAIR),
    "late": ("public.slow", _PAIR),
    "missing": ("public.no_such_table", _PAIR),
    "few": ("public.open", {"id": "INTEGER", "word": "VARCHAR"}),
    "shut": ("public.open", {"id": "INTEGER", "word": "VARCHAR"}),
    "spent": ("public.open", {"id": "INTEGER", "word": "VARCHAR"}),
    "asked": ("public.open", {"id": "INTEGER", "word": "VARCHAR"}),
    "grouped": ("public.people", PEOPLE),
}
_EVERYBODY = [{"users": list(_USERS)}]
_MASKS = {
    "secret": {"mask": {"kind": "null"}}, "number": {"mask": {"kind": "constant", "value": 3}},
    "note": {"hide": True}, "moment": {"mask": {"kind": "bucket", "unit": "day"}},
    "code": {"mask": {"kind": "partial", "keepLast": 2}},
    "amount": {"mask": {"kind": "bucket", "size": 100}},
}  # fmt: skip
_PART = [{"groups": ["part"]}]


def _day_off() -> str:
    """A day that is neither today nor near it."""
    today = datetime.now(UTC).weekday()
    return ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[(today + 3) % 7]


_POLICIES: tuple[Mapping[str, Any], ...] = (
    {"id": "stock.rows", "match": {"table": "people"}, "subjects": _PART,
     "effect": {"filter": "tenant IN (subject.tenant)"}},
    *({"id": f"stock.mask-{name}", "match": {"table": "cells", "tags": [f"hidden.{name}"]},
       "subjects": _PART, "effect": effect} for name, effect in _MASKS.items()),
    {"id": "stock.few", "match": {"table": "few"}, "effect": {"limit": {"rows": 3}}},
    {"id": "stock.shut", "match": {"table": "shut"},
     "effect": {"limit": {"hours": {"from": "00:00", "to": "00:01", "zone": "UTC",
                                    "days": [_day_off()]}}}},
    {"id": "stock.late", "match": {"table": "late"}, "effect": {"limit": {"seconds": 1}}},
    {"id": "stock.spent", "match": {"table": "spent"},
     "effect": {"limit": {"requests": 1, "per": "day"}}},
    {"id": "stock.asked", "match": {"table": "asked"}, "effect": {"require": {"purpose": True}}},
    {"id": "stock.grouped", "match": {"table": "grouped"},
     "effect": {"aggregate": {"entity": "id", "minimum": 2, "dimensions": ["tenant", "note"],
                              "remember": 30}}},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class House:
    """Where the gateway listens; passwords are `<name>-demo`.

    physical: the columns of `stock.physical`, which has what a contract can say of PostgreSQL's.
    """

    served: Served
    conf: Path
    server: Server
    physical: tuple[Physical, ...]
    opened: dict[str, sqluice.Connection] = field(default_factory=dict)

    def local(self, user: str = "nora") -> sqluice.Connection:
        """The same mesh in this process; opened once for each user."""
        if user not in self.opened:
            self.opened[user] = sqluice.connect(f"{self.conf}/", user=user)
        return self.opened[user]

    def connect(self, user: str = "nora", **options: Any) -> sqluice.Connection:  # noqa: ANN401 - by name
        """A connection of the DB-API over Flight SQL."""
        return sqluice.connect(
            self.served.flight, user=user, **{"password": f"{user}-demo", **options}
        )

    def engine(self, user: str = "nora", **options: str) -> sqlalchemy.Engine:
        """An engine of SQLAlchemy without a pool."""
        url = sqlalchemy.URL.create(
            "sqluice", user, options.pop("password", f"{user}-demo"), "127.0.0.1",
            urlsplit(self.served.flight).port, query=options,
        )  # fmt: skip
        return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)

    def wire(self, user: str = "nora", **options: Any) -> psycopg.Connection[tuple[Any, ...]]:  # noqa: ANN401 - psycopg's own
        """A connection of psycopg in autocommit."""
        chosen = {"password": f"{user}-demo", "autocommit": True, "connect_timeout": 20, **options}
        return psycopg.connect(self.served.pgwire, user=user, **chosen)


@contextmanager
def opened_house(folder: Path) -> Iterator[House]:
    """Fill the sources, write the mesh, start the gateway."""
    server = find_server(folder / "postgres", choices=("system", "wheel"))
    server.start()
    try:
        _fill(folder, server)
        physical = tuple(one for one in fill(server, DATABASE) if one.type)
        conf = _write(folder, server, physical)
        with started(conf, folder / "data", {}) as found:
            url = server.url(DATABASE)
            served = Served(found[1], found[2], found[3], int(found[4]), url)
            house = House(served, conf, server, physical)
            yield house
            for one in house.opened.values():
                one.close()
    finally:
        server.discard()


def _fill(folder: Path, server: Server) -> None:
    (folder / "data").mkdir(parents=True)
    with duckdb.connect(str(folder / "data" / "kinds.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TABLE items AS {table_sql()}")
    rows = ", ".join(
        "(" + ", ".join("NULL" if one is None else f"'{one}'" for one in row) + ")"
        for row in VISIBLE + HIDDEN["wild"]
    )
    server.run("postgres", f"CREATE DATABASE {DATABASE}")
    server.run(
        DATABASE,
        f"CREATE TABLE people {ddl('people', 'text')}",
        f"INSERT INTO people VALUES {rows}",
        "CREATE TABLE open AS SELECT g::int AS id, 'w' || g AS word FROM generate_series(0, 9) g",
        "CREATE TABLE numbers AS SELECT g::int AS id FROM generate_series(1, 20000) g",
        # Some 400 million rows, sent as they are found; and one that nobody waits for.
        "CREATE VIEW many AS SELECT a.id, b.id AS other FROM numbers a, numbers b",
        "CREATE VIEW slow AS SELECT 1 AS id, length(pg_sleep(600)::text) AS other",
    )


def _write(folder: Path, server: Server, physical: tuple[Physical, ...]) -> Path:
    secrets = folder / "data" / "secrets"
    urls = {"stock": server.url(DATABASE), "gone": "postgresql://who:word@127.0.0.1:9/nothing"}
    for domain, url in urls.items():
        (secrets / domain).mkdir(parents=True)
        (secrets / domain / "URL").write_text(url)
    source = {"connector": "postgres", "secrets": {"url": "URL"}}
    tags = {name: (f"hidden.{name}",) for name in _MASKS}
    known: dict[str, Any] = {
        "users": _USERS, "tags": tags, "purposes": {"billing": "Bills", "fraud": "Fraud"},
        # Every door tries a wrong password, all from one address.
        "gateway": {"sign_in": {"free_failures": 100}},
    }  # fmt: skip
    types = {"id": "INTEGER", **{one.name: one.type for one in physical}}
    stock = {**_TABLES, "physical": ("public.physical", types)}
    kinds = {"id": "INTEGER", **{one: COLUMNS[one][0] for one in HELD}}
    meshes = [
        SmallMesh(
            "kinds", {"connector": "duckdb", "settings": {"path": "kinds.duckdb"}},
            {"items": ("items", kinds)}, grants=_grants("items"), **known,
        ),
        SmallMesh("gone", source, {"nothing": ("nothing", _PAIR)}, grants=_grants("nothing"),
                  **known),
        SmallMesh("unset", {"connector": "postgres", "secrets": {"url": "NOWHERE"}},
                  {"nothing": ("nothing", _PAIR)}, grants=_grants("nothing"), **known),
        SmallMesh("stock", source, stock, grants=_grants(*stock), policies=_POLICIES, **known),
    ]  # fmt: skip
    return [write_mesh(folder, one) for one in meshes][-1]


def _grants(*products: str) -> tuple[Mapping[str, Any], ...]:
    return tuple({"product": one, "subjects": _EVERYBODY} for one in products)
