"""What the system holds of a connection that is about to be closed: none of it leaves any more.

Takes: a socket, or the address of a client whose socket somebody else holds. Gives: a close that
resets the connection. Never closes anything itself. Without effect where the system has no /proc.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

_AT_ONCE = struct.pack("ii", 1, 0)
_DESCRIPTORS = Path("/proc/self/fd")
# So much lies in the system unsent while a client does not read; the rest waits where it can be
# taken back. What is on its way is not counted, so that distant clients are as fast as before.
_UNSENT = 131_072


def hold_little(one: socket.socket) -> None:
    """From now on the system takes no more ahead than a little."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)


def reset_at_close(one: socket.socket) -> None:
    """Whoever closes it sends nothing more."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)


def forget_unsent(client: Sequence[object] | None) -> None:
    """The same for the connection of a client, by his address and port."""
    if client is None or not _DESCRIPTORS.is_dir():
        return
    for one in _sockets():
        with contextlib.suppress(OSError):
            if list(one.getpeername()[:2]) == list(client[:2]):
                reset_at_close(one)


def _sockets() -> Iterator[socket.socket]:
    for name in os.listdir(_DESCRIPTORS):
        try:
            number = os.dup(int(name))
        except OSError:
            continue
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            os.close(number)
            continue
        with contextlib.suppress(OSError), socket.socket(fileno=number) as one:
            yield one
