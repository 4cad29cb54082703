"""TPC-DS over five sources: every answer is that of DuckDB over the same rows.

Takes: a small scale. Gives: all 99 statements pushed and pulled; `REFUSED` says which cannot be
asked, and why. One thing is asked otherwise than the extension ships it: where a LIMIT would cut
among rows that tie, the order goes on over all outputs. Never looks at time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from gateway.demo.postgres import find_server
from gateway.errors import SqluiceError
from gateway.probe.outcomes import difference, of_batches
from tests.bench.peer import lend_peer
from tests.tpcds.places import Places, make_places
from tests.tpcds.statements import addressed, determined

SCALE = 0.05
# What DESIGN refuses, by number, with the reason: none of the 99 needs it.
REFUSED: Mapping[int, str] = {}
# At this scale a few tables have one row, and what is asked of them is empty.
FILLED = 75


@dataclass(slots=True)
class Found:
    """What one way gave: wrong answers, answers with rows, rows fetched by all statements."""

    wrong: list[str] = field(default_factory=list)
    filled: int = 0
    fetched: int = 0


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("tpcds")
    lend_peer(folder)
    with find_server(folder / "postgres") as server:
        with closing(make_places(folder, SCALE, server)) as made:
            yield made
        server.discard()


def _ask(places: Places, number: int, push_down: bool, found: Found) -> None:
    """One statement, beside plain DuckDB."""
    text = places.texts[number]
    plain = determined(text, len(places.reference.sql(text).columns))
    want = places.reference.sql(plain).to_arrow_table()
    found.filled += want.num_rows > 0
    try:
        result = places.mesh.start(addressed(plain, places.addresses), push_down=push_down)
        got = pa.Table.from_batches(list(result.batches()), result.schema)
    except SqluiceError as error:
        found.wrong.append(f"{number}: {error.code} {error.message} {error.private}")
        return
    found.fetched += sum(result.fetched.values())
    told = difference(*(of_batches(one.schema, one.to_batches()) for one in (want, got)))
    found.wrong += [f"{number}: {told}"] if told else []


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_all_answers_are_right(places: Places) -> None:
    ways = {True: Found(), False: Found()}
    for number in range(1, 100):
        for push_down, found in ways.items():
            if number not in REFUSED:
                _ask(places, number, push_down, found)
    for found in ways.values():
        assert found.wrong == []
        assert found.filled >= FILLED, found
    # Otherwise the gateway would have been compared with itself.
    assert ways[True].fetched < 0.75 * ways[False].fetched, ways
