"""What a query has used is given back at once, however its reader stops.

Takes: the sample mesh. Gives: counts of what is left after answers that end early. Never waits for
the collector: it is switched off.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from connectors.sqlite import SqliteConnection
from gateway.errors import SqluiceError
from tests.sample import SampleMesh

NORA = "nora"
READY = "select count(*) from fleet.aircraft.planes"
EARLY = [
    # Streams that the merge does not read to the end, and merges that fail.
    "select p.seats from fleet.aircraft.planes p where sqrt(p.seats) > 1 limit 1",
    "select cast(p.model as integer) from fleet.aircraft.planes p",
    "select cast(w.origin as integer) from weather.observations.hourly w",
    "select f.flight_id from operations.departures.flights f where sqrt(f.distance) > 1 limit 1",
    "select cast(f.dest as integer) from operations.departures.flights f",
    "select cast(p.model as integer) from fleet.aircraft.planes p join "
    "operations.departures.flights f on f.tailnum = p.tailnum",
]


@pytest.fixture(scope="module")
def uncollected() -> Iterator[None]:
    """Nothing is cleaned up behind our back."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("sql", EARLY)
@pytest.mark.parametrize("push_down", [True, False], ids=["pushed", "pulled"])
def test_no_lease_outlives_its_query(sample: SampleMesh, sql: str, push_down: bool) -> None:
    elsewhere = _running() - _pooled(sample)
    try:
        result = sample.opened.gateway.answer(sample.request(NORA, sql, push_down=push_down))
        next(result.batches())
        result.close()
    except SqluiceError as error:
        assert error.code in ("type_error", "source_error")
    assert _leased(sample) == 0
    # One process for each pooled connection at most: none is left with open pipes.
    assert _running() - elsewhere == _pooled(sample)


def _leased(sample: SampleMesh) -> int:
    """How many connections are out of their pools."""
    pools = sample.opened.pools
    return sum(one.slots.held for one in pools._pools.values())


def _pooled(sample: SampleMesh) -> int:
    """How many processes wait in the pools for the next query."""
    idle = [pair for pool in sample.opened.pools._pools.values() for pair in pool.idle]
    held = [one for *_, one in idle if isinstance(one, SqliteConnection)]
    return sum(1 for one in held if one._process is not None)


def _running() -> int:
    """How many processes that read SQLite files somebody still holds."""
    return sum(
        1
        for one in gc.get_objects()
        if isinstance(one, SqliteConnection) and one._process is not None
    )
