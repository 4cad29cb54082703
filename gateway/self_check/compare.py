"""Two answers to one question, as multisets.

Takes: two Arrow tables of one schema. Gives: how many rows each has that the other has not. Floats
are equal within 1e-9 of their size; NaN equals NaN, -0 equals 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

_TOLERANCE, _SMALLEST = 1e-9, 1e-12
_NAN = "not a number"


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that only one of the two has."""

    only_pushed: int
    only_pulled: int


def difference(pushed: pa.Table, pulled: pa.Table) -> Difference | None:
    """How they differ; None where they are the same multiset."""
    one, other = Counter(_rows(pushed)), Counter(_rows(pulled))
    left, right = list((one - other).elements()), list((other - one).elements())
    groups: dict[object, list[tuple[Any, ...]]] = {}
    for row in right:
        groups.setdefault(_exact(row), []).append(row)
    unmatched = 0
    for row in left:
        candidates = groups.get(_exact(row), [])
        match = next((each for each in candidates if _same(row, each)), None)
        if match is None:
            unmatched += 1
        else:
            candidates.remove(match)
    rest = sum(map(len, groups.values()))
    return Difference(unmatched, rest) if unmatched or rest else None


def _rows(table: pa.Table) -> Iterable[tuple[Any, ...]]:
    if not table.num_columns:
        return [()] * table.num_rows
    return zip(*(map(_plain, _values(column)) for column in table.columns), strict=True)


def _values(column: pa.ChunkedArray) -> list[Any]:
    try:
        found: list[Any] = column.to_pylist()
    except (OverflowError, ValueError):
        # Python's calendar ends with the year 9999, DuckDB's does not.
        width = pa.int32() if pa.types.is_date(column.type) else pa.int64()
        found = column.cast(width).to_pylist()
    return found


def _plain(value: object) -> object:
    """A value that can be counted."""
    if isinstance(value, float):
        return _NAN if math.isnan(value) else value + 0.0
    if isinstance(value, dict):
        return tuple((key, _plain(one)) for key, one in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return value


def _exact(value: object) -> object:
    """What has to be equal exactly: all but floats."""
    if isinstance(value, float):
        return float
    return tuple(map(_exact, value)) if isinstance(value, tuple) else value


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_SMALLEST)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other
