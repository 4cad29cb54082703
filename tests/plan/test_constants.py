"""Constants folded to exactly their column's type, or not at all.

Takes: constants.yaml. Gives: each folded form compared, and checked against DuckDB's own value.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import cast

import duckdb
import pytest
import sqlglot
import yaml
from sqlglot import exp

from gateway.constants import fold

CASES = [
    (row[0], row[1], row[2], row[3] if len(row) > 3 else "UTC")
    for row in yaml.safe_load(Path(__file__).with_name("constants.yaml").read_text())
]


@pytest.mark.parametrize(("text", "type_name", "wanted", "zone"), CASES)
def test_fold(text: str, type_name: str, wanted: str | None, zone: str) -> None:
    """The folded form is as written in the case."""
    parsed = cast("exp.Expression", sqlglot.parse_one(text, dialect="duckdb"))
    made = fold(parsed, type_name, (), zone)
    assert (made.sql("duckdb") if made is not None else None) == wanted


@pytest.mark.parametrize(
    ("text", "type_name", "wanted", "zone"), [one for one in CASES if one[2] is not None]
)
def test_folding_keeps_the_value(text: str, type_name: str, wanted: str, zone: str) -> None:
    """DuckDB reads the folded form as the value that it casts the constant to."""
    connection = duckdb.connect()
    connection.execute(f"SET TimeZone = '{zone}'")
    sql = f"SELECT CAST({text} AS {type_name}) IS NOT DISTINCT FROM {wanted}"
    assert connection.execute(sql).fetchone() == (True,)


@pytest.mark.parametrize(
    ("value", "type_name", "bound"),
    [
        (5, "INTEGER", 5),
        (2**31, "INTEGER", None),
        (True, "INTEGER", None),
        ("5", "INTEGER", None),
        (5, "VARCHAR", None),
        ("UA", "VARCHAR", "UA"),
        (5, "DOUBLE", 5.0),
        (0.1, "DOUBLE", 0.1),
        (float("nan"), "DOUBLE", None),
        (float("inf"), "DOUBLE", None),
        (10**400, "DOUBLE", None),
        (Decimal("1.5"), "DECIMAL(12,2)", Decimal("1.50")),
        (date(2013, 7, 1), "DATE", date(2013, 7, 1)),
        (datetime(2013, 7, 1), "DATE", None),
        (datetime(2013, 7, 1, tzinfo=UTC), "TIMESTAMP", None),
        ("2013-07-01", "DATE", None),
        (None, "INTEGER", None),
    ],
)
def test_parameters_stay_bound(value: object, type_name: str, bound: object) -> None:
    """A parameter is bound with its value; one of another type is not folded at all."""
    node = exp.Parameter(this=exp.Literal.number(1))
    made = fold(node, type_name, (value,), "UTC")
    if bound is None:
        assert made is None
    else:
        assert isinstance(made, exp.Parameter)
        assert made.meta["value"] == bound
        assert type(made.meta["value"]) is type(bound)
