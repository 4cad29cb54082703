"""How a gateway goes down: what runs may end, nothing new begins.

Takes: an open gateway, what else is to end meanwhile, the loop on which a signal arrives. Gives: on
SIGTERM a time in which running statements end on every endpoint while new ones are refused with a
code that says to try elsewhere; what runs on is cancelled. Then HTTP's own server is told to stop,
which waits for clients: those that do not read are left after some seconds. Never waits longer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

from gateway.queries import Queries

log = logging.getLogger("gateway.serve")
# For what has been made and not been read; whoever reads needs far less.
_HTTP_SECONDS = 3.0


class Ending:
    """Once: a second signal changes nothing."""

    def __init__(
        self,
        queries: Queries,
        others: Sequence[Callable[[float], None]],
        close: Callable[[], None],
        seconds: float,
        stop: Callable[[], None] | None = None,
    ) -> None:
        """`others` end by themselves within so many seconds, side by side with the statements.

        `close` gives back whatever the process holds; it may be called twice. `stop`, on the loop,
        tells the server of HTTP to stop; None: it is granian.
        """
        self._queries = queries
        self._others = others
        self._close = close
        self._seconds = seconds
        self._stop = stop
        self._began = False

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take SIGTERM over, once the server of HTTP has set its own handlers.

        Ctrl-C too, where no process of granian's stands between.
        """
        self._loop = loop
        loop.call_soon(lambda: loop.add_signal_handler(signal.SIGTERM, self._begin))
        if self._stop is not None:
            loop.call_soon(lambda: loop.add_signal_handler(signal.SIGINT, self._begin))

    def _begin(self) -> None:
        if not self._began:
            self._began = True
            threading.Thread(target=self._run, name="ending", daemon=True).start()

    def _run(self) -> None:
        try:
            self.drain()
        finally:
            self._loop.call_soon_threadsafe(self._stop or _stop_granian)
            time.sleep(_HTTP_SECONDS)
            # Still here: the server waits for somebody who does not read.
            self._close()
            os._exit(0)

    def drain(self) -> None:
        """Let end what runs; stop what still does afterwards."""
        ending = [
            threading.Thread(target=one, args=(self._seconds,), daemon=True) for one in self._others
        ]
        for one in ending:
            one.start()
        if not self._queries.drain(self._seconds):
            log.warning("statements are cancelled: the time to end is over")
            self._queries.cancel_all()
        for one in ending:
            one.join(self._seconds)


def _stop_granian() -> None:
    """The other signal that granian stops by; it was blocked so that Ctrl-C does not come twice."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.kill(os.getpid(), signal.SIGINT)
