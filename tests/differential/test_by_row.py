"""Sub-queries that read the outer row, where PostgreSQL finds theirs by an index.

Takes: by_row.yaml over the sample mesh, asked by somebody whom nothing restricts there. Gives:
equality with plain DuckDB, and whether the source was asked by row: a control for what must not be.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from tests.differential.compare import assert_same
from tests.differential.corpus import PURPOSES
from tests.differential.test_differential import Reference
from tests.sample import SampleMesh

USER = "petra"
CASES = [
    (one["by_row"], sql)
    for one in yaml.safe_load(Path(__file__).with_name("by_row.yaml").read_text(encoding="utf-8"))
    for sql in one["sql"]
]


@pytest.fixture(scope="module", autouse=True)
def known(sample: SampleMesh) -> None:
    """Wait until the source has told which indexes it has."""
    sql, until = next(sql for by_row, sql in CASES if by_row), time.monotonic() + 60
    while time.monotonic() < until:
        plan = sample.ask(USER, f"explain {sql}", purpose=PURPOSES[USER]).to_pylist()
        if "LATERAL" in str(plan):
            return
        time.sleep(0.1)


@pytest.mark.parametrize(("by_row", "sql"), CASES, ids=[sql[:80] for _, sql in CASES])
def test_asked_by_row(by_row: bool, sql: str, sample: SampleMesh, reference: Reference) -> None:
    purpose = PURPOSES[USER]
    plan = sample.ask(USER, f"explain {sql}", purpose=purpose).to_pylist()
    assert ("LATERAL" in str(plan)) == by_row
    got = sample.ask(USER, sql, purpose=purpose)
    assert_same(got, reference[USER].sql(sql).to_arrow_table(), ordered=False)
    assert got.num_rows


def test_behind_a_barrier_nothing_is_asked_by_row(sample: SampleMesh) -> None:
    """It would be filled anew for each row."""
    sql = next(sql for by_row, sql in CASES if by_row)
    plan = sample.ask("mara", f"explain {sql}", purpose=PURPOSES["mara"]).to_pylist()
    assert "LATERAL" not in str(plan)
