"""What runs a merge.

Takes: nothing. Gives: the protocols `Engine` and `MergeSession`. Never knows policies or sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Protocol

import pyarrow as pa

# Inputs by name: (column, DuckDB type) in order.
Shapes = Mapping[str, Sequence[tuple[str, str]]]

# Empty tables by their path of three parts: (column, DuckDB type) in order.
Catalog = tuple[tuple[tuple[str, str, str], tuple[tuple[str, str], ...]], ...]


class MergeSession(Protocol):
    """One query's private database; used by several threads, each through its own cursor.

    Field metadata `type` of a schema tells the DuckDB type where Arrow has another.
    """

    def load(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        """Make the table `name` of the batches."""
        ...

    def load_gated(
        self, name: str, gate: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> int:
        """Make the table `name` of what `gate` says of the batches, known to it as `raw`.

        The gate's last column is taken off again; gives in how many rows it is true.
        """
        ...

    def read_in_place(
        self,
        name: str,
        sql: str,
        views: Sequence[tuple[str, str]],
        columns: Sequence[tuple[str, str]],
        is_view: bool,
    ) -> bool:
        """Make `name` of what `sql` says of views over files: a view, or a table at once.

        False, and nothing made, where the columns are not exactly of their types; raises
        ConnectorError where the files cannot be read.
        """
        ...

    def count(self, name: str) -> int:
        """The rows of a table."""
        ...

    def keys(self, name: str, column: str, kind: str, most: int) -> pa.Array | None:
        """The distinct values of a column but NULL, as `kind`; None where there are more."""
        ...

    def span(
        self, name: str, column: str, kind: str | None
    ) -> tuple[int, int | date | None, int | date | None]:
        """About how many distinct values a column has, and its lowest and highest as `kind`.

        Those are None where there is no value, or one that is none of that kind, and without kind.
        """
        ...

    def stream(
        self,
        sql: str,
        parameters: Sequence[object],
        inputs: Mapping[str, tuple[pa.Schema, Iterator[pa.RecordBatch]]],
    ) -> Iterator[pa.RecordBatch]:
        """Run the merge; `inputs` are read as they come, each once."""
        ...

    def cancel(self) -> None:
        """Stop what runs, from another thread."""
        ...

    def close(self) -> None:
        """Give the database back; idempotent."""
        ...


class Engine(Protocol):
    """What runs merges."""

    def describe(
        self, sql: str, shapes: Shapes, parameters: Sequence[object], timezone: str
    ) -> pa.Schema:
        """The schema of a query over empty tables; field metadata `type` is the DuckDB type.

        Raises TypeMismatch where the query does not bind.
        """
        ...

    def output_names(
        self,
        sql: str,
        catalog: Catalog,
        domain: str | None,
        parameters: Sequence[object],
    ) -> tuple[str, ...] | None:
        """What the engine calls the outputs of the caller's own text; None where it cannot tell."""
        ...

    def open(self, timezone: str, folders: tuple[str, ...] = ()) -> MergeSession:
        """A private, locked-down database that can read files below these folders and no others."""
        ...

    def close(self) -> None:
        """Give all databases back."""
        ...
