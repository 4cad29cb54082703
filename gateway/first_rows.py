"""An input by the keys of the first rows of the statement's order.

Takes: a slot, the session that has what decides the order. Gives: the fragment narrowed by these
keys, and, once its rows are there, whether they were enough. Never takes them for enough where it
cannot be seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from connectors.base import ConnectorError, FragmentColumn, arrow_schema
from gateway.draft import LateSlot, PlannedFragment
from gateway.engines.base import MergeSession
from gateway.errors import SqluiceError
from gateway.fetching import Narrowed
from gateway.side_by_side import closing_batches

_RANKED = (("key", "BIGINT"), ("place", "BIGINT"), ("total", "BIGINT"))


def with_first_keys(
    one: PlannedFragment, slot: LateSlot, session: MergeSession, parameters: Sequence[object],
    most: int,
) -> Narrowed | None:  # fmt: skip
    """The fragment for the keys of the first rows; None where there are too many, or no telling."""
    if one.keyed is None:
        return None
    sql, used = slot.first
    shown = ", ".join(f'"{name}"::{kind} AS "{name}"' for name, kind in _RANKED)
    ranked = f'SELECT {shown} FROM ({sql}) WHERE "place" <= {slot.taken}'
    schema = arrow_schema([FragmentColumn(name, kind) for name, kind in _RANKED])
    keys: pa.Array | None = None
    with contextlib.suppress(SqluiceError, ConnectorError):
        with closing_batches(session.stream(ranked, _given(used, parameters), {})) as batches:
            session.load(slot.ranked, schema, batches)
        keys = session.keys(slot.ranked, "key", "BIGINT", most)
    if keys is None:
        return None
    number = len(one.fragment.parameters) + 1
    texts = [
        piece if isinstance(piece, str)
        else f"{one.keyed.mark}{piece}" if isinstance(piece, int)
        else f"{slot.before}{one.keyed.mark}{number}{slot.after}" if piece == slot
        else "TRUE"
        for piece in one.keyed.pieces
    ]  # fmt: skip
    fragment = replace(
        one.fragment, sql="".join(texts), parameters=(*one.fragment.parameters, keys),
        parameter_types=(*one.fragment.parameter_types, slot.type), expected_rows=None, ranged="",
    )
    return Narrowed(fragment, slot.providers)


def are_enough(slot: LateSlot, session: MergeSession, parameters: Sequence[object]) -> bool:
    """Whether what was fetched holds all of the first rows."""
    sql, used = slot.enough
    with contextlib.suppress(SqluiceError, ConnectorError):
        with closing_batches(session.stream(sql, _given(used, parameters), {})) as batches:
            found = [value for batch in batches for value in batch.column(0).to_pylist()]
        return found == [True]
    return False


def _given(used: Sequence[int], parameters: Sequence[object]) -> list[object]:
    return [parameters[number - 1] for number in used]
