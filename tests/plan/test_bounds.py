"""What a comparison with a value leaves of a column.

Takes: types, operators and values; DuckDB. Gives: the bounds, and that whatever DuckDB lets pass
lies between them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import yaml

from gateway.outwards import Bounds, bounds

CASES = yaml.safe_load(Path(__file__).with_name("bounds.yaml").read_text(encoding="utf-8"))
SIGNS = {"EQ": "=", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}
COLUMNS = ("SMALLINT", "BIGINT", "DECIMAL(15,2)", "DECIMAL(38,10)", "DECIMAL(4,0)", "DOUBLE")
VALUES = ("INTEGER", "HUGEINT", "DECIMAL(18,6)", "DECIMAL(38,0)", "DOUBLE", "FLOAT")
# Near what has no exact form, near the ends, and whatever.
NUMBERS = (
    "0", "1", "-1", "0.1", "0.07", "2.675", "4994.255", "-32768", "32767", "9007199254740993",
)  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        made.execute("SET TimeZone = 'UTC'")
        yield made


def _value(engine: duckdb.DuckDBPyConnection, text: object, kind: str) -> pa.Scalar:
    shown = "NULL" if text is None else f"'{text}'"
    return engine.sql(f"SELECT {shown}::{kind}").to_arrow_table().column(0)[0]


@pytest.mark.parametrize("case", CASES, ids=lambda one: " ".join(map(str, one[:4])))
def test_what_is_left(case: list[object], engine: duckdb.DuckDBPyConnection) -> None:
    kind, operator, text, type_name, low, high = case
    made = bounds(str(operator), [_value(engine, text, str(type_name))], str(kind))
    if low == "nothing":
        assert made is None
    elif low == "empty":
        assert made == Bounds(is_empty=True)
    else:
        assert made is not None
        wanted = [None if one == "none" else one for one in (low, high)]
        for end, want in zip((made.low, made.high), wanted, strict=True):
            assert (end is None) == (want is None)
            assert end is None or str(end) == str(want)


def test_between_has_two_values(engine: duckdb.DuckDBPyConnection) -> None:
    two = [_value(engine, "2.5", "DOUBLE"), _value(engine, "7", "INTEGER")]
    assert bounds("Between", two, "INTEGER") == Bounds(3, 7)
    assert bounds("Between", [two[1], _value(engine, None, "INTEGER")], "INTEGER") == Bounds(
        is_empty=True
    )
    # One that is no number: the engine may compare all three as text.
    assert bounds("Between", [two[1], _value(engine, "8", "VARCHAR")], "INTEGER") is None


@pytest.mark.parametrize("kind", COLUMNS)
def test_nothing_that_passes_is_left_out(kind: str, engine: duckdb.DuckDBPyConnection) -> None:
    """Columns of numbers against values of other kinds, as DuckDB compares them."""
    chance = random.Random(kind)
    others = [f"{chance.uniform(-9999, 9999):.{chance.randint(0, 6)}f}" for _ in range(8)]
    texts = [*NUMBERS, *others]
    rows = f"SELECT DISTINCT v FROM (SELECT unnest([{_each(kind, texts)}]) AS v)"
    engine.execute(f"CREATE OR REPLACE TEMP TABLE held AS {rows} WHERE v IS NOT NULL")
    compared = 0
    for other in VALUES:
        literals = [f"TRY_CAST('{one}' AS {other})" for one in texts]
        values = engine.sql(f"SELECT {', '.join(literals)}").to_arrow_table().columns
        checks, told = [], []
        for literal, column in zip(literals, values, strict=True):
            for operator, sign in SIGNS.items():
                made = bounds(operator, [column[0]], kind)
                if made is not None and column[0].is_valid:
                    # Where two types have no common one, the statement fails, bounded or not.
                    passes = f"TRY(v {sign} {literal})"
                    checks.append(f"count(*) FILTER (WHERE {passes} AND NOT ({_left(made, kind)}))")
                    told.append((other, literal, operator, made))
        (missed,) = engine.sql(f"SELECT {', '.join(checks)} FROM held").fetchall()
        assert [one for one, count in zip(told, missed, strict=True) if count] == []
        compared += len(checks)
    assert compared > 200


def _each(kind: str, texts: list[str]) -> str:
    """The values, and their neighbours in the column's own steps."""
    step = {"SMALLINT": "1", "BIGINT": "1", "DOUBLE": "1e-9"}.get(kind, "0.01")
    near = [f"TRY_CAST(TRY_CAST('{one}' AS DECIMAL(38,10)) {add} AS {kind})"
            for one in texts for add in ("", f"+ {step}", f"- {step}")]  # fmt: skip
    return ", ".join(near)


def _left(made: Bounds, kind: str) -> str:
    if made.is_empty:
        return "FALSE"
    ends = [(made.low, ">="), (made.high, "<=")]
    return " AND ".join(
        f"v {sign} CAST('{end!r}' AS {kind})" if isinstance(end, float)
        else f"v {sign} CAST('{end}' AS {kind})"
        for end, sign in ends if end is not None
    )  # fmt: skip
