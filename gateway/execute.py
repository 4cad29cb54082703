"""A plan becomes a stream of Arrow batches (stage 7).

Takes: a `Plan` and a `Run` (connections, engine, keys, deadline). Gives: a `Result`. Fragments
run side by side; a deadline, a cancel, a limit or a caller who leaves stops them at their
sources. Never shows a source's text to a caller; never ends a broken stream as if it were whole.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import pyarrow as pa

from catalog.model import Source
from connectors.base import (
    Connection,
    ConnectorCancelled,
    ConnectorError,
    ConnectorUnavailable,
    FragmentColumn,
    arrow_schema,
    stream_schema,
)
from gateway.differencing import Atom
from gateway.draft import Plan, PlannedFragment
from gateway.engines.base import Engine, MergeSession
from gateway.errors import (
    Cancelled,
    InternalError,
    LimitExceeded,
    SourceFailed,
    SourceUnavailable,
    SqluiceError,
    TimedOut,
    TypeMismatch,
)
from gateway.groups import GroupStatements
from gateway.pools import Pools
from gateway.pseudonyms import KeyOf, with_keys, with_pseudonyms
from gateway.request import Limits

log = logging.getLogger("gateway.execute")
_CLOSE_TIMES, _CLOSE_SECONDS = 200, 0.01

# Asks the differencing guard whether groups of a table may be shown; raises where they may not.
Admit = Callable[[PlannedFragment, Iterator[Atom]], None]


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one execution needs besides its plan."""

    query_id: str
    sources: Mapping[str, Source]
    pools: Pools
    engine: Engine
    key_of: KeyOf
    schema: pa.Schema
    limits: Limits
    parameters: tuple[object, ...] = ()
    timezone: str = "UTC"
    on_progress: Callable[[int], None] = lambda _: None
    on_finish: Callable[[Result, SqluiceError | None], None] | None = None
    admit: Admit | None = None


class Result:
    """The answer to one request: a schema and one pass over its batches.

    `rows`, `bytes` and `truncated` are final once the batches have ended. `fetched` counts rows
    per fragment, for the owners of the sources.
    """

    def __init__(
        self,
        query_id: str,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        masked: tuple[str, ...] = (),
    ) -> None:
        self.query_id = query_id
        self.schema = schema
        self.masked = masked
        self.rows = 0
        self.bytes = 0
        self.truncated = False
        self.fetched: dict[str, int] = {}
        self.columns_read: tuple[str, ...] = ()
        self._batches = batches
        self._cancel: Callable[[SqluiceError], None] = lambda _: None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches; closing the iterator stops the query at its sources."""
        return self._batches

    def cancel(self, reason: SqluiceError | None = None) -> None:
        """Stop it from another thread; the reader meets the reason."""
        self._cancel(reason or Cancelled("The query was cancelled."))

    def close(self) -> None:
        """Stop whatever still runs; idempotent."""
        self.cancel()
        closer = getattr(self._batches, "close", None)
        if closer is not None:
            closer()


def execute(plan: Plan, run: Run, announce: Callable[[Result], None] = lambda _: None) -> Result:
    """Start a plan and wait for its first batch, so that early errors are raised here.

    `announce` gets the result before anything runs, so that it can be cancelled from the start.
    """
    running = _Running(plan, run)
    result = Result(run.query_id, run.schema, iter(()), plan.masked)
    result._cancel = running.cancel
    announce(result)
    stream = running.stream(result)
    first = _first(stream)
    result._batches = running.opened(_Stream(first, stream, running))
    return result


def _first(stream: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    return next(stream, None)


class _Stream:
    """The first batch and what follows. No generator: those do not end what they never began."""

    def __init__(
        self,
        first: pa.RecordBatch | None,
        rest: Generator[pa.RecordBatch, None, None],
        running: _Running,
    ) -> None:
        self._first = first
        self._rest = rest
        self._running = running
        self._lock = threading.Lock()
        self._is_closed = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        with self._lock:
            if self._is_closed:
                raise self._running.reason or Cancelled("The query was cancelled.")
            first, self._first = self._first, None
            return next(self._rest) if first is None else first

    def close(self) -> None:
        """Stop the query at its sources, from any thread; nothing where it has ended.

        Whoever reads at this moment meets the reason by himself. Nobody does where the reader is
        slow: his source waits to be read and would not listen to a cancel.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._is_closed = True
            self._first = None
            self._rest.close()
        finally:
            self._lock.release()


class _Running:
    """One execution: its leases, its merge session, its reason to stop."""

    def __init__(self, plan: Plan, run: Run) -> None:
        self.plan = plan
        self.run = run
        self.reason: SqluiceError | None = None
        self.lock = threading.Lock()
        self.active: list[Connection] = []
        self.session: MergeSession | None = None
        self.fetched: dict[str, int] = {}
        self.opened_stream: _Stream | None = None

    def opened(self, stream: _Stream) -> _Stream:
        """From now on a cancel closes the stream too."""
        with self.lock:
            self.opened_stream = stream
            is_late = self.reason is not None
        if is_late:
            stream.close()
        return stream

    def cancel(self, reason: SqluiceError) -> None:
        """Stop every fragment and the merge; the first reason stays."""
        with self.lock:
            if self.reason is not None:
                return
            self.reason = reason
            active, session, stream = list(self.active), self.session, self.opened_stream
        _cancel_all(active)
        if session is not None:
            session.cancel()
        if stream is not None:
            stream.close()
        if active:
            # A cancel that meets a statement just before it starts is lost: say it again.
            threading.Thread(target=self._insist, name="cancel", daemon=True).start()

    def _insist(self) -> None:
        for _ in range(20):
            time.sleep(0.2)
            with self.lock:
                active = list(self.active)
            if not active:
                return
            _cancel_all(active)

    def stream(self, result: Result) -> Generator[pa.RecordBatch, None, None]:
        """All batches of the answer, cast, counted, bounded; tells the outcome once."""
        result.fetched = self.fetched
        timer = threading.Timer(self.run.limits.seconds, self._time_out)
        timer.daemon = True
        timer.start()
        failure: SqluiceError | None = None
        try:
            bounded = _bounded(self._cast(self._answer()), self.run.limits, result)
            with contextlib.closing(bounded) as batches:
                for batch in batches:
                    self.run.on_progress(result.rows)
                    yield batch
        except GeneratorExit:
            failure = self.reason or Cancelled("The caller left before the end.")
            raise
        except SqluiceError as error:
            failure = self.reason or error
            failure.query_id = self.run.query_id
            raise failure from None
        except Exception as error:
            # A defect of ours, or what a cancel leaves behind: never a clean end.
            failure = self.reason or _defect(error)
            failure.query_id = self.run.query_id
            raise failure from error
        finally:
            timer.cancel()
            if failure is not None:
                self.cancel(failure)
            if self.session is not None:
                self.session.close()
            if self.run.on_finish is not None:
                self.run.on_finish(result, failure)

    def _time_out(self) -> None:
        self.cancel(TimedOut(f"The query ran longer than {self.run.limits.seconds:g} seconds."))

    def _answer(self) -> Iterator[pa.RecordBatch]:
        plan = self.plan
        only = plan.fragments[0] if len(plan.fragments) == 1 else None
        if only is not None and plan.merge is None and _is_final(only):
            yield from self._batches(only)
            return
        session = self._open()
        values = [self.run.parameters[number - 1] for number in plan.used_parameters]
        if only is not None and plan.can_stream and _is_final(only):
            with _closing(self._batches(only)) as batches:
                inputs = {only.name: (_raw_schema(only), batches)}
                yield from session.stream(plan.merge or "", values, inputs)
            return
        self._load_all(session)
        merge = plan.merge or f'SELECT * FROM "{plan.fragments[0].name}"'
        yield from session.stream(merge, values, {})

    def _open(self) -> MergeSession:
        session = self.run.engine.open(self.run.timezone)
        with self.lock:
            self.session = session
            reason = self.reason
        if reason is not None:
            raise reason
        return session

    def _load_all(self, session: MergeSession) -> None:
        """All fragments side by side; the first that fails stops the others."""
        if not self.plan.fragments:
            return
        with ThreadPoolExecutor(len(self.plan.fragments)) as pool:
            tasks = [pool.submit(self._load, session, one) for one in self.plan.fragments]
            done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            failure = _failure(done)
            if failure is not None:
                self.cancel(failure)
        if failure is not None:
            raise self.reason or failure

    def _load(self, session: MergeSession, one: PlannedFragment) -> None:
        with _closing(self._batches(one)) as raw:
            schema, batches = _raw_schema(one), raw
            if one.pseudonyms:
                schema, batches = with_pseudonyms(schema, batches, one.pseudonyms, self.run.key_of)
            name = one.name if one.groups is None else one.groups.rows
            if one.gate is None:
                session.load(name, schema, batches)
            else:
                misfits = session.load_gated(name, one.gate, schema, batches)
                if misfits:
                    failure = ConnectorError(f"{misfits} rows hold values that do not fit")
                    raise source_error(failure, one)
        if one.groups is not None:
            self._load_groups(session, one, one.groups)

    def _load_groups(
        self, session: MergeSession, one: PlannedFragment, groups: GroupStatements
    ) -> None:
        """Of the rows only groups that are large enough, once the guard has admitted them."""
        keys = [pair for pair in one.columns if pair[0] in groups.keys]
        session.load(
            groups.audience,
            _schema_of([*keys, ("number", "BIGINT")]),
            session.stream(groups.audience_sql, groups.values, {}),
        )
        atoms = session.stream(groups.atoms_sql, groups.values, {})
        if self.run.admit is None:
            raise InternalError("No guard knows what was answered before.")
        self.run.admit(one, _atoms(atoms))
        answer = session.stream(groups.answer_sql, groups.values, {})
        session.load(one.name, _schema_of(one.columns), answer)

    def _batches(self, one: PlannedFragment) -> Iterator[pa.RecordBatch]:
        """The fragment's batches from its source; errors become ours, their text private."""
        source = self.run.sources[one.source]
        try:
            with self.run.pools.lease(source) as connection, self._tracked(connection):
                batches = connection.stream(with_keys(one.fragment, self.run.key_of))
                try:
                    for batch in batches:
                        self.fetched[one.name] = self.fetched.get(one.name, 0) + batch.num_rows
                        yield batch
                finally:
                    closer = getattr(batches, "close", None)
                    if closer is not None:
                        closer()
        except ConnectorError as error:
            raise self.reason or source_error(error, one) from None

    @contextlib.contextmanager
    def _tracked(self, connection: Connection) -> Iterator[None]:
        with self.lock:
            if self.reason is not None:
                raise self.reason
            self.active.append(connection)
        try:
            yield
        finally:
            with self.lock:
                self.active.remove(connection)

    def _cast(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            for batch in batches:
                yield cast_batch(batch, self.run.schema)
        finally:
            closer = getattr(batches, "close", None)
            if closer is not None:
                closer()


@contextlib.contextmanager
def _closing(batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Close the batches of a fragment when their reader is done with them, read to the end or not.

    Left to the collector they would hold a connection, and with SQLite a process and its pipes.
    """
    try:
        yield batches
    finally:
        closer = getattr(batches, "close", None)
        for _ in range(_CLOSE_TIMES):
            try:
                if closer is not None:
                    closer()
                break
            except ValueError:
                # A thread of the engine's is just reading; the interrupt is on its way to it.
                time.sleep(_CLOSE_SECONDS)


def _defect(error: Exception) -> SqluiceError:
    log.exception("execution failed")
    return InternalError("The gateway failed on this request.", private=repr(error))


def _failure(tasks: Sequence[Future[None]] | set[Future[None]]) -> SqluiceError | None:
    for task in tasks:
        error = task.exception()
        if isinstance(error, SqluiceError):
            return error
        if error is not None:
            raise error
    return None


def _cancel_all(connections: Sequence[Connection]) -> None:
    for one in connections:
        with contextlib.suppress(ConnectorError):
            one.cancel()


def source_error(error: ConnectorError, one: PlannedFragment) -> SqluiceError:
    """A connector's error as a caller may see it: which product, not what happened."""
    product = f"{one.tables[0].domain}.{one.tables[0].product}"
    made: SqluiceError
    if isinstance(error, ConnectorUnavailable):
        made = SourceUnavailable(f"The source of {product} cannot be reached.", private=str(error))
    elif isinstance(error, ConnectorCancelled):
        made = Cancelled("The query was cancelled.")
    else:
        made = SourceFailed(f"The source of {product} answered with an error.", private=str(error))
    made.source = one.source
    return made


def _is_final(one: PlannedFragment) -> bool:
    """Whether the fragment's batches are already what the merge may see."""
    return one.gate is None and one.groups is None


def _schema_of(columns: Sequence[tuple[str, str]]) -> pa.Schema:
    return arrow_schema([FragmentColumn(name, kind) for name, kind in columns])


def _atoms(batches: Iterator[pa.RecordBatch]) -> Iterator[Atom]:
    for batch in batches:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _raw_schema(one: PlannedFragment) -> pa.Schema:
    """The fragment's schema; field metadata `type` is the DuckDB type that Arrow may not have."""
    schema = stream_schema(one.fragment)
    for place, column in enumerate(one.fragment.columns):
        told = schema.field(place).with_metadata({b"type": column.type.encode()})
        schema = schema.set(place, told)
    return schema


def cast_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch by position in the final schema; a value beyond its type is a type_error."""
    try:
        arrays = [
            column if column.type == field.type else column.cast(field.type)
            for column, field in zip(batch.columns, schema, strict=True)
        ]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TypeMismatch(
            "A value of the answer does not fit its type.",
            hint="Cast the column to a wider type.",
            private=str(error),
        ) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _bounded(
    batches: Iterator[pa.RecordBatch], limits: Limits, result: Result
) -> Generator[pa.RecordBatch, None, None]:
    try:
        for whole in batches:
            batch = whole
            if limits.first is not None and result.rows + batch.num_rows > limits.first:
                batch = whole.slice(0, limits.first - result.rows)
                result.truncated = True
            result.rows += batch.num_rows
            result.bytes += batch.nbytes
            if limits.rows is not None and result.rows > limits.rows:
                raise LimitExceeded(
                    f"The answer has more than {limits.rows} rows, the most you may take.",
                    hint="Narrow the query, add LIMIT, or ask for a higher limit.",
                )
            if limits.bytes is not None and result.bytes > limits.bytes:
                raise LimitExceeded(f"The answer has more than {limits.bytes} bytes.")
            if batch.num_rows:
                yield batch
            if result.truncated:
                return
    finally:
        closer = getattr(batches, "close", None)
        if closer is not None:
            closer()
