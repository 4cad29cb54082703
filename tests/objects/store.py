"""An S3 server in this process (moto), which counts what leaves it and can be made to misbehave.

Takes: nothing. Gives: a `Store` on a free port of loopback. Never speaks to anything else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server import werkzeug_app
from moto.s3.models import s3_backends
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "data-lake"
Answer = Iterable[bytes]
_DENIED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code>'
    b"<Message>Access Denied</Message></Error>"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to the server."""

    method: str
    path: str
    range: str
    authorization: str
    size: int


@dataclass(slots=True)
class Store:
    """The server; `before` is called with method and path before each request is answered.

    Where `denies` says so, the answer is that whoever asks may not.
    """

    application: Any = field(default_factory=lambda: werkzeug_app.DomainDispatcherApplication(
        werkzeug_app.create_backend_app
    ))  # fmt: skip
    asked: list[Asked] = field(default_factory=list)
    before: Callable[[str, str], None] = lambda method, path: None
    denies: Callable[[str, str], bool] = lambda method, path: False
    port: int = 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Answer:
        """Answer a request, and count the bytes of its body."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.before(method, path)
        if self.denies(method, path):
            body = b"" if method == "HEAD" else _DENIED
            start("403 Forbidden", [("Content-Type", "application/xml"),
                                    ("Content-Length", str(len(body)))])  # fmt: skip
        else:
            body = b"".join(self.application(environ, start))
        self.asked.append(
            Asked(
                method, path, environ.get("HTTP_RANGE", ""),
                environ.get("HTTP_AUTHORIZATION", ""), len(body),
            )
        )  # fmt: skip
        return [body]

    @property
    def bytes_read(self) -> int:
        """Bytes of objects that left the server."""
        return sum(one.size for one in self.asked if one.method == "GET" and one.range)

    @property
    def settings(self) -> dict[str, str]:
        """How a source reaches it."""
        return {
            "store": "s3", "bucket": BUCKET, "endpoint": f"127.0.0.1:{self.port}",
            "access_key": "reader", "secret_key": "not-told",
        }  # fmt: skip

    @property
    def held(self) -> Any:  # noqa: ANN401 - moto has no types for it
        """What the server holds, behind its protocol."""
        return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]

    def put(self, name: str, content: bytes) -> None:
        """Write an object."""
        self.held.put_object(BUCKET, name, content)

    def content(self, name: str) -> bytes:
        """What an object holds."""
        return bytes(self.held.get_object(BUCKET, name).value)

    def put_folder(self, folder: Path, prefix: str) -> None:
        """Write every file below a folder."""
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                self.put(f"{prefix}/{one.relative_to(folder).as_posix()}", one.read_bytes())

    def remove(self, name: str) -> None:
        """Remove an object."""
        self.held.delete_object(BUCKET, name)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[Store]:
    """A server until the end of the block."""
    store = Store()
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=_Quiet)
    store.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        if BUCKET not in store.held.buckets:  # moto holds one world for a process
            store.held.create_bucket(BUCKET, "us-east-1")
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)
