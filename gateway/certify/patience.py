"""A connection whose source may say: not so fast.

Takes: a connection, until when. Gives: the same, which asks again where a source that governs
itself lets nobody send so many statements: a refusal of that kind says nothing of its abilities.
Never waits beyond its time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pyarrow as pa

from connectors.base import (
    Connection,
    ConnectorRefused,
    ConnectorUnavailable,
    Fragment,
    SourceColumn,
)

_TOO_FAST = "rate_limited"
_AGAIN_SECONDS, _LONGEST_SECONDS = 0.1, 5.0
# What other gateways allow in a burst is allowed again after so long.
_REST_SECONDS = 2.0


class Patient:
    """Gives whole answers, which are small."""

    def __init__(self, connection: Connection, until: float) -> None:
        """Until that reading of the monotonic clock."""
        self._connection = connection
        self._until = until
        self._has_waited = False

    def stream(self, fragment: Fragment) -> Iterator[pa.RecordBatch]:
        """The batches, once they are let out."""
        while True:
            try:
                return iter(list(self._connection.stream(fragment)))
            except ConnectorRefused as error:
                if error.code != _TOO_FAST:
                    raise
                self._wait(error.retry_after or _AGAIN_SECONDS)

    def rest(self) -> None:
        """Before time is measured: what is asked next has not to wait."""
        if self._has_waited:
            self._wait(_REST_SECONDS)

    def _wait(self, seconds: float) -> None:
        self._has_waited = True
        if time.monotonic() + seconds > self._until:
            raise ConnectorUnavailable("certifying took longer than its deadline")
        time.sleep(min(seconds, _LONGEST_SECONDS))

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The live table's columns."""
        return self._connection.columns(physical_name)

    def ping(self) -> None:
        """A cheap statement."""
        self._connection.ping()

    def cancel(self) -> None:
        """Stop what runs now."""
        self._connection.cancel()

    def close(self) -> None:
        """Nothing: who opened it closes it."""
