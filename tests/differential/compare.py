"""Two answers compared: names, types, rows.

Takes: two Arrow tables and whether order counts. Gives: an assertion with the first difference.
Never forgives a type: floats alone may differ, by 1e-9 of their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

_TOLERANCE = 1e-9


def assert_same(got: pa.Table, want: pa.Table, ordered: bool) -> None:
    """Names, types and rows are equal; without `ordered` as multisets."""
    assert got.column_names == want.column_names
    assert [str(one) for one in got.schema.types] == [str(one) for one in want.schema.types]
    if got.equals(want):
        return
    left, right = rows_of(got), rows_of(want)
    assert len(left) == len(right), f"{len(left)} rows, wanted {len(right)}"
    if not ordered:
        left, right = sorted(left, key=_key), sorted(right, key=_key)
    for number, (one, other) in enumerate(zip(left, right, strict=True)):
        same = all(same_value(a, b) for a, b in zip(one, other, strict=True))
        assert same, f"row {number}: {one!r}, wanted {other!r}"


def is_ordered(sql: str) -> bool:
    """Whether the outermost query orders its rows."""
    return " order by " in sql.lower().rsplit(")", 1)[-1]


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """Rows as tuples; columns by position, since names may repeat."""
    columns = [_values(column) for column in table.columns]
    return list(zip(*columns, strict=True)) if columns else []


def _values(column: pa.ChunkedArray) -> list[Any]:
    try:
        found: list[Any] = column.to_pylist()
    except OverflowError:
        # Python's calendar ends with the year 9999, DuckDB's does not.
        width = pa.int32() if pa.types.is_date(column.type) else pa.int64()
        found = column.cast(width).to_pylist()
    return found


def same_value(one: Any, other: Any) -> bool:  # noqa: ANN401 - any value of a cell
    """Equality of cells: NaN equals NaN, floats within a relative 1e-9."""
    if isinstance(one, float) and isinstance(other, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=1e-12)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_value(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    return bool(one == other)


def _key(row: Sequence[Any]) -> str:
    return repr([f"{one:.6e}" if isinstance(one, float) else one for one in row])
