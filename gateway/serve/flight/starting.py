"""Statements that begin when GetFlightInfo is asked.

Takes: an open gateway and requests. Gives: what was begun, with the schema of its answer. Never
lets a client wait in a call that he can neither cancel nor bound.

Clients over gRPC for Java (Arrow's JDBC driver) can stop a stream but not GetFlightInfo: their
`cancel` and `setQueryTimeout` only reach a statement once that call has answered. For them it
answers soon, and the statement goes on by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import pyarrow as pa

from gateway.errors import Cancelled, SqluiceError
from gateway.labels import labelled
from gateway.opening import OpenGateway
from gateway.pipeline import Described
from gateway.request import Request
from gateway.result import Result
from gateway.serve.flight.streams import Begun
from gateway.serve.flight.widening import is_java, widened
from gateway.sessions import Session, setting_of

SOON_SECONDS = 0.3
_AT_ONCE = 64
_SET_ANSWER = pa.schema([("setting", pa.string()), ("value", pa.string())])


@contextmanager
def recorded(opened: OpenGateway, request: Request) -> Iterator[None]:
    """Whatever a statement is refused for, before it runs, is in the audit."""
    try:
        yield
    except SqluiceError as error:
        opened.gateway.refused(request, error)
        raise


def shape(opened: OpenGateway, request: Request) -> Described:
    """What is known of a statement before it runs; `SET` is the session's own affair."""
    if setting_of(request) is not None:
        return Described(_SET_ANSWER, 0, "set")
    return opened.gateway.describe(request)


class Starting:
    """Begins statements, and lets those go on by themselves whose clients cannot wait."""

    def __init__(self, opened: OpenGateway) -> None:
        self._opened = opened
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="flight-start")
        self._describing = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="flight-describe")

    def described(
        self, request: Request, watch: Callable[[Callable[[], None]], AbstractContextManager[None]]
    ) -> Described:
        """What is known of a statement before it runs, for as long as its client waits.

        `watch` calls back when he leaves. What he has left goes on to its end, which is bounded by
        what it asks for; nothing is held at a source by it.
        """
        with recorded(self._opened, request):
            making = self._describing.submit(shape, self._opened, request)
            left: Future[Described] = Future()
            with watch(partial(_leave, left)):
                wait([making, left], return_when=FIRST_COMPLETED)
            if making.cancel() or not making.done():
                raise Cancelled("The caller left.")
            return making.result()

    def begin(
        self, session: Session, request: Request, agent: str, is_polled: bool = False
    ) -> Begun:
        """Start a statement; raises what it raises, as far as that is known soon enough.

        Who polls, and who cannot wait, has a statement that goes on by itself.
        """
        with recorded(self._opened, request):
            return self._begin(session, request, agent, is_polled or is_java(agent))

    def _begin(self, session: Session, request: Request, agent: str, is_alone: bool) -> Begun:
        statement = setting_of(request)
        if statement is not None:
            session.apply(statement)
            row = {"setting": [statement.argument], "value": [statement.value]}
            table = pa.table(row, schema=_SET_ANSWER)
            return _begun(Result(request.query_id, table.schema, iter(table.to_batches())), agent)
        if not is_alone:
            return _begun(self._opened.gateway.answer(request), agent)
        return self._alone(request, agent)

    def _alone(self, request: Request, agent: str) -> Begun:
        """A statement that goes on by itself where it takes longer than a moment."""
        answer = self._threads.submit(self._opened.gateway.answer, request)
        if wait([answer], SOON_SECONDS).done:
            return _begun(answer.result(), agent)

        def cancel() -> None:
            if not answer.cancel():
                self._opened.gateway.cancel(request.query_id, request.principal)

        try:
            schema = shape(self._opened, request).schema
        except SqluiceError as error:
            # The statement itself meets and records the same.
            error.is_audited = True
            raise
        named = schema.with_metadata({"sqluice.query_id": request.query_id})
        return Begun(widened(named, agent), answer, cancel, request.query_id)

    def close(self) -> None:
        """Begin nothing more; what runs is stopped by whoever drains."""
        for one in (self._threads, self._describing):
            one.shutdown(wait=False, cancel_futures=True)


def _leave(one: Future[Described]) -> None:
    """Called again and again, by one thread."""
    if not one.done():
        one.set_exception(Cancelled("The caller left."))


def _begun(result: Result, agent: str) -> Begun:
    done: Future[Result] = Future()
    done.set_result(result)
    return Begun(widened(labelled(result), agent), done, result.cancel)
