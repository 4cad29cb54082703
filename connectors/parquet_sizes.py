"""How large Parquet files are, by their footers.

Takes: a connection of DuckDB's, a pattern of files. Gives: rows, and of each column the bounds that
every row group tells. Never reads a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from connectors.arrow import number_of
from connectors.base import SourceSize

_SQL = "SELECT path_in_schema, row_group_num_rows, stats_min_value, stats_max_value "


def size_of(connection: duckdb.DuckDBPyConnection, pattern: str) -> SourceSize:
    """The size of the table that the files of a pattern hold."""
    found = connection.execute(f"{_SQL} FROM parquet_metadata($1)", [pattern]).fetchall()
    return _size_of(found)


def _size_of(chunks: Sequence[tuple[str, int, str | None, str | None]]) -> SourceSize:
    lows: dict[str, list[float | None]] = {}
    highs: dict[str, list[float | None]] = {}
    rows: dict[str, int] = {}
    for column, count, low, high in chunks:
        rows[column] = rows.get(column, 0) + count
        lows.setdefault(column, []).append(number_of(low))
        highs.setdefault(column, []).append(number_of(high))
    columns = {
        one: (None, min(low for low in lows[one] if low is not None),
              max(high for high in highs[one] if high is not None))
        for one in rows
        if None not in lows[one] and None not in highs[one]
    }  # fmt: skip
    return SourceSize(float(max(rows.values(), default=0)), columns)
