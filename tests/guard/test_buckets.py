"""Buckets of times: the start of the unit that the policy names, and of no other.

Takes: masks as decisions. Gives: masked values, computed by DuckDB alone.
"""

from __future__ import annotations

import duckdb
import pytest

from gateway.decision import ColumnDecision
from gateway.masks import mask_expression


@pytest.mark.parametrize(
    ("kind", "unit", "value", "wanted"),
    [
        ("DATE", "year", "2024-05-17", "2024-01-01"),
        ("DATE", "quarter", "2024-05-17", "2024-04-01"),
        ("DATE", "month", "2024-05-17", "2024-05-01"),
        ("DATE", "month", "infinity", "None"),
        ("TIMESTAMP", "year", "2024-05-17 13:45:01", "2024-01-01 00:00:00"),
        ("TIMESTAMP", "day", "2024-05-17 13:45:01", "2024-05-17 00:00:00"),
        ("TIMESTAMP", "hour", "2024-05-17 13:45:01", "2024-05-17 13:00:00"),
    ],
)
def test_the_start_of_the_unit(kind: str, unit: str, value: str, wanted: str) -> None:
    decision = ColumnDecision("at", kind, kind, "bucket", "p", {"unit": unit})
    masked = mask_expression(decision).sql("duckdb")
    found = duckdb.execute(f"SELECT {masked} FROM (SELECT {kind} '{value}' AS \"at\")").fetchall()
    assert str(found[0][0]) == wanted
