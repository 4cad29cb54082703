"""Turns to run, by principal, and the bounds of one statement."""

from __future__ import annotations

import pytest

from gateway.config import LimitSettings
from gateway.errors import RateLimited
from gateway.limits import Limiter, statement_limits
from gateway.request import Principal

NORA, CARL = Principal("nora"), Principal("carl")


def test_a_principal_runs_so_many_at_once_and_no_more() -> None:
    limiter = Limiter(LimitSettings(concurrency=2, requests_per_second=0))
    with limiter.admit(NORA), limiter.admit(NORA):
        with pytest.raises(RateLimited, match="2 statements"), limiter.admit(NORA):
            pass
        with limiter.admit(CARL):
            pass
    with limiter.admit(NORA):
        pass


def test_a_turn_comes_back_after_a_failure() -> None:
    limiter = Limiter(LimitSettings(concurrency=1, requests_per_second=0))
    with pytest.raises(ValueError, match="x"), limiter.admit(NORA):
        raise ValueError("x")
    with limiter.admit(NORA):
        pass
    limiter.leave(NORA)
    limiter.leave(CARL)


def test_requests_come_at_most_so_fast() -> None:
    now = [0.0]
    limiter = Limiter(LimitSettings(concurrency=0, requests_per_second=2.0), lambda: now[0])
    for _ in range(4):
        with limiter.admit(NORA):
            pass
    with pytest.raises(RateLimited) as caught, limiter.admit(NORA):
        pass
    assert 0 < caught.value.retry_after <= 0.5
    now[0] += caught.value.retry_after
    with limiter.admit(NORA):
        pass


def test_the_number_of_known_principals_is_bounded() -> None:
    limiter = Limiter(LimitSettings())
    for number in range(10_050):
        with limiter.admit(Principal(str(number))):
            pass
    assert len(limiter._budgets) <= 10_001


def test_zero_means_no_bound() -> None:
    made = statement_limits(LimitSettings(rows=0, bytes=0, seconds=0))
    assert (made.rows, made.bytes) == (None, None)
    assert made.seconds > 1e6
    assert statement_limits(LimitSettings(rows=5, bytes=6, seconds=7)).rows == 5


def test_a_bundle_of_small_ones_takes_one_request_of_the_same_budget() -> None:
    now = [0.0]
    limiter = Limiter(LimitSettings(concurrency=0, requests_per_second=1.0), lambda: now[0])

    def ask(in_bundle: bool) -> bool:
        try:
            limiter.enter(NORA, in_bundle)
        except RateLimited:
            return False
        limiter.leave(NORA)
        return True

    assert ask(False)
    assert [ask(True) for _ in range(21)] == [True] * 20 + [False]
    assert not ask(False), "a flood of small ones leaves nothing for others"
    now[0] += 1.0
    assert ask(True) and not ask(False)
    assert all(ask(True) for _ in range(19))
