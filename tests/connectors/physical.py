"""Types of PostgreSQL that are no type of SQL's standard, and what a contract calls them.

Takes: `physical_types.yaml`, a server. Gives: a table with a column of each type that the server
has, one row of values and one of NULLs. Never looks at what a connector makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg
import yaml

from gateway.demo.postgres import Server

TABLE = "physical"
_MADE = (
    "CREATE TYPE mood AS ENUM ('sad', 'glücklich')",
    "CREATE DOMAIN price AS numeric(8,3)",
    "CREATE DOMAIN discount AS price CHECK (value < 1)",
    "CREATE DOMAIN brief AS varchar(5)",
    "CREATE DOMAIN briefest AS brief",
    "CREATE DOMAIN mild AS mood",
)


@dataclass(frozen=True, slots=True)
class Physical:
    """A column: its type there and in a contract, "" where none can say it; a value of both."""

    name: str
    physical: str
    value: str
    type: str = ""
    gives: str = ""
    extension: str = ""
    why: str = ""


PHYSICAL = tuple(
    Physical(**one)
    for one in yaml.safe_load(
        Path(__file__).with_name("physical_types.yaml").read_text(encoding="utf-8")
    )
)


def fill(server: Server, database: str) -> tuple[Physical, ...]:
    """Make the table; gives its columns, which are those whose types the server has."""
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        rows = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
        there = {str(name) for (name,) in rows}
        held = tuple(one for one in PHYSICAL if one.extension in ("", *there))
        for name in sorted({one.extension for one in held} - {""}):
            connection.execute(f"CREATE EXTENSION {name}".encode())
        for statement in _MADE:
            connection.execute(statement.encode())
        columns = ", ".join(f"{one.name} {one.physical}" for one in held)
        values = ", ".join(one.value for one in held)
        connection.execute(f"CREATE TABLE {TABLE} (id int PRIMARY KEY, {columns})".encode())
        connection.execute(f"INSERT INTO {TABLE} VALUES (1, {values})".encode())
        connection.execute(f"INSERT INTO {TABLE} (id) VALUES (2)".encode())
    return held
