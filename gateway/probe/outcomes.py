"""Everything that a caller gets of a statement, and whether two callers got the same.

Takes: results and errors. Gives: an `Outcome`, and how two of them differ, in words. Floats may
differ by 1e-9 of their size, rows are compared as multisets; all else byte by byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from gateway.errors import SqluiceError

_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back. `error` holds code, message, remedy and place; None where rows came."""

    error: tuple[object, ...] | None
    schema: str = ""
    rows: tuple[tuple[object, ...], ...] = ()
    masked: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """The error's code; `ok` where there is none."""
        return str(self.error[0]) if self.error else "ok"


def of_error(error: SqluiceError) -> Outcome:
    """The outcome of a refusal or a failure."""
    return Outcome((error.code, error.message, error.remedy, error.line, error.column))


def of_batches(
    schema: pa.Schema, batches: Sequence[pa.RecordBatch], masked: tuple[str, ...] = ()
) -> Outcome:
    """The outcome of an answer; columns by position, since names may repeat."""
    rows: list[tuple[object, ...]] = []
    for batch in batches:
        columns = [_values(column) for column in batch.columns]
        rows += zip(*columns, strict=True)
    shape = ", ".join(f"{field.name} {field.type}" for field in schema)
    return Outcome(None, shape, tuple(sorted(rows, key=_key)), masked)


def _values(column: pa.Array) -> list[object]:
    """Python's values; days and moments beyond its calendar as the numbers that they are."""
    try:
        found: list[object] = column.to_pylist()
    except (OverflowError, ValueError):
        width = pa.int32() if pa.types.is_date(column.type) else pa.int64()
        found = column.cast(width).to_pylist()
    return found


def difference(one: Outcome, other: Outcome) -> str:
    """How two outcomes differ, for a person; empty where they do not."""
    if one.error != other.error:
        return f"{one.error or 'rows'} against {other.error or 'rows'}"
    if one.schema != other.schema:
        return f"schema {one.schema!r} against {other.schema!r}"
    if one.masked != other.masked:
        return f"masked {one.masked} against {other.masked}"
    if len(one.rows) != len(other.rows):
        return f"{len(one.rows)} rows against {len(other.rows)}"
    for left, right in zip(one.rows, other.rows, strict=True):
        if not all(same_value(a, b) for a, b in zip(left, right, strict=True)):
            return f"row {left!r} against {right!r}"
    return ""


def same_value(one: object, other: object) -> bool:
    """Equality of cells: NaN equals NaN, floats within a relative 1e-9."""
    if isinstance(one, float) and isinstance(other, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return one == other or math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    return type(one) is type(other) and one == other


def _key(row: tuple[object, ...]) -> str:
    return repr([f"{one:.6e}" if isinstance(one, float) else one for one in row])
