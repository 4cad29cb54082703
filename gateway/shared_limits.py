"""One budget of requests for several gateways, in a store that they share.

Takes: the URI of a store that the package `limits` knows, such as `redis://host:6379/0`. Gives: yes
or no for each request, and when to come again. Never holds a gateway up for long: while the store
does not answer, each gateway counts for itself, and says so in its log.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from gateway.errors import InvalidConfig

log = logging.getLogger("gateway.limits")

_WINDOW_SECONDS = 2
_WAIT_SECONDS = 0.5
_REST_SECONDS = 5.0
_INSTALL = "Install it: pip install 'sqluice-gateway[shared-limits]'."


class SharedRate:
    """At most `rate` requests a second of each name, over a moving window of two seconds.

    Whole numbers are counted: a window is longer where the rate is small.
    """

    def __init__(self, uri: str, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is connected before the first request; raises InvalidConfig for another URI."""
        seconds = max(_WINDOW_SECONDS, math.ceil(1 / rate))
        amount = max(1, round(rate * seconds))
        # Late, since a gateway that counts for itself needs no such package.
        try:
            limits = import_module("limits")
        except ModuleNotFoundError:
            raise InvalidConfig(
                "The package for a shared store of limits is not installed.", hint=_INSTALL
            ) from None
        try:
            options = {
                "socket_timeout": _WAIT_SECONDS, "socket_connect_timeout": _WAIT_SECONDS,
            }  # fmt: skip
            storage = limits.storage.storage_from_string(uri, wrap_exceptions=True, **options)
        except (limits.errors.ConfigurationError, ValueError) as error:
            raise InvalidConfig(
                "[limits] storage cannot be used.",
                hint="Write redis://host:6379/0, or leave it empty to count in each gateway.",
                private=repr(error),
            ) from None
        self._failure: type[Exception] = limits.errors.StorageError
        self._item: Any = limits.RateLimitItemPerSecond(amount, seconds, "sqluice")
        self._window: Any = limits.strategies.MovingWindowRateLimiter(storage)
        self._clock = clock
        self._rests_until = -math.inf

    def wait_of(self, name: str) -> float | None:
        """Count a request: 0, or the seconds to wait; None where the store does not answer."""
        if self._clock() < self._rests_until:
            return None
        try:
            if self._window.hit(self._item, name):
                return 0.0
            until = float(self._window.get_window_stats(self._item, name).reset_time)
        except self._failure as error:
            self._rests_until = self._clock() + _REST_SECONDS
            log.warning(
                "the shared store of limits does not answer (%s): this gateway counts for itself",
                type(error).__name__,
            )
            return None
        return max(0.05, until - time.time())
