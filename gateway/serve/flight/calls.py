"""The calls of Flight SQL: what each asks of the pipeline, and what it is answered.

Takes: an open gateway and calls of signed-in clients. Gives: schemas, tickets, tables. A statement
runs once, when GetFlightInfo is answered or PollFlightInfo begins; DoGet streams what that
started. Never writes, and knows nothing of gRPC.
"""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable, Iterator, Set
from concurrent.futures import wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyarrow import flight

from gateway.errors import (
    LimitExceeded,
    ParseError,
    SourceUnavailable,
    UnknownTable,
    UnsupportedSql,
)
from gateway.opening import OpenGateway
from gateway.pipeline import Described
from gateway.queries import is_query_key, keyed_query_id
from gateway.request import Request
from gateway.serve.flight import tables
from gateway.serve.flight.direct import to_be_fetched, values_of, with_rows
from gateway.serve.flight.faults import translated
from gateway.serve.flight.messages import make, pack, unpack, unpack_as
from gateway.serve.flight.messages import parse as parse_message
from gateway.serve.flight.options import get_options, set_options
from gateway.serve.flight.parameters import parameter_schema, read_parameters
from gateway.serve.flight.sign_in import Call, FlightSession, Sessions
from gateway.serve.flight.sql_info import sql_info, xdbc_types
from gateway.serve.flight.starting import Starting
from gateway.serve.flight.streams import (
    Begun,
    Owner,
    Streams,
    Watcher,
    cutting,
    end,
    hold_back,
    stream_of,
)
from gateway.serve.flight.widening import widened
from gateway.sessions import within

_MAXIMUM_PREPARED = 1_000
_MOST_TEXT = 64 * 1024 * 1024
_WRITES = ("CommandStatementUpdate", "CommandPreparedStatementUpdate", "CommandStatementIngest")
_STATEMENTS = ("CommandStatementQuery", "CommandPreparedStatementQuery")
# So long a poll waits for news.
POLL_SECONDS = 0.5
ACTIONS = {
    "CreatePreparedStatement": "Parse and bind a statement.",
    "ClosePreparedStatement": "Forget a prepared statement.",
    "BeginTransaction": "Accepted; the gateway only reads.",
    "EndTransaction": "Accepted; the gateway only reads.",
    "CancelQuery": "Stop a query.",
    "CancelFlightInfo": "Stop a query.",
    "CloseSession": "End the session.",
    "GetSessionOptions": "The session's settings.",
    "SetSessionOptions": "Change the session's settings.",
}


@dataclass(frozen=True, slots=True)
class Poll:
    """How far a statement is: what is known of its answer, and whether that is all of it."""

    info: flight.FlightInfo
    is_done: bool
    progress: float | None = None


@dataclass(slots=True)
class PreparedStatement:
    """A statement's text and the values bound last, which came as so many bytes."""

    sql: str
    parameters: tuple[object, ...] = field(default=())
    size: int = 0


class FlightSqlCalls:
    """What Flight SQL's clients ask, one method a kind of call; gRPC is `front`'s affair."""

    def __init__(self, opened: OpenGateway) -> None:
        self._opened = opened
        idle_seconds = opened.config.flight.idle_seconds
        self.sessions = Sessions(opened.identity, opened.limits, idle_seconds)
        self._streams = Streams()
        self._starting = Starting(opened)
        self._watcher = Watcher(self._sweep)
        self._draining = False

    def drain(self) -> None:
        """Refuse new calls and stop what runs."""
        self._draining = True
        self._starting.close()
        self._streams.sweep(everything=True)
        self._opened.queries.cancel_all()
        self._watcher.close()

    def _sweep(self, busy: Set[str]) -> None:
        """Stop what nobody fetches, and what belongs to nobody any more."""
        self._streams.sweep()
        for token in self.sessions.close_idle(busy):
            self._streams.ended(token)

    def flight_info(self, call: Call, descriptor: flight.FlightDescriptor) -> flight.FlightInfo:
        """Start a statement, or tell the shape of metadata."""
        session = self._session(call)
        name, message = unpack(descriptor.command or b"")
        if name in _STATEMENTS:
            return self._begun(call, session, descriptor, name, message)
        table = self._metadata(session, name, message)
        return _info(table.schema, descriptor, descriptor.command)

    def _begun(
        self, call: Call, session: FlightSession, descriptor: flight.FlightDescriptor, name: str,
        message: Any,  # noqa: ANN401
    ) -> flight.FlightInfo:  # fmt: skip
        """A statement that was started, or that the client started before; its rows, if few."""
        direct, user = call.direct, session.session.principal.user
        if direct.left:
            self._streams.cancel(user, direct.left)
            return flight.FlightInfo(pa.schema([]), descriptor, [], -1, -1)
        if direct.begun:
            begun = self._streams.waiting(_owner(session), direct.begun)
            return _info(begun.schema, descriptor, _ticket(direct.begun))
        request = self._said(call, self._request(session, name, message))
        if direct.values:
            request = replace(request, parameters=values_of(direct))
        begun = self._start(call, session, request)
        if direct.is_spoken:
            schema = self._rows(call, begun)
            if schema is not None:
                return flight.FlightInfo(schema, descriptor, [], -1, -1)
        handle = self._put(session, message, begun)
        schema = to_be_fetched(begun.schema, handle) if direct.is_spoken else begun.schema
        return _info(schema, descriptor, _ticket(handle))

    def _rows(self, call: Call, begun: Begun) -> pa.Schema | None:
        try:
            with self._watcher.watch(call, begun.cancel):
                made = with_rows(begun.result.result(), begun.schema)
            begun.require_free()
        except BaseException:
            end(begun)
            begun.over()
            raise
        if made is not None:
            begun.over()
        return made

    def poll(self, call: Call, descriptor: flight.FlightDescriptor) -> Poll:
        """Start a statement and tell how far it is; asked again with what the answer says."""
        session = self._session(call)
        name, message = unpack(descriptor.command or b"")
        user = session.session.principal.user
        if name in _STATEMENTS:
            request = self._said(call, self._request(session, name, message))
            begun = self._start(call, session, request, is_polled=True)
            handle = self._put(session, message, begun)
        elif name == "TicketStatementQuery":
            handle = message.statement_handle
            begun = self._streams.waiting(_owner(session), handle)
        else:
            table = self._metadata(session, name, message)
            return Poll(_info(table.schema, descriptor, descriptor.command), True)
        with self._watcher.watch(call, lambda: self._leave(user, handle)):
            is_done = bool(wait([begun.result], POLL_SECONDS).done)
        again = flight.FlightDescriptor.for_command(_ticket(handle))
        if not is_done:
            progress = self._opened.queries.done(begun.query_id)
            return Poll(flight.FlightInfo(begun.schema, again, [], -1, -1), False, progress)
        if begun.result.exception() is not None:
            self._streams.done(handle)
            begun.result.result()
        return Poll(_info(begun.schema, again, _ticket(handle)), True, 1.0)

    def schema(self, call: Call, descriptor: flight.FlightDescriptor) -> pa.Schema:
        """The shape of an answer; nothing runs."""
        session = self._session(call)
        name, message = unpack(descriptor.command or b"")
        if name in _STATEMENTS:
            known = self._described(call, self._request(session, name, message))
            return widened(known.schema, session.agent)
        return self._metadata(session, name, message).schema

    def answer(self, call: Call, ticket: bytes) -> tuple[pa.Schema, Iterator[pa.Table]]:
        """A started result, or metadata: its schema, and tables of one batch each."""
        session = self._session(call)
        name, message = unpack(ticket)
        if name != "TicketStatementQuery":
            table = self._metadata(session, name, message)
            return table.schema, iter([table])
        handle = message.statement_handle
        begun = self._streams.take(_owner(session), handle)
        batches = self._watched(call, handle, begun)
        # A client that leaves before the first batch leaves a generator that never began.
        weakref.finalize(batches, self._end, handle, begun).atexit = False
        return begun.schema, batches

    def put(self, call: Call, command: bytes, batches: Iterator[pa.RecordBatch]) -> bytes:
        """Bind parameters; writes are refused."""
        session = self._session(call)
        name, message = unpack(command)
        if name in _WRITES:
            raise UnsupportedSql("The gateway only reads.", hint="Send SELECT.")
        if name != "CommandPreparedStatementQuery":
            raise UnsupportedSql(f"{name} takes no data.")
        handle = message.prepared_statement_handle
        prepared = _prepared(session, handle)
        values, size = read_parameters(batches)
        if values is not None:
            prepared.parameters, prepared.size = (), 0
            _require_room(session, size)
            prepared.parameters, prepared.size = values, size
        answer = make("DoPutPreparedStatementResult", prepared_statement_handle=handle)
        return bytes(answer.SerializeToString())

    def act(self, call: Call, name: str, body: bytes) -> bytes | None:
        """Prepared statements, sessions, cancelling; None where there is nothing to answer."""
        session = self._session(call)
        handlers: dict[str, Callable[[FlightSession, bytes], bytes | None]] = {
            "CreatePreparedStatement": lambda one, body: self._prepare(call, one, body),
            "ClosePreparedStatement": self._close_prepared,
            "BeginTransaction": self._begin,
            "EndTransaction": lambda *_: None,
            "CancelQuery": self._cancel_query,
            "CancelFlightInfo": self._cancel_info,
            "CloseSession": self._close_session,
            "GetSessionOptions": lambda one, _: get_options(one.session),
            "SetSessionOptions": lambda one, body: set_options(one.session, body),
        }
        handler = handlers.get(name)
        if handler is None:
            raise UnsupportedSql(f"The action {name} is not served.")
        return handler(session, body)

    def _session(self, call: Call) -> FlightSession:
        if self._draining:
            raise SourceUnavailable("The gateway is going down.", hint="Connect again later.")
        return call.session

    def _request(self, session: FlightSession, name: str, message: Any) -> Request:  # noqa: ANN401
        asked = (
            PreparedStatement(message.query)
            if name == "CommandStatementQuery"
            else _prepared(session, message.prepared_statement_handle)
        )
        return _asked(session, asked)

    def _said(self, call: Call, request: Request) -> Request:
        """The request with the time, and under the id of the key, that the call itself names."""
        request = within(request, call.seconds, call.session.session.limits.seconds)
        if not is_query_key(call.query_key):
            return request
        return replace(request, query_id=keyed_query_id(request.principal.user, call.query_key))

    def _cancelling(self, request: Request) -> Callable[[], None]:
        def cancel() -> None:
            self._opened.gateway.cancel(request.query_id, request.principal)

        return cancel

    def _start(
        self, call: Call, session: FlightSession, request: Request, is_polled: bool = False
    ) -> Begun:
        queries = self._opened.queries
        sending = queries.sending(request.query_id)
        try:
            with self._watcher.watch(call, self._cancelling(request)):
                begun = self._starting.begin(session.session, request, session.agent, is_polled)
        except BaseException:
            queries.sent(sending)
            raise
        sending.cut = lambda reason: hold_back(begun, reason)
        return replace(begun, sending=sending, over=lambda: queries.sent(sending))

    def _put(self, session: FlightSession, message: Any, begun: Begun) -> bytes:  # noqa: ANN401
        statement = getattr(message, "prepared_statement_handle", b"")
        return self._streams.put(_owner(session), begun, statement, session.token)

    def _leave(self, user: str, handle: bytes) -> None:
        self._streams.cancel(user, handle)

    def _watched(self, call: Call, handle: bytes, begun: Begun) -> Iterator[pa.Table]:
        cut_off = cutting(begun, call.end)
        with self._watcher.watch(call, begun.cancel), cut_off:
            yield from stream_of(begun, lambda: self._streams.done(handle), translated)

    def _end(self, handle: bytes, begun: Begun) -> None:
        end(begun)
        self._streams.done(handle)

    def _described(self, call: Call, request: Request) -> Described:
        return self._starting.described(request, lambda gone: self._watcher.watch(call, gone))

    def _prepare(self, call: Call, session: FlightSession, body: bytes) -> bytes:
        """Bind only; the schema tells clients that it is a query."""
        message = unpack_as("ActionCreatePreparedStatementRequest", body)
        known = self._described(call, _asked(session, PreparedStatement(message.query)))
        _require_room(session, len(message.query), more=1)
        handle = secrets.token_bytes(24)
        session.prepared[handle] = PreparedStatement(message.query)
        types = known.parameter_types or ("",) * known.parameters
        parameters = parameter_schema(types, session.agent)
        return pack(
            make(
                "ActionCreatePreparedStatementResult",
                prepared_statement_handle=handle,
                dataset_schema=widened(known.schema, session.agent).serialize().to_pybytes(),
                parameter_schema=parameters.serialize().to_pybytes(),
            )
        )

    def _close_prepared(self, session: FlightSession, body: bytes) -> None:
        message = unpack_as("ActionClosePreparedStatementRequest", body)
        session.prepared.pop(message.prepared_statement_handle, None)
        self._streams.closed(session.session.principal.user, message.prepared_statement_handle)

    def _begin(self, session: FlightSession, body: bytes) -> bytes:
        return pack(make("ActionBeginTransactionResult", transaction_id=secrets.token_bytes(8)))

    def _cancel_query(self, session: FlightSession, body: bytes) -> bytes:
        message = unpack_as("ActionCancelQueryRequest", body)
        done = self._cancel(session, message.info)
        return pack(make("ActionCancelQueryResult", result=1 if done else 3))

    def _cancel_info(self, session: FlightSession, body: bytes) -> bytes:
        message = parse_message("CancelFlightInfoRequest", body)
        done = self._cancel(session, message.info)
        return bytes(make("CloseSessionResult", status=1 if done else 3).SerializeToString())

    def _cancel(self, session: FlightSession, info: bytes) -> bool:
        try:
            endpoints = flight.FlightInfo.deserialize(info).endpoints
        except pa.ArrowException:
            raise ParseError("The bytes are no FlightInfo.") from None
        user = session.session.principal.user
        done = False
        for endpoint in endpoints:
            name, ticket = unpack(endpoint.ticket.ticket)
            if name == "TicketStatementQuery":
                done = self._streams.cancel(user, ticket.statement_handle) or done
        return done

    def _close_session(self, session: FlightSession, body: bytes) -> bytes:
        if self.sessions.end(session.token):
            self._streams.ended(session.token)
        return bytes(make("CloseSessionResult", status=1).SerializeToString())

    def _metadata(self, session: FlightSession, name: str, message: Any) -> pa.Table:  # noqa: ANN401
        """The table of a metadata command."""
        match name:
            case "CommandGetSqlInfo":
                return sql_info(list(message.info))
            case "CommandGetXdbcTypeInfo":
                return xdbc_types(_optional(message, "data_type"))
            case "CommandGetTableTypes":
                return tables.table_types()
        purpose = session.session.settings.purpose
        with_columns = name not in _NAMES_ONLY and getattr(message, "include_schema", True)
        shown = self._opened.gateway.catalog(
            session.asker, datetime.now(UTC), purpose, with_columns
        )
        return _catalog_table(name, message, shown)


# What tells of no column.
_NAMES_ONLY = ("CommandGetCatalogs", "CommandGetDbSchemas")


def _owner(session: FlightSession) -> Owner:
    who = session.session.principal
    return Owner(who.user, who.actor, who.scope)


def _asked(session: FlightSession, asked: PreparedStatement) -> Request:
    made = session.session.request(asked.sql, datetime.now(UTC), asked.parameters)
    return replace(made, principal=session.asker, trace=session.trace)


def _catalog_table(name: str, message: Any, shown: Any) -> pa.Table:  # noqa: ANN401
    match name:
        case "CommandGetCatalogs":
            return tables.catalogs(shown)
        case "CommandGetDbSchemas":
            return tables.schemas(
                shown, _optional(message, "catalog"), _optional(message, "db_schema_filter_pattern")
            )
        case "CommandGetTables":
            asked = tables.TableFilter(
                _optional(message, "catalog"),
                _optional(message, "db_schema_filter_pattern"),
                _optional(message, "table_name_filter_pattern"),
                tuple(message.table_types),
            )
            return tables.tables(shown, asked, message.include_schema)
        case "CommandGetPrimaryKeys":
            return tables.primary_keys(
                shown, _optional(message, "catalog"), _optional(message, "db_schema"), message.table
            )
        case "CommandGetImportedKeys" | "CommandGetExportedKeys":
            wanted = tables.is_named(
                _optional(message, "catalog"), _optional(message, "db_schema"), message.table
            )
            imported = name == "CommandGetImportedKeys"
            return tables.foreign_keys(shown, lambda a, b: wanted(a if imported else b))
        case "CommandGetCrossReference":
            target = tables.is_named(
                _optional(message, "pk_catalog"),
                _optional(message, "pk_db_schema"),
                message.pk_table,
            )
            origin = tables.is_named(
                _optional(message, "fk_catalog"),
                _optional(message, "fk_db_schema"),
                message.fk_table,
            )
            return tables.foreign_keys(shown, lambda a, b: origin(a) and target(b))
        case _:
            raise UnsupportedSql(f"{name} is not served.")


def _optional(message: Any, name: str) -> Any:  # noqa: ANN401 - a field's value
    return getattr(message, name) if message.HasField(name) else None


def _require_room(session: FlightSession, size: int, more: int = 0) -> None:
    """For so many more statements and so much text or values; LimitExceeded where there is none."""
    kept = [one for one in list(session.prepared.values()) if isinstance(one, PreparedStatement)]
    held = sum(len(one.sql) + one.size for one in kept)
    if len(session.prepared) + more > _MAXIMUM_PREPARED or held + size > _MOST_TEXT:
        raise LimitExceeded(
            f"The session holds {len(session.prepared)} prepared statements, which is too many or "
            "too much text and values.",
            hint="Close those that are of no more use.",
        )


def _prepared(session: FlightSession, handle: bytes) -> PreparedStatement:
    found = session.prepared.get(handle)
    if not isinstance(found, PreparedStatement):
        raise UnknownTable("The prepared statement is unknown or closed.", hint="Prepare it again.")
    return found


def _info(
    schema: pa.Schema, descriptor: flight.FlightDescriptor, ticket: bytes
) -> flight.FlightInfo:
    endpoint = flight.FlightEndpoint(flight.Ticket(ticket), [])
    return flight.FlightInfo(schema, descriptor, [endpoint], -1, -1)


def _ticket(handle: bytes) -> bytes:
    return pack(make("TicketStatementQuery", statement_handle=handle))
