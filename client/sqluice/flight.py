"""The transport over Flight SQL, on the ADBC driver.

Takes: an address, a sign-in and settings, which travel as headers of every call. Gives: statements
whose batches stream as they come. Never retries, and never shows the driver's own errors.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
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
from sqluice.errors import DatabaseError, InterfaceError, rebuilt
from sqluice.transport import Answer, Encryption, Settings, SignIn

_GRACE_SECONDS = 2.0
_KEY_HEADER = f"{StatementOptions.RPC_CALL_HEADER_PREFIX.value}x-sqluice-query-key"
_NOISE = re.compile(r"^(?:[A-Z_]+: )?\[FlightSQL\] |(?: \([A-Za-z]+; [A-Za-z]+.*\))(?:\. .*)?$")
_CODES = {
    adbc_driver_manager.AdbcStatusCode.UNAUTHENTICATED: "unauthenticated",
    adbc_driver_manager.AdbcStatusCode.UNAUTHORIZED: "access_denied",
    adbc_driver_manager.AdbcStatusCode.NOT_IMPLEMENTED: "unsupported_sql",
    adbc_driver_manager.AdbcStatusCode.TIMEOUT: "timeout",
    adbc_driver_manager.AdbcStatusCode.CANCELLED: "cancelled",
    adbc_driver_manager.AdbcStatusCode.IO: "source_unavailable",
}
_UNREACHED: dict[str, object] = {
    "code": "source_unavailable",
    "remedy": "Start the gateway with `sqluice serve`, or name another address; a gateway that "
    "speaks TLS wants tls=True.",
}
# Who answers, but otherwise: by words of the driver, for nobody else has any.
_IN_PLAIN = "first record does not look like a TLS handshake"
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
        options = _options(settings) | _signing_in(sign_in)
        if address.is_encrypted:
            options |= _encrypting(encryption)
        self._statements: set[FlightStatement] = set()
        self._connection: dbapi.Connection | None = None
        with _translated(address):
            self._connection = dbapi.connect(address.url, db_kwargs=options, autocommit=True)

    def statement(self) -> FlightStatement:
        """A fresh statement."""
        made = FlightStatement(self._driver(), self._statements.discard)
        self._statements.add(made)
        return made

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
    """One statement after the other on one cursor of the driver."""

    def __init__(
        self, connection: dbapi.Connection, forget: Callable[[FlightStatement], None]
    ) -> None:
        """Open nothing yet; `forget` is told of the end."""
        self._connection = connection
        self._forget = forget
        self._cursor: dbapi.Cursor | None = None
        self._reader: AdbcRecordBatchReader | None = None
        self._key = ""
        self._prepared: str | None = None

    def execute(self, sql: str, parameters: Sequence[object], key: str = "") -> Answer:
        """Run a statement."""
        self._end_stream()
        if self._cursor is None:
            self._cursor = self._connection.cursor()
        cursor = self._cursor
        with _translated():
            if key or self._key:
                cursor.adbc_statement.set_options(**{_KEY_HEADER: key})
                self._key = key
            self._prepare(cursor, sql)
            cursor.execute(sql, tuple(parameters) or None)
            # The handle releases the stream when it goes, so it must outlive the import.
            handle = cursor.fetch_arrow()
            self._reader = AdbcRecordBatchReader._import_from_c(handle.address)
            schema = self._reader.schema
        return Answer(schema, _stream(self._reader, cursor))

    def _prepare(self, cursor: dbapi.Cursor, sql: str) -> None:
        """As the driver does, but for a refusal as unsupported: it would ask a second time."""
        if sql == self._prepared:
            return
        self._prepared = None
        statement = cursor.adbc_statement
        statement.set_sql_query(sql)
        _blocking_call(statement.prepare, (), {}, statement.cancel)
        # A driver that looks elsewhere prepares again, which is right, and slower.
        self._prepared = cursor._last_query = sql

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
        cursor, self._cursor, self._prepared = self._cursor, None, None
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
        # The gateway keeps the time; this is for one that no longer answers.
        patience = settings.query_timeout + _GRACE_SECONDS
        options[DatabaseOptions.TIMEOUT_QUERY.value] = str(patience)
    return options


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
