"""How large Parquet files are, by their footers.

Takes: a connection of DuckDB's, a pattern of files or their names. Gives: rows, and of each column
the bounds and the number of values that every row group tells. Never reads a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import duckdb

from connectors.arrow import number_of
from connectors.base import SourceSize

_SQL = (
    "SELECT path_in_schema, row_group_num_rows, stats_min_value, stats_max_value, "
    "stats_distinct_count FROM parquet_metadata($1)"
)
Chunk = tuple[str, int, str | None, str | None, int | None]


def size_of(connection: duckdb.DuckDBPyConnection, files: str | Sequence[str]) -> SourceSize:
    """The size of the table that the files of a pattern, or those named, hold."""
    named = files if isinstance(files, str) else list(files)
    found = connection.execute(_SQL, [named]).fetchall()
    return _size_of(found)


def _size_of(chunks: Sequence[Chunk]) -> SourceSize:
    by_column: dict[str, list[Chunk]] = {}
    for one in chunks:
        by_column.setdefault(one[0], []).append(one)
    rows = max((sum(one[1] for one in held) for held in by_column.values()), default=0)
    columns = {name: _column(held) for name, held in by_column.items()}
    known = {name: one for name, one in columns.items() if one != (None, None, None)}
    return SourceSize(float(rows), known)


def _column(chunks: Sequence[Chunk]) -> tuple[float | None, float | None, float | None]:
    """Values, lowest, highest."""
    ends = [(number_of(low), number_of(high)) for _, _, low, high, _ in chunks]
    ordered = sorted((low, high) for low, high in ends if low is not None and high is not None)
    is_bounded = bool(ordered) and len(ordered) == len(ends)
    counts = [count for *_, count in chunks]
    told = [float(one) for one in counts if one is not None]
    distinct = None
    if told and len(told) == len(counts):
        # Row groups that lie one after another have values of their own, others the same ones.
        is_apart = is_bounded and all(a[1] < b[0] for a, b in pairwise(ordered))
        distinct = sum(told) if is_apart else max(told)
    if not is_bounded:
        return distinct, None, None
    return distinct, ordered[0][0], max(high for _, high in ordered)
