"""Batches on their way into a DuckDB database.

Takes: Arrow batches that are read once, a cursor. Gives: a name under which the cursor reads them,
each column in its own type, until it is taken back. Never loses what a reader of batches raised.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from connectors.base import misfit_of
from gateway.engines.describing import quoted

# Types that Arrow holds as something else, so that DuckDB reads them back as another type.
_LOST = re.compile(r"\b(UUID|JSON|U?HUGEINT|BIT|TIME WITH TIME ZONE)\b")


class Held:
    """Batches whose error survives the way through DuckDB."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        try:
            return next(self._batches)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise


def give(
    name: str, schema: pa.Schema, batches: Held, cursor: duckdb.DuckDBPyConnection
) -> None:
    """Let a cursor read batches once under a name, each column in the type its field tells.

    Before a gate a text that is none of its type, such as broken JSON, is told like all that does
    not fit: it may stand in a hidden row.
    """
    types = _types(schema)
    lost = [_LOST.search(kind) is not None for kind in types]
    arrived = names_of(name, schema)[0]
    cursor.register(arrived, pa.RecordBatchReader.from_batches(schema, batches))
    if any(lost):
        found = zip(schema.names, types, lost, strict=True)
        read = {one: kind for one, kind, is_lost in found if is_lost}
        told = {misfit_of(one): one for one in read if misfit_of(one) in schema.names}
        shown = ", ".join(
            _told(one, told[one], read[told[one]])
            if one in told
            else _read_as(one, read.get(one), misfit_of(one) in told)
            for one in schema.names
        )
        query = f"SELECT {shown} FROM {quoted(arrived)}"
        cursor.execute(f"CREATE TEMP VIEW {quoted(name)} AS {query}")


def _read_as(name: str, kind: str | None, tries: bool) -> str:
    """A column as it came, or in the type that Arrow has lost."""
    if kind is None:
        return quoted(name)
    return f"{'TRY_CAST' if tries else 'CAST'}({quoted(name)} AS {kind}) AS {quoted(name)}"


def _told(name: str, column: str, kind: str) -> str:
    """Whether a value does not fit, by the connector or since it is none of its type."""
    value = quoted(column)
    wrong = f"{value} IS NOT NULL AND TRY_CAST({value} AS {kind}) IS NULL"
    return f"({quoted(name)} OR {wrong}) AS {quoted(name)}"


def names_of(name: str, schema: pa.Schema) -> tuple[str, ...]:
    """What a cursor knows given batches by: first as they came, then in types that Arrow lost."""
    is_lost = any(_LOST.search(kind) for kind in _types(schema))
    return (f"{name} as it came", name) if is_lost else (name,)


def _types(schema: pa.Schema) -> list[str]:
    return [(field.metadata or {}).get(b"type", b"").decode() for field in schema]


def take_back(names: tuple[str, ...], cursor: duckdb.DuckDBPyConnection) -> None:
    """Let the cursor forget what it was given under these names."""
    for one in names:
        with contextlib.suppress(duckdb.Error):
            cursor.unregister(one)
