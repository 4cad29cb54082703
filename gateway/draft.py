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
from gateway.links import LinkCosts
from gateway.pushable import Checker
from gateway.resolve import Address


@dataclass(frozen=True, slots=True)
class PhysicalTable:
    """Where a table of the mesh lies. `columns` map a contract name to (physical name, type).

    unique: columns of which each value stands in one row. keys_stay: columns whose values may not
    be shown to other domains as keys.
    """

    source: str
    physical_name: str
    columns: Mapping[str, tuple[str, str]]
    unique: frozenset[str] = frozenset()
    keys_stay: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ColumnSize:
    """What is known of a column: how many values it has, and between which numbers they lie.

    Dates count as days since 1970.
    """

    distinct: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class TableSize:
    """How many rows a table has about, and what is known of its columns by contract name.

    indexed: columns by which the source finds rows without reading the others. is_guess: nobody
    counted the rows, so that what runs showed of them goes before.
    """

    rows: float
    columns: Mapping[str, ColumnSize] = field(default_factory=lambda: MappingProxyType({}))
    indexed: frozenset[str] = frozenset()
    is_guess: bool = False


# Tells the DuckDB types of a query's outputs for the values of its `$1`, `$2` ..., as the merge
# engine's own binder sees them.
Describe = Callable[[exp.Expression, tuple[object, ...]], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class PlanContext:
    """Everything that planning may know besides the guarded query.

    `pushed_groups` are join groups whose key may travel to sources (DESIGN 5, rule 5). `sizes` are
    those that barrier rule 5 permits to look at; `observed` are powers of ten by the shape of a
    fragment: rows that came under the same decision. link_costs: of rows on their way.
    """

    tables: Mapping[Address, PhysicalTable]
    abilities: Mapping[str, Abilities]
    describe: Describe
    parameters: tuple[object, ...] = ()
    timezone: str = "UTC"
    push_down: bool = True
    require_pushdown: bool = False
    pushed_groups: frozenset[str] = frozenset()
    sizes: Mapping[Address, TableSize] = field(default_factory=lambda: MappingProxyType({}))
    observed: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    link_costs: LinkCosts = LinkCosts()


@dataclass(frozen=True, slots=True)
class Note:
    """One line of EXPLAIN: what was pushed or stayed, and why. `reason` is a stable code.

    kind: filter, policy, block, join, aggregate, limit, keys or cut.
    """

    part: str
    outcome: str
    reason: str = ""
    kind: str = "filter"


@dataclass(frozen=True, slots=True)
class KeyEdge:
    """`column` of `relation` has, in each row that counts, a value of `provider_column`.

    The provider is another input; the column is the one that the merge sees of it.
    """

    provider: str
    provider_column: str
    relation: str
    column: str


@dataclass(frozen=True, slots=True)
class ValueEdge:
    """`column` of `relation` compares, in each row that counts, with values of scalar sub-queries.

    operator: as the column reads it: EQ, LT, LTE, GT, GTE, or Between, which has two values.
    values: over the merge's inputs; `providers` are those that they read.
    """

    relation: str
    column: str
    operator: str
    values: tuple[exp.Expression, ...]
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LateEdge:
    """`relation` is wanted for the first rows of an order only, by its `column`.

    providers: the inputs that are read before it. first: keys by their place in the order. enough:
    the keys that stand once, then what has to be true of the others. taken: places whose keys are
    fetched; wanted: how many rows the statement needs.
    """

    relation: str
    column: str
    providers: tuple[str, ...]
    first: exp.Expression
    enough: tuple[exp.Expression, ...]
    taken: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the merge: one guarded relation, or a whole block over several.

    block: the user's query that the source runs over its relations, each behind its barrier.
    pushed: per relation the predicates over visible columns that go inside its barrier. limit:
    rows that are enough. edges, values, late: what could narrow it.
    """

    relations: tuple[GuardedRelation, ...]
    block: exp.Expression | None = None
    pushed: Mapping[str, tuple[exp.Expression, ...]] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    limit: int | None = None
    edges: tuple[KeyEdge, ...] = ()
    values: tuple[ValueEdge, ...] = ()
    late: LateEdge | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A query under planning: the merge's tree and its inputs by name.

    The tree is the draft's own: a pass changes it in place. What stands in the inputs is shared.
    """

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
class KeyRange:
    """The predicate that a column lies between the lowest and the highest of the keys.

    before, between, after: around the two bound values, which are of `type`. low, high: between
    which the column lies in its table, where that is known. kept: of the fragment's rows, what
    the statistics of both columns say that it keeps.
    """

    before: str
    between: str
    after: str
    type: str
    low: float | None = None
    high: float | None = None
    kept: float | None = None


@dataclass(frozen=True, slots=True)
class KeySlot:
    """A place in a fragment's SQL for the keys of another fragment.

    provider, column: whose, by the names in the merge. target, physical: the column that is
    compared, by its own name and by the source's.
    before, after: the predicate around the bound keys, which are of `type`. share: of the
    fragment's rows, what one key is expected to keep. values: how many keys the provider's column
    has at most, where that is known. range: what may be sent in the place of too many keys.
    """

    provider: str
    column: str
    target: str
    physical: str
    before: str
    after: str
    type: str
    share: float
    values: float | None = None
    range: KeyRange | None = None


@dataclass(frozen=True, slots=True)
class ValueSlot:
    """A place in a fragment's SQL for the bounds that values of sub-queries set to a column.

    sql: gives the values, over the merge's tables; used: the parameters that are its `$1`, `$2` ...
    target, kind: the column and its type. at_least, at_most: before and after a bound value, which
    is of `type`. share: of the fragment's rows, what is expected to be kept.
    """

    providers: tuple[str, ...]
    sql: str
    used: tuple[int, ...]
    target: str
    operator: str
    kind: str
    type: str
    at_least: tuple[str, str]
    at_most: tuple[str, str]
    share: float


@dataclass(frozen=True, slots=True)
class LateSlot:
    """A place in a fragment's SQL for the keys of the first rows of the statement's order.

    first, enough: SQL over the merge's tables, with the parameters that are their `$1`, `$2` ...;
    `enough` knows what `first` gives as `ranked`, and the fragment's rows as `fetched`. before,
    after: around the bound keys, which are of `type`. taken: so many places. read: rows that the
    source reads for it.
    """

    providers: tuple[str, ...]
    first: tuple[str, tuple[int, ...]]
    enough: tuple[str, tuple[int, ...]]
    ranked: str
    fetched: str
    target: str
    before: str
    after: str
    type: str
    taken: int
    read: float


@dataclass(frozen=True, slots=True)
class PartSlot:
    """A place in a fragment's SQL for a range of its table's rows, between two bound texts."""

    before: str
    between: str
    after: str


# What a fragment's SQL is cut into: texts, numbers of parameters, places to be filled.
Slot = KeySlot | ValueSlot | LateSlot | PartSlot
Piece = str | int | Slot


@dataclass(frozen=True, slots=True)
class KeyedForm:
    """A fragment's SQL for its source: texts, numbers of parameters (after `mark`), and slots."""

    pieces: tuple[Piece, ...]
    mark: str

    @property
    def slots(self) -> tuple[KeySlot, ...]:
        """The slots in order."""
        return tuple(one for one in self.pieces if isinstance(one, KeySlot))

    @property
    def values(self) -> tuple[ValueSlot, ...]:
        """The slots for values of sub-queries."""
        return tuple(one for one in self.pieces if isinstance(one, ValueSlot))

    @property
    def late(self) -> LateSlot | None:
        """The slot for keys of the first rows."""
        return next((one for one in self.pieces if isinstance(one, LateSlot)), None)


@dataclass(frozen=True, slots=True)
class InPlaceForm:
    """A fragment's SQL for the merge engine itself: texts, numbers of parameters, and slots.

    is_view: the merge reads it as it runs, since nothing restricts its tables; else it becomes a
      table by a statement of its own (DESIGN 5, barrier rule 3).
    """

    pieces: tuple[Piece, ...]
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
      the source lets it. keyed: how keys of others may narrow it. rows: how many are expected.
    apart: of a block, how many rows each of its relations would deliver by itself.
    shape: by which the rows that come are remembered.
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
    keyed: KeyedForm | None = None
    rows: float = 0.0
    apart: tuple[tuple[Address, float], ...] = ()
    shape: str = ""
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
