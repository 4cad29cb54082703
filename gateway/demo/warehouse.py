"""The two PostgreSQL databases of the sample mesh, and who may read them.

Takes: a running server and Arrow tables. Gives: loaded tables, and one role that may read and no
more, its password in the secrets of the domains: the demo takes the path that a real mesh takes.
On a server of somebody else's, names are its own, so that nothing of his is touched.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from adbc_driver_postgresql import dbapi

from gateway.demo.postgres import Server

# Domain and secret of each database.
DATABASES: Mapping[str, tuple[str, str]] = {
    "operations": ("operations", "WAREHOUSE_URL"), "loyalty": ("loyalty", "CRM_URL"),
}
_PASSWORD = "reader-password"
_COLUMNS: Mapping[str, str] = {
    "flights": """
      flight_id bigint NOT NULL, year integer NOT NULL, month integer NOT NULL,
      day integer NOT NULL, dep_time integer, sched_dep_time integer NOT NULL,
      dep_delay double precision, arr_time integer, sched_arr_time integer NOT NULL,
      arr_delay double precision, carrier text NOT NULL, flight integer NOT NULL, tailnum text,
      origin text NOT NULL, dest text NOT NULL, air_time double precision,
      distance integer NOT NULL, hour integer NOT NULL, minute integer NOT NULL,
      time_hour timestamptz NOT NULL""",
    "members": """
      member_id bigint NOT NULL, name text NOT NULL, email text NOT NULL, phone text,
      birth_date date, tier text NOT NULL, home_airport text NOT NULL, region text NOT NULL,
      spend numeric(12,2) NOT NULL, joined_at timestamptz NOT NULL""",
    "trips": """
      trip_id bigint NOT NULL, member_id bigint NOT NULL, email text NOT NULL,
      flight_id bigint NOT NULL, cabin text NOT NULL, fare numeric(12,2) NOT NULL,
      region text NOT NULL, booked_at timestamptz NOT NULL""",
}
_AFTER: Mapping[str, tuple[str, ...]] = {
    "flights": (
        "ALTER TABLE public.flights ADD PRIMARY KEY (flight_id)",
        "CREATE INDEX ON public.flights (carrier)",
    ),
    "members": (
        "ALTER TABLE public.members ADD PRIMARY KEY (member_id)",
        "ALTER TABLE public.members ADD UNIQUE (email)",
    ),
    "trips": (
        "ALTER TABLE public.trips ADD PRIMARY KEY (trip_id)",
        "ALTER TABLE public.trips ADD FOREIGN KEY (member_id) REFERENCES public.members",
        "CREATE INDEX ON public.trips (flight_id)",
    ),
}


def load(data: Path, server: Server, database: str, tables: Mapping[str, pa.Table]) -> None:
    """Make a database anew with these tables, in one bulk load each."""
    name = _name(data, server, database)
    server.run("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    server.run("postgres", f"CREATE DATABASE {name}")
    for table, rows in tables.items():
        server.run(name, f"CREATE TABLE public.{table} ({_COLUMNS[table]})")
        with dbapi.connect(server.url(name)) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(table, rows, mode="append", db_schema_name="public")
            connection.commit()
        server.run(name, *_AFTER[table], f"ANALYZE public.{table}")


def is_loaded(data: Path, server: Server) -> bool:
    """Whether the server has the databases."""
    wanted = [_name(data, server, one) for one in DATABASES]
    with dbapi.connect(server.url("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        found = {row[0] for row in cursor.fetchall()}
    return set(wanted) <= found


def give_access(data: Path, server: Server) -> None:
    """A role that may only read; its password stays what it was, for gateways that run."""
    reader, password = _name(data, server, "reader"), _password(data)
    server.run(
        "postgres",
        f"DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{reader}') THEN "
        f"CREATE ROLE {reader}; END IF; END $$",
        "SET password_encryption = 'scram-sha-256'",
        f"ALTER ROLE {reader} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{password}'",
        f"ALTER ROLE {reader} SET default_transaction_read_only = on",
    )
    for database, (domain, secret) in DATABASES.items():
        name = _name(data, server, database)
        server.run(
            name, f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
            f"GRANT CONNECT ON DATABASE {name} TO {reader}",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            f"GRANT USAGE ON SCHEMA public TO {reader}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}",
        )
        write_secret(data / "secrets" / domain / secret, server.url(name, reader, password))


def _name(data: Path, server: Server, name: str) -> str:
    """The name on the server; on somebody else's one that says whose it is."""
    if server.kind != "url":
        return name
    mark = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:8]
    return f"sqluice_demo_{name}_{mark}"


def _password(data: Path) -> str:
    path = data / _PASSWORD
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(18))
    return path.read_text(encoding="utf-8")


def write_secret(path: Path, value: str) -> None:
    """Write a file that only its owner may read, at one stroke."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(value)
    beside.replace(path)
