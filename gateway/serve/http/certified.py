"""HTTP where clients show certificates: by a server that tells the application whose.

Takes: what makes the ASGI application, an address, the files of TLS. Gives: HTTP until it is told
to stop; each request's scope names the certificate of its connection. Never believes a header about
who calls or from where. granian serves wherever no certificates are asked for (ADR 10).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.serve.tls import SHOWN, TlsFiles, name_in

# As granian: whoever does not read is left by the ending of the process.
_GRACE_SECONDS = 60
Application = Callable[..., Any]


def serve_certified(
    make: Callable[[Callable[[], None]], Application], host: str, port: int, files: TlsFiles
) -> None:
    """Serve until `make`'s argument is called, on the loop of this thread."""
    asyncio.run(_serve(make, host, port, files))


async def _serve(
    make: Callable[[Callable[[], None]], Application], host: str, port: int, files: TlsFiles
) -> None:
    def stop() -> None:
        server.should_exit = True

    settings = Config(
        make(stop), host, port,
        ssl_certfile=files.certificate, ssl_keyfile=files.key,
        ssl_ca_certs=str(files.authorities), ssl_cert_reqs=ssl.CERT_REQUIRED,
        http=_Telling, ws="none", lifespan="off", interface="asgi3", loop="asyncio",
        log_config=None, log_level="warning", access_log=False, server_header=False,
        # Who calls is told by the connection alone.
        proxy_headers=False, timeout_graceful_shutdown=_GRACE_SECONDS,
    )  # fmt: skip
    server = Server(settings)
    await server.serve()


class _Telling(H11Protocol):
    """One connection, whose requests name its certificate."""

    # uvicorn's class takes a stream's transport, where asyncio's protocols take any.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Read it once: it holds as long as the connection."""
        super().connection_made(transport)
        inner, name = self.app, name_in(transport.get_extra_info("peercert"))

        async def told(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
            await inner({**scope, SHOWN: name}, receive, send)

        self.app = told
