"""The transport over Flight SQL, on the ADBC driver.

Takes: an address, a sign-in and settings, which travel as headers of every call. Gives: statements
whose batches stream as they come. Never retries, and never shows the driver's own errors.

A gateway that knows the short way (`direct`) is asked by it from the second statement on: the first
one tells whether it does.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_flightsql import DatabaseOptions, OAuthFlowType, StatementOptions, dbapi

# Private names of the driver manager, kept apart by tests: the public reader of a stream loses
# the code of an error that comes after the first batch, and cannot be stopped by Ctrl-C.
from adbc_driver_manager._lib import _blocking_call
from adbc_driver_manager._reader import AdbcRecordBatchReader

from sqluice.address import Remote
from sqluice.details import facts_of
from sqluice.direct import bare, begun_of, rows_of, sent_values
from sqluice.errors import DatabaseError, InterfaceError, rebuilt
from sqluice.transport import Answer, Encryption, Settings, SignIn

_GRACE_SECONDS = 2.0
_HEADER = f"{StatementOptions.RPC_CALL_HEADER_PREFIX.value}x-sqluice-"
_KEY, _VALUES, _BEGUN, _LEFT = "query-key", "values", "begun", "left"
_TIMEOUT = "statement-timeout"
_DIRECT = {f"{_HEADER}direct": "1"}
_NOISE = re.compile(r"^(?:[A-Z_]+: )?\[FlightSQL\] |(?: \([A-Za-z]+; [A-Za-z]+.*\))(?:\. .*)?$")
_CODES = {
    adbc_driver_manager.AdbcStatusCode.UNAUTHENTICATED: "unauthenticated",
    adbc_driver_manager.AdbcStatusCode.UNAUTHORIZED: "access_denied",
    adbc_driver_manager.AdbcStatusCode.NOT_IMPLEMENTED: "unsupported_sql",
    adbc_driver_manager.AdbcStatusCode.TIMEOUT: "timeout",
    adbc_driver_manager.AdbcStatusCode.CANCELLED: "cancelled",
    adbc_driver_manager.AdbcStatusCode.IO: "source_unavailable",
}
# gRPC's own word for a server that takes no more calls, and the driver's for a message that is too
# long for itself.
_EXHAUSTED, _TOO_LONG = 8, "larger than max"
_UNREACHED: dict[str, object] = {
    "code": "source_unavailable",
    "remedy": "Start the gateway with `sqluice serve`, or name another address; a gateway that "
    "speaks TLS wants tls=True.",
}
# Who answers, but otherwise: by words of the driver, for nobody else has any.
_IN_PLAIN = "first record does not look like a TLS handshake"
_UNTRUSTED = "tls: failed to verify certificate: "
_NO_HOST = "produced zero addresses"
_OTHER_PROTOCOL = ("unexpected HTTP status code", "frame too large")


class FlightTransport:
    """An open connection to a gateway."""

    def __init__(
        self, address: Remote, sign_in: SignIn, settings: Settings, encryption: Encryption
    ) -> None:
        """Connect and sign in."""
        if sign_in.oauth is not None and not address.is_encrypted:
            raise InterfaceError("Client credentials need an encrypted way: say tls=True.")
        self.patience = _patience(settings)
        options = _options(settings) | _signing_in(sign_in)
        if address.is_encrypted:
            options |= _encrypting(encryption)
        self._statements: set[FlightStatement] = set()
        self._connection: dbapi.Connection | None = None
        self.is_direct = False
        with _translated(address):
            self._connection = dbapi.connect(address.url, db_kwargs=options, autocommit=True)

    def statement(self) -> FlightStatement:
        """A fresh statement."""
        made = FlightStatement(self, self._driver())
        self._statements.add(made)
        return made

    def forget(self, statement: FlightStatement) -> None:
        """A statement is closed."""
        self._statements.discard(statement)

    def ping(self) -> None:
        """One call that names kinds of tables: it runs no statement and is not audited."""
        with _translated():
            self._driver().adbc_get_table_types()

    def server_version(self) -> str:
        """What the gateway calls itself."""
        with _translated():
            return str(self._driver().adbc_get_info().get("vendor_version", ""))

    def _driver(self) -> dbapi.Connection:
        if self._connection is None:
            raise InterfaceError("The connection is closed.")
        return self._connection

    def close(self) -> None:
        """Close every statement first: the driver refuses it the other way round."""
        for one in tuple(self._statements):
            one.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(dbapi.Error):
                connection.close()


class FlightStatement:
    """One statement after the other, each on one of two cursors of the driver.

    `_cursor` prepares and streams, `_short` asks by the short way; `_asked` is the one of the two
    that asked last.
    """

    def __init__(self, transport: FlightTransport, connection: dbapi.Connection) -> None:
        """Open nothing yet."""
        self._transport = transport
        self._connection = connection
        self._cursor: dbapi.Cursor | None = None
        self._short: dbapi.Cursor | None = None
        self._asked: dbapi.Cursor | None = None
        self._reader: AdbcRecordBatchReader | None = None
        # What was begun by the short way and has not been read to its end.
        self._begun = ""
        # Whether the headers of `_short` still say so.
        self._is_told = False
        self._is_cancelled = False
        self._known: str | None = None
        # How long this statement may run, and whether the driver's cursors are told of any time.
        self._seconds: float | None = None
        self._timed: set[dbapi.Cursor] = set()

    def execute(
        self, sql: str, parameters: Sequence[object], key: str = "", seconds: float | None = None
    ) -> Answer:
        """Run a statement."""
        self._end_stream()
        self._seconds = seconds
        with _translated():
            if self._transport.is_direct and (values := sent_values(parameters)) is not None:
                found = self._directly(sql, values, key)
                if found is not None:
                    return found
            return self._prepared(sql, parameters, key)

    def _prepared(self, sql: str, parameters: Sequence[object], key: str) -> Answer:
        """As every client of ADBC's asks; learns whether there is a short way."""
        if self._cursor is None:
            self._cursor = self._connection.cursor(adbc_stmt_kwargs=_DIRECT)
        cursor = self._asked = self._cursor
        self._bound(cursor)
        _say(cursor, _KEY, key)
        self._prepare(cursor, sql)
        cursor.execute(sql, tuple(parameters) or None)
        # The handle releases the stream when it goes, so it must outlive the import.
        answer = self._streamed(cursor.fetch_arrow(), cursor)
        rows = rows_of(answer.schema)
        self._transport.is_direct = rows is not None or begun_of(answer.schema) is not None
        return Answer(bare(answer.schema), answer.batches if rows is None else iter(rows))

    def _directly(self, sql: str, values: str, key: str) -> Answer | None:
        """In one call, where the answer is small; None of a gateway that does not know how."""
        if self._short is None:
            self._short = self._connection.cursor(adbc_stmt_kwargs=_DIRECT)
        cursor = self._asked = self._short
        statement = cursor.adbc_statement
        self._bound(cursor)
        _say(cursor, _KEY, key)
        _say(cursor, _VALUES, values)
        statement.set_sql_query(sql)
        self._is_cancelled = False
        _, handle, _ = _blocking_call(statement.execute_partitions, (), {}, statement.cancel)
        schema = pa.schema(handle)
        rows, begun = rows_of(schema), begun_of(schema)
        if rows is not None:
            return Answer(bare(schema), iter(rows))
        if begun is None:
            self._transport.is_direct = False
            return None
        self._begun, self._is_told = begun, True
        self._end_if_cancelled()
        _say(cursor, _BEGUN, begun)
        stream, _ = _blocking_call(statement.execute_query, (), {}, statement.cancel)
        answer = self._streamed(stream, cursor)
        self._end_if_cancelled()
        return Answer(bare(answer.schema), answer.batches)

    def _end_if_cancelled(self) -> None:
        """Between two calls, and before one has begun, there is nothing that the driver stops."""
        if self._is_cancelled:
            self._end_stream()
            status = adbc_driver_manager.AdbcStatusCode.CANCELLED
            raise dbapi.OperationalError("The query was cancelled.", status_code=status)

    def _streamed(self, handle: Any, cursor: dbapi.Cursor) -> Answer:  # noqa: ANN401 - untyped
        self._reader = AdbcRecordBatchReader._import_from_c(handle.address)
        return Answer(self._reader.schema, self._batches(self._reader, cursor))

    def _batches(
        self, reader: AdbcRecordBatchReader, cursor: dbapi.Cursor
    ) -> Iterator[pa.RecordBatch]:
        begun = self._begun
        yield from _stream(reader, cursor)
        if self._begun == begun:
            self._begun = ""

    def _prepare(self, cursor: dbapi.Cursor, sql: str) -> None:
        """As the driver does, but for a refusal as unsupported: it would ask a second time."""
        if sql == self._known:
            return
        self._known = None
        statement = cursor.adbc_statement
        statement.set_sql_query(sql)
        _blocking_call(statement.prepare, (), {}, statement.cancel)
        # A driver that looks elsewhere prepares again, which is right, and slower.
        self._known = cursor._last_query = sql

    def _bound(self, cursor: dbapi.Cursor) -> None:
        """Tell gateway and driver how long this statement may run."""
        seconds = self._seconds
        if seconds is None and cursor not in self._timed:
            return
        _say(cursor, _TIMEOUT, "" if seconds is None else f"{seconds:.3f}")
        longest = self._transport.patience if seconds is None else seconds + _GRACE_SECONDS
        cursor.adbc_statement.set_options(**{DatabaseOptions.TIMEOUT_QUERY.value: str(longest)})
        self._timed.add(cursor)

    def cancel(self) -> None:
        """Stop it; that nothing runs is no error."""
        cursor, self._is_cancelled = self._asked, True
        if cursor is not None:
            with contextlib.suppress(dbapi.Error):
                cursor.adbc_cancel()

    def close(self) -> None:
        """Close the stream and the cursor."""
        self._transport.forget(self)
        self._end_stream()
        cursors = [one for one in (self._cursor, self._short) if one is not None]
        self._cursor = self._short = self._asked = self._known = None
        self._timed.clear()
        for cursor in cursors:
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
        begun, self._begun = self._begun, ""
        is_told, self._is_told = self._is_told, False
        if self._short is None:
            return
        if is_told:
            # Not while the stream is open: the driver reads its headers in a thread of its own, and
            # its runtime ends the whole process where they change meanwhile.
            _say(self._short, _BEGUN, "")
        if begun:
            self._leave(self._short, begun)

    def _leave(self, cursor: dbapi.Cursor, begun: str) -> None:
        """Say that nobody reads on: what the driver has not begun to fetch would wait."""
        statement = cursor.adbc_statement
        with contextlib.suppress(dbapi.Error):
            _say(cursor, _LEFT, begun)
            try:
                statement.execute_partitions()
            finally:
                _say(cursor, _LEFT, "")


def _say(cursor: dbapi.Cursor, name: str, value: str) -> None:
    """Set a header of the cursor's calls; the driver adds to what is not dropped first."""
    cursor.adbc_statement.set_options(**{f"{_HEADER}{name}": ""})
    if value:
        cursor.adbc_statement.set_options(**{f"{_HEADER}{name}": value})


def _stream(reader: AdbcRecordBatchReader, cursor: dbapi.Cursor) -> Iterator[pa.RecordBatch]:
    with _translated():
        while True:
            try:
                yield _blocking_call(reader.read_next_batch, (), {}, cursor.adbc_cancel)
            except StopIteration:
                return


def _options(settings: Settings) -> dict[str, str]:
    headers = {f"x-sqluice-{name.replace('_', '-')}": text for name, text in settings.items()}
    if settings.acting_as is not None:
        headers["x-sqluice-as"] = quote(headers.pop("x-sqluice-acting-as"), safe="@")
    for name, text in headers.items():
        if not text.isascii() or not text.isprintable():
            raise InterfaceError(f"{name.removeprefix('x-sqluice-')} must be plain ASCII text.")
    prefix = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value
    options = {f"{prefix}{name}": text for name, text in headers.items()}
    if settings.query_timeout is not None:
        options[DatabaseOptions.TIMEOUT_QUERY.value] = str(_patience(settings))
    return options


def _patience(settings: Settings) -> float:
    """The gateway keeps the time; this is for one that no longer answers. 0 is without end."""
    return 0.0 if settings.query_timeout is None else settings.query_timeout + _GRACE_SECONDS


def _signing_in(sign_in: SignIn) -> dict[str, str]:
    if sign_in.oauth is not None:
        named = {
            DatabaseOptions.OAUTH_FLOW: OAuthFlowType.CLIENT_CREDENTIALS.value,
            DatabaseOptions.OAUTH_TOKEN_URI: sign_in.oauth.token_url,
            DatabaseOptions.OAUTH_CLIENT_ID: sign_in.oauth.client_id,
            DatabaseOptions.OAUTH_CLIENT_SECRET: sign_in.oauth.client_secret,
            DatabaseOptions.OAUTH_SCOPE: sign_in.oauth.scope,
        }
        return {option.value: text for option, text in named.items() if text}
    if sign_in.token is not None:
        return {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {sign_in.token}"}
    if sign_in.user is not None:
        return {"username": sign_in.user, "password": sign_in.password or ""}
    return {}


def _encrypting(encryption: Encryption) -> dict[str, str]:
    files = {
        DatabaseOptions.TLS_ROOT_CERTS: encryption.authorities,
        DatabaseOptions.MTLS_CERT_CHAIN: encryption.certificate,
        DatabaseOptions.MTLS_PRIVATE_KEY: encryption.key,
    }
    return {option.value: _read(path) for option, path in files.items() if path is not None}


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise InterfaceError(f"{path} is no file in PEM that can be read.") from None


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
        if code == "source_unavailable" or _is_of_others(str(error)):
            facts |= _unreached(str(facts["message"]), address)
        elif error.vendor_code == _EXHAUSTED and _TOO_LONG not in str(error):
            facts["code"] = "rate_limited"
        elif code is not None:
            facts["code"] = code
    return rebuilt(facts)


def _is_of_others(text: str) -> bool:
    return any(one in text for one in _OTHER_PROTOCOL)


def _unreached(text: str, address: Remote | None) -> dict[str, object]:
    """Nobody answered, or somebody who is no gateway: a gateway says its code."""
    where = f" at {address.host}:{address.port}" if address else ""
    if address and _IN_PLAIN in text:
        return _UNREACHED | {
            "message": f"What answers{where} does not speak TLS.",
            "retryable": False,
            "remedy": f"For a gateway without TLS say tls=False, or on this machine write "
            f"grpc://{address.host}:{address.port}; in an address of SQLAlchemy it is ?tls=false.",
        }
    if _UNTRUSTED in text:
        why = text.partition(_UNTRUSTED)[2].strip('"').removeprefix("x509: ")
        return _UNREACHED | {
            "message": f"The certificate of what answers{where} is not trusted: {why}.",
            "retryable": False,
            "remedy": "Say which authority issued it, as the file tls=, or --certificates of the "
            "command, or name the host for which it was issued.",
        }
    if address and _NO_HOST in text:
        return _UNREACHED | {
            "message": f"The host {address.host} is not found: its name has no address.",
            "remedy": "Look whether the name is spelled right, and whether this machine may look "
            "it up (VPN, DNS); host:port is what the gateway's operator names.",
        }
    if _is_of_others(text):
        return _UNREACHED | {
            "message": f"What answers{where} does not speak Flight SQL.",
            "retryable": False,
            "remedy": "Name the port of Flight SQL, which is 7051 unless told otherwise: HTTP and "
            "PostgreSQL's protocol have ports of their own.",
        }
    reason = text.rsplit(": ", 1)[-1].strip('"')
    return _UNREACHED | {"message": f"No gateway answers{where} ({reason})."}
