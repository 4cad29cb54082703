"""Runs the commands of one connection: what needs the pipeline does so in another thread.

Takes: portals. Gives: their rows on the link, as they come. Never runs a query on the thread of the
protocol, never holds more of an answer than a piece.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

import pyarrow as pa

from gateway.errors import Cancelled, SqluiceError, TypeMismatch, UnsupportedSql
from gateway.opening import OpenGateway
from gateway.parse import parse
from gateway.request import Request
from gateway.result import Result
from gateway.serve.pgwire.answers import Answer, Encode, Piece, of_table
from gateway.serve.pgwire.catalog.answering import CatalogSession
from gateway.serve.pgwire.commands import Catalog, Command, Query, Show, route
from gateway.serve.pgwire.copying import CopyOut
from gateway.serve.pgwire.cursors import Declare, Fetch
from gateway.serve.pgwire.faults import Fault, Left, WireError
from gateway.serve.pgwire.holding import Unsent
from gateway.serve.pgwire.link import Link
from gateway.serve.pgwire.messages import (
    COPY_DONE,
    EMPTY_QUERY,
    SUSPENDED,
    Column,
    command_complete,
    message,
    parameter_status,
)
from gateway.serve.pgwire.naming import named
from gateway.serve.pgwire.outputs import NOTHING, Output, columns_of, copied, rows_of
from gateway.serve.pgwire.parameters import oid_of, sample
from gateway.serve.pgwire.probes import Probe
from gateway.serve.pgwire.state import Portal, State, Statement, with_forms
from gateway.sessions import new_query_id

log = logging.getLogger("gateway.pgwire")
_AGAIN_SECONDS = 0.05
_TEXT = 25
Made = TypeVar("Made")
_Reading: TypeAlias = Query | Catalog | Show | Probe


class Work(Protocol):
    """Where a call is made."""

    def __call__(self, call: Callable[[], Made], /) -> Coroutine[object, object, Made]:
        """Make it."""


@dataclass(slots=True)
class _Running:
    """A statement that can be cancelled."""

    query_id: str
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    reason: SqluiceError | None = None


@dataclass(frozen=True, slots=True)
class _Started:
    answer: Answer
    encode: Encode
    piece: Piece


class Runner:
    """The commands of one connection, one at a time."""

    def __init__(
        self,
        opened: OpenGateway,
        pool: Executor,
        link: Link,
        state: State,
        catalog: CatalogSession,
    ) -> None:
        self._gateway = opened.gateway
        self.unsent = Unsent(opened.queries, link, self._held_back)
        self._catalog = catalog
        self._pool = pool
        self._link = link
        self._state = state
        # Whether what becomes of the message is recorded by whoever was asked for it.
        self.is_recorded = False
        self._running: _Running | None = None
        # Of the message that is being served: what it asks for may not have begun.
        self._is_serving = self._is_cancelled_early = False
        self._cancelling: asyncio.Task[None] | None = None

    async def work(self, call: Callable[[], Made]) -> Made:
        """A call in another thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def route(self, sql: str) -> tuple[Command, ...]:
        """The commands of a text; a long one is read in another thread."""
        found = route(sql) if len(sql) <= 10_000 else await self.work(lambda: route(sql))
        if len(found) == 1 and isinstance(found[0], Probe) and self._state.is_of_catalog(found[0]):
            return (Catalog(sql),)
        return found

    def cancel(self) -> None:
        """Stop what runs now, or is about to; nothing where neither does."""
        running = self._running
        if running is None:
            self._is_cancelled_early = self._is_serving
        if running is not None and not running.cancelled.is_set():
            running.cancelled.set()
            self._cancelling = asyncio.get_running_loop().create_task(self._until_over(running))

    @contextmanager
    def serving(self) -> Iterator[None]:
        """While a message is served: a cancel is for it, and for none after it."""
        self._is_serving = True
        try:
            yield
        finally:
            self._is_serving = self._is_cancelled_early = False

    async def _until_over(self, running: _Running) -> None:
        """Once is not enough: what it is to stop may begin a moment later."""
        asker = self._state.settings.session.asker
        while self._running is running:
            self._catalog.stop()
            await self.work(lambda: self._gateway.cancel(running.query_id, asker))
            await asyncio.sleep(_AGAIN_SECONDS)

    async def refused(self, sql: str, error: Exception, asks_catalog: bool) -> None:
        """Record that a text was refused before it ran."""
        if asks_catalog:
            await self.work(lambda: self._catalog.refused(sql, error))
            return
        if not isinstance(error, SqluiceError):
            return
        session = self._state.settings.session
        request = session.request(sql, datetime.now(UTC), query_id=error.query_id)
        await self.work(lambda: self._gateway.refused(request, error))

    @contextmanager
    def _statement(self, query_id: str) -> Iterator[_Running]:
        running = self._running = _Running(query_id)
        try:
            if self._link.is_gone:
                # He left between his message and its turn, when there was nothing to stop.
                raise Left
            if self._is_cancelled_early:
                self._is_cancelled_early = False
                raise Cancelled("The statement was cancelled.")
            yield running
        finally:
            self._running = None

    async def _unless_cancelled(self, call: Callable[[], Made]) -> Made:
        """What a description needs. Nothing is held at a source by it: who cancels does not wait.

        The thread goes on to its end, which is bounded by what it asks for.
        """
        with self._statement(new_query_id()) as running:
            making = asyncio.ensure_future(self.work(call))
            stopping = asyncio.ensure_future(running.cancelled.wait())
            try:
                await asyncio.wait([making, stopping], return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopping.cancel()
            if not making.done():
                making.add_done_callback(lambda one: one.cancelled() or one.exception())
                raise Cancelled("The statement was cancelled.")
            return making.result()

    async def execute(self, portal: Portal, most: int, is_described: bool) -> None:
        """Run a portal, at most so many rows of it (0: all); `is_described`: tell columns first."""
        command = portal.statement.command
        match command:
            case None:
                self._link.send(EMPTY_QUERY)
            case Query() | Catalog() | Show() | Probe():
                await self._rows(portal, command, most, is_described)
            case CopyOut():
                await self._copy(command)
            case Declare():
                await self._declare(command, portal.parameters)
            case Fetch():
                await self._fetch(command, portal.forms, is_described)
            case _:
                tag = self._state.run(command)
                self._link.send(command_complete(tag))
        self.tell()

    def tell(self) -> None:
        """Notices, and settings that have changed."""
        notices, self._state.notices = self._state.notices, []
        for one in notices:
            self._link.send(message(b"N", one.body()))
        for name, value in self._state.settings.changed():
            self._link.send(parameter_status(name, value))

    async def close_dropped(self) -> None:
        """Close the answers of portals that are gone."""
        dropped, self._state.closing = self._state.closing, []
        if dropped:
            await self.work(lambda: _close_all(dropped))

    async def _rows(self, portal: Portal, command: _Reading, most: int, is_described: bool) -> None:
        tag = command.tag if isinstance(command, Query) else "SHOW"
        if isinstance(command, Probe | Catalog):
            tag = "SELECT"
        if portal.is_done:
            self._link.send(command_complete(f"{tag} 0" if tag == "SELECT" else tag))
            return
        open_it = self._opener(portal, command)
        work = self.work if isinstance(command, Query | Catalog) else _at_once
        output = rows_of(portal, is_described)
        rows, ended = await self._stream(portal, open_it, most, output, work)
        if not ended:
            self._link.send(SUSPENDED)
            return
        self._link.send(command_complete(f"{tag} {rows}" if tag == "SELECT" else tag))

    def _opener(self, portal: Portal, command: _Reading) -> Callable[[str], Answer]:
        shape = portal.shape if portal.shape is not None else portal.statement.shape
        if isinstance(command, Catalog):
            return lambda query_id: of_table(
                self._catalog.answer(command.sql, portal.parameters, query_id), shape, query_id
            )
        if not isinstance(command, Query):
            table = self._state.table(command)
            return lambda _: of_table(table)
        return lambda query_id: self._open(command.sql, portal.parameters, query_id, shape)

    def _open(
        self, sql: str, parameters: tuple[object, ...], query_id: str, shape: pa.Schema | None
    ) -> Answer:
        request = replace(self._state.request(sql, parameters), query_id=query_id)
        self.is_recorded = True

        def made(result: Result) -> Answer:
            try:
                return Answer(result, shape, named(result.schema, request))
            except WireError:
                result.close()
                raise
        return self.unsent.opened(query_id, lambda: self._gateway.answer(request), made)

    def _held_back(self, query_id: str, reason: SqluiceError) -> bool:
        """Tell what is being sent; gives whether its client has cancelled it himself."""
        if (running := self._running) is None or running.query_id != query_id:
            return isinstance(reason, Cancelled)
        if running.cancelled.is_set() and running.reason is None:
            return True
        running.reason = running.reason or reason
        running.cancelled.set()
        return False

    async def _stream(
        self,
        portal: Portal,
        open_it: Callable[[str], Answer],
        most: int,
        output: Output,
        work: Work | None = None,
    ) -> tuple[int, bool]:
        """Send the rows of a portal; gives how many, and whether those were all."""
        work = work or self.work
        bound = most or None
        self.is_recorded = self.is_recorded or portal.answer is not None
        query_id = portal.answer.query_id if portal.answer is not None else new_query_id()
        with self._statement(query_id):
            try:
                started = await work(
                    lambda: _start(portal.answer or open_it(query_id), output, bound)
                )
                answer = portal.answer = started.answer
                self._link.send(output.head(answer.schema))
                rows = await self._pieces(started, bound, work)
            except BaseException:
                portal.is_done = True
                if portal.answer is not None:
                    self._state.closing.append(portal.answer)
                raise
        if answer.truncated:
            self._state.notices.append(_cut(rows))
        if answer.ended:
            portal.is_done = not portal.is_cursor
            self._link.send(output.tail())
        return rows, answer.ended

    async def _pieces(self, started: _Started, bound: int | None, work: Work) -> int:
        """Send an answer piece by piece; the next is made while one is sent. Gives the rows."""
        piece, rows = started.piece, 0
        while True:
            if self._running is not None and self._running.cancelled.is_set():
                # Its source may have ended long before whoever reads slowly has it all.
                raise self._running.reason or Cancelled("The statement was cancelled.")
            rows += piece.rows
            if piece.ended or (bound is not None and rows >= bound):
                await self._send(piece)
                return rows
            left = None if bound is None else bound - rows
            making = asyncio.ensure_future(
                work(partial(started.answer.read, started.encode, left))
            )
            try:
                await self._send(piece)
            except BaseException:
                # Only one thread may use an answer at a time: who closes it comes after this one.
                await asyncio.wait([making])
                making.cancelled() or making.exception()
                raise
            piece = await making

    async def _send(self, piece: Piece) -> None:
        for one in piece.buffers:
            self._link.send(memoryview(one))
        if self._link.is_full:
            await self._link.flush()

    async def _copy(self, command: CopyOut) -> None:
        inner = await self.route(command.sql)
        asked = inner[0] if inner and isinstance(inner[0], Catalog) else Query(command.sql)
        portal = Portal(Statement(command.sql, asked))
        output = copied(command)
        rows, _ = await self._stream(portal, self._opener(portal, asked), 0, output)
        self._link.send(COPY_DONE)
        self._link.send(command_complete(f"COPY {rows}"))

    async def _declare(self, command: Declare, parameters: tuple[object, ...]) -> None:
        if self._state.status == "I" and not command.with_hold:
            raise WireError(
                "25P01", "A cursor lives in a transaction.", "Send BEGIN first, or WITH HOLD."
            )
        inner = await self.route(command.sql)
        if len(inner) != 1 or not isinstance(inner[0], Query | Catalog | Probe):
            raise UnsupportedSql("A cursor is for one query.", hint="DECLARE c CURSOR FOR SELECT")
        asked = inner[0] if isinstance(inner[0], Catalog) else Query(command.sql)
        portal = Portal(
            Statement(command.sql, asked), parameters, size=len(command.sql),
            is_binary=command.is_binary, is_cursor=True, with_hold=command.with_hold,
        )  # fmt: skip
        self._state.keep_portal(command.name, portal)
        query_id = new_query_id()
        try:
            with self._statement(query_id):
                open_it = self._opener(portal, asked)
                portal.answer = await self.work(lambda: open_it(query_id))
        except BaseException:
            self._state.drop_portal(command.name)
            raise
        self._link.send(command_complete("DECLARE CURSOR"))

    async def _fetch(self, command: Fetch, forms: tuple[int, ...], is_described: bool) -> None:
        cursor = self._state.portal(command.name)
        answer = cursor.answer
        if answer is None:
            raise WireError("55000", "The portal is no cursor.", "DECLARE one.")
        view = replace(cursor, forms=(1,) if cursor.is_binary and not forms else forms)
        output = rows_of(view, is_described and not command.moves)
        if command.moves:
            output = NOTHING
        try:
            rows, _ = await self._stream(view, lambda _: answer, command.count or 0, output)
        except BaseException:
            self._state.drop_portal(command.name)
            raise
        self._link.send(command_complete(f"{'MOVE' if command.moves else 'FETCH'} {rows}"))

    async def describe_portal(self, portal: Portal) -> tuple[Column, ...] | None:
        """The columns of a portal that does not run yet; None where it gives no rows."""
        command = portal.statement.command
        if isinstance(command, Catalog) and portal.answer is None:
            open_it, query_id = self._opener(portal, command), new_query_id()
            with self._statement(query_id):
                portal.answer = await self.work(lambda: open_it(query_id))
        if portal.answer is not None:
            return with_forms(columns_of(portal.answer.schema), portal.forms)
        if isinstance(command, Query):
            request = self._state.request
            portal.shape = await self._unless_cancelled(
                lambda: self._shape(request(command.sql, portal.parameters))
            )
            return with_forms(columns_of(portal.shape), portal.forms)
        schema = self._local_schema(command)
        return None if schema is None else with_forms(columns_of(schema), portal.forms)

    async def describe_statement(self, statement: Statement) -> tuple[Column, ...] | None:
        """The columns of a statement, whose parameters get their types."""
        command = statement.command
        if isinstance(command, Query | Declare | Catalog):
            await self._describe(statement, command)
            is_told = not isinstance(command, Declare) and statement.shape is not None
            return columns_of(statement.shape) if is_told else None
        statement.types = statement.oids
        schema = self._local_schema(command)
        return None if schema is None else columns_of(schema)

    def _local_schema(self, command: Command | None) -> pa.Schema | None:
        if isinstance(command, Show | Probe):
            return self._state.table(command).schema
        if isinstance(command, Fetch) and not command.moves:
            answer = self._state.portal(command.name).answer
            return None if answer is None else answer.schema
        return None

    async def types_of(self, statement: Statement, count: int) -> tuple[int, ...]:
        """The types of so many values: what the client said, else what the statement tells."""
        given = (statement.oids + (0,) * count)[:count]
        command = statement.command
        if all(given) or not isinstance(command, Query | Declare | Catalog):
            return given
        if statement.types is None:
            try:
                await self._describe(statement, command, is_part=True)
            except Cancelled:
                raise
            except (SqluiceError, WireError):
                # Whatever is wrong with it is told, and recorded, when it runs.
                return tuple(one or _TEXT for one in given)
        told = ((statement.types or ()) + (_TEXT,) * count)[:count]
        return tuple(one or other for one, other in zip(given, told, strict=True))

    async def _describe(
        self, statement: Statement, command: Query | Declare | Catalog, is_part: bool = False
    ) -> None:
        """Find the types of parameters and columns; `is_part` of a run, which is what counts."""
        if not isinstance(command, Catalog):
            found = await self._unless_cancelled(lambda: self._described(statement, command.sql))
            statement.types, statement.shape = found
            return
        query_id = new_query_id()
        with self._statement(query_id):
            statement.shape, told = await self.work(
                lambda: self._catalog.describe(command.sql, query_id, not is_part)
            )
        given = (statement.oids + (0,) * len(told))[: max(len(told), len(statement.oids))]
        statement.types = tuple(one or told[at] for at, one in enumerate(given))

    def _shape(self, request: Request) -> pa.Schema:
        return named(self._gateway.describe(request).schema, request)

    def _described(self, statement: Statement, sql: str) -> tuple[tuple[int, ...], pa.Schema]:
        """Types first, with nothing but NULL; then the answer, with a value of each type."""
        request = self._state.request(sql)
        count = parse(request).parameters
        given = (statement.oids + (0,) * count)[: max(count, len(statement.oids))]
        samples = tuple(sample(one) if one else None for one in given)[:count]
        inferred: tuple[str, ...] = ()
        found = None
        try:
            found = self._gateway.describe(replace(request, parameters=samples))
            inferred = found.parameter_types
        except TypeMismatch:
            if all(given):
                raise
        types = tuple(
            one or oid_of(inferred[at] if at < len(inferred) else "")
            for at, one in enumerate(given)
        )
        if found is None or not all(given):
            values = tuple(sample(one) for one in types)[:count]
            found = self._gateway.describe(replace(request, parameters=values))
        return types, named(found.schema, request)


async def _at_once(call: Callable[[], Made]) -> Made:
    """A call that needs nobody but the session."""
    return call()


def _close_all(answers: list[Answer]) -> None:
    for one in answers:
        one.close()


def _start(answer: Answer, output: Output, most: int | None) -> _Started:
    """An answer with its first rows."""
    try:
        encode = output.encode(answer.schema)
        return _Started(answer, encode, answer.read(encode, most))
    except BaseException:
        answer.close()
        raise


def _cut(rows: int) -> Fault:
    return Fault(
        "WARNING", "01004", f"The answer was cut after {rows} rows.",
        "RESET row_limit, or set it higher.",
    )  # fmt: skip
