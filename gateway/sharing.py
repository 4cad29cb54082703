"""The places of one source, shared by those who ask it.

Takes: how many places there are. Gives: a place to whoever holds few beside what is free. Never
gives anybody all of four or more: some are left for who comes next, at once. A spare place, which
nobody needs to go on, is given only while half of all stay free.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

Still = Callable[[], bool]
# Who holds fewer than so many times what is free gets one more: alone that is six of eight.
_TIMES_FREE = 3
# Seconds after which whoever waits looks whether he still should.
_LOOK = 0.1


class Sharing:
    """Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._held: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """How many places are taken."""
        return self._held.total()

    def acquire(self, who: str, seconds: float, still: Still = lambda: False) -> bool:
        """Take a place; False where there is none for him in time.

        The time counts anew as often as `still` says so; what that raises ends the waiting.
        """
        with self._changed:
            until = time.monotonic() + seconds
            while not self._may(who):
                now = time.monotonic()
                if still():
                    until = now + seconds
                elif now >= until:
                    return False
                self._changed.wait(min(until - now, _LOOK))
            self._held[who] += 1
            return True

    def acquire_spare(self, who: str) -> bool:
        """Take one more place beside another, at once and only while half of them stay free."""
        with self._changed:
            if 2 * (self._held.total() + 1) > self._most or not self._may(who):
                return False
            self._held[who] += 1
            return True

    def release(self, who: str) -> None:
        """Give one back."""
        with self._changed:
            self._held[who] -= 1
            if not self._held[who]:
                del self._held[who]
            self._changed.notify_all()

    def _may(self, who: str) -> bool:
        return self._held[who] < _TIMES_FREE * (self._most - self._held.total())
