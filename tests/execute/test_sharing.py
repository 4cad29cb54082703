"""Connections of a source: who holds many leaves some to others; who waits gets the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pytest

from catalog.model import Source
from connectors.base import Connection, ConnectorUnavailable, Fragment, FragmentColumn
from gateway.draft import Plan, PlannedFragment
from gateway.engines.duckdb import DuckdbEngine, EngineSettings
from gateway.errors import SourceUnavailable, TimedOut
from gateway.execute import execute
from gateway.pools import Caller, Pools
from gateway.request import Limits
from gateway.resolve import Address
from gateway.run import Run
from gateway.sharing import Sharing, Still

SECONDS = 0.2
TABLE = Address("sales", "people", "people", 1)
SOURCE = Source("held", "sales", "none", MappingProxyType({}))


class Silent:
    """A connection that nobody asks."""

    def close(self) -> None: ...

    def ping(self) -> None: ...


@dataclass
class Held(Silent):
    """One whose rows come once the gate is open."""

    gate: threading.Event

    def stream(self, fragment: Fragment) -> Iterator[pa.RecordBatch]:
        assert self.gate.wait(20)
        yield pa.record_batch({"n": pa.array([1], pa.int64())})

    def cancel(self) -> None:
        self.gate.set()


@dataclass
class Hurried:
    """Leases of one caller, who waits for none longer than `SECONDS`."""

    most: int = 8
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.pools = Pools(lambda _: {}, self.most, {SOURCE.identity: self})
        self.leases = self.pools.on_behalf_of(Caller("amy"))

    def connect(self, settings: Mapping[str, str]) -> Connection:
        return Held(self.gate)  # type: ignore[return-value]  # nothing else is asked of it

    def lease(
        self, source: Source, *, still: Still = lambda: False
    ) -> AbstractContextManager[Connection]:
        return self.leases.lease(source, SECONDS, still)

    def spare(self, source: Source) -> AbstractContextManager[Connection | None]:
        return self.leases.spare(source)


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


def test_settings_are_looked_up_when_a_statement_begins_and_for_its_first_lease_alone() -> None:
    looked: list[Source] = []

    def settings_of(source: Source) -> Mapping[str, str]:
        looked.append(source)
        return {"password": f"of look {len(looked)}"}

    pools = Pools(settings_of, 8, {SOURCE.identity: Opening()})
    leases = pools.on_behalf_of(Caller("amy"), {SOURCE})
    assert len(looked) == 1
    with leases.lease(SOURCE):
        assert len(looked) == 1
    with leases.lease(SOURCE):
        # A secret that changed meanwhile holds for what is opened from now on.
        assert len(looked) == 2
    with pools.on_behalf_of(Caller("ben")).lease(SOURCE):
        assert len(looked) == 3


def test_whoever_leases_is_told_that_there_are_no_settings() -> None:
    def settings_of(source: Source) -> Mapping[str, str]:
        raise ConnectorUnavailable("a secret is missing")

    pools = Pools(settings_of, 8, {SOURCE.identity: Opening()})
    leases = pools.on_behalf_of(Caller("amy"), {SOURCE})
    with pytest.raises(ConnectorUnavailable, match="secret is missing"), leases.lease(SOURCE):
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
    waiting.join(60)
    assert got == [True]
    for one in ("late", *names[1:]):
        places.release(one)
    assert places.held == 0


def _together(leases: Hurried, spill: Path, count: int, seconds: float = 60.0) -> list[int]:
    """What a statement of so many fragments of one source answers."""
    fragment = Fragment("", (FragmentColumn("n", "BIGINT"),), ("t",))
    names = [f"f{at}" for at in range(count)]
    plan = Plan(
        tuple(
            PlannedFragment(one, SOURCE.identity, fragment, "", (TABLE,), (("n", "BIGINT"),))
            for one in names
        ),
        "SELECT " + " + ".join(f"(SELECT sum(n) FROM {one})::BIGINT" for one in names),
        ("n",),
    )
    engine = DuckdbEngine(EngineSettings(memory="256MB", threads=1, spill=str(spill)))
    run = Run(
        "q", {SOURCE.identity: SOURCE}, leases, engine, lambda _: b"",
        pa.schema([("n", pa.int64())]), Limits(seconds=seconds),
    )  # fmt: skip
    try:
        batches = list(execute(plan, run).batches())
        return [row for one in batches for row in one.column(0).to_pylist()]
    finally:
        engine.close()


def test_a_statement_waits_for_its_own_fragments(tmp_path: Path) -> None:
    leases = Hurried()
    opening = threading.Timer(4 * SECONDS, leases.gate.set)
    opening.start()
    assert _together(leases, tmp_path, 12) == [12]
    assert not any(one.slots.held for one in leases.pools._pools.values())


def test_no_statement_waits_for_others_for_long(tmp_path: Path) -> None:
    """The control: places that it does not hold itself may never be given back."""
    leases = Hurried(1)
    with leases.leases.lease(SOURCE), pytest.raises(SourceUnavailable):
        _together(leases, tmp_path, 2)


def test_who_waits_for_his_own_fragments_is_stopped(tmp_path: Path) -> None:
    leases = Hurried()
    began = time.monotonic()
    with pytest.raises(TimedOut):
        _together(leases, tmp_path, 12, 2 * SECONDS)
    assert time.monotonic() - began < 15
    assert not any(one.slots.held for one in leases.pools._pools.values())
