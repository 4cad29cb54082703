"""PostgreSQL, over ADBC.

Takes: `url` and optionally `tls = "false"`, `streams = "1"`. Gives: read-only sessions that mean
the same everywhere. Never writes, never sends data in clear to another machine unless told so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from urllib.parse import urlsplit

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from connectors.arrow import BATCH_ROWS, decimals, parameters_of
from connectors.base import (
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    SourceColumn,
    SourceSize,
    load_tables,
)
from connectors.cutting import with_cut
from connectors.postgres_address import address_of
from connectors.postgres_parts import DEFAULT_STREAMS, PartingConnection, streams_of
from connectors.postgres_values import (
    array_for,
    is_as_it_is,
    marked,
    names_of,
    size_of,
    typed,
    with_numbers,
    wrapped,
    written_out,
)

TABLES = load_tables("postgres")
SESSION, TYPES, SQL = (TABLES[name] for name in ("session", "types", "sql"))
_NO_COPY = {"adbc.postgresql.use_copy": "false"}
# The driver would hold 16 MB, and its batches once more in the contract's types.
_BY_COPY = {"adbc.postgresql.batch_size_hint_bytes": "2097152"}
# So many expected rows are asked for at once, which the driver holds; a few times more may come.
FEW_ROWS, MOST_ROWS = 1_000, 10_000
# Their order by bytes is that of the gateway's, and the letters of others may not come back as they
# went.
_ENCODINGS = ("UTF8", "LATIN1")
# From this version on a filter looks up what it compares with an array in a table of hashes.
_HASHES_KEYS = 140_000
# A statement that sends nothing ends soon after a gateway that was killed; from version 14 on.
_LEAVE_WITH_CLIENT = (
    "SELECT set_config(name, '500', false) FROM pg_settings "
    "WHERE name = 'client_connection_check_interval'"
)


class PostgresConnection(PartingConnection):
    """One session."""

    def prepare(self) -> None:
        """Set the session's settings and see that they hold."""
        shown = [f"set_config('{name}', '{value}', false)" for name, value in SESSION.items()]
        told = "getdatabaseencoding(), current_setting('server_version_num')"
        *found, encoding, version = self._rows(f"SELECT {', '.join(shown)}, {told}")[0]
        self._version, self._is_latin = int(version), encoding == "LATIN1"
        for (name, wanted), value in zip(SESSION.items(), found, strict=True):
            if value != wanted:
                raise ConnectorError(f"{name} is {value!r} and cannot be made {wanted!r}")
        if encoding not in _ENCODINGS:
            raise ConnectorError(
                f"the database is in {encoding}, whose texts are in another order than the "
                f"gateway's, or are nothing certain: {' or '.join(_ENCODINGS)} is read"
            )
        # Not every system can tell a server that a client is gone.
        with contextlib.suppress(*self.errors):
            self._rows(_LEAVE_WITH_CLIENT)

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The live table's columns; an empty sequence where there is no such table."""
        with self.asking():
            found = self._rows(SQL["columns"], names_of(physical_name))
        return tuple(
            SourceColumn(name, shown, nullable, _contract_types(base, kind, modifier))
            for name, shown, nullable, base, kind, modifier in found
        )

    def sizes(self, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        """What the server's own statistics say; nothing of a table that was never analysed."""
        with self.asking():
            found = {name: self._rows(SQL["sizes"], names_of(name)) for name in tables}
        return {name: size_of(rows) for name, rows in found.items() if rows}

    def close(self) -> None:
        """Give everything back; idempotent."""
        self._broken = True
        with contextlib.suppress(*self.errors):
            self._connection.close()

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        with contextlib.closing(self._delivered(fragment)) as batches:
            for batch in batches:
                yield marked(batch, fragment)

    def _delivered(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        """Few rows at once; more as a stream."""
        values = parameters_of(fragment, array_for(self._is_latin))
        expected = fragment.expected_rows
        if expected is not None and expected <= FEW_ROWS and fragment.columns:
            sql = wrapped(fragment.sql, fragment, MOST_ROWS + 1)
            found = self._at_once(*with_numbers(sql, values))
            if found.num_rows <= MOST_ROWS:
                yield from found.to_batches()
                return
        sql = wrapped(fragment.sql, fragment)
        plain = sql if values is None else written_out(sql, values, self._version >= _HASHES_KEYS)
        yield from self._by_cursor(sql, values) if plain is None else self._by_copy(plain)

    def _is_as_it_is(self, source: pa.Field, target: pa.Field) -> bool:
        """Whether nothing of such a column has to be looked at."""
        return is_as_it_is(source, target.type)

    def _fit(self, array: pa.Array, source: pa.Field, target: pa.Field) -> pa.Array:
        """A value as the contract's type has it; raises where it is none."""
        return typed(array, source, target.type)

    def _at_once(self, sql: str, values: pa.RecordBatch | None) -> pa.Table:
        with self._connection.cursor(adbc_stmt_kwargs=_NO_COPY) as cursor:
            cursor.execute(sql, values)
            return cursor.fetch_arrow_table()

    def _by_copy(self, sql: str) -> Generator[pa.RecordBatch, None, None]:
        done = False
        with self._connection.cursor(adbc_stmt_kwargs=_BY_COPY) as cursor:
            try:
                cursor.execute(sql)
                with cursor.fetch_record_batch() as reader:
                    yield from reader
                    done = True
            finally:
                if not done:
                    with contextlib.suppress(*self.errors):
                        self._interrupt()

    def _by_cursor(self, sql: str, values: pa.RecordBatch) -> Generator[pa.RecordBatch, None, None]:
        """COPY takes no parameters, and without it the driver holds the whole result."""
        transaction = self._connection.adbc_connection
        try:
            # Told to the driver: it begins and commits one of its own to bind a zoned timestamp.
            transaction.set_autocommit(False)
            self._rows(f"DECLARE fragment NO SCROLL CURSOR FOR {sql}", values)
            while True:
                table = self._at_once(f"FETCH {BATCH_ROWS} FROM fragment", None)
                yield from table.to_batches()
                if table.num_rows < BATCH_ROWS:
                    return
        finally:
            with contextlib.suppress(*self.errors):
                transaction.rollback()
                transaction.set_autocommit(True)


class PostgresConnector:
    """Opens sessions."""

    def connect(self, settings: Mapping[str, str]) -> PostgresConnection:
        """Open a session; `url` is needed, `tls = "false"` permits plaintext to other machines.

        `streams`: in how many sessions a large table may be read; two unless it is told.
        """
        unknown = ", ".join(sorted(set(settings) - {"url", "tls", "streams"}))
        if unknown or "url" not in settings:
            raise ConnectorError(f"postgres takes url, tls and streams, not {unknown or 'none'}")
        streams = streams_of(settings.get("streams", str(DEFAULT_STREAMS)))
        address = address_of(settings["url"], settings.get("tls", "true") != "false")
        try:
            connect, port = partial(dbapi.connect, address, autocommit=True), urlsplit(address).port
            opened = PostgresConnection(*with_cut(connect, port or 5432), streams)
        except adbc_driver_manager.Error as error:
            raise ConnectorUnavailable(str(error)) from error
        try:
            opened.prepare()
        except (*PostgresConnection.errors, ConnectorError) as error:
            opened.close()
            raise ConnectorError(str(error)) from error
        return opened


CONNECTOR = PostgresConnector()


def _contract_types(base: str, kind: str, modifier: int) -> frozenset[str]:
    if base == "numeric":
        precision, scale = divmod(modifier - 4, 1 << 16) if modifier > 0 else (0, 0)
        return decimals(precision, scale)
    name = "VARCHAR" if kind == "e" else TYPES.get(base)
    return frozenset({name} if name else ())
