"""What has to happen at a time, unless it is called off before.

Takes: seconds and a call. Gives: the call, in a thread of its own, when they have passed. One
thread waits for all of them: starting one for each statement costs more than many a statement.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

_KEPT = 1024


class Deadline:
    """A call that is due; `call_off` before that, and it never comes."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call
        self._lock = threading.Lock()

    @property
    def is_off(self) -> bool:
        """Whether nothing will come of it."""
        return self._call is None

    def call_off(self) -> None:
        """It does not come any more; nothing where it has come."""
        with self._lock:
            self._call = None

    def come(self) -> None:
        """Make the call, once, unless it was called off."""
        with self._lock:
            call, self._call = self._call, None
        if call is not None:
            threading.Thread(target=call, name="deadline", daemon=True).start()


class Deadlines:
    """Waits. Fit for any thread."""

    def __init__(self) -> None:
        """No thread runs before the first call."""
        self._waiting: list[tuple[float, int, Deadline]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._bound = _KEPT

    def after(self, seconds: float, call: Callable[[], None]) -> Deadline:
        """Make a call when so many seconds have passed."""
        made = Deadline(call)
        at = time.monotonic() + seconds
        with self._changed:
            if len(self._waiting) >= self._bound:
                self._drop_called_off()
            is_next = not self._waiting or at < self._waiting[0][0]
            heapq.heappush(self._waiting, (at, next(self._numbers), made))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif is_next:
                self._changed.notify()
        return made

    def _drop_called_off(self) -> None:
        """Most statements end long before their deadline, which would be kept until then."""
        self._waiting = [one for one in self._waiting if not one[2].is_off]
        heapq.heapify(self._waiting)
        self._bound = max(_KEPT, 2 * len(self._waiting))

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                left = self._waiting[0][0] - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                _, _, due = heapq.heappop(self._waiting)
            due.come()


DEADLINES = Deadlines()
