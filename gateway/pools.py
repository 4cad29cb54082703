"""Open connections to the sources, pooled and capped per source.

Takes: sources of the mesh and a way to resolve their settings. Gives: leases of connections.
Never keeps a connection that failed; never opens one before it is asked for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from catalog.model import Source
from connectors.base import (
    Connection,
    Connector,
    ConnectorError,
    ConnectorUnavailable,
    load_connector,
)

SettingsOf = Callable[[Source], Mapping[str, str]]
NO_CONNECTORS: Mapping[str, Connector] = MappingProxyType({})
_IDLE_SECONDS = 60.0
# A connection that was well so shortly ago is not asked whether it still is.
_TRUSTED = 1.0


@dataclass(slots=True)
class _Pool:
    """The connections of one source."""

    slots: threading.BoundedSemaphore
    idle: list[tuple[float, Connection]] = field(default_factory=list)


class Pools:
    """All pools; thread-safe. `own` are connectors by the identity of a source that is ours."""

    def __init__(
        self,
        settings_of: SettingsOf,
        maximum: int = 8,
        own: Mapping[str, Connector] = NO_CONNECTORS,
    ) -> None:
        self._settings_of = settings_of
        self._maximum = maximum
        self._own = own
        self._pools: dict[tuple[Source, tuple[tuple[str, str], ...]], _Pool] = {}
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def lease(self, source: Source, wait: float = 30.0) -> Iterator[Connection]:
        """A connection for one statement.

        It returns to the pool only if the statement ended without an error. Raises
        ConnectorUnavailable where none can be had in `wait` seconds.
        """
        settings = self._settings_of(source)
        pool = self._pool(source, settings)
        if not pool.slots.acquire(timeout=wait):
            raise ConnectorUnavailable(f"all connections to {source.identity} are busy")
        connection: Connection | None = None
        healthy = False
        try:
            connection = self._idle(pool) or self._open(source, settings)
            yield connection
            healthy = True
        finally:
            if connection is not None:
                self._give_back(pool, connection, healthy)
            pool.slots.release()

    def _pool(self, source: Source, settings: Mapping[str, str]) -> _Pool:
        """Pools are keyed by settings too, so that changed credentials open new connections."""
        key = (source, tuple(sorted(settings.items())))
        with self._lock:
            if key not in self._pools:
                self._pools[key] = _Pool(threading.BoundedSemaphore(self._maximum))
            return self._pools[key]

    def _open(self, source: Source, settings: Mapping[str, str]) -> Connection:
        connector = self._own.get(source.identity) or load_connector(source.kind)
        return connector.connect(settings)

    def _idle(self, pool: _Pool) -> Connection | None:
        while True:
            with self._lock:
                if not pool.idle:
                    return None
                since, connection = pool.idle.pop()
            if time.monotonic() - since < _TRUSTED or _answers(connection):
                return connection
            _close(connection)

    def _give_back(self, pool: _Pool, connection: Connection, healthy: bool) -> None:
        now = time.monotonic()
        with self._lock:
            keep = healthy and not self._closed
            stale = [one for since, one in pool.idle if now - since > _IDLE_SECONDS]
            pool.idle = [pair for pair in pool.idle if now - pair[0] <= _IDLE_SECONDS]
            if keep:
                pool.idle.append((now, connection))
            elif not healthy:
                # What broke one may have broken all: they are asked before they serve again.
                pool.idle = [(min(since, now - _TRUSTED), one) for since, one in pool.idle]
        for one in stale if keep else [*stale, connection]:
            _close(one)

    def close(self) -> None:
        """Close all idle connections and keep none from now on."""
        with self._lock:
            self._closed = True
            idle = [one for pool in self._pools.values() for _, one in pool.idle]
            self._pools.clear()
        for one in idle:
            _close(one)


def _answers(connection: Connection) -> bool:
    try:
        connection.ping()
    except ConnectorError:
        return False
    return True


def _close(connection: Connection) -> None:
    # A broken connection may fail to close; it is gone either way.
    with contextlib.suppress(ConnectorError):
        connection.close()
