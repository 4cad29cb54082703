"""What the system holds of a connection: little, and nothing of it leaves once that is cut.

Takes: a socket. Gives: settings of it. Never closes it.
"""

from __future__ import annotations

import contextlib
import socket
import struct

_AT_ONCE = struct.pack("ii", 1, 0)
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
