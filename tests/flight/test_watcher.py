"""The watcher stops what its client has left, and nothing that has ended well."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from gateway.serve.flight.sign_in import Call, FlightSession
from gateway.serve.flight.streams import Watcher
from tests.served import within


def calling(is_active: Callable[[], bool]) -> Call:
    """A call of a session that is nobody's."""
    session = cast(FlightSession, SimpleNamespace(token="t"))
    return Call(session, is_active=is_active)


def test_a_call_that_ends_while_others_are_looked_at_is_not_stopped() -> None:
    """Its statement goes on: it is fetched by another call."""
    looked, left = threading.Event(), threading.Event()
    stopped: list[str] = []

    def looking() -> bool:
        looked.set()
        left.wait(0.5)
        return True

    watcher = Watcher(lambda _: None)
    with watcher.watch(calling(looking), lambda: stopped.append("first")):
        with watcher.watch(calling(lambda: not left.is_set()), lambda: stopped.append("second")):
            # It may be looked at before the second is there: the look after that counts.
            looked.clear()
            assert looked.wait(20)
        left.set()
        looked.clear()
        assert looked.wait(20)
    watcher.close()
    assert stopped == []


def test_who_has_left_is_told_again_and_again() -> None:
    """The control."""
    stopped: list[str] = []
    watcher = Watcher(lambda _: None)
    with watcher.watch(calling(lambda: False), lambda: stopped.append("left")):
        assert within(20, lambda: len(stopped) > 2)
    watcher.close()
