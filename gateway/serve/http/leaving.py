"""Flask behind ASGI, so that a client who leaves is noticed whatever his request waits for.

Takes: the Flask application and a number of threads. Gives: the ASGI application that granian
serves; a handler calls `when_gone` with what stops its work, which is called until that has ended:
what it is to stop may begin a moment later. Never leaves a thread waiting for a
socket that is closed, never begins what nobody waits for any more. A request that is answered at
once is not watched.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.serve.http.bridge import SOON_SECONDS, Bridge, Message, Wsgi

log = logging.getLogger("gateway.http")

KEY = "sqluice.gone"
_AGAIN_SECONDS = 0.1
_GONE: Mapping[str, object] = {"type": "http.disconnect"}


def when_gone(environ: Mapping[str, Any], callback: Callable[[], object]) -> None:
    """Call back, again and again, if the client of a request leaves before his answer is whole.

    For a handler that has read the body of its request.
    """
    scope = environ.get("asgi.scope")
    if scope is not None:
        scope[KEY].when_gone(callback)


def when_sent(environ: Mapping[str, Any], callback: Callable[[], None]) -> bool:
    """Call back when the server has taken all of an answer; False: nobody knows when that is."""
    scope = environ.get("asgi.scope")
    if scope is not None:
        scope[KEY].when_over(callback)
    return scope is not None


def behind_asgi(application: Wsgi, threads: int) -> Callable[..., Any]:
    """The ASGI application of a WSGI application, which runs in threads."""
    bridge = Bridge(_stopping(application), threads)

    async def served(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        connection = _Connection(receive, send, asyncio.get_running_loop())
        seen = {**scope, KEY: connection}
        try:
            await bridge.answer(
                seen, connection.receive, connection.send, connection.wait_for_thread
            )
        finally:
            connection.close()

    return served


def _stopping(application: Wsgi) -> Wsgi:
    """The application, whose pieces end where nobody takes them."""

    def pieces(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:  # noqa: ANN401 - WSGI
        connection = environ["asgi.scope"][KEY]
        if not connection.begin():
            # He left while all threads were busy.
            return
        made = application(environ, start_response)
        try:
            for piece in made:
                if connection.is_gone:
                    return
                yield piece
        finally:
            getattr(made, "close", lambda: None)()

    return pieces


class _Connection:
    """One request's side of the wire. What is async, and what begins with `_`, runs on the loop."""

    def __init__(self, receive: Any, send: Any, loop: asyncio.AbstractEventLoop) -> None:  # noqa: ANN401 - ASGI
        self._receive = receive
        self._send = send
        self._loop = loop
        self._watch: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []
        self._is_late = self._is_waiting = self._is_stopping = False
        self._has_ended = threading.Event()
        self._timer = loop.call_later(SOON_SECONDS, self._late)
        self._at_end: list[Callable[[], None]] = []
        self.is_gone = False

    def when_gone(self, callback: Callable[[], object]) -> None:
        """Call back when the client leaves, or has left, until the request ends."""
        with self._lock:
            is_gone, is_late = self.is_gone, self._is_late
            self._callbacks.append(callback)
        if is_gone:
            self._begin_stopping()
        elif is_late:
            self._loop.call_soon_threadsafe(self._begin_watch)

    def when_over(self, callback: Callable[[], None]) -> None:
        """Call back when the answer has been sent, or nothing more will be."""
        self._at_end.append(callback)

    def wait_for_thread(self) -> None:
        """The body is here, and who answers not yet: somebody may leave before he comes."""
        self._is_waiting = True
        if self._is_late:
            self._begin_watch()

    def begin(self) -> bool:
        """In a thread: whether anybody still waits for it."""
        self._is_waiting = False
        return not self.is_gone

    async def receive(self) -> Message:
        """The body's next part; nothing more once somebody waits for the client to leave."""
        if self._watch is not None:
            return _GONE
        message: Message = await self._receive()
        if message["type"] == "http.disconnect":
            self._left()
        return message

    async def send(self, message: Message) -> None:
        """A part of the answer. What a closed socket does not take is dropped."""
        if self.is_gone:
            return
        try:
            await self._send(message)
        except (RuntimeError, OSError):  # how granian says that a socket is closed
            self._left()

    def close(self) -> None:
        """The answer is whole, or nobody waits for it: nothing more is called back."""
        self._timer.cancel()
        self._has_ended.set()
        for one in self._at_end:
            one()
        with self._lock:
            self._callbacks.clear()
        if self._watch is not None:
            self._watch.cancel()

    def _late(self) -> None:
        """It takes longer than a moment: from now on it is seen whether the client leaves."""
        with self._lock:
            self._is_late = True
            is_wanted = bool(self._callbacks) or self._is_waiting
        if is_wanted:
            self._begin_watch()

    def _begin_watch(self) -> None:
        if self._watch is None and not self.is_gone:
            self._watch = self._loop.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        with self._lock:
            self.is_gone = True
            is_wanted = bool(self._callbacks)
        if is_wanted:
            self._begin_stopping()

    def _begin_stopping(self) -> None:
        with self._lock:
            if self._is_stopping or self._has_ended.is_set():
                return
            self._is_stopping = True
        # What stops a query may wait for a source: never on the loop.
        threading.Thread(target=self._stop, name="client-left", daemon=True).start()

    def _stop(self) -> None:
        while True:
            with self._lock:
                callbacks = tuple(self._callbacks)
            for callback in callbacks:
                try:
                    callback()
                except Exception:  # the others must hear of it all the same, and it is told
                    log.exception("stopping the work for a client who left failed")
            if self._has_ended.wait(_AGAIN_SECONDS):
                return
