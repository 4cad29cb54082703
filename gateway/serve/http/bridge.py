"""A WSGI application in threads, behind ASGI: one hand-over each way for a short request.

Takes: the application, a number of threads; what a request receives and how its answer is sent.
Gives: the answer, whole where its thread is done soon, else piece by piece as it comes. Never holds
more of an answer than a piece beyond what is being sent, and never blocks the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from a2wsgi.wsgi import Body, build_environ

# Longer bodies are read by the thread, when the application has found that it wants them.
_SHORT_BODY = 64 * 1024
# So much of an answer is gathered before it is sent, unless it takes longer than a moment.
_GATHERED = 64 * 1024
SOON_SECONDS = 0.01
Message = Mapping[str, object]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]
_Head = tuple[int, list[tuple[bytes, bytes]]]


class Bridge:
    """The threads in which the application runs."""

    def __init__(self, application: Wsgi, threads: int) -> None:
        self._application = application
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="WSGI")

    async def answer(
        self,
        scope: Mapping[str, Any],
        receive: Receive,
        send: Send,
        is_read: Callable[[], None] = lambda: None,
    ) -> None:
        """Have a request answered, and send what comes; `is_read` is told of a body's end."""
        loop = asyncio.get_running_loop()
        body = await _body(scope, receive, loop)
        environ = cast(dict[str, Any], build_environ(cast(Any, scope), cast(Any, body)))
        if isinstance(body, Body) and not environ.get("CONTENT_LENGTH"):
            # The server takes a body in chunks apart and tells its end.
            environ["wsgi.input_terminated"] = True
        if isinstance(body, io.BytesIO):
            is_read()
        exchange = _Exchange(loop)
        context = contextvars.copy_context()
        work = loop.run_in_executor(
            self._threads, context.run, exchange.run, self._application, environ
        )
        await exchange.send(send, work)


async def _body(
    scope: Mapping[str, Any], receive: Receive, loop: asyncio.AbstractEventLoop
) -> io.BytesIO | Body:
    """What is sent: here where it is short, which most are."""
    headers = dict(scope.get("headers", ()))
    told = headers.get(b"content-length", b"" if b"transfer-encoding" in headers else b"0")
    if not told.isdigit() or int(told) > _SHORT_BODY:
        return Body(loop, cast(Any, receive))
    parts: list[bytes] = []
    left = int(told)
    while left > 0:
        message = await receive()
        part = cast(bytes, message.get("body", b""))
        parts.append(part)
        left -= len(part)
        if not message.get("more_body", False):
            break
    return io.BytesIO(b"".join(parts))


class _Exchange:
    """One answer between the thread that makes it and the loop that sends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._news = asyncio.Event()
        self._room = threading.Condition()
        self._pieces: list[bytes] = []
        self._size = 0
        self._head: _Head | None = None
        self._is_streaming = False
        self._is_told = False
        self._is_abandoned = False

    def run(self, application: Wsgi, environ: dict[str, Any]) -> None:
        """In a thread: the application, whose pieces end where nobody takes them."""
        made = application(environ, self._start)
        try:
            for piece in made:
                if not self._put(piece):
                    return
        finally:
            getattr(made, "close", lambda: None)()

    def _start(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        self._head = (
            int(status.partition(" ")[0]),
            [
                (name.strip().lower().encode("latin1"), value.strip().encode("latin1"))
                for name, value in headers
            ],
        )
        return self._put

    def _put(self, piece: bytes) -> bool:
        """Leave a piece for the loop, and wait where it has enough; False: nobody takes it."""
        with self._room:
            self._pieces.append(piece)
            self._size += len(piece)
            if self._is_streaming or self._size >= _GATHERED:
                self._tell()
            while self._size >= _GATHERED and not self._is_abandoned:
                self._room.wait()
            return not self._is_abandoned

    def _tell(self) -> None:
        if not self._is_told and not self._is_abandoned:
            self._is_told = True
            self._loop.call_soon_threadsafe(self._news.set)

    def _begin_streaming(self) -> None:
        with self._room:
            self._is_streaming = True
            if self._pieces:
                self._news.set()

    async def send(self, send: Send, work: asyncio.Future[None]) -> None:
        """On the loop: what there is, until the thread is done and all of it is sent."""
        work.add_done_callback(lambda _: self._news.set())
        timer = self._loop.call_later(SOON_SECONDS, self._begin_streaming)
        has_begun = False
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                is_last = work.done()
                pieces = self._take()
                if is_last:
                    # Whatever failed is told before anything else is sent.
                    work.result()
                if self._head is not None and not has_begun:
                    has_begun = True
                    status, headers = self._head
                    await send({
                        "type": "http.response.start", "status": status, "headers": headers,
                    })  # fmt: skip
                await _send_pieces(send, pieces, is_last)
                if is_last:
                    return
        finally:
            timer.cancel()
            self._abandon()

    def _take(self) -> list[bytes]:
        with self._room:
            pieces, self._pieces, self._size = self._pieces, [], 0
            self._is_told = False
            self._room.notify()
        return pieces

    def _abandon(self) -> None:
        with self._room:
            self._is_abandoned = True
            self._room.notify()


async def _send_pieces(send: Send, pieces: list[bytes], is_last: bool) -> None:
    """Small ones go together; a large one is not copied."""
    if sum(map(len, pieces)) <= _GATHERED:
        pieces = [b"".join(pieces)]
    for place, one in enumerate(pieces, 1):
        is_end = is_last and place == len(pieces)
        if one or is_end:
            await send({"type": "http.response.body", "body": one, "more_body": not is_end})
