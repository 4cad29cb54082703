"""The socket that a driver opens for a connection, so that a server that falls silent is cut off.

Takes: a way to open a connection, the port it goes to. Gives: the connection, and a call that ends
its socket, from any thread. Never touches a socket that it did not see being opened, and does
nothing where the system does not list what a process holds open.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

_Opened = TypeVar("_Opened")
_Held = tuple[int, object, object]
_LISTED = Path("/proc/self/fd")
# One lock an address: a server that does not answer holds up nobody who waits for another.
_opening: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)


def with_cut(
    connect: Callable[[], _Opened], port: int, seconds: float | None = None
) -> tuple[_Opened, Callable[[], None]]:
    """The connection, and what ends its socket; after so many seconds it is opened no longer."""
    with _opening[port]:
        before = _held(port)
        late = threading.Timer(seconds or 0.0, lambda: _cut(_held(port) - before))
        late.daemon = True
        if seconds is not None:
            late.start()
        try:
            made = connect()
        finally:
            late.cancel()
        new = _held(port) - before
    return made, partial(_cut, new)


def _held(port: int) -> set[_Held]:
    """The sockets to a port: number, own address, peer's address."""
    if not _LISTED.is_dir():
        return set()
    numbers = [int(one) for one in os.listdir(_LISTED)]
    return {found for one in numbers if (found := _socket(one)) and found[2] == port}


def _socket(number: int) -> _Held | None:
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            return None
        with socket.socket(fileno=os.dup(number)) as one:
            return number, one.getsockname(), one.getpeername()[1]
    except (OSError, IndexError, TypeError):
        return None


def _cut(sockets: set[_Held]) -> None:
    for one in sockets:
        # The number may stand for something else by now.
        if _socket(one[0]) == one:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(one[0])) as found:
                found.shutdown(socket.SHUT_RDWR)
