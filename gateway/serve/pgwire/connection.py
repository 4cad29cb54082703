"""One connection after its sign-in: messages in, answers out.

Takes: a link, a state, a runner. Gives: answers on the link. Never lets an error out but as an
ErrorResponse; after one in the extended protocol nothing is done until Sync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.errors import SqluiceError
from gateway.serve.pgwire.commands import Catalog, Command, Query
from gateway.serve.pgwire.faults import Broken, Left, WireError, fault_of, violation
from gateway.serve.pgwire.link import Link
from gateway.serve.pgwire.messages import (
    BIND_COMPLETE,
    CLOSE_COMPLETE,
    EMPTY_QUERY,
    NO_DATA,
    PARSE_COMPLETE,
    Body,
    Column,
    message,
    parameter_description,
    row_description,
)
from gateway.serve.pgwire.parameters import decode
from gateway.serve.pgwire.running import Runner
from gateway.serve.pgwire.state import Portal, State, Statement

_EXTENDED = frozenset(b"PBDECH")
_HEAVY_BYTES = 65_536


class Connection:
    """Serves one client until he leaves."""

    def __init__(self, link: Link, state: State, runner: Runner, idle_seconds: float) -> None:
        self._link = link
        self._state = state
        self._runner = runner
        self._idle_seconds = idle_seconds
        self._is_skipping = False
        # A description of a portal waits for the next message: an Execute tells it on its way.
        self._undescribed: str | None = None
        self._sql = ""
        self._has_places = False
        self._asks_catalog = False
        self._handlers: dict[int, Callable[[Body], Awaitable[None]]] = {
            ord("Q"): self._query, ord("P"): self._parse, ord("B"): self._bind,
            ord("D"): self._describe, ord("E"): self._execute, ord("C"): self._close,
            ord("H"): self._flush, ord("S"): self._sync, ord("F"): self._call,
        }  # fmt: skip

    async def serve(self) -> None:
        """Until the client leaves, or has to."""
        feeding = asyncio.get_running_loop().create_task(self._link.feed(self._gone))
        try:
            await self._converse()
        except Left:
            pass
        finally:
            feeding.cancel()
            for name in list(self._state.portals):
                self._state.drop_portal(name)
            await self._runner.close_dropped()
            self._runner.unsent.release(everything=True)

    def cancel(self) -> None:
        """Stop the statement that runs, if any."""
        self._runner.cancel()

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is begun of which the client has still to ask for more."""
        answers = (one.answer for one in self._state.portals.values())
        return all(one is None or one.ended for one in answers)

    def end(self, error: Broken) -> None:
        """End the connection, behind what the client has sent so far."""
        self._link.interrupt(error)

    def drop(self) -> None:
        """End the connection as it is."""
        self._gone()

    def _gone(self) -> None:
        self._runner.cancel()
        self._link.abort()

    async def _converse(self) -> None:
        while True:
            kind = b""
            try:
                kind, body = await self._link.next(self._idle_seconds)
                if kind == b"X":
                    return
                with self._runner.serving():
                    await self._handle(kind[0], Body(body))
            except Left:
                raise
            except Broken as error:
                self._link.send(message(b"E", fault_of(error).body()))
                await self._link.flush()
                return
            except Exception as error:  # noqa: BLE001 - said below
                # The one boundary of this endpoint: what is no error of ours becomes `internal`.
                await self._failed(kind[0], error)
            await self._runner.close_dropped()
            self._runner.unsent.release()

    async def _handle(self, kind: int, body: Body) -> None:
        if kind in b"dcf":
            # What is left of a COPY that was refused.
            return
        if kind == ord("p"):
            raise violation("Nobody was asked for a password.")
        if self._is_skipping and kind != ord("S"):
            return
        self._runner.is_recorded = self._asks_catalog = False
        if self._undescribed is not None and kind != ord("E"):
            await self._describe_now()
            self._asks_catalog = False
        await self._handlers[kind](body)
        if self._link.is_full:
            await self._link.flush()

    async def _failed(self, kind: int, error: Exception) -> None:
        self._undescribed = None
        if self._sql and not self._runner.is_recorded:
            try:
                await self._runner.refused(self._sql, error, self._asks_catalog)
            except SqluiceError as failure:
                error = failure
        self._link.send(
            message(b"E", fault_of(error, self._sql, has_places=self._has_places).body())
        )
        if self._state.status == "T":
            self._state.status = "E"
        if kind in _EXTENDED:
            self._is_skipping = True
            await self._link.flush()
        else:
            self._is_skipping = False
            await self._ready()

    def _note(self, sql: str, command: Command | None = None) -> None:
        """The text that an error would be about, and whether its places are that text's."""
        self._state.activity.runs(sql)
        self._sql, self._has_places = sql, isinstance(command, Query)
        self._asks_catalog = isinstance(command, Catalog)

    async def _ready(self) -> None:
        self._state.end_of_cycle()
        await self._runner.close_dropped()
        self._runner.tell()
        self._state.activity.rests()
        self._link.send(message(b"Z", self._state.status.encode()))
        await self._link.flush()

    async def _query(self, body: Body) -> None:
        sql = body.text()
        self._note(sql)
        body.end()
        self._state.drop_portal("")
        self._state.statements.pop("", None)
        commands = await self._runner.route(sql)
        if not commands:
            self._link.send(EMPTY_QUERY)
        for command in commands:
            self._state.require_open(command)
            self._has_places = isinstance(command, Query) and command.sql == sql
            self._asks_catalog = isinstance(command, Catalog)
            await self._runner.execute(Portal(Statement(sql, command)), 0, True)
        await self._ready()

    async def _parse(self, body: Body) -> None:
        name, sql = body.text(), body.text()
        oids = tuple(body.int32() & 0xFFFF_FFFF for _ in range(body.count()))
        body.end()
        self._note(sql)
        commands = await self._runner.route(sql)
        if len(commands) > 1:
            raise WireError(
                "42601", "A prepared statement is one statement.", "Prepare them one by one."
            )
        command = commands[0] if commands else None
        self._state.require_open(command)
        self._state.keep_statement(name, Statement(sql, command, oids))
        self._link.send(PARSE_COMPLETE)

    async def _bind(self, body: Body) -> None:
        name, source = body.text(), body.text()
        statement = self._state.statement(source)
        self._note(statement.sql, statement.command)
        self._state.require_open(statement.command)
        forms = tuple(body.int16() for _ in range(body.count()))
        values = [_value(body) for _ in range(body.count())]
        results = tuple(body.int16() for _ in range(body.count()))
        body.end()
        if any(one not in (0, 1) for one in (*forms, *results)):
            raise WireError("22023", "There are two forms: 0 is text, 1 is binary.")
        if len(forms) not in (0, 1, len(values)):
            raise WireError(
                "08P01", f"{len(values)} values came with {len(forms)} forms.",
                "Give one form for all values, or one for each.",
            )  # fmt: skip
        wanted = len(statement.oids)
        if statement.types is not None and statement.shape is not None:
            wanted = len(statement.types)
        if len(values) < wanted or (statement.shape is not None and len(values) != wanted):
            raise WireError(
                "08P01", f"The statement has {wanted} parameters and {len(values)} values came.",
                "Give one value for each parameter.",
            )  # fmt: skip
        types = await self._runner.types_of(statement, len(values))
        each = forms * len(values) if len(forms) == 1 else forms or (0,) * len(values)
        size = sum(len(one) for one in values if one is not None)

        def read() -> tuple[object, ...]:
            return tuple(
                decode(value, form, oid, at)
                for at, (value, form, oid) in enumerate(zip(values, each, types, strict=True), 1)
            )

        decoded = read() if size < _HEAVY_BYTES else await self._runner.work(read)
        self._state.keep_portal(name, Portal(statement, decoded, results, size))
        self._link.send(BIND_COMPLETE)

    async def _describe(self, body: Body) -> None:
        kind, name = body.take(1), body.text()
        body.end()
        if kind == b"P":
            self._state.require_open(self._state.portal(name).statement.command)
            self._undescribed = name
            return
        if kind != b"S":
            raise violation("What is to be described is neither a statement nor a portal.")
        statement = self._state.statement(name)
        self._note(statement.sql, statement.command)
        self._state.require_open(statement.command)
        columns = await self._runner.describe_statement(statement)
        self._link.send(parameter_description(statement.types or ()))
        self._tell_columns(columns)

    async def _describe_now(self) -> None:
        name, self._undescribed = self._undescribed, None
        portal = self._state.portal(name or "")
        self._note(portal.statement.sql, portal.statement.command)
        self._tell_columns(await self._runner.describe_portal(portal))

    def _tell_columns(self, columns: tuple[Column, ...] | None) -> None:
        self._link.send(NO_DATA if columns is None else row_description(columns))

    async def _execute(self, body: Body) -> None:
        name, most = body.text(), body.int32()
        body.end()
        tells = self._undescribed == name and self._gives_rows(name)
        if self._undescribed is not None and not tells:
            await self._describe_now()
        self._undescribed = None
        portal = self._state.portal(name)
        self._note(portal.statement.sql, portal.statement.command)
        self._state.require_open(portal.statement.command)
        await self._runner.execute(portal, max(most, 0), tells)

    def _gives_rows(self, name: str) -> bool:
        """Whether Execute itself tells the columns of a portal."""
        portal = self._state.portals.get(name)
        return (
            portal is not None
            and isinstance(portal.statement.command, Query | Catalog)
            and (portal.answer is None and not portal.is_done)
        )

    async def _close(self, body: Body) -> None:
        kind, name = body.take(1), body.text()
        body.end()
        if kind == b"S":
            self._state.statements.pop(name, None)
        elif kind == b"P":
            self._state.drop_portal(name)
        else:
            raise violation("What is to be closed is neither a statement nor a portal.")
        self._link.send(CLOSE_COMPLETE)

    async def _flush(self, body: Body) -> None:
        body.end()
        await self._link.flush()

    async def _sync(self, body: Body) -> None:
        body.end()
        self._is_skipping = False
        await self._ready()

    async def _call(self, body: Body) -> None:
        raise WireError("0A000", "Function calls are not served.", "Send SELECT.")


def _value(body: Body) -> bytes | None:
    size = body.int32()
    return None if size == -1 else body.take(size)
