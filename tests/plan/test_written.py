"""Constants as they are written for MySQL and MariaDB, which keep less of a cast than DuckDB.

Takes: written.yaml. Gives: each constant's form. Never asks a database: that they read the forms as
DuckDB reads the constants is shown with the connector.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import sqlglot
import yaml
from sqlglot import exp

from gateway.dialects import written

CASES = yaml.safe_load(Path(__file__).with_name("written.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("text", "wanted"), CASES)
def test_written(text: str, wanted: str) -> None:
    """Nothing is written that fails there, or that is another value."""
    made = cast("exp.Expression", sqlglot.parse_one(f"SELECT {text}", read="duckdb"))
    assert written(made, "mysql") == f"SELECT {wanted}"
