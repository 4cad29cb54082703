"""The seam between the client and what answers it.

Takes: an address, a sign-in and settings. Gives: a `Transport`, which makes statements; one over
Flight SQL, one in process. Never knows of cursors or rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import pyarrow as pa

from sqluice.address import Folder, Remote, is_loopback
from sqluice.errors import InterfaceError


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A client of an OAuth 2 server, which gives it a token for the gateway."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""

    def __post_init__(self) -> None:
        """The secret does not travel in clear off the machine."""
        parts = urlsplit(self.token_url)
        if parts.scheme == "http" and is_loopback(parts.hostname or ""):
            return
        if parts.scheme != "https" or not parts.hostname:
            raise InterfaceError("The address that gives tokens is https://, or on this machine.")


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who asks: a user with a password, a token, or a client. What is secret is not shown."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    oauth: ClientCredentials | None = None

    def __post_init__(self) -> None:
        """Refuse two ways at once, or a part of one."""
        ways = (self.token is not None, self.user is not None, self.oauth is not None)
        if sum(ways) > 1:
            raise InterfaceError("Sign in with a user, a token or oauth; not with both.")
        if self.password is not None and self.user is None:
            raise InterfaceError("A password needs its user: say user= too.")


@dataclass(frozen=True, slots=True)
class Encryption:
    """Files in PEM: the authorities to trust, and the client's own certificate with its key."""

    authorities: str | None = None
    certificate: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        """A certificate and its key go together."""
        if (self.certificate is None) != (self.key is None):
            raise InterfaceError("A client's certificate needs its key, and a key its certificate.")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session is to be set to; None leaves a setting as the gateway has it.

    `acting_as` is whom somebody stands in for who may do so; over Flight SQL only.
    """

    purpose: str | None = None
    domain: str | None = None
    dialect: str | None = None
    timezone: str | None = None
    query_timeout: float | None = None
    acting_as: str | None = None

    def items(self) -> tuple[tuple[str, str], ...]:
        """The settings that are set, as text."""
        named = ((name, getattr(self, name)) for name in self.__slots__)
        return tuple(
            (name, f"{value:g}" if isinstance(value, float) else str(value))
            for name, value in named
            if value is not None
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """A schema and one pass over the batches, which raise this module's errors."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class Statement(Protocol):
    """What a cursor needs: one statement after the other, each stopped by the next."""

    def execute(
        self, sql: str, parameters: Sequence[object], key: str = "", seconds: float | None = None
    ) -> Answer:
        """Run a statement, for so many seconds; by its key it can be stopped from elsewhere."""

    def cancel(self) -> None:
        """Stop it, from any thread."""

    def close(self) -> None:
        """Stop it and give its stream back; idempotent."""


class Transport(Protocol):
    """What a connection needs."""

    def statement(self) -> Statement:
        """A fresh statement."""

    def ping(self) -> None:
        """Raise where the gateway does not answer or does not know the caller any more."""

    def server_version(self) -> str:
        """The version of the gateway."""

    def close(self) -> None:
        """Close every statement and the way to the gateway; idempotent."""


def open_transport(
    address: Remote | Folder, sign_in: SignIn, settings: Settings, encryption: Encryption
) -> Transport:
    """Open the transport that fits an address."""
    # Late on purpose: who works in process pays for no driver, and the other way round.
    if isinstance(address, Folder):
        from sqluice.local import LocalTransport  # noqa: PLC0415  # see above

        if sign_in.user is None:
            raise InterfaceError("Say as whom to open the folder, with user=.")
        return LocalTransport(address.path, sign_in.user, settings)
    from sqluice.flight import FlightTransport  # noqa: PLC0415  # see above

    return FlightTransport(address, sign_in, settings, encryption)
