"""Values of sub-queries become bounds in the SQL of a fragment.

Takes: a slot, the session that has what the sub-query reads, the values of parameters. Gives: the
bounds, as the merge engine computes the values, and the predicate with them bound. Never shows a
value, and never fails: what fails here fails in the merge, if it still matters there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pyarrow as pa

from connectors.base import ConnectorError
from gateway.draft import ValueSlot
from gateway.engines.base import MergeSession
from gateway.errors import SqluiceError
from gateway.outwards import Bounds, bounds
from gateway.side_by_side import closing_batches


def bounds_of(
    slot: ValueSlot, session: MergeSession, parameters: Sequence[object]
) -> Bounds | None:
    """What the values leave of the column; None where nobody can tell."""
    given = [parameters[number - 1] for number in slot.used]
    held: list[pa.RecordBatch] = []
    with contextlib.suppress(SqluiceError, ConnectorError):
        with closing_batches(session.stream(slot.sql, given, {})) as batches:
            held += batches
        rows = [batch for batch in held if batch.num_rows]
        if len(rows) == 1 and rows[0].num_rows == 1:
            values = [column[0] for column in rows[0].columns]
            if slot.kind != "VARCHAR":
                return bounds(slot.operator, values, slot.kind)
            half = len(values) // 2
            if all(kind.as_py() == "VARCHAR" for kind in values[half:]):
                return bounds(slot.operator, values[:half], slot.kind)
    return None


def bounded_text(
    slot: ValueSlot, made: Bounds, mark: str, bound: int
) -> tuple[str, list[object]]:
    """The predicate, and what is bound for it after so many other values."""
    if made.is_empty:
        return "FALSE", []
    texts: list[str] = []
    values: list[object] = []
    for value, (before, after) in ((made.low, slot.at_least), (made.high, slot.at_most)):
        if value is not None:
            values.append(value)
            texts.append(f"{before}{mark}{bound + len(values)}{after}")
    return " AND ".join(texts), values
