"""TPC-H over four domains: every answer is that of DuckDB over the same rows.

Takes: a small scale. Gives: right answers, for somebody without and for somebody with policies, and
no more rows moved than is written down. Never looks at time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import beyond
from bench.tpch import ALL, FEDERATED, measure


@pytest.mark.long
@pytest.mark.timeout(900)
def test_all_answers_are_right_and_move_no_more_than_before(tmp_path: Path) -> None:
    report = measure(tmp_path, 0.01, ALL, repeat=1)
    assert [one.number for one in report.measured] == list(ALL)
    assert [one.wrong for one in report.measured if one.wrong] == []
    assert beyond(report) == []
    # The mean is one of something.
    for numbers in (ALL, FEDERATED):
        assert report.geomean("open", "floor", numbers) is not None
