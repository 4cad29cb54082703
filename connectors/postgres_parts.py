"""A table of PostgreSQL, read by several sessions under one exported snapshot.

Takes: sessions, a fragment that says how a range of its rows is asked for. Gives: a fragment for
each session; together they have every row once. Never waits for a lock, and never leaves a
transaction open: a lock keeps the table from being emptied or made anew before all have read.
"""

from __future__ import annotations

import contextlib
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from connectors.arrow import StreamingConnection, parameters_of
from connectors.base import (
    ConnectorCancelled,
    ConnectorError,
    ConnectorRefused,
    Fragment,
    load_tables,
)
from connectors.key_texts import as_array
from connectors.parting import NotPartedError
from connectors.postgres_values import names_of, wrapped, written_out

SQL = load_tables("postgres")["sql"]
MOST_STREAMS, DEFAULT_STREAMS = 8, 2
# Scans of a range of pages came with this version.
_SCANS_RANGES = 140_000
# Smaller tables, and fewer rows, are read before a second session is ready.
LARGE_BYTES, MANY_ROWS = 32 << 20, 200_000
# Of a table's rows so many are wanted at least: an index may find fewer, in one session.
_MOST_OF_IT = 0.2
# No page has this number, so that every row lies before it.
_NO_PAGE = 0xFFFF_FFFF
# A text of the statement has letters that the database has not.
_UNTRANSLATABLE = "22P05"
_TOGETHER = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; "


def streams_of(text: str) -> int:
    """The setting `streams`: in how many sessions a large table may be read."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_STREAMS):
        raise ConnectorError(f"streams is a number from 1 to {MOST_STREAMS}")
    return int(text)


class PartingConnection(StreamingConnection, ABC):
    """A session that may share what it reads with others of its server."""

    errors = (adbc_driver_manager.Error, OSError)

    def __init__(
        self, connection: dbapi.Connection, cut: Callable[[], None], streams: int = 1
    ) -> None:
        """Take over an open connection in autocommit mode; `cut` ends its socket."""
        super().__init__(cut)
        self._connection = connection
        self._streams = streams
        self._version = 0
        self._is_latin = False
        self._is_sharing = False

    def streams(self, fragment: Fragment) -> int:
        """In how many sessions it is worth being read; one where it cannot be shared."""
        expected = fragment.expected_rows
        if self._streams < 2 or not fragment.ranged or self._version < _SCANS_RANGES:
            return 1
        if expected is not None and expected < MANY_ROWS:
            return 1
        part = _part(fragment, 0, _NO_PAGE)
        values = parameters_of(part, as_array)
        if values is None or written_out(wrapped(part.sql, part), values) is None:
            return 1
        with self.interruptible():
            found = self._rows(SQL["pages"], names_of(fragment.tables[0]))
        for size, rows, _ in found:
            if size is None:
                # Dropped meanwhile: the statement says so.
                return 1
            is_most = expected is None or expected >= rows * _MOST_OF_IT
            return self._streams if size >= LARGE_BYTES and is_most else 1
        return 1

    @contextlib.contextmanager
    def parted(
        self, fragment: Fragment, others: Sequence[PartingConnection]
    ) -> Iterator[tuple[Fragment, ...]]:
        """While all see one state: a fragment for this session, and one for each of the others."""
        name = fragment.tables[0]
        try:
            try:
                # The lock comes before the snapshot: what was emptied in between would look empty.
                pages, *state = self._share(name, "")
                snapshot = self._exported()
                for one in others:
                    _, *found = one._share(name, f"SET TRANSACTION SNAPSHOT '{snapshot}'; ")
                    if found != state:
                        raise ConnectorError("the sessions are not at one server")
            except ConnectorCancelled:
                raise
            except ConnectorError as error:
                raise NotPartedError(str(error)) from error
            yield _parts(fragment, pages, 1 + len(others))
        finally:
            for one in (self, *others):
                one._end()

    def _share(self, name: str, more: str) -> tuple[Any, ...]:
        """Begin, hold the table, and see: its pages, the snapshot, which server it is."""
        table = ".".join('"' + one.replace('"', '""') + '"' for one in name.split("."))
        with self.interruptible():
            self._is_sharing = True
            self._connection.adbc_connection.set_autocommit(False)
            with self._connection.cursor() as cursor:
                cursor.adbc_statement.set_sql_query(
                    f"{_TOGETHER}{more}LOCK TABLE {table} IN ACCESS SHARE MODE NOWAIT"
                )
                cursor.adbc_statement.execute_update()
            # Its indexes are locked as a statement is planned, and no longer waited for later.
            with self._connection.cursor() as cursor:
                cursor.adbc_statement.set_sql_query("SET LOCAL lock_timeout = '100ms'")
                cursor.adbc_statement.execute_update()
            self._rows(f"SELECT 1 FROM {table} LIMIT 0")
            with self._connection.cursor() as cursor:
                cursor.adbc_statement.set_sql_query("SET LOCAL lock_timeout TO DEFAULT")
                cursor.adbc_statement.execute_update()
            for _, _, pages in self._rows(SQL["pages"], names_of(name)):
                return pages, *self._rows(SQL["state"])[0]
        raise ConnectorError("there is no such table any more")

    def _exported(self) -> str:
        with self.interruptible():
            return str(self._rows("SELECT pg_export_snapshot()")[0][0])

    def _end(self) -> None:
        """End the transaction, if one was begun for others."""
        if not self._is_sharing:
            return
        self._is_sharing = False
        try:
            self._connection.adbc_connection.rollback()
            self._connection.adbc_connection.set_autocommit(True)
        except self.errors:
            self._broken = True

    def _rows(self, sql: str, values: pa.RecordBatch | None = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def _told(self, error: Exception) -> ConnectorError:
        made = super()._told(error)
        if getattr(error, "sqlstate", None) == _UNTRANSLATABLE and not self._broken:
            return ConnectorRefused(str(made), "type_error")
        return made

    def _interrupt(self) -> None:
        self._connection.adbc_cancel()

    def _probe(self) -> None:
        if self._is_sharing:
            # After an error nothing else is heard in that transaction.
            self._connection.adbc_connection.rollback()
        self._rows("SELECT 1")


def _parts(fragment: Fragment, pages: int, count: int) -> tuple[Fragment, ...]:
    """As many ranges of pages; whatever comes after the last page known is in the last."""
    ends = [pages * number // count for number in range(count)] + [_NO_PAGE]
    return tuple(_part(fragment, *both) for both in pairwise(ends))


def _part(fragment: Fragment, low: int, high: int) -> Fragment:
    """The rows from a page on, before another."""
    return replace(
        fragment,
        sql=fragment.ranged,
        ranged="",
        parameters=(*fragment.parameters, f"({low},0)", f"({high},0)"),
        parameter_types=(*fragment.parameter_types, "VARCHAR", "VARCHAR"),
    )
