"""A plan becomes a stream of Arrow batches (stage 7).

Takes: a `Plan` and a `Run` (connections, engine, keys, deadline). Gives: a `Result`. Fragments
run side by side; a deadline, a cancel, a limit or a caller who leaves stops them at their
sources. Never shows a source's text to a caller; never ends a broken stream as if it were whole.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from functools import partial

import pyarrow as pa

from connectors.base import ConnectorError
from gateway.deadlines import DEADLINES
from gateway.draft import Plan, PlannedFragment
from gateway.engines.base import MergeSession
from gateway.errors import Cancelled, InternalError, SqluiceError, TimedOut
from gateway.fetching import Fetching, raw_schema
from gateway.loading import Loading
from gateway.result import Result, bounded, cast_batch, require_digits, whole_numbers
from gateway.run import Run
from gateway.side_by_side import closing_batches
from gateway.streaming import Stream

log = logging.getLogger("gateway.execute")
# A cancel that meets a statement just before it starts is lost: it is said again until the end.
_INSIST_SECONDS, _INSIST_AT_MOST = 0.2, 2.0


def execute(plan: Plan, run: Run, announce: Callable[[Result], None] = lambda _: None) -> Result:
    """Start a plan and wait for its first batch, so that early errors are raised here.

    `announce` gets the result before anything runs, so that it can be cancelled from the start.
    """
    running = _Running(plan, run)
    result = Result(run.query_id, run.schema, iter(()), plan.masked)
    result.stop = running.cancel
    announce(result)
    stream = running.stream(result)
    first = _first(stream)
    opened = Stream(first, stream, lambda: running.reason)
    result.stream = running.opened(opened)
    result.read_ahead, result.whole = opened.read_ahead, opened.whole
    return result


def _first(stream: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    return next(stream, None)


class _Running:
    """One execution: its fragments, its merge session."""

    def __init__(self, plan: Plan, run: Run) -> None:
        self.plan = plan
        self.run = run
        self.fetching = Fetching(run)
        self.lock = threading.Lock()
        self.session: MergeSession | None = None
        self.opened_stream: Stream | None = None
        self.is_over = False

    @property
    def reason(self) -> SqluiceError | None:
        """Why it has to stop."""
        return self.fetching.reason

    def opened(self, stream: Stream) -> Stream:
        """From now on a cancel closes the stream too."""
        with self.lock:
            self.opened_stream = stream
            is_late = self.reason is not None
        if is_late:
            stream.stop()
        return stream

    def cancel(self, reason: SqluiceError) -> None:
        """Stop every fragment and the merge; the first reason stays."""
        with self.lock:
            if not self.fetching.stop(reason):
                return
        self._stop()
        if not self.is_over:
            DEADLINES.after(_INSIST_SECONDS, self._insist)

    def _stop(self) -> None:
        with self.lock:
            session, stream = self.session, self.opened_stream
        self.fetching.cancel()
        if session is not None:
            session.cancel()
        if stream is not None:
            stream.stop()

    def _insist(self, pause: float = _INSIST_SECONDS) -> None:
        """Stop it again and again until it has ended, less and less often."""
        if not self.is_over:
            self._stop()
            longer = min(pause * 1.2, _INSIST_AT_MOST)
            DEADLINES.after(pause, partial(self._insist, longer))

    def stream(self, result: Result) -> Generator[pa.RecordBatch, None, None]:
        """All batches of the answer, cast, counted, bounded; tells the outcome once."""
        fetching = self.fetching
        result.fetched, result.took, result.kept = fetching.fetched, fetching.took, fetching.kept
        deadline = DEADLINES.after(self.run.limits.seconds, self._time_out)
        failure: SqluiceError | None = None
        try:
            bounded_batches = bounded(self._cast(self._answer()), self.run.limits, result)
            with contextlib.closing(bounded_batches) as batches:
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
            deadline.call_off()
            if failure is not None:
                self.cancel(failure)
            if self.session is not None:
                self.session.close()
            self.is_over = True
            if self.run.on_finish is not None:
                self.run.on_finish(result, failure)

    def _time_out(self) -> None:
        late = TimedOut(f"The query ran longer than {self.run.limits.seconds:g} seconds.")
        late.policy = self.run.limits.policy_of("seconds")
        self.cancel(late)

    def _answer(self) -> Iterator[pa.RecordBatch]:
        plan = self.plan
        only = plan.fragments[0] if len(plan.fragments) == 1 else None
        if only is not None and plan.merge is None and _is_final(only):
            yield from self.fetching.batches(only)
            return
        values = [self.run.parameters[number - 1] for number in plan.used_parameters]
        if only is not None and plan.can_stream and _is_final(only) and only.in_place is None:
            session = self._open(())
            with closing_batches(self.fetching.batches(only)) as batches:
                inputs = {only.name: (raw_schema(only), batches)}
                yield from session.stream(plan.merge or "", values, inputs)
            return
        loading = Loading(plan, self.run, self.fetching)
        session = self._open(loading.folders())
        loading.load(session, self.cancel)
        merge = plan.merge or f'SELECT * FROM "{plan.fragments[0].name}"'
        try:
            with closing_batches(session.stream(merge, values, {})) as batches:
                for number, batch in enumerate(batches):
                    if number == 0:
                        loading.see_to_files()
                    yield batch
        except ConnectorError as error:
            raise loading.unreadable(error) from None
        loading.see_to_files()

    def _open(self, folders: tuple[str, ...]) -> MergeSession:
        session = self.run.engine.open(self.run.timezone, folders)
        with self.lock:
            self.session = session
            reason = self.reason
        if reason is not None:
            raise reason
        return session

    def _cast(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        whole = whole_numbers(self.run.schema)
        try:
            for batch in batches:
                made = cast_batch(batch, self.run.schema)
                require_digits(made, whole)
                yield made
        finally:
            closer = getattr(batches, "close", None)
            if closer is not None:
                closer()


def _defect(error: Exception) -> SqluiceError:
    log.exception("execution failed")
    return InternalError("The gateway failed on this request.", private=repr(error))


def _is_final(one: PlannedFragment) -> bool:
    """Whether the fragment's batches are already what the merge may see."""
    return one.gate is None and one.groups is None
