"""Another sqluice gateway, over Flight SQL: a mesh of meshes.

Takes: `url` (`grpc://host:port`), `user` and `password` or a `token`, `identity`: `service` (asked
as that user) or `caller` (that user stands in for each caller, who needs his own rights there);
optionally `purpose` (instead of the caller's; empty for none), `certificates` (a file to trust)
and `tls = "false"`. Gives: connections of one caller and one purpose each. Never asks as anybody
but who it was opened for, never sends a secret in clear to another machine unless told so.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from connectors.arrow import CUT_SECONDS, StreamingConnection
from connectors.base import (
    ConnectorError,
    ConnectorRefused,
    ConnectorUnavailable,
    Fragment,
    SourceColumn,
    SourceSize,
)
from connectors.cutting import with_cut
from connectors.flightsql_refusals import MISSING, is_unusable, not_let_in, told
from connectors.flightsql_sizes import SECONDS, named, rows_of, size_of
from connectors.flightsql_values import sent
from sqluice.address import Remote, read_address
from sqluice.errors import Error
from sqluice.flight import FlightStatement, FlightTransport
from sqluice.transport import Encryption, Settings, SignIn

_NEEDED = frozenset({"url"})
_KNOWN = _NEEDED | {"user", "password", "token", "identity", "caller", "purpose", "certificates",
                    "tls"}  # fmt: skip
_SECONDS = 10.0
_PROBE = "SHOW timezone"  # it touches no source
_Opened = tuple[FlightTransport, Callable[[], None]]


class FlightsqlConnection(StreamingConnection):
    """One session at the other gateway."""

    errors = (Error, OSError)

    def __init__(self, opened: _Opened, identity: str, is_somebodys: bool) -> None:
        """Take over an open transport."""
        super().__init__(self._cut_off)
        self._transport, self._end_socket = opened
        self._is_over = False
        self._passes_on = identity == "caller"
        self._may_ask = is_somebodys or not self._passes_on
        self._statement: FlightStatement | None = None

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The table's columns, as far as whoever signs in may know; none where there is none."""
        try:
            found = rows_of(self._transport, f"DESCRIBE {named(physical_name)}")
        except Error as error:
            if error.code in MISSING:
                return ()
            raise self._told(error) from error
        return tuple(
            SourceColumn(
                str(row["column_name"]), str(row["column_type"]), row["null"] == "YES",
                frozenset({str(row["column_type"])}),
            )
            for row in found
        )  # fmt: skip

    def sizes(self, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        """What whoever was signed in may count; nobody's rows are counted for nobody."""
        found: dict[str, SourceSize] = {}
        ask = partial(rows_of, self._transport, seconds=SECONDS)
        with self._at_most(SECONDS * (1 + len(tables))):
            for name in tables if self._may_ask else ():
                with contextlib.suppress(ConnectorRefused):
                    columns = self.columns(name)
                    size = size_of(ask, named(name), columns) if columns else None
                    found |= {name: size} if size is not None else {}
        if self._broken:
            raise ConnectorUnavailable("the other gateway fell silent")
        return found

    def about(self) -> Mapping[str, str]:
        """Its version, by which a certificate holds; no statement tells it."""
        with self.asking():
            return {"version": self._transport.server_version()}

    def close(self) -> None:
        """Give everything back; idempotent."""
        self._broken = True
        if not self._is_over:
            return self._transport.close()
        self._end_socket()  # whoever fell silent is not waited for
        threading.Thread(target=self._transport.close, daemon=True).start()

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        if not self._may_ask:
            raise ConnectorError("nobody's rows are asked for where each caller has his own")
        values = [sent(one) for one in fragment.parameters]
        statement = self._statement = self._transport.statement()
        try:
            yield from statement.execute(fragment.sql, values).batches
        finally:
            # Its end stops what runs there, too.
            self._statement = None
            statement.close()

    def _told(self, error: Exception) -> ConnectorError:
        self._broken = self._broken or is_unusable(error)
        return told(error, self._passes_on)

    def _interrupt(self) -> None:
        self._is_over = True  # it may be silence that was stopped: to ask once more is to wait
        if (statement := self._statement) is not None:
            statement.cancel()

    def _cut_off(self) -> None:
        """A gateway that falls silent is not waited for, nor asked again."""
        self._is_over = self._broken = True
        self._end_socket()

    def _probe(self) -> None:
        if self._is_over:
            raise ConnectionError("the connection was stopped")
        with self._at_most(CUT_SECONDS):
            rows_of(self._transport, _PROBE)

    @contextlib.contextmanager
    def _at_most(self, seconds: float) -> Iterator[None]:
        late = threading.Timer(seconds, self._cut_off)
        late.start()
        try:
            yield
        finally:
            late.cancel()


class FlightsqlConnector:
    """Opens sessions at another gateway. `takes_caller`: it is told who asks and why."""

    takes_caller = True
    secret_settings = frozenset({"password", "token"})

    def connect(self, settings: Mapping[str, str]) -> FlightsqlConnection:
        """Sign in, for the caller where there is one."""
        identity = settings.get("identity", "")
        caller = settings.get("caller")
        if not _NEEDED <= set(settings) <= _KNOWN or identity not in ("caller", "service"):
            raise ConnectorError(
                "flightsql takes url, identity (caller, service), user and password or token, "
                "purpose, certificates and tls"
            )
        if ("token" in settings) == ("user" in settings):
            raise ConnectorError("flightsql signs in with a user and a password, or with a token")
        asked = Settings(purpose=settings.get("purpose") or None, timezone="UTC", dialect="duckdb",
                         acting_as=caller)  # fmt: skip
        certificates = settings.get("certificates")
        if certificates is not None and not Path(certificates).is_file():
            raise ConnectorError(f"there is no file {certificates}")
        try:
            sign_in = SignIn(settings.get("user"), settings.get("password"), settings.get("token"))
            address = read_address(settings["url"], {"false": False}.get(settings.get("tls", "")))
            if not isinstance(address, Remote):
                raise ConnectorError("url is grpc://host:port")
            open_one = partial(_opened, address, sign_in, asked, certificates)
            opened = with_cut(open_one, urlsplit(address.url).port or 0, _SECONDS)
        except Error as error:
            raise not_let_in(error, caller is not None) from error
        return FlightsqlConnection(opened, identity, caller is not None)


CONNECTOR = FlightsqlConnector()


def _opened(
    address: Remote, sign_in: SignIn, asked: Settings, certificates: str | None
) -> FlightTransport:
    """A transport over which the other gateway has answered once."""
    transport = FlightTransport(address, sign_in, asked, Encryption(certificates))
    try:
        rows_of(transport, _PROBE)  # whether the caller is known there is told by the first call
    except Error:
        transport.close()
        raise
    return transport
