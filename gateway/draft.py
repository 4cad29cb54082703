"""What the passes work on, and what they make.

Takes: nothing. Gives: `PlanContext`, `Draft` and its `Input`s, and the finished `Plan`. Never
computes anything but look-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sqlglot import exp

from connectors.base import Abilities, Fragment
from gateway.groups import GroupStatements
from gateway.guard import GuardedRelation
from gateway.pushable import Checker
from gateway.resolve import Address


@dataclass(frozen=True, slots=True)
class PhysicalTable:
    """Where a table of the mesh lies. `columns` map a contract name to (physical name, type).

    unique: columns of which each value stands in one row.
    """

    source: str
    physical_name: str
    columns: Mapping[str, tuple[str, str]]
    unique: frozenset[str] = frozenset()


# Tells the DuckDB types of a query's outputs for the values of its `$1`, `$2` ..., as the merge
# engine's own binder sees them.
Describe = Callable[[exp.Expression, tuple[object, ...]], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class PlanContext:
    """Everything that planning may know besides the guarded query.

    `pushed_groups` are join groups whose key may travel to sources (DESIGN 5, rule 5).
    """

    tables: Mapping[Address, PhysicalTable]
    abilities: Mapping[str, Abilities]
    describe: Describe
    parameters: tuple[object, ...] = ()
    timezone: str = "UTC"
    push_down: bool = True
    require_pushdown: bool = False
    pushed_groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Note:
    """One line of EXPLAIN: what was pushed or stayed, and why. `reason` is a stable code."""

    part: str
    outcome: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the merge: one guarded relation, or a whole block over several.

    block: the user's query that the source runs over its relations, each behind its barrier.
    pushed: per relation the predicates over visible columns that go inside its barrier. limit:
    rows that are enough.
    """

    relations: tuple[GuardedRelation, ...]
    block: exp.Expression | None = None
    pushed: Mapping[str, tuple[exp.Expression, ...]] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    limit: int | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A query under planning: the merge's tree and its inputs by name."""

    tree: exp.Expression
    inputs: Mapping[str, Input]
    context: PlanContext
    notes: tuple[Note, ...] = ()

    def source_of(self, relation: GuardedRelation) -> str:
        """The identity of the source that holds a relation."""
        return self.context.tables[relation.address].source

    def abilities_of(self, relation: GuardedRelation) -> Abilities:
        """What the relation's source can do."""
        return self.context.abilities[self.source_of(relation)]

    def raw_checker(self, relation: GuardedRelation) -> Checker:
        """The checker for expressions over the relation's raw columns."""
        columns = self.context.tables[relation.address].columns
        types = {name: pair[1] for name, pair in columns.items()}
        return Checker(
            self.abilities_of(relation),
            lambda column: types.get(column.name),
            self.context.parameters,
            # What a policy says does not depend on the caller's time zone.
            "UTC",
            is_policy=True,
        )

    def visible_checker(self, relation: GuardedRelation) -> Checker:
        """The checker for expressions over the relation's visible columns."""
        types = {one.name: one.type for one in relation.columns}
        return Checker(
            self.abilities_of(relation),
            lambda column: types.get(column.name),
            self.context.parameters,
            self.context.timezone,
        )


@dataclass(frozen=True, slots=True)
class PseudonymColumn:
    """A column that the gateway adds to a fragment's batches: the pseudonym of another.

    `is_hashed`: the source delivers the keyed hash under that name, the gateway only writes it out.
    """

    name: str
    source_column: str
    join_group: str
    is_hashed: bool = False


@dataclass(frozen=True, slots=True)
class KeyBlock:
    """A parameter that stands for a block of a join group's key: no plan holds a key."""

    join_group: str
    is_outer: bool


@dataclass(frozen=True, slots=True)
class InPlaceForm:
    """A fragment's SQL for the merge engine itself, cut at its parameters: texts and numbers.

    is_view: the merge reads it as it runs, since nothing restricts its tables; else it becomes a
      table by a statement of its own (DESIGN 5, barrier rule 3).
    """

    pieces: tuple[str | int, ...]
    is_view: bool


@dataclass(frozen=True, slots=True)
class PlannedFragment:
    """A fragment, its source, and what happens to its batches before the merge.

    name: the input's name in the merge. shown, gate_shown: the SQL as a caller may see it.
    constants: what the bound parameters of the fragment were folded from, one for each; None for
      what is no parameter of the query's.
    pseudonyms: added by the gateway, in Arrow. gate: DuckDB SQL over the input `raw` that
      applies policy and masks as a statement of its own; None where the batches already carry
      their whole policy. groups: what makes groups of the rows that fragment and gate deliver.
      columns: what the merge sees. in_place: how the merge engine may read the rows itself, where
      the source lets it.
    """

    name: str
    source: str
    fragment: Fragment
    shown: str
    tables: tuple[Address, ...]
    columns: tuple[tuple[str, str], ...]
    constants: tuple[exp.Expression | None, ...] = field(default=(), compare=False)
    pseudonyms: tuple[PseudonymColumn, ...] = ()
    gate: str | None = None
    gate_shown: str | None = None
    groups: GroupStatements | None = None
    in_place: InPlaceForm | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `merge` is None where the one fragment, or its gate, is the answer.

    can_stream: the merge reads its one input once, so that it needs no table. used_parameters:
    the numbers of the parameters that the merge still uses, in the order of its `$1`, `$2` ...
    """

    fragments: tuple[PlannedFragment, ...]
    merge: str | None
    outputs: tuple[str, ...]
    can_stream: bool = False
    used_parameters: tuple[int, ...] = ()
    masked: tuple[str, ...] = ()
    notes: tuple[Note, ...] = field(default=())
