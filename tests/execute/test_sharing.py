"""Connections of a source: who holds many leaves some to others; who waits gets the next."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType

import pytest

from catalog.model import Source
from connectors.base import Connection, ConnectorUnavailable
from gateway.pools import Caller, Pools
from gateway.sharing import Sharing

SOURCE = Source("held", "sales", "none", MappingProxyType({}))


class Silent:
    """A connection that nobody asks."""

    def close(self) -> None: ...

    def ping(self) -> None: ...


class Opening:
    def connect(self, settings: Mapping[str, str]) -> Connection:
        return Silent()  # type: ignore[return-value]  # nothing is asked of it


def test_one_callers_slow_readers_leave_connections_to_others() -> None:
    pools = Pools(lambda _: {}, 8, {SOURCE.identity: Opening()})
    amy, ben, cleo = (pools.on_behalf_of(Caller(name)) for name in ("amy", "ben", "cleo"))
    with ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(amy.lease(SOURCE, 0))
        with pytest.raises(ConnectorUnavailable), amy.lease(SOURCE, 0):
            pass
        both = (ben.lease(SOURCE, 0), cleo.lease(SOURCE, 0))
        with both[0], both[1], pytest.raises(ConnectorUnavailable), ben.lease(SOURCE, 0):
            pass
        with ben.lease(SOURCE, 0), ben.lease(SOURCE, 0):
            pass


def test_a_spare_connection_is_taken_only_while_half_stay_free() -> None:
    pools = Pools(lambda _: {}, 8, {SOURCE.identity: Opening()}).on_behalf_of(Caller("amy"))
    with ExitStack() as stack:
        stack.enter_context(pools.lease(SOURCE, 0))
        assert [stack.enter_context(pools.spare(SOURCE)) is None for _ in range(4)] == [
            False, False, False, True,
        ]  # fmt: skip
        # Who needs one to go on still gets it.
        stack.enter_context(pools.lease(SOURCE, 0))
    with pools.spare(SOURCE) as one:
        assert one is not None


def test_a_spare_connection_that_cannot_be_opened_is_none() -> None:
    class Refusing(Opening):
        def connect(self, settings: Mapping[str, str]) -> Connection:
            raise ConnectorUnavailable("too many clients")

    pools = Pools(lambda _: {}, 8, {SOURCE.identity: Refusing()})
    with pools.spare(SOURCE) as one:
        assert one is None
    with pytest.raises(ConnectorUnavailable), pools.lease(SOURCE, 0):
        pass
    assert all(one.slots.held == 0 for one in pools._pools.values())


@pytest.mark.parametrize("most", [1, 2, 3, 8, 20])
def test_all_are_used_and_none_is_lost(most: int) -> None:
    places = Sharing(most)
    names = [str(at) for at in range(most)]
    assert all(places.acquire(one, 0) for one in names) and not places.acquire("late", 0)
    got: list[bool] = []
    waiting = threading.Thread(target=lambda: got.append(places.acquire("late", 10)))
    waiting.start()
    places.release(names[0])
    waiting.join(10)
    assert got == [True]
    for one in ("late", *names[1:]):
        places.release(one)
    assert places.held == 0
