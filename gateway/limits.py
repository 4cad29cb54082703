"""What one principal may take at once, across all endpoints.

Takes: the limits of gateway.toml and of policies. Gives: the `Limits` of a statement, and turns to
run one. Never waits: who is over a bound is told when to come again.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from gateway.config import LimitSettings
from gateway.errors import RateLimited
from gateway.request import Limits, Principal
from gateway.shared_limits import SharedRate

_KEPT_PRINCIPALS = 10_000
_TRY_AGAIN_SECONDS = 1.0
# So many questions to an endpoint's catalogs take one request of the budget: about what a client
# sends for one thing that a person does.
_BUNDLE = 20


def statement_limits(settings: LimitSettings) -> Limits:
    """The bounds of one statement where no policy and no session says less."""
    return Limits(
        rows=settings.rows or None, seconds=settings.seconds or 1e9, bytes=settings.bytes or None
    )


@dataclass(slots=True)
class _Budget:
    running: int = 0
    bundled: int = 0
    tokens: float = 0.0
    filled_at: float = 0.0


class Limiter:
    """Counts what each principal runs. A bucket holds two seconds' worth of requests."""

    def __init__(
        self,
        settings: LimitSettings,
        clock: Callable[[], float] = time.monotonic,
        shared: SharedRate | None = None,
    ) -> None:
        """Begin with nothing running; `shared` counts requests for several gateways."""
        self._shared = shared
        self._held: Counter[tuple[str, str]] = Counter()
        self._concurrency = settings.concurrency
        self._rate = settings.requests_per_second
        self._clock = clock
        self._lock = Lock()
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()

    @contextmanager
    def admit(self, principal: Principal) -> Iterator[None]:
        """A turn to run one statement, from start to the last batch; raises RateLimited."""
        self.enter(principal)
        try:
            yield
        finally:
            self.leave(principal)

    def enter(self, principal: Principal, in_bundle: bool = False) -> None:
        """Take a turn; `leave` gives it back. Of a bundle only the first counts as a request."""
        is_paid = in_bundle and self._is_paid(principal.user)
        # Asked before the lock is held: the store may take its time.
        wait = self._shared.wait_of(principal.user) if self._shared and not is_paid else None
        if wait:
            raise _too_fast(wait)
        with self._lock:
            budget = self._budget(principal.user)
            if self._concurrency and budget.running >= self._concurrency:
                raise RateLimited(
                    f"You run {budget.running} statements already, which is the limit.",
                    retry_after=_TRY_AGAIN_SECONDS,
                )
            if self._rate and wait is None and not is_paid:
                self._take(budget)
            if in_bundle and not is_paid:
                budget.bundled = _BUNDLE - 1
            budget.running += 1

    def hold(self, principal: Principal, turns: Sequence[tuple[str, int]]) -> None:
        """Take a turn under each policy that bounds how many run at once; `release` gives back."""
        with self._lock:
            for policy, most in turns:
                if self._held[principal.user, policy] >= most:
                    over = RateLimited(
                        f"You run {most} such statements already, the most that you may at once.",
                        retry_after=_TRY_AGAIN_SECONDS,
                    )
                    over.policy = policy
                    raise over
            self._held.update((principal.user, policy) for policy, _ in turns)

    def release(self, principal: Principal, turns: Sequence[tuple[str, int]]) -> None:
        """Give turns under policies back."""
        with self._lock:
            for policy, _ in turns:
                self._held[principal.user, policy] -= 1
                if self._held[principal.user, policy] <= 0:
                    del self._held[principal.user, policy]

    def leave(self, principal: Principal) -> None:
        """Give a turn back."""
        with self._lock:
            budget = self._budgets.get(principal.user)
            if budget is not None and budget.running:
                budget.running -= 1

    def _is_paid(self, user: str) -> bool:
        """Whether one that came before it has paid; then it is used up."""
        with self._lock:
            budget = self._budget(user)
            budget.bundled, is_paid = max(0, budget.bundled - 1), budget.bundled > 0
            return is_paid

    def _budget(self, user: str) -> _Budget:
        budget = self._budgets.get(user)
        if budget is None:
            budget = _Budget(tokens=max(1.0, 2 * self._rate), filled_at=self._clock())
            self._budgets[user] = budget
            self._forget_idle()
        self._budgets.move_to_end(user)
        return budget

    def _take(self, budget: _Budget) -> None:
        now = self._clock()
        most = max(1.0, 2 * self._rate)
        budget.tokens = min(most, budget.tokens + (now - budget.filled_at) * self._rate)
        budget.filled_at = now
        if budget.tokens < 1:
            raise _too_fast((1 - budget.tokens) / self._rate)
        budget.tokens -= 1

    def _forget_idle(self) -> None:
        """Keep the number of principals bounded; one who runs something is never forgotten."""
        if len(self._budgets) <= _KEPT_PRINCIPALS:
            return
        idle = next((name for name, one in self._budgets.items() if not one.running), None)
        if idle is not None:
            del self._budgets[idle]


def _too_fast(wait: float) -> RateLimited:
    return RateLimited("You send requests faster than the limit allows.", retry_after=wait)
