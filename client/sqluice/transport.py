"""The seam between the client and what answers it.

Takes: an address, a sign-in and settings. Gives: a `Transport`, which makes statements; one over
Flight SQL, one in process. Never knows of cursors or rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from sqluice.address import Folder, Remote
from sqluice.errors import InterfaceError


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who asks: a user with a password, or a token. What is secret is not shown."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


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
    query_id: str | None = None
    masked: tuple[str, ...] = ()


class Statement(Protocol):
    """What a cursor needs: one statement after the other, each stopped by the next."""

    def execute(self, sql: str, parameters: Sequence[object]) -> Answer:
        """Run a statement."""

    def cancel(self) -> None:
        """Stop it, from any thread."""

    def close(self) -> None:
        """Stop it and give its stream back; idempotent."""


class Transport(Protocol):
    """What a connection needs."""

    def statement(self) -> Statement:
        """A fresh statement."""

    def close(self) -> None:
        """Close every statement and the way to the gateway; idempotent."""


def open_transport(
    address: Remote | Folder, sign_in: SignIn, settings: Settings, certificates: str | None
) -> Transport:
    """Open the transport that fits an address."""
    # Late on purpose: who works in process pays for no driver, and the other way round.
    if isinstance(address, Folder):
        from sqluice.local import LocalTransport  # noqa: PLC0415  # see above

        if sign_in.user is None:
            raise InterfaceError("Say as whom to open the folder, with user=.")
        return LocalTransport(address.path, sign_in.user, settings)
    from sqluice.flight import FlightTransport  # noqa: PLC0415  # see above

    return FlightTransport(address, sign_in, settings, certificates)
