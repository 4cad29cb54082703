"""DuckDB with ATTACH, as a program in an environment of its own; knows nothing of the project.

Takes: as arguments the Parquet folder, the SQLite file, and `domain=url` for each PostgreSQL
database; a statement a line, as JSON, on standard input. Gives: a line of JSON for each, with
seconds and rows. `queries` in place of a statement gives the texts that its TPC-H extension ships.

    python attached.py FILES SUPPLY.sqlite crm=postgresql://... sales=postgresql://...
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import duckdb


def load(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load an extension from its package."""
    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"the package duckdb-extension-{name} is missing")
    folder = Path(next(iter(found.submodule_search_locations)))
    path = next(folder.glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension"))
    connection.execute(f"LOAD '{path}'")


def mysql_place(url: str) -> str:
    """A URL in the words of the scanner."""
    parts = urlsplit(url)
    return (
        f"host={parts.hostname} port={parts.port} user={parts.username} "
        f"password={parts.password} database={parts.path.strip('/')}"
    )


def opened(
    files: str, sqlite: str, databases: dict[str, str], names: dict[str, list[str]]
) -> duckdb.DuckDBPyConnection:
    """All tables under their plain names, wherever they lie."""
    connection = duckdb.connect()
    for one in ("tpch", "mysql_scanner", "postgres_scanner", "sqlite_scanner"):
        load(connection, one)
    for domain, url in databases.items():
        kind, place = ("mysql", mysql_place(url)) if url.startswith("mysql") else ("postgres", url)
        connection.execute(f"ATTACH '{place}' AS {domain} (TYPE {kind}, READ_ONLY)")
    if "supply" in names:
        connection.execute(f"ATTACH '{sqlite}' AS supply (TYPE sqlite, READ_ONLY)")
    for domain, tables in names.items():
        for table in tables:
            source = f"{domain}.{table}"
            if domain == "logistics":
                source = f"'{files}/{table}/*.parquet'"
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM {source}")
    return connection


def main(files: str, sqlite: str, *databases: str) -> None:
    """Answer until the input ends."""
    names = json.loads(sys.stdin.readline())
    connection = opened(files, sqlite, dict(one.split("=", 1) for one in databases), names)
    for line in sys.stdin:
        statement = json.loads(line)
        if statement == "queries":
            answer = connection.execute("SELECT query_nr, query FROM tpch_queries()").fetchall()
            told: dict[str, object] = {"rows": answer}
        else:
            start = time.perf_counter()
            answer = connection.execute(statement).fetchall()
            told = {"seconds": time.perf_counter() - start, "rows": len(answer)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
