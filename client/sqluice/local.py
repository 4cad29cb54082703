"""The transport in process.

Takes: a mesh folder, a user and settings. Gives: statements that a gateway in this process
answers. Never checks a password: whoever can read the files of a mesh is trusted. The gateway is
found by the entry point `sqluice.transports`, so that the client knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points, version
from typing import Protocol, cast

import pyarrow as pa

from sqluice.codes import CODES
from sqluice.errors import InterfaceError, rebuilt
from sqluice.transport import Answer, Settings

GROUP, NAME = "sqluice.transports", "in-process"
_FACTS = (
    "code", "message", "remedy", "query_id", "line", "column", "retry_after", "policy", "product",
)  # fmt: skip


class Gateway(Protocol):
    """What the entry point opens."""

    def new_query_id(self, key: str = "") -> str:
        """An id for a statement to come; that of a key where there is one."""

    def execute(
        self, sql: str, parameters: tuple[object, ...], query_id: str, seconds: float | None = None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch], Mapping[str, object]]:
        """Schema, batches and what else is known."""

    def cancel(self, query_id: str) -> None:
        """Stop a statement, from the moment it was given its id."""

    def close(self) -> None:
        """Give everything back."""


class LocalTransport:
    """An open gateway, with one session of one user."""

    def __init__(self, folder: str, user: str, settings: Settings) -> None:
        """Open the folder."""
        with _translated():
            self._gateway: Gateway | None = _opener()(
                conf=folder, user=user, **dict(settings.items())
            )
        self._statements: set[LocalStatement] = set()

    def statement(self) -> LocalStatement:
        """A fresh statement."""
        if self._gateway is None:
            raise InterfaceError("The connection is closed.")
        made = LocalStatement(self._gateway, self._statements.discard)
        self._statements.add(made)
        return made

    def ping(self) -> None:
        """A gateway in this process answers as long as it is open."""
        if self._gateway is None:
            raise InterfaceError("The connection is closed.")

    def server_version(self) -> str:
        """That of what is installed here."""
        return version("sqluice-gateway")

    def close(self) -> None:
        """Close every statement, then the gateway."""
        for one in tuple(self._statements):
            one.close()
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            gateway.close()


class LocalStatement:
    """One statement after the other."""

    def __init__(self, gateway: Gateway, forget: Callable[[LocalStatement], None]) -> None:
        """Remember who answers; `forget` is told of the end."""
        self._gateway = gateway
        self._forget = forget
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._query_id = ""

    def execute(
        self, sql: str, parameters: Sequence[object], key: str = "", seconds: float | None = None
    ) -> Answer:
        """Run a statement."""
        self._end_stream()
        with _translated():
            self._query_id = self._gateway.new_query_id(key)
            schema, batches, _ = self._gateway.execute(
                sql, tuple(parameters), self._query_id, seconds
            )
        self._batches = batches
        return Answer(schema, _stream(batches))

    def cancel(self) -> None:
        """Stop it."""
        self._gateway.cancel(self._query_id)

    def close(self) -> None:
        """Close the stream, which stops the query at its sources."""
        self._forget(self)
        self._end_stream()

    def _end_stream(self) -> None:
        batches, self._batches = self._batches, None
        closer = getattr(batches, "close", None)
        if closer is not None:
            closer()


def _opener() -> Callable[..., Gateway]:
    found = entry_points(group=GROUP, name=NAME)
    for one in found:
        return cast("Callable[..., Gateway]", one.load())
    raise InterfaceError(
        "A mesh folder needs the gateway in this environment: install sqluice[gateway], or name "
        "the address of a running one as grpc://host:port."
    )


def _stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with _translated():
        yield from batches


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the gateway's errors, known by their stable code, into the client's."""
    try:
        yield
    except Exception as error:
        if getattr(error, "code", None) not in CODES:
            raise
        facts = {name: getattr(error, name, None) for name in _FACTS}
        raise rebuilt({name: one for name, one in facts.items() if one is not None}) from None
