"""All endpoints of one gateway in one process.

Takes: settings. Gives: a granian server with one worker (where clients show certificates: uvicorn),
in which the Flask application, the Flight SQL server and the PostgreSQL wire live side by side.
Never starts on a broken mesh, never leaves a thread behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import Interfaces

from gateway.config import Config, Endpoint, ServeOptions, load_config
from gateway.errors import InvalidConfig, SqluiceError
from gateway.logs import configure_logs
from gateway.opening import open_gateway, settle
from gateway.publish import build_snapshot
from gateway.serve.ending import Ending
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.http.application import make_application
from gateway.serve.http.certified import serve_certified
from gateway.serve.http.leaving import behind_asgi
from gateway.serve.pgwire.server import PgwireEndpoint
from gateway.serve.tls import TlsFiles, tls_files

_PLACE = "SQLUICE_SERVE"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# A thread that computes lets others go on after so long: what is soon done, such as the commit of
# the audit that a statement waits for, waits for each of them several times.
_SWITCH_SECONDS = 0.001
# One waits for each client of HTTP that reads slowly; they are made when they are needed.
_THREADS = 160
# From the end of all statements to the end of the process.
_KILL_SECONDS = 20


def run(config: Config, options: ServeOptions) -> int:
    """Serve until a signal says stop; raises InvalidConfig where that cannot begin."""
    build_snapshot(config.folder)
    is_encrypted = tls_files(config) is not None
    http = _chosen(config.http, options.host, options.http_port, is_encrypted)
    with contextlib.ExitStack() as holding:
        if http.port == 0:
            http = _held(http, holding)
        return _serve(config, options, http, holding)


def _serve(
    config: Config, options: ServeOptions, http: Endpoint, holding: contextlib.ExitStack
) -> int:
    files = tls_files(config)
    is_encrypted = files is not None
    flight = _chosen(config.flight, options.host, options.flight_port, is_encrypted)
    pgwire = _chosen(config.pgwire, options.host, options.pgwire_port, is_encrypted)
    place = {
        "conf": str(config.folder),
        "watch": options.watch,
        "http": [http.host, http.port],
        "flight": [flight.host, flight.port] if flight.enabled else None,
        "pgwire": [pgwire.host, pgwire.port] if pgwire.enabled else None,
    }
    os.environ[_PLACE] = json.dumps(place)
    os.environ["SQLUICE_DATA"] = str(config.data)
    if files is not None and files.authorities is not None:
        # uvicorn does not share a port.
        holding.close()
        serve_certified(_opened_application, http.host, http.port, files)
        return 0
    server = Granian(
        "gateway.serve.app:create_application",
        address=http.host,
        port=http.port,
        workers=1,
        interface=Interfaces.ASGINL,
        factory=True,
        log_enabled=False,
        ssl_cert=None if files is None else files.certificate,
        ssl_key=None if files is None else files.key,
        workers_kill_timeout=math.ceil(config.serve.drain_seconds) + _KILL_SECONDS,
    )
    server.serve()
    return 0


def create_application() -> Callable[..., Any]:
    """What granian calls in its worker."""
    # Ctrl-C reaches the worker and its parent, which then says SIGTERM: a worker told twice hangs.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    return _opened_application()


def _opened_application(stop: Callable[[], None] | None = None) -> Callable[..., Any]:
    """The application; an error that stops the start is one line, no traceback."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        return _application(stop)
    except SqluiceError as error:
        sys.stderr.write(f"{error.code}: {error.message}\n{error.remedy}\n")
        sys.stderr.flush()
        sys.exit(1)


def _application(stop: Callable[[], None] | None) -> Callable[..., Any]:
    """Open the gateway, start the other endpoints, give the application."""
    place = json.loads(os.environ[_PLACE])
    config = load_config(Path(place["conf"]))
    configure_logs(config.log.level)
    opened = open_gateway(config, watch=place["watch"])
    closers: list[Callable[[], None]] = [opened.close]
    flight_url = "off"
    if place["flight"] is not None:
        host, port = place["flight"]
        endpoint = FlightEndpoint(opened, host, port)
        flight_url = f"{endpoint.scheme}://{host}:{endpoint.start()}"
        closers.append(endpoint.stop)
    pgwire_url, draining = "off", list[Callable[[float], None]]()
    if place["pgwire"] is not None:
        host, port = place["pgwire"]
        wire = PgwireEndpoint(opened, host, port)
        pgwire_url = f"postgresql://{host}:{wire.start()}"
        closers.append(wire.stop)
        draining.append(wire.stop)

    closing = threading.Lock()

    def close() -> None:
        with closing:
            while closers:
                closers.pop()()

    ending = Ending(opened.queries, draining, close, config.serve.drain_seconds, stop)
    ending.listen(asyncio.get_event_loop())
    # A forked worker runs no atexit handlers, but these.
    Finalize(None, close, exitpriority=100)
    host, port = place["http"]
    threading.Thread(
        target=_tell_ready,
        args=(host, port, flight_url, pgwire_url, tls_files(config)),
        daemon=True,
    ).start()
    application = make_application(opened)
    settle()
    return behind_asgi(application, _THREADS)


def _tell_ready(host: str, port: int, flight: str, pgwire: str, files: TlsFiles | None) -> None:
    """One line for whoever waits, once HTTP answers, or with TLS takes a connection."""
    http = f"{'http' if files is None else 'https'}://{host}:{port}"
    for _ in range(200):
        try:
            if files is None:
                with urllib.request.urlopen(f"{http}/healthz", timeout=2) as answer:
                    answer.read()
            else:
                socket.create_connection((host, port), timeout=2).close()
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    sys.stdout.write(f"ready http={http} flight={flight} pgwire={pgwire} pid={os.getpid()}\n")
    sys.stdout.flush()


def _chosen(endpoint: Endpoint, host: str | None, port: int | None, is_encrypted: bool) -> Endpoint:
    """The address to listen on; a port that is taken is an error. 0 is chosen by who listens."""
    address = host or endpoint.host
    wanted = endpoint.port if port is None else port
    if not endpoint.enabled:
        return endpoint
    if address not in _LOOPBACK and not is_encrypted:
        raise InvalidConfig(
            f"{address} is not loopback, and the gateway has no certificate to speak TLS there.",
            hint="Name certificate and key in [tls] of gateway.toml, or put a TLS proxy on this "
            "machine in front of it, and listen on 127.0.0.1.",
        )
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, wanted))
        except OSError:
            raise InvalidConfig(
                f"Port {wanted} of {address} is taken.",
                hint="Stop what uses it, or give --http-port, --flight-port and --pgwire-port.",
            ) from None
        return Endpoint(address, wanted, endpoint.enabled)


def _held(endpoint: Endpoint, holding: contextlib.ExitStack) -> Endpoint:
    """A free port of one's own until the end: granian is told a port before it listens.

    What was only looked at could meanwhile be given to another connection of this machine.
    """
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    held = holding.enter_context(socket.socket(family))
    if hasattr(socket, "SO_REUSEPORT"):
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((endpoint.host, 0))
    port = held.getsockname()[1]
    if sys.platform != "linux":
        # Elsewhere two sockets of one port may share what comes in.
        held.close()
    return Endpoint(endpoint.host, port, endpoint.enabled)
