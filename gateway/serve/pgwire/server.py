"""The PostgreSQL wire: an event loop in a thread of its own, one task a connection.

Takes: an open gateway. Gives: a server for psql, libpq, JDBC and whatever else speaks version 3 of
the protocol. Never runs a query on its own thread, never answers without a sign-in.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import math
import secrets
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from gateway.config import Config
from gateway.errors import InvalidConfig, SqluiceError
from gateway.opening import OpenGateway
from gateway.serve.pgwire.catalog.activity import Speakers
from gateway.serve.pgwire.catalog.answering import CatalogSession
from gateway.serve.pgwire.catalog.database import Databases
from gateway.serve.pgwire.connection import Connection
from gateway.serve.pgwire.entering import (
    ENDPOINT,
    CancelKey,
    SignedIn,
    negotiation,
    read_first,
    require_private,
    sign_in,
    welcome,
)
from gateway.serve.pgwire.faults import Broken, Left, WireError, fault_of
from gateway.serve.pgwire.link import Link
from gateway.serve.pgwire.messages import message, parameter_status
from gateway.serve.pgwire.running import Runner
from gateway.serve.pgwire.sasl import end_point
from gateway.serve.pgwire.settings import ClientSettings
from gateway.serve.pgwire.state import State
from gateway.serve.tls import name_in, tls_files
from gateway.sessions import Session

log = logging.getLogger("gateway.pgwire")
_SIGN_IN_SECONDS = 30.0
_DRAIN_SECONDS = 4.0
_LOOK_SECONDS = 0.1
_SPARE_THREADS = 16
_HIGH_WATER = 1_048_576
# A client whose machine is gone is noticed in about half a minute.
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


def tls_of(config: Config) -> ssl.SSLContext | None:
    """The certificate of gateway.toml; None where there is none."""
    files = tls_files(config)
    if files is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    if files.authorities is not None:
        context.load_verify_locations(files.authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class PgwireServer:
    """The connections of one gateway; lives on the thread of its loop."""

    def __init__(self, opened: OpenGateway) -> None:
        self._opened = opened
        self._settings = opened.config.pgwire
        self._tls = tls_of(opened.config)
        files = tls_files(opened.config)
        self._binding = end_point(files.certificate.read_bytes()) if files is not None else b""
        # Where every client has to show a certificate, there is no way in without TLS.
        self._asks_certificate = files is not None and files.authorities is not None
        self._pool = ThreadPoolExecutor(
            self._settings.connections + _SPARE_THREADS, thread_name_prefix="pgwire"
        )
        self._databases = Databases()
        self._speakers = Speakers()
        self._connections: dict[int, tuple[int, Connection]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Those who have not signed in yet, the oldest first.
        self._entering: dict[asyncio.Task[None], None] = {}
        self._draining = False

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Take connections."""
        return await asyncio.start_server(self._accept, host, port)

    async def drain(self, seconds: float) -> None:
        """Let statements end, and cursors be read, no longer than that; then stop what runs."""
        self._draining = True
        error = Broken("57P01", "The gateway is going down.", "Connect again later.")
        told: set[int] = set()
        for _ in range(max(1, math.ceil(seconds / _LOOK_SECONDS))):
            for pid, (_, one) in list(self._connections.items()):
                if pid not in told and one.is_at_rest:
                    told.add(pid)
                    one.end(error)
            if not self._tasks:
                break
            await asyncio.wait(self._tasks, timeout=_LOOK_SECONDS)
        for _, one in list(self._connections.values()):
            one.drop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)
        for task in self._tasks:
            task.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if not self._has_room():
            writer.transport.abort()
            return
        self._tasks.add(task)
        self._entering[task] = None
        try:
            _keep_alive(writer.get_extra_info("socket"))
            await self._serve(reader, writer)
        except (Left, OSError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            # Somebody else needed the room, or the gateway goes down: nobody waits for this task.
            writer.transport.abort()
        finally:
            self._entering.pop(task, None)
            self._tasks.discard(task)
            writer.close()
            gone = (OSError, ssl.SSLError, asyncio.TimeoutError, asyncio.CancelledError)
            with contextlib.suppress(*gone):
                await asyncio.wait_for(writer.wait_closed(), 5.0)

    def _has_room(self) -> bool:
        """Whether one more may come: whoever has waited longest before signing in makes room.

        Those who only want to cancel need some when all places are taken, and who opens connections
        and says nothing must not keep others out.
        """
        if len(self._tasks) < 2 * self._settings.connections + _SPARE_THREADS:
            return True
        oldest = next(iter(self._entering), None)
        if oldest is None:
            return False
        del self._entering[oldest]
        return oldest.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            signed = await asyncio.wait_for(self._enter(reader, writer), _SIGN_IN_SECONDS)
        except TimeoutError:
            return
        except (Left, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - as after the sign-in: else it is `internal`
            writer.write(message(b"E", fault_of(error, severity="FATAL").body()))
            with contextlib.suppress(OSError):
                await writer.drain()
            return
        if signed is not None:
            task = asyncio.current_task()
            assert task is not None
            self._entering.pop(task, None)
            await self._converse(reader, writer, signed)

    async def _enter(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> SignedIn | None:
        first = await read_first(reader, writer, self._tls)
        if isinstance(first, CancelKey):
            self._cancel(first)
            return None
        address = _address(writer)
        if first.is_encrypted:
            shown = name_in(writer.get_extra_info("peercert"))
            first = replace(first, binding=self._binding, certificate=shown)
        first = replace(first, address=address)
        may_be_clear = not self._asks_certificate
        require_private(
            first, may_be_clear and _is_local(address), may_be_clear and self._settings.plaintext
        )
        writer.write(negotiation(first))
        if self._draining:
            raise Broken("57P03", "The gateway is going down.", "Connect again later.")
        if len(self._connections) >= self._settings.connections:
            raise Broken("53300", "All connections are taken.", "Close one, or try again later.")
        loop = asyncio.get_running_loop()
        return await sign_in(
            reader, writer, first, self._opened.identity,
            lambda call: loop.run_in_executor(self._pool, call),
        )  # fmt: skip

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, signed: SignedIn
    ) -> None:
        pid, secret = self._new_pid(), secrets.randbits(32)
        try:
            state = self._state(signed, pid, _address(writer))
        except (SqluiceError, WireError) as error:
            writer.write(message(b"E", fault_of(error, severity="FATAL").body()))
            await writer.drain()
            return
        writer.transport.set_write_buffer_limits(high=_HIGH_WATER)
        link = Link(reader, writer)
        link.stall_seconds = self._opened.limits.seconds
        catalog = CatalogSession(self._opened, self._databases, state, self._speakers)
        runner = Runner(self._opened, self._pool, link, state, catalog)
        connection = Connection(link, state, runner, self._settings.idle_seconds)
        self._connections[pid] = (secret, connection)
        self._speakers.enter(state)
        try:
            link.send(welcome())
            for name, value in state.settings.changed():
                link.send(parameter_status(name, value))
            link.send(message(b"K", pid.to_bytes(4, "big") + secret.to_bytes(4, "big")))
            link.send(message(b"Z", b"I"))
            await link.flush()
            await connection.serve()
        finally:
            self._speakers.leave(state)
            del self._connections[pid]

    def _state(self, signed: SignedIn, pid: int, address: str) -> State:
        start = signed.start
        session = Session(
            signed.principal, endpoint=ENDPOINT, limits=self._opened.limits, address=address
        )
        given = dict(start.settings)
        # Clients send the user's name where no database was given.
        if start.database != start.user:
            given.setdefault("domain", start.database)
        try:
            settings = ClientSettings(session, start.user, start.database, given)
        except SqluiceError as error:
            raise Broken("22023", error.message, error.remedy) from None
        return State(settings, signed.renew, pid)

    def _new_pid(self) -> int:
        while True:
            pid = secrets.randbelow(2**31 - 1) + 1
            if pid not in self._connections:
                return pid

    def _cancel(self, key: CancelKey) -> None:
        """Of a key that does not fit nothing is said."""
        secret, connection = self._connections.get(key.pid, (0, None))
        given = (key.secret & 0xFFFF_FFFF).to_bytes(4, "big")
        if connection is not None and secrets.compare_digest(secret.to_bytes(4, "big"), given):
            connection.cancel()


class PgwireEndpoint:
    """The server in a thread of its own."""

    def __init__(self, opened: OpenGateway, host: str, port: int) -> None:
        self._server = PgwireServer(opened)
        self._place = (host, port)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._port = 0
        self._drain_seconds = _DRAIN_SECONDS
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="pgwire", daemon=True)

    def start(self) -> int:
        """Serve; gives the port. Raises InvalidConfig where that cannot be had."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise InvalidConfig(
                f"The port {self._place[1]} of {self._place[0]} cannot be had.",
                hint="Stop what uses it, or give --pgwire-port.",
                private=str(self._error),
            )
        return self._port

    def stop(self, seconds: float = _DRAIN_SECONDS) -> None:
        """Drain, no longer than that, then shut down; whoever comes meanwhile is told so."""
        if self._thread.is_alive():
            self._drain_seconds = seconds
            with contextlib.suppress(RuntimeError):  # the loop has ended since
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(seconds + 4.0)

    def _run(self) -> None:
        try:
            # It ends every task before the loop: those that cancel, feed and close too.
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._main())
        finally:
            self._ready.set()

    async def _main(self) -> None:
        try:
            listening = await self._server.listen(*self._place)
        except OSError as error:
            self._error = error
            return
        self._port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        await self._server.drain(self._drain_seconds)
        listening.close()


def _address(writer: asyncio.StreamWriter) -> str:
    peer = writer.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _keep_alive(held: socket.socket | None) -> None:
    if held is None:
        return
    held.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    held.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            held.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
