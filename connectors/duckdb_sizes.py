"""How large the tables of a DuckDB file are, by what its storage knows.

Takes: a connection, a relation's quoted name, its columns. Gives: rows, and of each column about
how many values it has and between which they lie. Never reads more than one block of a table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import duckdb

from connectors.arrow import number_of
from connectors.base import SourceSize

# What is asked of one table; more columns are seldom worth it.
_MOST_COLUMNS = 200


def size_of(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str]
) -> SourceSize:
    """The size of a relation, whose columns are given as they are."""
    ((rows,),) = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()
    asked = columns[:_MOST_COLUMNS]
    shown = ", ".join(f'stats("{one.replace(chr(34), chr(34) * 2)}")' for one in asked)
    found: list[tuple[object, ...]] = []
    # That storage knows nothing of a type is no reason not to know the rows.
    with contextlib.suppress(duckdb.Error):
        found = connection.execute(f"SELECT {shown} FROM {relation} LIMIT 1").fetchall()
    told = zip(asked, found[0], strict=True) if found else ()
    return SourceSize(
        float(rows), {name: _column(one) for name, one in told if isinstance(one, Mapping)}
    )


def _column(told: Mapping[str, object]) -> tuple[float | None, float | None, float | None]:
    """Values, lowest, highest. Bounds of texts are parts of texts: they are not kept."""
    distinct = told.get("approx_unique")
    low, high = (None if isinstance(told.get(end), str) else number_of(told.get(end))
                 for end in ("min", "max"))  # fmt: skip
    return float(distinct) if isinstance(distinct, int) else None, low, high
