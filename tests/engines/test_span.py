"""About how many values a column of the merge has, and between which they lie.

Takes: tables of a session. Gives: counts and bounds that can be bound, or None.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from gateway.engines.duckdb import DuckdbEngine, DuckdbSession, EngineSettings


@pytest.fixture
def session(tmp_path: Path) -> Iterator[DuckdbSession]:
    engine = DuckdbEngine(EngineSettings(spill=str(tmp_path)))
    with closing(engine), closing(engine.open("UTC")) as made:
        yield made


NUMBERS = pa.array([5, None, 7, 7, -1], pa.int64())
# Days since 1970: the year 12000, and what DuckDB calls infinity.
LATE, ENDLESS = 3_663_000, 2**31 - 1


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        (NUMBERS, "BIGINT", (3, -1, 7)),
        (NUMBERS, None, (3, None, None)),
        (pa.array([None], pa.int64()), "BIGINT", (0, None, None)),
        (pa.array([], pa.int64()), "BIGINT", (0, None, None)),
        (pa.array([2**64 - 1, 1], pa.uint64()), "BIGINT", (2, 1, None)),
        (pa.array([0, 31], pa.date32()), "DATE", (2, date(1970, 1, 1), date(1970, 2, 1))),
        (pa.array([0, LATE], pa.date32()), "DATE", (2, date(1970, 1, 1), None)),
        (pa.array([0, ENDLESS], pa.date32()), "DATE", (2, date(1970, 1, 1), None)),
        (pa.array(["b", "a"]), None, (2, None, None)),
    ],
)
def test_a_span(
    session: DuckdbSession, values: pa.Array, kind: str | None, wanted: tuple[object, ...]
) -> None:
    batch = pa.record_batch([values], names=["k"])
    session.load("t", batch.schema, iter([batch]))
    assert session.span("t", "k", kind) == wanted
