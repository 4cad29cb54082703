"""Connections that give a check no more rows than it may read.

Takes: the gateway's pools. Gives: leases whose streams end with an error after so many rows, over
all fragments of one run. Never opens a connection that the pools would not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import cast

import pyarrow as pa

from catalog.model import Source
from connectors.base import (
    Connection,
    ConnectorError,
    Fragment,
    InPlace,
    Opening,
    SourceColumn,
)
from gateway.pools import Leases
from gateway.sharing import Still


class Metered:
    """Leases that count."""

    def __init__(self, pools: Leases, rows: int) -> None:
        """`rows` are all that may be read."""
        self._pools = pools
        self._left = rows

    @contextlib.contextmanager
    def lease(self, source: Source, *, still: Still = lambda: False) -> Iterator[Connection]:
        """A connection for one statement."""
        with self._pools.lease(source, still=still) as connection:
            yield _Counted(connection, self)

    @contextlib.contextmanager
    def spare(self, source: Source) -> Iterator[Connection | None]:
        """None: what is counted is read one after the other."""
        yield None

    def take(self, rows: int) -> None:
        """Count rows; ConnectorError where they are too many."""
        self._left -= rows
        if self._left < 0:
            raise ConnectorError("more rows than a check may read")


class _Counted:
    """A connection whose rows are counted."""

    def __init__(self, connection: Connection, meter: Metered) -> None:
        self._connection = connection
        self._meter = meter

    def stream(self, fragment: Fragment) -> Iterator[pa.RecordBatch]:
        batches = self._connection.stream(fragment)
        try:
            for batch in batches:
                self._meter.take(batch.num_rows)
                yield batch
        finally:
            closer = getattr(batches, "close", None)
            if closer is not None:
                closer()

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        return self._connection.columns(physical_name)

    def in_place(self, tables: Sequence[str]) -> InPlace:
        return cast(Opening, self._connection).in_place(tables)

    def ping(self) -> None:
        self._connection.ping()

    def cancel(self) -> None:
        self._connection.cancel()

    def close(self) -> None:
        self._connection.close()
