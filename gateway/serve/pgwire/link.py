"""The two directions of one connection.

Takes: a reader and a writer. Gives: messages in their order, as many ahead as a bound lets; what is
sent leaves when it is flushed, as fast as the client reads. Never holds more than those bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from gateway.serve.pgwire.faults import Broken, Left, WireError
from gateway.serve.pgwire.messages import read_message
from gateway.serve.pgwire.unsent_bytes import hold_little, reset_at_close

_MOST_AHEAD = 1_048_576
_COST_OF_ONE = 200
_SEND_AT = 262_144
_TAKEN_AT_ONCE = 64
Item = tuple[bytes, bytes] | Exception


class Link:
    """A connection whose client has signed in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        if (held := writer.get_extra_info("socket")) is not None:
            hold_little(held)
        self._inbox: asyncio.Queue[tuple[Item, int]] = asyncio.Queue()
        self._ahead = 0
        self._taken = 0
        self._room = asyncio.Event()
        self._room.set()
        self._out: list[bytes | memoryview] = []
        self._size = 0
        self._written = 0
        self.stall_seconds = 300.0
        self.is_gone = False

    async def feed(self, gone: Callable[[], None]) -> None:
        """Read messages until there are no more; `gone` is told when the client has left."""
        try:
            while True:
                await self._room.wait()
                kind, body = await read_message(self._reader)
                self._put((kind, body), len(body) + _COST_OF_ONE)
        except Left as error:
            self.is_gone = True
            gone()
            self._put(error, 0)
        except WireError as error:
            self._put(error, 0)

    def interrupt(self, error: Exception) -> None:
        """An error in the place of a message that comes behind all others."""
        self._put(error, 0)

    async def next(self, seconds: float) -> tuple[bytes, bytes]:
        """The next message; Broken where none comes in time."""
        if self._inbox.empty():
            item, cost = await self._awaited(seconds)
            self._taken = 0
        else:
            item, cost = self._inbox.get_nowait()
            self._taken += 1
            if self._taken % _TAKEN_AT_ONCE == 0:
                # One client that sends without an end is not to be served alone.
                await asyncio.sleep(0)
        self._ahead -= cost
        if self._ahead <= _MOST_AHEAD:
            self._room.set()
        if isinstance(item, Exception):
            raise item
        return item

    async def _awaited(self, seconds: float) -> tuple[Item, int]:
        try:
            async with asyncio.timeout(seconds or None):
                return await self._inbox.get()
        except TimeoutError:
            raise Broken(
                "57P05", "The connection was idle for too long.", "Connect again."
            ) from None

    def _put(self, item: Item, cost: int) -> None:
        self._ahead += cost
        if self._ahead > _MOST_AHEAD:
            self._room.clear()
        self._inbox.put_nowait((item, cost))

    def send(self, content: bytes | memoryview) -> None:
        """Lay bytes ready."""
        self._out.append(content)
        self._size += len(content)

    @property
    def is_full(self) -> bool:
        """Whether enough lies ready to be sent."""
        return self._size >= _SEND_AT

    @property
    def laid(self) -> int:
        """How many bytes were ever laid ready."""
        return self._written + self._size

    def has_left(self, laid: int) -> bool:
        """Whether the system has taken all that was laid ready so far."""
        return self.left >= laid

    @property
    def left(self) -> int:
        """How many bytes the system has taken."""
        return self._written - self._writer.transport.get_write_buffer_size()

    def cut(self) -> None:
        """Drop the connection, and what the system holds of it."""
        held = self._writer.get_extra_info("socket")
        if held is not None:
            reset_at_close(held)
        self.abort()

    async def flush(self) -> None:
        """Send what lies ready; waits until the client has taken most of it."""
        self._written += self._size
        out, self._out, self._size = self._out, [], 0
        if self.is_gone:
            raise Left
        try:
            small: list[bytes | memoryview] = []
            for one in out:
                if len(one) < _SEND_AT:
                    small.append(one)
                    continue
                if small:
                    self._writer.write(b"".join(small))
                    small = []
                self._writer.write(one)
            if small:
                self._writer.write(b"".join(small))
            async with asyncio.timeout(self.stall_seconds):
                await self._writer.drain()
        except (OSError, RuntimeError):
            raise Left from None
        except TimeoutError:
            self.abort()
            raise Left from None

    def abort(self) -> None:
        """Drop the connection as it is."""
        transport = self._writer.transport
        if transport is not None:
            transport.abort()

    async def close(self) -> None:
        """Send what lies ready and close."""
        if not self.is_gone:
            with contextlib.suppress(Left):
                await asyncio.wait_for(self.flush(), 5.0)
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 5.0)
