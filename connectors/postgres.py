"""PostgreSQL, over ADBC.

Takes: `url` and optionally `tls = "false"`. Gives: read-only sessions that mean the same
everywhere. Never writes, never sends data in clear to another machine unless told so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

import adbc_driver_manager
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_postgresql import dbapi

from connectors.arrow import BATCH_ROWS, StreamingConnection, cast_exactly, parameters_of
from connectors.base import (
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    SourceColumn,
    decimals,
    load_tables,
)
from connectors.cutting import with_cut

TABLES = load_tables("postgres")
SESSION, TYPES, SQL = (TABLES[name] for name in ("session", "types", "sql"))
_REFUSED = (b"money", b"oid")  # the driver gives bare integers for them
_NO_COPY = {"adbc.postgresql.use_copy": "false"}
# The first day that PostgreSQL knows; what is before is its infinity, wrapped.
_FIRST_DAY, _DAY = -2_440_588, 86_400_000_000


class PostgresConnection(StreamingConnection):
    """One session."""

    errors = (adbc_driver_manager.Error, OSError)

    def __init__(self, connection: dbapi.Connection, cut: Callable[[], None]) -> None:
        """Take over an open connection in autocommit mode; `cut` ends its socket."""
        super().__init__(cut)
        self._connection = connection

    def prepare(self) -> None:
        """Set the session's settings and see that they hold."""
        shown = [f"set_config('{name}', '{value}', false)" for name, value in SESSION.items()]
        *found, encoding = self._rows(f"SELECT {', '.join(shown)}, getdatabaseencoding()")[0]
        for (name, wanted), value in zip(SESSION.items(), found, strict=True):
            if value != wanted:
                raise ConnectorError(f"{name} is {value!r} and cannot be made {wanted!r}")
        if encoding == "SQL_ASCII":
            raise ConnectorError("a database in SQL_ASCII does not say what its texts are")

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The live table's columns; an empty sequence where there is no such table."""
        schema, _, table = physical_name.rpartition(".")
        names = pa.record_batch({"1": [schema], "2": [table]})
        with self.asking():
            found = self._rows(SQL["columns"], names)
        return tuple(
            SourceColumn(name, shown, nullable, _contract_types(base, kind, modifier))
            for name, shown, nullable, base, kind, modifier in found
        )

    def close(self) -> None:
        """Give everything back; idempotent."""
        self._broken = True
        with contextlib.suppress(*self.errors):
            self._connection.close()

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        values = parameters_of(fragment)
        sql, by_copy = fragment.sql, values is None
        made = self._by_copy(sql) if by_copy else self._by_cursor(sql, values)
        with contextlib.closing(made) as batches:
            yield from batches

    def _fit(self, array: pa.Array, source: pa.Field, target: pa.Field) -> pa.Array:
        """char(n) without its padding; ConnectorError for an infinite date or timestamp."""
        kind = (source.metadata or {}).get(b"POSTGRESQL:type")
        if kind in _REFUSED:
            raise ConnectorError(f"the source's type is {kind.decode()}")
        if pa.types.is_temporal(array.type):
            _refuse_infinity(array)
        plain = pc.utf8_rtrim(array, " ") if kind == b"bpchar" else array
        return cast_exactly(plain, target.type)

    def _by_copy(self, sql: str) -> Generator[pa.RecordBatch, None, None]:
        done = False
        with self._connection.cursor() as cursor:
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
                with self._connection.cursor(adbc_stmt_kwargs=_NO_COPY) as cursor:
                    cursor.execute(f"FETCH {BATCH_ROWS} FROM fragment")
                    table = cursor.fetch_arrow_table()
                yield from table.to_batches()
                if table.num_rows < BATCH_ROWS:
                    return
        finally:
            with contextlib.suppress(*self.errors):
                transaction.rollback()
                transaction.set_autocommit(True)

    def _rows(self, sql: str, values: pa.RecordBatch | None = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def _interrupt(self) -> None:
        self._connection.adbc_cancel()

    def _probe(self) -> None:
        self._rows("SELECT 1")


class PostgresConnector:
    """Opens sessions."""

    def connect(self, settings: Mapping[str, str]) -> PostgresConnection:
        """Open a session; `url` is needed, `tls = "false"` permits plaintext to other machines."""
        unknown = sorted(set(settings) - {"url", "tls"})
        if unknown or "url" not in settings:
            raise ConnectorError(f"postgres takes url and tls, not {', '.join(unknown) or 'none'}")
        address = _address(settings["url"], settings.get("tls", "true") != "false")
        try:
            connect, port = partial(dbapi.connect, address, autocommit=True), urlsplit(address).port
            opened = PostgresConnection(*with_cut(connect, port or 5432))
        except adbc_driver_manager.Error as error:
            raise ConnectorUnavailable(str(error)) from error
        try:
            opened.prepare()
        except (*PostgresConnection.errors, ConnectorError) as error:
            opened.close()
            raise ConnectorError(str(error)) from error
        return opened


CONNECTOR = PostgresConnector()


def _address(url: str, tls: bool) -> str:
    """The URL with a time to give up, and TLS to any machine but this one."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ConnectorError("url is no postgresql://user:password@host/database")
    given = parse_qs(parts.query)
    extra = [] if "connect_timeout" in given else ["connect_timeout=5"]
    if tls and not _is_here(parts.hostname) and "sslmode" not in given:
        extra.append("sslmode=require")
    query = "&".join([*filter(None, [parts.query]), *extra])
    return parts._replace(query=query).geturl()


def _is_here(host: str | None) -> bool:
    if not host or host == "localhost" or host.startswith(("/", "%2F", "%2f")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _contract_types(base: str, kind: str, modifier: int) -> frozenset[str]:
    if base == "numeric":
        precision, scale = divmod(modifier - 4, 1 << 16) if modifier > 0 else (0, 0)
        return decimals(precision, scale)
    name = "VARCHAR" if kind == "e" else TYPES.get(base)
    return frozenset({name} if name else ())


def _refuse_infinity(array: pa.Array) -> None:
    day = pa.types.is_date(array.type)
    if not (day or pa.types.is_timestamp(array.type)):
        return
    low = pc.min(array.view(pa.int32() if day else pa.int64())).as_py()
    if low is not None and low < _FIRST_DAY * (1 if day else _DAY):
        raise ConnectorError("an infinite or too distant date")
