"""Open connections to the sources, pooled and capped per source.

Takes: sources of the mesh and a way to resolve their settings. Gives: leases of connections, on
behalf of a caller where a source is to know him. Never keeps a connection that failed; never opens
one before it is asked for; never gives one that was opened for somebody to anybody else.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from catalog.model import Source
from connectors.base import (
    Connection,
    Connector,
    ConnectorError,
    ConnectorUnavailable,
    load_connector,
)
from gateway.sharing import Sharing, Still

SettingsOf = Callable[[Source], Mapping[str, str]]
Opened = Callable[[Source, Connection], None]
NO_CONNECTORS: Mapping[str, Connector] = MappingProxyType({})
_IDLE_SECONDS = 60.0
# A connection that was well so shortly ago is not asked whether it still is.
_TRUSTED = 1.0


# The setting by which a source is asked as its caller, and what the connector is then told.
PASSED_ON = MappingProxyType({"identity": "caller"})
_AS_ITSELF = MappingProxyType({"identity": "service"})
CALLER, PURPOSE = "caller", "purpose"


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf, and why, a source is asked."""

    user: str
    purpose: str | None = None


Settings = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Pool:
    """The connections of one source; idle ones with the settings that they were opened with."""

    slots: Sharing
    idle: list[tuple[float, Settings, Connection]] = field(default_factory=list)


def personal_sources(sources: Mapping[str, Source]) -> frozenset[str]:
    """Those that are asked as their caller, and may show each another thing."""
    found = (name for name, one in sources.items() if one.settings.items() >= PASSED_ON.items())
    return frozenset(found)


def as_itself(source: Source) -> Source:
    """The source asked as its own user, though callers are passed on: where no row is read."""
    if not source.settings.items() >= PASSED_ON.items():
        return source
    return replace(source, settings=MappingProxyType({**source.settings, **_AS_ITSELF}))


def is_told_of_callers(source: Source) -> bool:
    """Whether a source hears who asks, or why, and may show other rows for it."""
    settings = source.settings
    return _takes_caller(source.kind) and (
        settings.items() >= PASSED_ON.items() or PURPOSE not in settings
    )


class Leases(Protocol):
    """Who lends connections."""

    def lease(
        self, source: Source, *, still: Still = lambda: False
    ) -> AbstractContextManager[Connection]:
        """A connection for one statement; `still` is asked while it waits for one."""
        ...

    def spare(self, source: Source) -> AbstractContextManager[Connection | None]:
        """One more for a statement that has one; None where that is not to be had at once."""
        ...


class Pools:
    """All pools; thread-safe. `own` are connectors by the identity of a source that is ours.

    `opened` is told of every new connection before it is lent.
    """

    def __init__(
        self,
        settings_of: SettingsOf,
        maximum: int = 8,
        own: Mapping[str, Connector] = NO_CONNECTORS,
        opened: Opened = lambda source, connection: None,
    ) -> None:
        self._settings_of = settings_of
        self._maximum = maximum
        self._own = own
        self._opened = opened
        self._pools: dict[tuple[Source, Settings], _Pool] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._caller: Caller | None = None
        self._is_nobodys = False
        self._looked_up: dict[Source, Mapping[str, str]] = {}

    def on_behalf_of(self, caller: Caller, sources: Iterable[Source] = ()) -> Pools:
        """The same pools, whose leases are a caller's.

        The settings of `sources` are looked up now, for the first lease of each: a look at a file
        in between would be where other threads go on.
        """
        if self._is_nobodys:
            return self
        made = copy.copy(self)
        made._caller, made._looked_up = caller, dict(self._found(sources))
        return made

    def told_of(self, source: Source, purpose: str | None) -> str | None:
        """The purpose, where a source hears of it and may show other rows for it."""
        is_told = source.identity not in self._own and is_told_of_callers(source)
        return purpose if is_told else None

    def for_purpose(self, purpose: str | None) -> Pools:
        """The same pools, whose leases tell a purpose, and nobody's name."""
        return self if purpose is None else self.on_behalf_of(Caller("", purpose))

    def _found(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Mapping[str, str]]]:
        for one in sources:
            # Whoever asks for a connection is told why there are none.
            with contextlib.suppress(ConnectorError):
                yield one, self._settings_of(one)

    def nobodys(self) -> Pools:
        """The same pools, by which no source is ever asked as anybody."""
        made = copy.copy(self)
        made._caller, made._is_nobodys = None, True
        return made

    @contextlib.contextmanager
    def lease(
        self, source: Source, wait: float = 30.0, still: Still = lambda: False
    ) -> Iterator[Connection]:
        """A connection for one statement.

        It returns to the pool only if the statement ended without an error. Raises
        ConnectorUnavailable where none can be had in `wait` seconds, which count anew as often as
        `still` says so: a caller never has them all.
        """
        with self._placed(source, lambda slots, who: slots.acquire(who, wait, still)) as connection:
            if connection is None:
                raise ConnectorUnavailable(f"all connections to {source.identity} are busy")
            yield connection

    @contextlib.contextmanager
    def spare(self, source: Source) -> Iterator[Connection | None]:
        """One more for a statement that has one; None where that is not to be had at once.

        It is returned as a leased one is, and waits for nobody but for a new one to open.
        """
        with self._placed(source, Sharing.acquire_spare, is_spare=True) as connection:
            yield connection

    @contextlib.contextmanager
    def _placed(
        self, source: Source, take: Callable[[Sharing, str], bool], is_spare: bool = False
    ) -> Iterator[Connection | None]:
        """A connection in a place of its pool; None where no place is given."""
        settings = self._looked_up.pop(source, None) or self._settings_of(source)
        plain = tuple(sorted(settings.items()))
        pool = self._pool(source, plain)
        more = self._told(source, settings)
        told = {**settings, **more}
        key = tuple(sorted(told.items())) if more else plain
        who = self._caller.user if self._caller is not None else ""
        if not take(pool.slots, who):
            yield None
            return
        connection: Connection | None = None
        healthy = False
        try:
            connection = self._idle(pool, key) or self._opened_now(source, told, is_spare)
            yield connection
            healthy = True
        finally:
            try:
                if connection is not None:
                    self._give_back(pool, key, connection, healthy)
            finally:
                # Whatever a driver says to its end, the place is free.
                pool.slots.release(who)

    def _opened_now(
        self, source: Source, settings: Mapping[str, str], is_spare: bool
    ) -> Connection | None:
        try:
            return self._open(source, settings)
        except ConnectorError:
            # A server may have no more sessions, and the statement goes on with what it has.
            if is_spare:
                return None
            raise

    def _told(self, source: Source, settings: Mapping[str, str]) -> Mapping[str, str]:
        """What the connector is told of the caller."""
        if source.identity in self._own or not _takes_caller(source.kind):
            return {}
        if CALLER in settings:
            raise ConnectorError(f"{CALLER} is no setting: it is who asks")
        passes_on = settings.items() >= PASSED_ON.items()
        if self._caller is None:
            if passes_on:
                raise ConnectorError(f"{source.identity} is asked as its caller, and there is none")
            return {}
        told = {CALLER: self._caller.user} if passes_on else {}
        if self._caller.purpose is not None and PURPOSE not in settings:
            told[PURPOSE] = self._caller.purpose
        return told

    def _pool(self, source: Source, settings: Settings) -> _Pool:
        """Pools are keyed by settings too, so that changed credentials open new connections."""
        key = (source, settings)
        with self._lock:
            found = self._pools.get(key)
            if found is None:
                found = self._pools[key] = _Pool(Sharing(self._maximum))
            return found

    def _open(self, source: Source, settings: Mapping[str, str]) -> Connection:
        connector = self._own.get(source.identity) or load_connector(source.kind)
        connection = connector.connect(settings)
        try:
            self._opened(source, connection)
        except BaseException:
            _close(connection)
            raise
        return connection

    def _idle(self, pool: _Pool, key: Settings) -> Connection | None:
        """One that was opened with exactly these settings: for this caller and nobody else."""
        while True:
            with self._lock:
                fitting = [one for one in pool.idle if one[1] == key]
                if not fitting:
                    return None
                pool.idle.remove(fitting[-1])
            since, _, connection = fitting[-1]
            if time.monotonic() - since < _TRUSTED or _answers(connection):
                return connection
            _close(connection)

    def _give_back(self, pool: _Pool, key: Settings, connection: Connection, healthy: bool) -> None:
        now = time.monotonic()
        with self._lock:
            if keep := healthy and not self._closed.is_set():
                pool.idle.append((now, key, connection))
            elif not healthy:
                # What broke one may have broken all: they are asked before they serve again.
                pool.idle = [
                    (min(since, now - _TRUSTED), kept_key, one)
                    for since, kept_key, one in pool.idle
                ]
            fresh = [one for one in pool.idle if now - one[0] <= _IDLE_SECONDS]
            # Callers share the bound: who has not asked for longest makes room.
            kept = fresh[-self._maximum :]
            dropped = [one for one in pool.idle if one not in kept]
            pool.idle = kept
        for _, _, one in dropped:
            _close(one)
        if not keep:
            _close(connection)

    def close(self) -> None:
        """Close all idle connections and keep none from now on."""
        self._closed.set()
        with self._lock:
            idle = [one for pool in self._pools.values() for _, _, one in pool.idle]
            self._pools.clear()
        for one in idle:
            _close(one)


@functools.cache
def _takes_caller(kind: str) -> bool:
    return getattr(load_connector(kind), "takes_caller", False)


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
