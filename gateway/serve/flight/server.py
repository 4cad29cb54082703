"""The Flight SQL endpoint over gRPC: reads the wire, calls `calls`, writes the wire.

Takes: an open gateway, a host and a port. Gives: a server for ADBC, JDBC and every other client of
Flight SQL. Never lets an error out but as a fault, and never reads on from whom it does not know.

pyarrow's own server has no PollFlightInfo, and no status for a wrong statement without a traceback
in its text (ADR 11).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import grpc
import pyarrow as pa
from pyarrow import flight

from gateway.deadlines import DEADLINES
from gateway.errors import InvalidConfig, ParseError, UnsupportedSql
from gateway.opening import OpenGateway
from gateway.serve.flight import framing
from gateway.serve.flight.calls import ACTIONS, FlightSqlCalls
from gateway.serve.flight.faults import Fault, clean_errors
from gateway.serve.flight.messages import make, parse
from gateway.serve.flight.sign_in import Call, Peer, peer_address, signed_in
from gateway.serve.tls import TlsFiles, tls_files

_SERVICE = "/arrow.flight.protocol.FlightService/"
_DETAILS = "grpc-status-details-bin"
# A call holds a thread while it runs or streams; they are made when they are needed.
_THREADS = 512
_SENDING_SECONDS = 60.0
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", framing.MAXIMUM_SENT),
    ("grpc.max_send_message_length", -1),
    # Tokens of an OpenID provider are long.
    ("grpc.max_metadata_size", 64 * 1024),
    # A client whose machine is gone says nothing: he is asked.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)
_Context = grpc.ServicerContext


class _Service(grpc.GenericRpcHandler):
    """One handler a call; every one signs in before it reads what the client sends."""

    def __init__(self, calls: FlightSqlCalls) -> None:
        self._calls = calls
        one, many = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        both = grpc.stream_stream_rpc_method_handler
        self._handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]] = MappingProxyType(
            {
                "Handshake": both(self._handshake),
                "GetFlightInfo": one(self._flight_info),
                "PollFlightInfo": one(self._poll),
                "GetSchema": one(self._schema),
                "DoGet": many(self._get),
                "DoPut": both(self._put),
                "DoAction": many(self._act),
                "ListActions": many(self._list_actions),
                "ListFlights": many(self._list_flights),
                "DoExchange": both(self._exchange),
            }
        )

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call; None, which gRPC refuses, for one that Flight does not have."""
        prefix, _, name = handler_call_details.method.rpartition("/")
        return self._handlers.get(name) if f"{prefix}/" == _SERVICE else None

    @contextmanager
    def _called(self, context: _Context) -> Iterator[Call]:
        """A call that is signed in; whatever fails ends it with its fault."""
        try:
            with clean_errors():
                call = signed_in(self._calls.sessions, _peer(context))
                if call.token:
                    told = (("authorization", f"Bearer {call.token}"),)
                    context.send_initial_metadata(told)
                yield call
        except Fault as fault:
            context.set_trailing_metadata(((_DETAILS, fault.details),))
            context.abort(fault.status, fault.text)

    def _handshake(self, sent: Iterator[bytes], context: _Context) -> Iterator[bytes]:
        with self._called(context), _in_time(context):
            next(sent, None)
            yield b""

    def _flight_info(self, body: bytes, context: _Context) -> bytes:
        with self._called(context) as call:
            return bytes(self._calls.flight_info(call, _descriptor(body)).serialize())

    def _poll(self, body: bytes, context: _Context) -> bytes:
        with self._called(context) as call:
            polled = self._calls.poll(call, _descriptor(body))
            made = make("FlightPollInfo", info=polled.info.serialize(), progress=polled.progress)
            if not polled.is_done:
                made.flight_descriptor = polled.info.descriptor.serialize()
            return bytes(made.SerializeToString())

    def _schema(self, body: bytes, context: _Context) -> bytes:
        with self._called(context) as call:
            schema = self._calls.schema(call, _descriptor(body))
            return bytes(flight.SchemaResult(schema).serialize())

    def _get(self, body: bytes, context: _Context) -> Iterator[bytes]:
        with self._called(context) as call:
            schema, tables = self._calls.answer(call, _ticket(body))
            yield from framing.stream(schema, tables)

    def _put(self, sent: Iterator[bytes], context: _Context) -> Iterator[bytes]:
        with self._called(context) as call, _in_time(context):
            descriptor, batches = framing.sent(sent)
            told = self._calls.put(call, _descriptor(descriptor).command or b"", batches)
            yield make("FlightPutResult", app_metadata=told).SerializeToString()

    def _act(self, body: bytes, context: _Context) -> Iterator[bytes]:
        with self._called(context) as call:
            action = parse("FlightAction", body)
            told = self._calls.act(call, action.type, action.body)
            if told is not None:
                yield make("FlightResult", body=told).SerializeToString()

    def _list_actions(self, body: bytes, context: _Context) -> Iterator[bytes]:
        with self._called(context):
            for name, description in ACTIONS.items():
                made = make("FlightActionType", type=name, description=description)
                yield made.SerializeToString()

    def _list_flights(self, body: bytes, context: _Context) -> Iterator[bytes]:
        with self._called(context):
            raise UnsupportedSql("ListFlights is not served.", hint="Ask for the tables instead.")
            yield

    def _exchange(self, sent: Iterator[bytes], context: _Context) -> Iterator[bytes]:
        with self._called(context):
            raise UnsupportedSql("DoExchange is not served.", hint="Send a statement.")
            yield


@contextmanager
def _in_time(context: _Context) -> Iterator[None]:
    """Whoever sends nothing more holds a thread no longer than a minute."""
    deadline = DEADLINES.after(_SENDING_SECONDS, lambda: _cancel(context))
    try:
        yield
    finally:
        deadline.call_off()


def _cancel(context: _Context) -> None:
    context.cancel()


def _peer(context: _Context) -> Peer:
    headers: dict[str, str] = {}
    for key, value in context.invocation_metadata():
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        headers.setdefault(key.casefold(), text)
    names = context.peer_identities() or ()
    certificate = next(iter(names), b"").decode("utf-8", "replace")
    return Peer(headers, peer_address(context.peer()), certificate, context.is_active,
                lambda: _cancel(context))


def _descriptor(body: bytes) -> flight.FlightDescriptor:
    try:
        return flight.FlightDescriptor.deserialize(body)
    except pa.ArrowException:
        raise ParseError("The bytes are no FlightDescriptor.") from None


def _ticket(body: bytes) -> bytes:
    try:
        return bytes(flight.Ticket.deserialize(body).ticket)
    except pa.ArrowException:
        raise ParseError("The bytes are no Ticket.") from None


def _credentials(files: TlsFiles) -> grpc.ServerCredentials:
    pair = (files.key.read_bytes(), files.certificate.read_bytes())
    if files.authorities is None:
        return grpc.ssl_server_credentials([pair])
    return grpc.ssl_server_credentials([pair], files.authorities.read_bytes(), True)


class FlightEndpoint:
    """The server, with threads of its own."""

    def __init__(
        self, opened: OpenGateway, host: str, port: int, files: TlsFiles | None = None
    ) -> None:
        """Bind, raising InvalidConfig where that fails; `files`: None are those of the settings."""
        files = files or tls_files(opened.config)
        self.scheme = "grpc" if files is None else "grpc+tls"
        self._calls = FlightSqlCalls(opened)
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="flight")
        self._server = grpc.server(threads, handlers=[_Service(self._calls)], options=_OPTIONS)
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self._port = (
                self._server.add_insecure_port(place)
                if files is None
                else self._server.add_secure_port(place, _credentials(files))
            )
        except RuntimeError as error:
            raise InvalidConfig(
                f"The port {port} of {host} cannot be had.",
                hint="Stop what uses it, or give --flight-port.",
                private=str(error),
            ) from None

    def start(self) -> int:
        """Serve; gives the port."""
        self._server.start()
        return int(self._port)

    def stop(self, deadline: float = 5.0) -> None:
        """Drain, then shut down; waits no longer than `deadline` seconds."""
        self._calls.drain()
        self._server.stop(grace=deadline / 2).wait(deadline)
