"""Failed sign-ins are slowed, for each user and address, within bounds.

Takes: what somebody signs in with and from where. Gives: a turn to try, later and later after
failures.
Never locks anybody out for long, never keeps more than a bounded number of names, and treats
unknown names like known ones.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from threading import Lock

from gateway.errors import RateLimited

_FIRST_DELAY = 0.1
_FORGET_SECONDS = 900.0
_KEPT_NAMES = 10_000
_WAITING = 8


def near(address: str) -> str:
    """What stands for an address: who has one of IPv6 has the whole network of 64 bits."""
    try:
        found = ip_address(address.split("%", maxsplit=1)[0])
    except ValueError:
        return address[:64]
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or found.exploded[:19])


def _short(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(slots=True)
class _Record:
    failures: int = 0
    last: float = 0.0
    is_waiting: bool = False


@dataclass(slots=True)
class Attempt:
    """One try to sign in; whoever checks the password says how it went."""

    succeeded: bool = False


class Slowing:
    """After `free` failures each further try waits, twice as long each time, at most `longest`.

    While one try waits, others for the same name are told to come again: guessing side by side
    gains nothing. All in all at most eight threads wait.
    """

    def __init__(
        self,
        free: int,
        longest: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin with no failures."""
        self._free = free
        self._longest = longest
        self._clock = clock
        self._sleep = sleep
        self._lock = Lock()
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._waiting = 0

    @contextmanager
    def attempt(self, name: str) -> Iterator[Attempt]:
        """A turn to try; waits first where that is due. Raises RateLimited where many wait."""
        # A name is as long as its sender likes: what is kept of it is not.
        name = _short(name)
        delay = self._begin(name)
        attempt = Attempt()
        try:
            if delay:
                self._sleep(delay)
            yield attempt
        finally:
            self._end(name, delay, attempt.succeeded)

    def _delay(self, record: _Record | None) -> float:
        if record is None or self._clock() - record.last > _FORGET_SECONDS:
            return 0.0
        over = record.failures - self._free
        return min(self._longest, _FIRST_DELAY * 2.0 ** min(over, 30)) if over >= 0 else 0.0

    def _begin(self, name: str) -> float:
        with self._lock:
            record = self._records.get(name)
            delay = self._delay(record)
            if record is None or not delay:
                return 0.0
            if record.is_waiting or self._waiting >= _WAITING:
                raise RateLimited("Too many failed sign-ins.", retry_after=delay)
            record.is_waiting = True
            self._waiting += 1
            return delay

    def _end(self, name: str, delay: float, succeeded: bool) -> None:
        with self._lock:
            if delay:
                self._waiting -= 1
            if succeeded:
                self._records.pop(name, None)
                return
            record = self._records.get(name)
            now = self._clock()
            if record is None or now - record.last > _FORGET_SECONDS:
                record = _Record()
            self._records[name] = record
            self._records.move_to_end(name)
            record.failures += 1
            record.last = now
            if delay:
                record.is_waiting = False
            if len(self._records) > _KEPT_NAMES:
                self._records.popitem(last=False)
