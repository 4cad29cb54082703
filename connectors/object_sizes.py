"""How large the tables of a store of objects are, by footers and by the list of objects.

Takes: a connection of DuckDB's, the objects of a table with their bytes. Gives: what footers of
Parquet tell, of so many objects as are asked in reasonable time; of CSV its bytes alone. Never
reads a row.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from connectors import parquet_sizes
from connectors.base import SourceSize

# A footer takes two requests. Of more objects some are asked, evenly, and count for all.
_MOST_FOOTERS = 400
# What DuckDB unpacks by a name's end; how much text it holds, nobody can tell.
_PACKED = (".gz", ".zst")


def size_of(
    connection: duckdb.DuckDBPyConnection, form: str, objects: Mapping[str, int]
) -> SourceSize | None:
    """The size of a table whose objects, in a format, are those; None where nothing tells it."""
    total = float(sum(objects.values()))
    if form == "parquet":
        asked = list(objects)[:: -(-len(objects) // _MOST_FOOTERS)]
        told = parquet_sizes.size_of(connection, asked)
        if told.rows is None or len(asked) == len(objects):
            return told
        # Where the columns of the others begin and end is not known.
        return SourceSize(told.rows * total / max(sum(objects[one] for one in asked), 1))
    if form == "csv" and not any(one.endswith(_PACKED) for one in objects):
        return SourceSize(None, bytes=total)
    return None
