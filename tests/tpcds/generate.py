"""TPC-DS by DuckDB's extension, as a program in the peer's environment.

Takes: as arguments a folder, a scale and the folder of the bench. Gives: a Parquet file of each
table, `queries.json` with the texts of the statements and `columns.json` with names and types of
the columns. Knows nothing of the project but how the bench loads an extension.

    python generate.py FOLDER 0.01 ../../bench
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb


def main(folder: Path, scale: float, bench: str) -> None:
    """Generate and write."""
    sys.path.insert(0, bench)
    from attached import load  # type: ignore[import-not-found]  # noqa: PLC0415 - the bench's own

    connection = duckdb.connect()
    load(connection, "tpcds")
    connection.execute(f"CALL dsdgen(sf = {scale})")
    columns: dict[str, dict[str, str]] = {}
    for (table,) in connection.execute("SHOW TABLES").fetchall():
        connection.execute(f"COPY {table} TO '{folder}/{table}.parquet'")
        described = connection.execute(f"DESCRIBE {table}").fetchall()
        columns[table] = {row[0]: row[1] for row in described}
    texts = connection.execute("SELECT query_nr, query FROM tpcds_queries()").fetchall()
    (folder / "columns.json").write_text(json.dumps(columns))
    (folder / "queries.json").write_text(json.dumps(texts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
