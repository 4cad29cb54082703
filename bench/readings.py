"""A table of a million rows and five columns, in PostgreSQL and in Parquet.

Takes: a folder, a number of rows, a PostgreSQL server. Gives: places whose domain `live` keeps the
rows in the server and whose domain `kept` keeps them in a file. Never makes again what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from bench.mesh import write_mesh
from bench.places import Places, fill_postgres
from bench.tables import Layout, TpchTable
from gateway.demo.postgres import find_server

_COLUMNS = {
    "id": "bigint", "value": "double precision", "name": "text", "at": "timestamp",
    "flag": "boolean",
}  # fmt: skip
LIVE = TpchTable("readings", "live", _COLUMNS, ("id",))
KEPT = TpchTable("records", "kept", _COLUMNS, ("id",))
READINGS = Layout("wire", {"live": "postgres", "kept": "files"}, (LIVE, KEPT))
# Values with all their digits, as instruments give them, and moments with microseconds.
_ROWS = """
SELECT i AS id, sin(i) * 1000 AS value, 'reading ' || (i * 7919 % 1000003) AS name,
    TIMESTAMP '2026-01-01' + i * INTERVAL '1234567 microseconds' AS "at", i % 3 = 0 AS flag
FROM range({rows}) AS made(i)
"""


@contextmanager
def placed_readings(folder: Path, rows: int) -> Iterator[Places]:
    """The rows in both places, and the mesh over them."""
    home = folder / f"wire-{rows}"
    with find_server(home / "postgres") as server:
        places = Places(home, home / "files", home / "none.sqlite", server, READINGS)
        _make_file(places, rows)
        fill_postgres(places, LIVE.domain, [LIVE])
        write_mesh(places)
        yield places


def _make_file(places: Places, rows: int) -> None:
    """One file, which both tables are made of."""
    for table in READINGS.tables:
        made = places.files / table.name / "rows.parquet"
        if made.exists():
            continue
        made.parent.mkdir(parents=True, exist_ok=True)
        unready = made.with_suffix(".part")
        with closing(duckdb.connect()) as connection:
            connection.execute(f"COPY ({_ROWS.format(rows=rows)}) TO '{unready}' (FORMAT parquet)")
        unready.rename(made)
