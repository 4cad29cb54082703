"""A guarded query becomes a plan: fragments, gate statements, one merge (stage 6).

Takes: a `GuardedQuery` and a `PlanContext` (abilities, tables, settings). Gives: a `Plan`. Never
opens a connection, never sees a query that carries no decision, never reads raw statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from connectors.base import Fragment


@dataclass(frozen=True, slots=True)
class Note:
    """One line of EXPLAIN: what was pushed or stayed, and why. `reason` is a stable code."""

    part: str
    outcome: str
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class PseudonymColumn:
    """A column that the gateway adds to a fragment's batches: the pseudonym of another."""

    name: str
    source_column: str
    join_group: str


@dataclass(frozen=True, slots=True)
class PlannedFragment:
    """A fragment, its source, and what happens to its batches before the merge.

    name: the input's name in the merge (`fragment_0` ...). shown: the SQL with policy literals
      replaced by `<policy id>`, for EXPLAIN. pseudonyms: added by the gateway, in Arrow.
      gate: DuckDB SQL over the input `raw` that applies policy and masks as a statement of its
      own; None where the batches already carry their whole policy. exact: its rows are final.
    """

    name: str
    source: str
    fragment: Fragment
    shown: str
    pseudonyms: tuple[PseudonymColumn, ...] = ()
    gate: str | None = None
    gate_shown: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    references: int = 1
    notes: tuple[Note, ...] = ()
    relations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `merge` is None where the one fragment is the answer (bypass).

    inputs of the merge are the fragments by name. `merge_parameters` are the parameter numbers
    that the merge still uses. `empty` relations need no source at all.
    """

    fragments: tuple[PlannedFragment, ...]
    merge: str | None
    merge_shown: str | None
    outputs: tuple[str, ...]
    decision_fingerprint: str
    masked: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    row_limit: int | None = None
    shape: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
