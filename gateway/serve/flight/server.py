"""The Flight SQL endpoint: reads the wire, calls the pipeline, writes the wire.

Takes: an open gateway. Gives: a server for ADBC, JDBC and every other Flight SQL client. A
statement runs once, when GetFlightInfo is answered; DoGet streams what that started. Never
writes, never answers without a signed-in session.
"""

from __future__ import annotations

import secrets
import threading
import weakref
from collections.abc import Callable, Iterator
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
from gateway.queries import is_query_key, keyed_query_id
from gateway.request import Request
from gateway.serve.flight import tables
from gateway.serve.flight.faults import clean_errors, translated
from gateway.serve.flight.messages import make, pack, unpack, unpack_as
from gateway.serve.flight.messages import parse as parse_message
from gateway.serve.flight.options import get_options, set_options
from gateway.serve.flight.parameters import parameter_schema, read_parameters
from gateway.serve.flight.sign_in import (
    CallMiddleware,
    CallMiddlewareFactory,
    FlightSession,
    NoHandshake,
    Sessions,
    peer_address,
)
from gateway.serve.flight.sql_info import sql_info, xdbc_types
from gateway.serve.flight.starting import Starting, recorded, shape
from gateway.serve.flight.streams import Begun, Streams, Watcher, end, stream_of
from gateway.serve.flight.widening import widened
from gateway.serve.tls import TlsFiles, tls_files

_MIDDLEWARE = "sqluice"
_MAXIMUM_PREPARED = 1_000
_MOST_TEXT = 64 * 1024 * 1024
_WRITES = ("CommandStatementUpdate", "CommandPreparedStatementUpdate", "CommandStatementIngest")
_ACTIONS = {
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


@dataclass(slots=True)
class PreparedStatement:
    """A statement's text and the values bound last."""

    sql: str
    parameters: tuple[object, ...] = field(default=())


class FlightSqlServer(flight.FlightServerBase):  # type: ignore[misc]  # pyarrow has no types
    """One method a kind of call; each runs inside `clean_errors`."""

    def __init__(self, opened: OpenGateway, location: str, **options: object) -> None:
        self._opened = opened
        self._sessions = Sessions(opened.identity, opened.limits)
        self._streams = Streams()
        self._starting = Starting(opened)
        self._watcher = Watcher(self._streams.sweep)
        self._draining = False
        # With a handler of handshakes, pyarrow keeps what the client's certificate says to itself.
        self._by_certificate = "verify_client" in options
        super().__init__(
            location,
            auth_handler=None if self._by_certificate else NoHandshake(),
            middleware={_MIDDLEWARE: CallMiddlewareFactory(self._sessions, self._by_certificate)},
            **options,
        )

    def drain(self) -> None:
        """Refuse new calls and stop what runs."""
        self._draining = True
        self._starting.close()
        self._streams.sweep(everything=True)
        self._opened.queries.cancel_all()
        self._watcher.close()

    def get_flight_info(
        self, context: flight.ServerCallContext, descriptor: flight.FlightDescriptor
    ) -> flight.FlightInfo:
        """Start a statement, or tell the shape of metadata."""
        with clean_errors():
            session = self._session(context)
            name, message = unpack(descriptor.command or b"")
            if name in ("CommandStatementQuery", "CommandPreparedStatementQuery"):
                request = self._keyed(context, self._request(session, name, message))
                begun = self._start(context, session, request)
                statement = getattr(message, "prepared_statement_handle", b"")
                user = session.session.principal.user
                handle = self._streams.put(user, begun, statement)
                ticket = pack(make("TicketStatementQuery", statement_handle=handle))
                return _info(begun.schema, descriptor, ticket)
            table = self._metadata(session, name, message)
            return _info(table.schema, descriptor, descriptor.command)

    def do_get(
        self, context: flight.ServerCallContext, ticket: flight.Ticket
    ) -> flight.FlightDataStream:
        """Stream a started result, or metadata."""
        with clean_errors():
            session = self._session(context)
            name, message = unpack(ticket.ticket)
            if name != "TicketStatementQuery":
                return flight.RecordBatchStream(self._metadata(session, name, message))
            user = session.session.principal.user
            handle = message.statement_handle
            begun = self._streams.take(user, handle)
            batches = self._watched(context, handle, begun)
            # A client that leaves before the first batch leaves a generator that never began.
            weakref.finalize(batches, self._end, handle, begun).atexit = False
            return flight.GeneratorStream(begun.schema, batches)

    def do_put(
        self,
        context: flight.ServerCallContext,
        descriptor: flight.FlightDescriptor,
        reader: flight.MetadataRecordBatchReader,
        writer: flight.FlightMetadataWriter,
    ) -> None:
        """Bind parameters; writes are refused."""
        with clean_errors():
            session = self._session(context)
            name, message = unpack(descriptor.command or b"")
            if name in _WRITES:
                raise UnsupportedSql("The gateway only reads.", hint="Send SELECT.")
            if name != "CommandPreparedStatementQuery":
                raise UnsupportedSql(f"{name} takes no data.")
            handle = message.prepared_statement_handle
            prepared = _prepared(session, handle)
            values = read_parameters(reader)
            if values is not None:
                prepared.parameters = values
            answer = make("DoPutPreparedStatementResult", prepared_statement_handle=handle)
            writer.write(pa.py_buffer(answer.SerializeToString()))

    def do_action(
        self, context: flight.ServerCallContext, action: flight.Action
    ) -> Iterator[flight.Result]:
        """Prepared statements, sessions, cancelling."""
        with clean_errors():
            session = self._session(context)
            handlers: dict[str, Callable[[FlightSession, bytes], bytes | None]] = {
                "CreatePreparedStatement": self._prepare,
                "ClosePreparedStatement": self._close_prepared,
                "BeginTransaction": self._begin,
                "EndTransaction": lambda *_: None,
                "CancelQuery": self._cancel_query,
                "CancelFlightInfo": self._cancel_info,
                "CloseSession": self._close_session,
                "GetSessionOptions": lambda one, _: get_options(one.session),
                "SetSessionOptions": lambda one, body: set_options(one.session, body),
            }
            handler = handlers.get(action.type)
            if handler is None:
                raise UnsupportedSql(f"The action {action.type} is not served.")
            answer = handler(session, action.body.to_pybytes() if action.body else b"")
            return iter([flight.Result(answer)] if answer is not None else [])

    def list_flights(
        self, context: flight.ServerCallContext, criteria: bytes
    ) -> Iterator[flight.FlightInfo]:
        """Refused: tables are listed by the commands of Flight SQL."""
        with clean_errors():
            self._session(context)
            raise UnsupportedSql("ListFlights is not served.", hint="Ask for the tables instead.")

    def do_exchange(
        self,
        context: flight.ServerCallContext,
        descriptor: flight.FlightDescriptor,
        reader: flight.MetadataRecordBatchReader,
        writer: flight.MetadataRecordBatchWriter,
    ) -> None:
        """Refused: Flight SQL has no use for it."""
        with clean_errors():
            self._session(context)
            raise UnsupportedSql("DoExchange is not served.", hint="Send a statement.")

    def list_actions(self, context: flight.ServerCallContext) -> list[tuple[str, str]]:
        """What do_action knows."""
        with clean_errors():
            self._session(context)
            return list(_ACTIONS.items())

    def _session(self, context: flight.ServerCallContext) -> FlightSession:
        if self._draining:
            raise SourceUnavailable("The gateway is going down.", hint="Connect again later.")
        middleware = context.get_middleware(_MIDDLEWARE)
        assert isinstance(middleware, CallMiddleware)
        address = peer_address(context.peer())
        identity = ""
        if self._by_certificate:
            identity = context.peer_identity().decode("utf-8", "replace")
        session = middleware.enter(address, identity)
        # One session may be used from several addresses at once.
        return replace(session, address=address, agent=middleware.agent, trace=middleware.trace)

    def _request(self, session: FlightSession, name: str, message: Any) -> Request:  # noqa: ANN401
        asked = (
            PreparedStatement(message.query)
            if name == "CommandStatementQuery"
            else _prepared(session, message.prepared_statement_handle)
        )
        return _asked(session, asked)

    def _keyed(self, context: flight.ServerCallContext, request: Request) -> Request:
        """The request under the id of the key that the client chose for it, if he did."""
        middleware = context.get_middleware(_MIDDLEWARE)
        key = middleware.query_key
        if not is_query_key(key):
            return request
        return replace(request, query_id=keyed_query_id(request.principal.user, key))

    def _start(
        self, context: flight.ServerCallContext, session: FlightSession, request: Request
    ) -> Begun:
        def cancel() -> None:
            self._opened.gateway.cancel(request.query_id, request.principal)

        with self._watcher.watch(context, cancel):
            return self._starting.begin(session.session, request, session.agent)

    def _watched(
        self, context: flight.ServerCallContext, handle: bytes, begun: Begun
    ) -> Iterator[pa.Table]:
        with self._watcher.watch(context, begun.cancel):
            yield from stream_of(begun, lambda: self._streams.done(handle), translated)

    def _end(self, handle: bytes, begun: Begun) -> None:
        end(begun)
        self._streams.done(handle)

    def _prepare(self, session: FlightSession, body: bytes) -> bytes:
        """Bind only; the schema tells clients that it is a query."""
        message = unpack_as("ActionCreatePreparedStatementRequest", body)
        request = _asked(session, PreparedStatement(message.query))
        with recorded(self._opened, request):
            known = shape(self._opened, request)
        _require_room(session, message.query)
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
        self._sessions.end(session.token)
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


def _require_room(session: FlightSession, sql: str) -> None:
    kept = [one for one in list(session.prepared.values()) if isinstance(one, PreparedStatement)]
    held = sum(len(one.sql) for one in kept)
    if len(session.prepared) >= _MAXIMUM_PREPARED or held + len(sql) > _MOST_TEXT:
        raise LimitExceeded(
            f"The session holds {len(session.prepared)} prepared statements, which is too many or "
            "too much text.",
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


def _tls_options(files: TlsFiles | None) -> dict[str, object]:
    if files is None:
        return {}
    made: dict[str, object] = {
        "tls_certificates": [(files.certificate.read_bytes(), files.key.read_bytes())],
    }
    if files.authorities is not None:
        made |= {"verify_client": True, "root_certificates": files.authorities.read_bytes()}
    return made


class FlightEndpoint:
    """The server in a thread of its own."""

    def __init__(self, opened: OpenGateway, host: str, port: int) -> None:
        files = tls_files(opened.config)
        self.scheme = "grpc" if files is None else "grpc+tls"
        place = f"{self.scheme}://{host}:{port}"
        self._server = FlightSqlServer(opened, place, **_tls_options(files))
        self._thread = threading.Thread(target=self._server.serve, name="flight", daemon=True)

    def start(self) -> int:
        """Serve; gives the port."""
        self._thread.start()
        return int(self._server.port)

    def stop(self, deadline: float = 5.0) -> None:
        """Drain, then shut down; waits no longer than `deadline` seconds."""
        self._server.drain()
        stopper = threading.Thread(target=self._server.shutdown, name="flight-stop", daemon=True)
        stopper.start()
        stopper.join(deadline)
