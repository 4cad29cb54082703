"""MariaDB, over PyMySQL.

Takes: `url`, optionally `tls = "false"` and `timeout` (seconds without a byte). Gives: read-only
sessions that mean the same everywhere. Never writes, never sends data in clear to another machine
unless told so.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pymysql

from connectors.arrow import BATCH_ROWS, StreamingConnection
from connectors.base import (
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    SourceColumn,
    SourceSize,
)
from connectors.mysql_address import address_of
from connectors.mysql_sizes import size_of
from connectors.mysql_wire import (
    TABLES,
    Rows,
    bound,
    contract_types,
    field_of,
    literal,
    read_texts,
)

SESSION, COLUMNS = TABLES["session"], TABLES["sql"]["columns"]
_KILL_SECONDS, _ANSWER_SECONDS = 1, 5
# What a server says that is none, or breaks off in the middle of a greeting.
_BABBLE = (struct.error, IndexError, AssertionError, UnicodeError, ValueError)


class MysqlConnection(StreamingConnection):
    """One session."""

    errors = (pymysql.MySQLError, OSError)

    def __init__(self, address: Mapping[str, Any]) -> None:
        """Connect, with what the driver takes."""
        super().__init__(self._end)
        self._address = address
        self._driver: Any = self._opened()  # rows are taken below what it shows

    def _opened(self) -> Any:  # noqa: ANN401 - a driver without types
        """Until it is prepared nobody waits long for an answer."""
        return pymysql.connect(**{**self._address, "read_timeout": _ANSWER_SECONDS})

    def prepare(self) -> None:
        """Set the session's settings and see that they hold."""
        shown = ((name, text if text.isdigit() else f"'{text}'") for name, text in SESSION.items())
        self._rows("SET " + ", ".join(f"SESSION {name} = {text}" for name, text in shown))
        *found, version = self._rows(f"SELECT @@{', @@'.join(SESSION)}, VERSION()")[0]
        for (name, wanted), value in zip(SESSION.items(), found, strict=True):
            if str(value) != wanted:
                raise ConnectorError(f"{name} is {value!r} and cannot be made {wanted!r}")
        number = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)\..*MariaDB", version)
        if number is None or (int(number[1]), int(number[2])) < (10, 6):
            raise ConnectorError(f"{version} is not MariaDB 10.6 or later: nothing is proved there")
        self._driver._read_timeout = self._address["read_timeout"]

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The live table's columns; an empty sequence where there is no such table."""
        schema, _, table = physical_name.rpartition(".")
        sql = COLUMNS.format(schema=literal(schema, "VARCHAR"), table=literal(table, "VARCHAR"))
        with self.asking():
            found = self._rows(sql)
        return tuple(
            SourceColumn(name, shown, nullable == "YES", contract_types(kind, shown, *rest))
            for name, shown, nullable, kind, *rest in found
        )

    def sizes(self, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        """What the server's own statistics and the ends of its indices say."""
        self._driver._read_timeout = _ANSWER_SECONDS
        try:
            with self.asking():
                found = {name: size_of(self._rows, name) for name in tables}
        finally:
            self._driver._read_timeout = self._address["read_timeout"]
        return {name: size for name, size in found.items() if size is not None}

    def close(self) -> None:
        """Give everything back; idempotent."""
        self._broken = True
        with contextlib.suppress(*self.errors):
            self._driver.close()

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        rows: Rows | None = None
        try:
            self._driver.query(bound(fragment), unbuffered=True)
            answer, self._driver._result = self._driver._result, None
            answer.unbuffered_active = False  # from here on the rows are not read by the driver
            if not answer.field_count:
                raise ConnectorError("the statement gives no rows")
            fields = [field_of(one) for one in answer.fields]
            rows = Rows(self._driver._rfile.read1, len(fields))
            while not rows.ended:
                yield pa.RecordBatch.from_arrays(rows.take(BATCH_ROWS), schema=pa.schema(fields))
        except self.errors:
            if self._driver._sock is None or (rows is not None and not rows.ended):
                self._leave(again=False)
            raise
        except GeneratorExit:
            if rows is not None and not rows.ended:
                self._leave(again=True)
            raise

    def _leave(self, again: bool) -> None:
        """End the statement with its session; begin another where the source is well."""
        self._broken = True
        with contextlib.suppress(*self.errors, ConnectorError):
            self._interrupt("CONNECTION")
            self._driver._force_close()
            if again:  # not read to the end: what the server still says may be long
                self._driver = self._opened()
                self.prepare()
                self._broken = False

    def _fit(self, array: pa.Array, source: pa.Field, target: pa.Field) -> pa.Array:
        """A column as the server wrote it, in the type that it must have."""
        return read_texts(array, source.metadata[b"kind"].decode(), target.type)

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._driver.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _interrupt(self, what: str = "QUERY") -> None:
        quick = {"connect_timeout": _KILL_SECONDS, "read_timeout": _KILL_SECONDS}
        try:
            with contextlib.closing(pymysql.connect(**{**self._address, **quick})) as other:
                other.query(f"KILL {what} {self._driver.thread_id()}")
        except self.errors:
            self._end()  # it does not answer any more; whoever reads meets the end
            raise

    def _end(self) -> None:
        self._broken = True
        with contextlib.suppress(OSError, AttributeError):
            self._driver._sock.shutdown(socket.SHUT_RDWR)

    def _probe(self) -> None:
        if self._broken or not self._rows("SELECT 1"):
            raise ConnectionError("the connection was given up")


class MysqlConnector:
    """Opens sessions."""

    def connect(self, settings: Mapping[str, str]) -> MysqlConnection:
        """Open a session; `tls = "false"` permits plaintext to other machines."""
        if "url" not in settings or set(settings) - {"url", "tls", "timeout"}:
            raise ConnectorError("mysql takes url, tls and timeout")
        address = address_of(settings)
        try:
            opened = MysqlConnection(address)
        except (*MysqlConnection.errors, *_BABBLE) as error:
            raise ConnectorUnavailable(str(error)) from error
        try:
            opened.prepare()
            return opened
        except (*MysqlConnection.errors, ConnectorError) as error:
            opened.close()
            raise ConnectorError(str(error)) from error


CONNECTOR = MysqlConnector()
