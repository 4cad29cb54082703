"""A loopback proxy that breaks what passes through it.

Takes: a port to forward to. Gives: a port of its own and, from the moment it is told, one fault:
connections refused, reset, or stalled once so many bytes have come from the server. Never listens
elsewhere than on loopback; `close` ends all of its threads.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

HOST = "127.0.0.1"
_BLOCK = 16_384
_AT_ONCE = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards until it is told to break. `target` may change when a server moves."""

    def __init__(self, target: int) -> None:
        """Listen."""
        self.target = target
        self._fault: tuple[str, int] | None = None
        self._open: set[socket.socket] = set()
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def break_after(self, kind: str, size: int) -> None:
        """From now on `reset` or `stall` each connection after so many bytes from the server."""
        self._fault = (kind, size)
        self._released.clear()

    def mend(self) -> None:
        """Forward again; what was stalled is closed."""
        self._fault = None
        self._released.set()

    def refuse(self) -> None:
        """Listen no more, and reset what is open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop_all()

    def close(self) -> None:
        """End everything."""
        self.mend()
        self.refuse()

    def _drop_all(self) -> None:
        with self._lock:
            held, self._open = self._open, set()
        for one in held:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                try:
                    far = socket.create_connection((HOST, self.target), timeout=5)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                with self._lock:
                    self._open |= {near, far}
                for one, other, is_answer in ((near, far, False), (far, near, True)):
                    threading.Thread(
                        target=self._forward, args=(one, other, is_answer), daemon=True
                    ).start()

    def _forward(self, one: socket.socket, other: socket.socket, is_answer: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while block := one.recv(_BLOCK):
                passed += len(block)
                kind, size = self._fault or ("", 0)
                if is_answer and kind and passed > size:
                    if kind == "reset":
                        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                        break
                    self._released.wait()
                    break
                other.sendall(block)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open -= {one, other}
        one.close()
        other.close()
