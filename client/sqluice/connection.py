"""A PEP 249 connection.

Takes: an address and who asks. Gives: cursors. Never writes: `commit` and `rollback` do nothing,
for there is nothing to commit.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import TracebackType

from sqluice import errors
from sqluice.address import read_address
from sqluice.cursor import Cursor
from sqluice.transport import Settings, SignIn, Transport, open_transport


class Connection:
    """An open way to a gateway; forgetting to close it is silent and harmless."""

    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError

    def __init__(self, transport: Transport) -> None:
        """Own a transport."""
        self._transport = transport
        self._finalizer = weakref.finalize(self, transport.close)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return not self._finalizer.alive

    def cursor(self) -> Cursor:
        """A fresh cursor."""
        self._check()
        return Cursor(self, self._transport.statement())

    def execute(self, operation: str, parameters: Sequence[object] | None = None) -> Cursor:
        """Run a statement on a fresh cursor."""
        return self.cursor().execute(operation, parameters)

    def commit(self) -> None:
        """Nothing: the gateway is read-only."""
        self._check()

    def rollback(self) -> None:
        """Nothing: the gateway is read-only."""
        self._check()

    def close(self) -> None:
        """Stop everything that runs and give the way back; idempotent."""
        self._finalizer()

    def __enter__(self) -> Connection:
        """Be closed at the end of a with block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Close."""
        self.close()

    def _check(self) -> None:
        if self.is_closed:
            raise errors.InterfaceError("The connection is closed.")


def connect(  # noqa: PLR0913  # PEP 249: what a connection needs are arguments by name
    target: str,
    *,
    user: str | None = None,
    password: str | None = None,
    token: str | None = None,
    domain: str | None = None,
    purpose: str | None = None,
    dialect: str | None = None,
    timezone: str | None = None,
    tls: bool | str | None = None,
    timeout: float | None = None,
    acting_as: str | None = None,
) -> Connection:
    """Connect to a gateway, or open a mesh folder in this process.

    `target` is `grpc://host:port`, `host:port` (TLS) or a folder. Sign in with `user` and
    `password`, or with a `token`; a folder needs `user` alone. `tls` is True, False (plaintext
    off this machine) or a file with the certificates to trust. `timeout` bounds each statement,
    in seconds, at the gateway. `acting_as` is for whom you ask, where you have the right to.
    """
    address = read_address(target, True if isinstance(tls, str) else tls)
    if token is not None and user is not None:
        raise errors.InterfaceError("Sign in with a token or with a user, not with both.")
    settings = Settings(
        purpose=purpose, domain=domain, dialect=dialect, timezone=timezone,
        query_timeout=None if timeout is None else float(timeout), acting_as=acting_as,
    )
    sign_in = SignIn(user, password, token)
    certificates = tls if isinstance(tls, str) else None
    return Connection(open_transport(address, sign_in, settings, certificates))
