"""Whom the gateway is measured against.

Takes: places. Gives: `Floor`, DuckDB over Parquet files of all tables, which is the reference of
every answer, `Attached`, DuckDB 1.5.5 with ATTACH in an environment of its own, and `Database`,
PostgreSQL itself where it has all tables. Never takes the time that it takes to reach them into a
figure.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa

from bench.mesh import masked
from bench.places import Places
from bench.tables import TABLES

# The newest DuckDB for which its scanners are packaged.
PEER = "1.5.5"
_EXTENSIONS = ("tpch", "tpcds", "mysql-scanner", "postgres-scanner", "sqlite-scanner")
_INSTALL_SECONDS = 600


class Floor:
    """DuckDB over Parquet: nothing is federated, and governed is what views make so."""

    name = "floor"

    def __init__(self, places: Places) -> None:
        """Name the tables, as they are and as `governed` sees them."""
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'; CREATE SCHEMA governed")
        for table in TABLES:
            lies = f"FROM '{places.parquet(table.name)}'"
            self._connection.execute(f"CREATE VIEW {table.name} AS SELECT * {lies}")
            self._connection.execute(
                f"CREATE VIEW governed.{table.name} AS SELECT {masked(table)} {lies}"
            )

    def answer(self, sql: str, is_governed: bool = False) -> pa.Table:
        """What is right, for whom policies hold or not."""
        self._connection.execute(f"USE {'governed' if is_governed else 'main'}")
        try:
            return self._connection.sql(sql).to_arrow_table()
        finally:
            self._connection.execute("USE main")

    def seconds(self, sql: str) -> float:
        """How long it takes."""
        start = time.perf_counter()
        self._connection.sql(sql).to_arrow_table()
        return time.perf_counter() - start


class Attached:
    """DuckDB's ATTACH over the same sources, in a process of its own."""

    name = "attach"

    def __init__(self, places: Places) -> None:
        """Start the process; its environment is made once."""
        python = peer_python(places.folder.parent)
        layout = places.layout
        databases = [f"{domain}={places.url(domain)}" for domain in layout.servers]
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("attached.py"), places.files, places.sqlite,
             *databases],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        names: dict[str, list[str]] = {}
        for table in layout.tables:
            names.setdefault(table.domain, []).append(table.name)
        self._send(names)

    def queries(self) -> dict[int, str]:
        """The texts of the 22 statements, as the extension ships them."""
        self._send("queries")
        return {int(number): text for number, text in self._receive()["rows"]}

    def seconds(self, sql: str) -> float:
        """How long it takes, by its own clock."""
        self._send(sql)
        return float(self._receive()["seconds"])

    def close(self) -> None:
        """End the process and close what it was spoken to through."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def _send(self, what: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("DuckDB with ATTACH ended; what it said stands above")
        told: dict[str, Any] = json.loads(line)
        return told


class Database:
    """The one PostgreSQL that has all tables, over its usual driver; rows become Python's."""

    name = "database"

    def __init__(self, places: Places) -> None:
        """Connect."""
        (domain,) = places.layout.servers
        self._connection = psycopg.connect(places.url(domain), autocommit=True)

    def seconds(self, sql: str) -> float:
        """How long it takes."""
        start = time.perf_counter()
        self._connection.execute(sql).fetchall()
        return time.perf_counter() - start

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def peer_python(home: Path) -> Path:
    """The Python of an environment with the peer in it, made below a folder where it is missing."""
    folder = home / f"duckdb-{PEER}"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    wanted = [f"duckdb=={PEER}", *(f"duckdb-extension-{one}=={PEER}" for one in _EXTENSIONS)]
    if not ready.exists() or ready.read_text() != " ".join(wanted):
        sys.stderr.write(f"Installing DuckDB {PEER} with its extensions into {folder} ...\n")
        # A pip of its own, and compiling what nobody imports, would take longer than all else.
        venv.create(folder, clear=True)
        install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-compile"]
        subprocess.run(
            [*install, "-q", "--disable-pip-version-check", *wanted],
            check=True, timeout=_INSTALL_SECONDS,
        )  # fmt: skip
        ready.write_text(" ".join(wanted))
    return python
