"""A link that is slow: a proxy on loopback in front of a server, as a program of its own.

Takes: as arguments the server's host and port, the latency of a round trip in milliseconds and the
bandwidth in megabits a second. Gives: on standard output its port, then for each line of standard
input the bytes that came from the server so far. All connections share one bandwidth, each way.
Never changes a byte; knows nothing of the project.

    python slow_link.py 127.0.0.1 5432 20 100
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine
from dataclasses import dataclass

_PIECE = 16 * 1024
# Pieces that are on their way at most; whoever sends more waits.
_UNDERWAY = 64


@dataclass(slots=True)
class Way:
    """One direction. `free`: when its wire is free again; `passed`: bytes."""

    latency: float
    bytes_per_second: float
    free: float = 0.0
    passed: int = 0

    def due(self, size: int) -> float:
        """When so many bytes that come now will have arrived."""
        now = asyncio.get_running_loop().time()
        self.free = max(self.free, now) + size / self.bytes_per_second
        self.passed += size
        return self.free + self.latency


async def _carry(way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All that one side says, late."""
    underway: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_UNDERWAY)

    async def deliver() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, piece = await underway.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                return
            writer.write(piece)
            await writer.drain()

    async def accept() -> None:
        while piece := await reader.read(_PIECE):
            await underway.put((way.due(len(piece)), piece))
        await underway.put((way.due(0), b""))

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(accept())
            group.create_task(deliver())
    except* OSError:
        pass
    finally:
        writer.close()


async def serve(host: str, port: int, latency: float, bytes_per_second: float) -> None:
    """Carry until the input ends."""
    up, down = (Way(latency / 2, bytes_per_second) for _ in range(2))

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await _both(_carry(up, reader, far_writer), _carry(down, far_reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    _tell(server.sockets[0].getsockname()[1])
    while await asyncio.to_thread(sys.stdin.readline):
        _tell(down.passed)


async def _both(one: Coroutine[None, None, None], other: Coroutine[None, None, None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(one, other)


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    host_, port_, milliseconds, megabits = sys.argv[1:]
    asyncio.run(
        serve(host_, int(port_), float(milliseconds) / 1000, float(megabits) * 1_000_000 / 8)
    )
