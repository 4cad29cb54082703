"""Types of a contract become DuckDB's, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from catalog.column_types import canonical_type, declared_type, text_length
from connectors.base import arrow_type

CASES = yaml.safe_load((Path(__file__).parent / "types.yaml").read_text(encoding="utf-8"))
CANONICAL = sorted({case["type"] for case in CASES if case["type"]})


@pytest.mark.parametrize("case", CASES, ids=str)
def test_types(case: dict[str, Any]) -> None:
    assert declared_type(case["column"], case.get("own")) == case["type"]
    if "length" in case:
        assert text_length(case["column"]) == case["length"]


@pytest.mark.parametrize("name", CANONICAL)
def test_names_are_canonical(name: str) -> None:
    """DuckDB itself writes the type so, and connectors know it."""
    assert canonical_type(name) == name
    with duckdb.connect(":memory:") as connection:
        row = connection.execute(f"SELECT typeof(CAST(NULL AS {name}))").fetchone()
    assert row == (name,)
    assert arrow_type(name) is not None
