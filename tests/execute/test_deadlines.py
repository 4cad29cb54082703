"""Deadlines come in their order and in time, and not where they are called off."""

from __future__ import annotations

import threading
import time

from gateway.deadlines import Deadlines

MOMENT, WAIT = 0.05, 60.0


def test_each_comes_once_whatever_the_order_of_asking() -> None:
    """A nearer one that is asked for later does not wait for the first."""
    # The longer moments are for a machine that is late.
    moments = (MOMENT, 10 * MOMENT, 60 * MOMENT)
    assert any(_order_of_coming(moment) == [1, 2, 3] for moment in moments)


def _order_of_coming(moment: float) -> list[int]:
    deadlines, came = Deadlines(), threading.Semaphore(0)
    order: list[int] = []

    def note(number: int) -> None:
        order.append(number)
        came.release()

    began = time.monotonic()
    deadlines.after(6 * moment, lambda: note(3))
    deadlines.after(moment, lambda: note(1))
    deadlines.after(3 * moment, lambda: note(2))
    deadlines.after(60.0, lambda: note(4)).call_off()
    for _ in range(3):
        assert came.acquire(timeout=WAIT)
    assert time.monotonic() - began >= 6 * moment
    return order


def test_one_that_is_called_off_does_not_come() -> None:
    """Nor does it keep others from coming."""
    deadlines, came = Deadlines(), threading.Event()
    late: list[int] = []
    for moment in (MOMENT, 60 * MOMENT):  # the second for a machine that is late
        began = time.monotonic()
        off = deadlines.after(moment, lambda: late.append(1))
        off.call_off()
        if time.monotonic() - began < moment:
            break
        late.clear()
    deadlines.after(2 * moment, came.set)
    assert came.wait(WAIT)
    assert not late


def test_a_call_that_hangs_holds_up_nobody() -> None:
    """Each comes in a thread of its own."""
    deadlines, came, end = Deadlines(), threading.Event(), threading.Event()

    def hang() -> None:
        end.wait(2 * WAIT)

    deadlines.after(MOMENT, hang)
    deadlines.after(2 * MOMENT, came.set)
    assert came.wait(WAIT)
    end.set()


def test_what_is_called_off_is_forgotten() -> None:
    """A busy gateway keeps the deadlines of running statements, not of all of the last minutes."""
    deadlines = Deadlines()
    kept = deadlines.after(3600.0, lambda: None)
    for _ in range(10_000):
        deadlines.after(3600.0, lambda: None).call_off()
    assert len(deadlines._waiting) < 3000
    assert not kept.is_off
    assert any(one[2] is kept for one in deadlines._waiting)
