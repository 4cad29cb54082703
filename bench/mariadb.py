"""Rows of a domain in MariaDB.

Takes: places and tables. Gives: a database of the domain's name, filled anew. Never keeps it: the
server and its data go with the run.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

import duckdb

from bench.places import Places
from bench.tables import TpchTable
from gateway.demo import mysql


def fill_mysql(
    places: Places, server: mysql.Server, domain: str, tables: Iterable[TpchTable]
) -> None:
    """Make the domain's tables, with their keys and statistics."""
    name = places.database(domain)
    server.run(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    for table in tables:
        shown = ", ".join(
            f"{column} {'varchar(255)' if kind == 'text' else kind} NOT NULL"
            for column, kind in table.columns.items()
        )
        indexes = "".join(f", INDEX ({column})" for column in table.indexes)
        lines = places.folder / f"{table.name}.csv"
        with closing(duckdb.connect()) as reader:
            reader.execute(
                f"COPY (SELECT * FROM '{places.parquet(table.name)}') TO '{lines}' (HEADER false)"
            )
        server.run(
            f"CREATE TABLE {name}.{table.name} "
            f"({shown}, PRIMARY KEY ({', '.join(table.key)}){indexes})",
            f"LOAD DATA LOCAL INFILE '{lines}' INTO TABLE {name}.{table.name} "
            "CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' "
            "OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' LINES TERMINATED BY '\\n'",
            f"ANALYZE TABLE {name}.{table.name}",
        )
        lines.unlink()
