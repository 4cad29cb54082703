"""The transport over Flight SQL, on the ADBC driver.

Takes: an address, a sign-in and settings, which travel as headers of every call. Gives: statements
whose batches stream as they come. Never retries, and never shows the driver's own errors.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_flightsql import DatabaseOptions, dbapi

# Private names of the driver manager, kept apart by tests: the public reader of a stream loses
# the code of an error that comes after the first batch, and cannot be stopped by Ctrl-C.
from adbc_driver_manager._lib import _blocking_call
from adbc_driver_manager._reader import AdbcRecordBatchReader

from sqluice.address import Remote
from sqluice.details import facts_of
from sqluice.errors import DatabaseError, InterfaceError, rebuilt
from sqluice.transport import Answer, Settings, SignIn

_GRACE_SECONDS = 2.0
_NOISE = re.compile(r"^(?:[A-Z_]+: )?\[FlightSQL\] |(?: \([A-Za-z]+; [A-Za-z]+.*\))(?:\. .*)?$")
_CODES = {
    adbc_driver_manager.AdbcStatusCode.UNAUTHENTICATED: "unauthenticated",
    adbc_driver_manager.AdbcStatusCode.UNAUTHORIZED: "access_denied",
    adbc_driver_manager.AdbcStatusCode.NOT_IMPLEMENTED: "unsupported_sql",
    adbc_driver_manager.AdbcStatusCode.TIMEOUT: "timeout",
    adbc_driver_manager.AdbcStatusCode.CANCELLED: "cancelled",
    adbc_driver_manager.AdbcStatusCode.IO: "source_unavailable",
}
_UNREACHED = {
    "code": "source_unavailable",
    "remedy": "Start the gateway with `sqluice serve`, or name another address; a gateway that "
    "speaks TLS wants tls=True.",
}


class FlightTransport:
    """An open connection to a gateway."""

    def __init__(
        self, address: Remote, sign_in: SignIn, settings: Settings, certificates: str | None
    ) -> None:
        """Connect and sign in."""
        options = _options(address, sign_in, settings, certificates)
        self._statements: set[FlightStatement] = set()
        self._connection: dbapi.Connection | None = None
        with _translated(address):
            self._connection = dbapi.connect(address.url, db_kwargs=options, autocommit=True)

    def statement(self) -> FlightStatement:
        """A fresh statement."""
        if self._connection is None:
            raise InterfaceError("The connection is closed.")
        made = FlightStatement(self._connection, self._statements.discard)
        self._statements.add(made)
        return made

    def close(self) -> None:
        """Close every statement first: the driver refuses it the other way round."""
        for one in tuple(self._statements):
            one.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(dbapi.Error):
                connection.close()


class FlightStatement:
    """One statement after the other on one cursor of the driver."""

    def __init__(
        self, connection: dbapi.Connection, forget: Callable[[FlightStatement], None]
    ) -> None:
        """Open nothing yet; `forget` is told of the end."""
        self._connection = connection
        self._forget = forget
        self._cursor: dbapi.Cursor | None = None
        self._reader: AdbcRecordBatchReader | None = None

    def execute(self, sql: str, parameters: Sequence[object]) -> Answer:
        """Run a statement."""
        self._end_stream()
        if self._cursor is None:
            self._cursor = self._connection.cursor()
        cursor = self._cursor
        with _translated():
            cursor.execute(sql, tuple(parameters) or None)
            # The handle releases the stream when it goes, so it must outlive the import.
            handle = cursor.fetch_arrow()
            self._reader = AdbcRecordBatchReader._import_from_c(handle.address)
            schema = self._reader.schema
        known = schema.metadata or {}
        return Answer(
            schema, _stream(self._reader, cursor), _query_id(known), _masked(schema, known)
        )

    def cancel(self) -> None:
        """Stop it; that nothing runs is no error."""
        cursor = self._cursor
        if cursor is not None:
            with contextlib.suppress(dbapi.Error):
                cursor.adbc_cancel()

    def close(self) -> None:
        """Close the stream and the cursor."""
        self._forget(self)
        self._end_stream()
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            try:
                cursor.close()
            except dbapi.Error:
                # A gateway that has gone has forgotten the statement by itself. The driver has let
                # go of it too, and fails where it is told so once more.
                cursor._closed = True

    def _end_stream(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


def _stream(reader: AdbcRecordBatchReader, cursor: dbapi.Cursor) -> Iterator[pa.RecordBatch]:
    with _translated():
        while True:
            try:
                yield _blocking_call(reader.read_next_batch, (), {}, cursor.adbc_cancel)
            except StopIteration:
                return


def _options(
    address: Remote, sign_in: SignIn, settings: Settings, certificates: str | None
) -> dict[str, str]:
    headers = {f"x-sqluice-{name.replace('_', '-')}": text for name, text in settings.items()}
    if settings.acting_as is not None:
        headers["x-sqluice-as"] = quote(headers.pop("x-sqluice-acting-as"), safe="@")
    for name, text in headers.items():
        if not text.isascii() or not text.isprintable():
            raise InterfaceError(f"{name.removeprefix('x-sqluice-')} must be plain ASCII text.")
    prefix = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value
    options = {f"{prefix}{name}": text for name, text in headers.items()}
    if sign_in.token is not None:
        options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {sign_in.token}"
    elif sign_in.user is not None:
        options["username"] = sign_in.user
        options["password"] = sign_in.password or ""
    if address.is_encrypted and certificates is not None:
        pem = Path(certificates).read_text(encoding="ascii")
        options[DatabaseOptions.TLS_ROOT_CERTS.value] = pem
    if settings.query_timeout is not None:
        # The gateway keeps the time; this is for one that no longer answers.
        patience = settings.query_timeout + _GRACE_SECONDS
        options[DatabaseOptions.TIMEOUT_QUERY.value] = str(patience)
    return options


def _query_id(known: Mapping[bytes, bytes]) -> str | None:
    found = known.get(b"sqluice.query_id")
    return None if found is None else found.decode()


def _masked(schema: pa.Schema, known: Mapping[bytes, bytes]) -> tuple[str, ...]:
    named = known.get(b"sqluice.masked")
    if named is not None:
        return tuple(str(one) for one in json.loads(named))
    return tuple(one.name for one in schema if b"sqluice.mask" in (one.metadata or {}))


@contextlib.contextmanager
def _translated(address: Remote | None = None) -> Iterator[None]:
    """Turn the driver's errors into the client's."""
    try:
        yield
    except dbapi.Error as error:
        raise _rebuilt(error, address) from None


def _rebuilt(error: dbapi.Error, address: Remote | None) -> DatabaseError:
    facts: dict[str, object] = dict(facts_of(error.details or ()))
    facts.setdefault("message", _NOISE.sub("", str(error)))
    if "code" not in facts:
        code = _CODES.get(error.status_code)
        if code == "source_unavailable":
            facts |= _UNREACHED
            where = f" at {address.host}:{address.port}" if address else ""
            reason = str(facts["message"]).rsplit(": ", 1)[-1].strip('"')
            facts["message"] = f"No gateway answers{where} ({reason})."
        elif code is not None:
            facts["code"] = code
    return rebuilt(facts)
