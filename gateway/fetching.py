"""Batches of fragments from their sources, and how they are stopped.

Takes: planned fragments and a `Run`. Gives: their batches, read once. Cancelling stops every
statement at its source. Never shows a source's text to a caller.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import pyarrow as pa

from catalog.model import Source
from connectors.base import (
    Connection,
    ConnectorCancelled,
    ConnectorError,
    ConnectorRefused,
    ConnectorUnavailable,
    Fragment,
    InPlace,
    Opening,
    stream_schema,
)
from connectors.parting import NotPartedError, Parting
from gateway.draft import PlannedFragment
from gateway.errors import (
    Cancelled,
    SourceFailed,
    SourceUnavailable,
    SqluiceError,
    refused_by_source,
)
from gateway.pseudonyms import with_keys
from gateway.result import Took
from gateway.run import Run
from gateway.side_by_side import closing_batches, side_by_side


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A fragment that takes keys, and the fragments that they come from.

    ranges: how many ranges stand in it, of keys or of what is compared with a value.
    """

    fragment: Fragment
    keys_of: tuple[str, ...]
    ranges: int = 0


class Fetching:
    """The connections that one execution holds, and its reason to stop.

    `fetched` counts rows by fragment, before any policy that the gateway applies; `kept` after it,
    where keys of others left none out.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._active: dict[str, list[Connection]] = {}
        self.reason: SqluiceError | None = None
        self.fetched: dict[str, int] = {}
        self.took: dict[str, Took] = {}
        self.kept: dict[str, int] = {}

    def stop(self, reason: SqluiceError) -> bool:
        """Nothing more begins; the first reason stays. False where one was given before."""
        with self._lock:
            if self.reason is not None:
                return False
            self.reason = reason
        return True

    def cancel(self) -> None:
        """Cancel what runs at the sources, once."""
        with self._lock:
            active = [one for held in self._active.values() for one in held]
        _cancel_all(active)

    def batches(
        self, one: PlannedFragment, narrowed: Narrowed | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The batches of a fragment, narrowed or not; its errors as a caller may see."""
        fragment = narrowed.fragment if narrowed is not None else one.fragment
        sent = with_keys(fragment, self._run.key_of)
        try:
            try:
                yield from self._read(one, sent, narrowed)
            except _BrokenUnread:
                # A pooled connection whose server went away meanwhile: a fresh one may do.
                yield from self._read(one, sent, narrowed)
        except ConnectorError as error:
            raise self.reason or source_error(error, one) from None

    def _read(
        self, one: PlannedFragment, sent: Fragment, narrowed: Narrowed | None
    ) -> Iterator[pa.RecordBatch]:
        """The batches as they come; _BrokenUnread where the connection breaks before the first."""
        read = False
        source = self._run.sources[one.source]
        with (
            self._leased(source) as connection,
            closing_batches(self._streamed(source, connection, sent)) as batches,
        ):
            began = time.perf_counter()
            keys = (len(each) for each in sent.parameters if isinstance(each, pa.Array))
            keys_of = narrowed.keys_of if narrowed is not None else ()
            took = Took(keys=sum(keys), keys_of=keys_of, is_narrowed=narrowed is not None)
            self.took[one.name] = took
            try:
                asked = began
                for batch in batches:
                    read = True
                    self.fetched[one.name] = self.fetched.get(one.name, 0) + batch.num_rows
                    took.bytes += batch.nbytes
                    now = time.perf_counter()
                    took.seconds = now - began
                    took.waited += now - asked
                    yield batch
                    asked = time.perf_counter()
                took.waited += time.perf_counter() - asked
                took.is_whole = True
            except ConnectorUnavailable as error:
                if read or self.reason is not None:
                    raise
                raise _BrokenUnread(str(error)) from error

    def _streamed(
        self, source: Source, connection: Connection, sent: Fragment
    ) -> Iterator[pa.RecordBatch]:
        """The batches of one connection, or of several where that is worth it and to be had."""
        lead = cast(Parting, connection)
        wanted = lead.streams(sent) - 1 if hasattr(connection, "parted") else 0
        if wanted > 0:
            with self._companions(source, wanted) as others, contextlib.ExitStack() as stack:
                parts: tuple[Fragment, ...] = ()
                # Here, so that the others go back as they came.
                with contextlib.suppress(NotPartedError):
                    parts = stack.enter_context(lead.parted(sent, others)) if others else ()
                if parts:
                    yield from side_by_side(tuple(zip((lead, *others), parts, strict=True)))
                    return
        with closing_batches(connection.stream(sent)) as batches:
            yield from batches

    @contextlib.contextmanager
    def _companions(self, source: Source, wanted: int) -> Iterator[tuple[Parting, ...]]:
        """So many more connections for one fragment, or fewer where those are not to be had."""
        with contextlib.ExitStack() as stack:
            others: list[Parting] = []
            while len(others) < wanted:
                one = stack.enter_context(self._run.pools.spare(source))
                if one is None:
                    break
                stack.enter_context(self._reached(source, one))
                others.append(cast(Parting, one))
            yield tuple(others)

    def in_place(self, one: PlannedFragment) -> InPlace:
        """How the merge engine may read the tables of a fragment itself."""
        source = self._run.sources[one.source]
        try:
            with self._leased(source) as connection:
                return cast(Opening, connection).in_place(one.fragment.tables)
        except ConnectorError as error:
            raise self.reason or source_error(error, one) from None

    @contextlib.contextmanager
    def _leased(self, source: Source) -> Iterator[Connection]:
        """A connection that a stop reaches, and that is waited for no longer than until one."""
        with self._lock:
            held = self._active.setdefault(source.identity, [])
        lease = self._run.pools.lease(source, still=lambda: self._is_held(held))
        with lease as connection, self._reached(source, connection):
            yield connection

    @contextlib.contextmanager
    def _reached(self, source: Source, connection: Connection) -> Iterator[None]:
        """While a stop reaches a connection."""
        with self._lock:
            if self.reason is not None:
                raise self.reason
            held = self._active.setdefault(source.identity, [])
            held.append(connection)
        try:
            yield
        finally:
            with self._lock:
                held.remove(connection)

    def _is_held(self, held: Sequence[Connection]) -> bool:
        """Whether fragments of this very execution have places there.

        They are read to their end whatever becomes of those that wait, and then give them back.
        """
        with self._lock:
            if self.reason is not None:
                raise self.reason
            return bool(held)


class _BrokenUnread(ConnectorUnavailable):
    """A connection was there, and broke before it gave anything."""


def raw_schema(one: PlannedFragment) -> pa.Schema:
    """The fragment's schema; field metadata `type` is the DuckDB type that Arrow may not have."""
    schema = stream_schema(one.fragment)
    for place, column in enumerate(one.fragment.columns):
        told = schema.field(place).with_metadata({b"type": column.type.encode()})
        schema = schema.set(place, told)
    return schema


def source_error(error: ConnectorError, one: PlannedFragment) -> SqluiceError:
    """A connector's error as a caller may see it: which product, not what happened."""
    product = f"{one.tables[0].domain}.{one.tables[0].product}"
    made: SqluiceError
    if isinstance(error, ConnectorUnavailable):
        made = SourceUnavailable(f"The source of {product} cannot be reached.", private=str(error))
    elif isinstance(error, ConnectorCancelled):
        made = Cancelled("The query was cancelled.")
    elif isinstance(error, ConnectorRefused):
        made = refused_by_source(error.code, product, str(error), error.retry_after)
    else:
        made = SourceFailed(f"The source of {product} answered with an error.", private=str(error))
    made.source, made.product = one.source, product
    return made


def _cancel_all(connections: Sequence[Connection]) -> None:
    for one in connections:
        with contextlib.suppress(ConnectorError):
            one.cancel()
