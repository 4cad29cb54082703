"""What policies let one principal take in a period, counted in state.

Takes: the quotas of a decision. Gives: what is left for a statement. All endpoints of all
gateways over one state count together. Never waits: who is over a bound is told when to come
again. Statements that run side by side are each bounded by what was left when they began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from gateway.decision import Decision, Quota
from gateway.errors import RateLimited, SourceUnavailable
from gateway.request import Limits
from gateway.state.engine import moment_text, reading, writing
from gateway.state.usage import Used, add_usage, used

__all__ = ["Left", "Usage", "Used", "within_policy"]

_BOUNDS = ("rows", "bytes", "seconds")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}


@dataclass(frozen=True, slots=True)
class Left:
    """What a statement may still take; None: no bound."""

    rows: int | None = None
    bytes: int | None = None
    seconds: float | None = None


_ALL_LEFT = Left()


def within_policy(limits: Limits, decision: Decision, left: Left) -> Limits:
    """Policies of kind `limit` count guarded rows and bytes (DESIGN 5, rule 7)."""
    asked = decision.limits
    if not asked and left == _ALL_LEFT:
        return limits
    rows = [one for one in (limits.rows, asked.get("rows"), left.rows) if one is not None]
    size = [one for one in (limits.bytes, asked.get("bytes"), left.bytes) if one is not None]
    times = [one for one in (limits.seconds, asked.get("seconds"), left.seconds) if one is not None]
    made = replace(
        limits, rows=min(rows) if rows else None, bytes=min(size) if size else None,
        seconds=min(times),
    )  # fmt: skip
    named = ((one, _policy_of(one, limits, made, decision)) for one in _BOUNDS)
    return replace(made, policies=tuple(pair for pair in named if pair[1]))


def _policy_of(bound: str, before: Limits, made: Limits, decision: Decision) -> str:
    """The one policy that made a bound narrower than it was; '' where there are several."""
    most = getattr(made, bound)
    if most == getattr(before, bound):
        return ""
    what = f"{bound} limited" if decision.limits.get(bound) == most else f"{bound} limited per "
    found = {
        one.policy for one in decision.reasons
        if one.outcome == what or (what.endswith(" ") and one.outcome.startswith(what))
    }  # fmt: skip
    return found.pop() if len(found) == 1 else ""


class Usage:
    """Counts. Every method may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        """Count in this state."""
        self._engine = engine

    def begin(self, user: str, quotas: tuple[Quota, ...], now: datetime) -> Left:
        """Count a request; raises RateLimited where nothing is left."""
        if not quotas:
            return _ALL_LEFT
        for last in (False, False, True):
            try:
                return self._begin(user, quotas, now)
            except IntegrityError as error:
                # The first of a period was counted by another at the same moment.
                if last:
                    raise _unavailable(error) from error
            except SQLAlchemyError as error:
                raise _unavailable(error) from error
        raise AssertionError

    def spent(self, user: str, quotas: tuple[Quota, ...], now: datetime) -> Mapping[str, float]:
        """The policies whose quota is used up, with the seconds until it begins anew."""
        found: dict[str, float] = {}
        try:
            with reading(self._engine) as connection:
                for one in quotas:
                    if _exhausted(one, used(connection, user, one.policy, _period(one, now))):
                        found[one.policy] = _wait(one, now)
        except SQLAlchemyError as error:
            raise _unavailable(error) from error
        return found

    def end(self, user: str, quotas: tuple[Quota, ...], now: datetime, taken: Used) -> None:
        """Count what a statement took, in the period in which it began."""
        if not quotas:
            return
        with writing(self._engine) as connection:
            for one in quotas:
                add_usage(connection, user, one.policy, _period(one, now), taken)

    def _begin(self, user: str, quotas: tuple[Quota, ...], now: datetime) -> Left:
        rows: list[int] = []
        sizes: list[int] = []
        seconds: list[float] = []
        with writing(self._engine) as connection:
            for one in quotas:
                before = used(connection, user, one.policy, _period(one, now))
                over = _exhausted(one, before)
                if over is not None:
                    raise _over(one, *over, now)
                if one.rows is not None:
                    rows.append(one.rows - before.rows)
                if one.bytes is not None:
                    sizes.append(one.bytes - before.bytes)
                if one.seconds is not None:
                    seconds.append(one.seconds - before.milliseconds / 1000)
                add_usage(connection, user, one.policy, _period(one, now), Used(requests=1))
        return Left(min(rows, default=None), min(sizes, default=None), min(seconds, default=None))


def _exhausted(quota: Quota, taken: Used) -> tuple[str, int] | None:
    """What of a quota nothing is left of, and how much it was."""
    for what, most, so_far in (
        ("requests", quota.requests, taken.requests),
        ("rows", quota.rows, taken.rows),
        ("bytes", quota.bytes, taken.bytes),
        ("seconds", quota.seconds, taken.milliseconds / 1000),
    ):
        if most is not None and so_far >= most:
            return what, most
    return None


def _wait(quota: Quota, now: datetime) -> float:
    seconds = _SECONDS[quota.per]
    return seconds - now.timestamp() % seconds


def _over(quota: Quota, what: str, most: int, now: datetime) -> RateLimited:
    made = RateLimited(
        f"You have taken the {most} {what} that you may take in {_worded(quota.per)}.",
        retry_after=_wait(quota, now),
    )
    made.policy = quota.policy
    return made


def _worded(per: str) -> str:
    return "an hour" if per == "hour" else f"a {per}"


def _period(quota: Quota, now: datetime) -> str:
    """The start of the period, in UTC."""
    seconds = _SECONDS[quota.per]
    start = now.astimezone(UTC) - timedelta(seconds=now.timestamp() % seconds)
    return f"{moment_text(start.replace(microsecond=0))[:19]} {quota.per}"


def _unavailable(error: SQLAlchemyError) -> SourceUnavailable:
    return SourceUnavailable(
        "What you have taken so far could not be counted.",
        hint="Try again; if it stays, tell an operator of the gateway.",
        private=str(error),
    )
