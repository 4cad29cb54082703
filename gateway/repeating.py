"""What is done again and again beside everything else.

Takes: a call, seconds. Gives: what stops it. Never runs two of one kind at once, and never keeps
the process alive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

_LEAVING_SECONDS = 10.0


def repeat(
    act: Callable[[], object], seconds: float, name: str, patience: float = _LEAVING_SECONDS
) -> Callable[[], None]:
    """Call `act` every so many seconds on a thread of that name, from the first pause on.

    Gives what stops it, which waits up to `patience` seconds for a call that runs.
    """
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(seconds):
            act()

    worker = threading.Thread(target=run, name=name, daemon=True)
    worker.start()

    def close() -> None:
        stop.set()
        worker.join(timeout=patience)

    return close
