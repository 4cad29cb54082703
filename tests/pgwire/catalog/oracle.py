"""A real PostgreSQL that holds the tables of the mesh, with the same names, keys and comments.

Takes: a folder, what the mesh holds. Gives: the address of a database. Never more than one server
a test run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from gateway.demo.postgres import OwnServer, find_server
from tests.pgwire.catalog.mesh import SAID, TABLES
from tests.pgwire.small import DOMAIN

# The version that the wire says it is.
VERSION = "15"
_TYPES = {
    "BLOB": "bytea", "FLOAT": "real", "DOUBLE": "double precision", "VARCHAR": "text",
    "VARCHAR[]": "text[]", "DECIMAL(12,2)": "numeric(12,2)", "DECIMAL(10,2)": "numeric(10,2)",
}  # fmt: skip


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def statements(user: str) -> list[str]:
    """What makes the tables."""
    made = ["DROP EXTENSION plpgsql", "ALTER SCHEMA public OWNER TO sqluice"]
    links = []
    for name, columns in TABLES.items():
        said = SAID.get(name, {})
        shown = ", ".join(
            f'"{column}" {_TYPES.get(kind, kind)}'
            + (" NOT NULL" if said.get(column, {}).get("required") else "")
            + (" PRIMARY KEY" if said.get(column, {}).get("primaryKey") else "")
            + (" UNIQUE" if said.get(column, {}).get("unique") else "")
            for column, kind in columns.items()
        )
        made += [f"CREATE SCHEMA {name}", f"CREATE TABLE {name}.{name} ({shown})"]
        if said:
            made.append(f"COMMENT ON TABLE {name}.{name} IS 'All {name}'")
        for column, one in said.items():
            if "description" in one:
                text = _literal(one["description"])
                made.append(f"COMMENT ON COLUMN {name}.{name}.{column} IS {text}")
            for link in one.get("relationships", ()):
                _, schema, table, target = link["to"].split(".")
                links.append(
                    f"ALTER TABLE {name}.{name} ADD FOREIGN KEY ({column}) "
                    f"REFERENCES {schema}.{table} ({target})"
                )
        made += [f'GRANT USAGE ON SCHEMA {name} TO "{user}"']
        made += [f'GRANT SELECT ON {name}.{name} TO "{user}"']
    path = ", ".join(["public", *sorted(TABLES)])
    return [*made, *links, f"ALTER DATABASE {DOMAIN} SET search_path = {path}"]


@contextmanager
def oracle(folder: Path, user: str) -> Iterator[tuple[str, str]]:
    """The addresses of the database, for the user and for the owner of the tables."""
    server = find_server(folder)
    if not isinstance(server, OwnServer):
        pytest.skip("the oracle is a PostgreSQL of its own")
    with server:
        address = server.url("postgres")
        with psycopg.connect(address, autocommit=True) as connection:
            if not str(connection.info.server_version).startswith(VERSION):
                pytest.skip(f"the oracle is PostgreSQL {VERSION}")
            password = urlsplit(address).password
            for sql in (
                f"CREATE ROLE other SUPERUSER LOGIN PASSWORD '{password}'",
                f"CREATE ROLE \"{user}\" LOGIN PASSWORD '{user}-demo'",
            ):
                connection.execute(sql)
        place = address.rpartition("@")[2].partition("/")[0]
        with psycopg.connect(f"postgresql://other:{password}@{place}/postgres",
                             autocommit=True) as connection:  # fmt: skip
            connection.execute("ALTER ROLE postgres RENAME TO sqluice")
            connection.execute(f"ALTER ROLE sqluice PASSWORD '{password}'")
        owner = f"postgresql://sqluice:{password}@{place}"
        with psycopg.connect(f"{owner}/postgres", autocommit=True) as connection:
            connection.execute("DROP ROLE other")
            connection.execute(f"CREATE DATABASE {DOMAIN}")
        with psycopg.connect(f"{owner}/{DOMAIN}", autocommit=True) as connection:
            for sql in statements(user):
                connection.execute(sql.encode())
        yield f"postgresql://{user}:{user}-demo@{place}/{DOMAIN}", f"{owner}/{DOMAIN}"
