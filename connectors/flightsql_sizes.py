"""How many rows of another gateway's table whoever asks may read, by its own count.

Takes: a way to ask it as somebody. Gives: rows, and of columns of whole numbers and days between
which they lie: what anybody who may read the table may ask. Never more than one statement a table,
and no longer than a few seconds; what is not answered is not known.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from connectors.arrow import number_of
from connectors.base import SourceColumn, SourceSize
from sqluice.errors import Error
from sqluice.flight import FlightTransport

# A statement to the rows of its answer.
Ask = Callable[[str], Sequence[Mapping[str, object]]]

SECONDS = 5.0
_BOUNDED = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DATE"})
# The ends of more columns are seldom worth it.
_MOST_COLUMNS = 12


def size_of(ask: Ask, table: str, columns: Sequence[SourceColumn]) -> SourceSize | None:
    """The size of a table by its quoted name; None where the other gateway does not tell."""
    names = [one.name for one in columns if one.type in _BOUNDED][:_MOST_COLUMNS]
    # As text: Python has not all days that there are.
    ends = "".join(
        f", CAST(min({_quoted(name)}) AS VARCHAR) AS low_{place}"
        f", CAST(max({_quoted(name)}) AS VARCHAR) AS high_{place}"
        for place, name in enumerate(names)
    )
    try:
        (row,) = ask(f"SELECT count(*) AS n{ends} FROM {table}")
    except Error:
        return None
    found = {
        name: (None, number_of(row[f"low_{place}"]), number_of(row[f"high_{place}"]))
        for place, name in enumerate(names)
    }
    return SourceSize(float(str(row["n"])), found)


def named(physical_name: str) -> str:
    """A table's name as the other gateway reads it back."""
    return ".".join(map(_quoted, physical_name.split(".")))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def rows_of(
    transport: FlightTransport, sql: str, seconds: float | None = None
) -> list[dict[str, object]]:
    """The whole answer to a small statement."""
    with contextlib.closing(transport.statement()) as statement:
        batches = statement.execute(sql, (), seconds=seconds).batches
        return [row for batch in batches for row in batch.to_pylist()]
