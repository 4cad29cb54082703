"""What policies become: compiled at load, decided for one caller.

Takes: nothing. Gives: `PolicyIndex` and its compiled parts, `Decision` and its parts. Never
computes anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from sqlglot import exp

from catalog.model import Column, Grant, Policy, Product, Taxonomy
from gateway.resolve import Address


@dataclass(frozen=True, slots=True)
class Condition:
    """A total SQL condition over the raw row, all its subjects already literals.

    `expression` is in DuckDB's dialect; its columns are unqualified, quoted, in declared case.
    It is shared: whoever changes it copies it first.
    """

    policy: str
    expression: exp.Expression = field(compare=False)
    sql: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """One matching grant: the columns it covers (None: all) in the rows of its condition.

    `condition` None: every row.
    """

    grant: str
    condition: Condition | None
    columns: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class ColumnDecision:
    """A visible column: what is done to it, by which policy, and the type the caller sees.

    kind: clear, null, constant, pseudonym, partial, bucket. `arguments` are the mask's, as text
    (value; join_group; keep_first, keep_last, fill; unit; size). `raw_type` is the contract's.
    """

    name: str
    raw_type: str
    type: str
    kind: str = "clear"
    policy: str = ""
    arguments: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)


# Pairs of an entity and its dimensions that the differencing guard keeps where no policy says more.
KEPT_ATOMS = 200_000


@dataclass(frozen=True, slots=True)
class AggregateRule:
    """How a table is offered that shows groups only (rule 6).

    entity: the raw column that tells whom a row is about. minimum: the fewest entities of a group.
    dimensions: the columns that keys and predicates may name. dominance: the largest share of a
    group's total that one entity may have. atoms: how many pairs of an entity and its dimensions
    the differencing guard keeps for one principal and purpose. remember: for how many days, None:
    for ever.
    """

    policy: str
    entity: str
    entity_type: str
    minimum: int
    dimensions: frozenset[str]
    dominance: float = 1.0
    atoms: int = KEPT_ATOMS
    remember: int | None = None


@dataclass(frozen=True, slots=True)
class TableDecision:
    """All that holds for one table: row is visible iff some scope and every filter is true.

    `columns` are the visible ones only, in contract order. A cell is visible iff one scope that
    covers its column is true for its row (rule 2).
    """

    address: Address
    scopes: tuple[Scope, ...]
    filters: tuple[Condition, ...]
    columns: tuple[ColumnDecision, ...]
    aggregate: AggregateRule | None = None

    @property
    def clear(self) -> bool:
        """No row is hidden and no visible cell is changed."""
        if self.aggregate is not None:
            return False
        every_row = any(one.condition is None and one.columns is None for one in self.scopes)
        return every_row and not self.filters and all(c.kind == "clear" for c in self.columns)


@dataclass(frozen=True, slots=True)
class Reason:
    """One line of why: the object, the outcome, the policy or grant that decided."""

    subject: str
    outcome: str
    policy: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome for (revision, principal, purpose, tables, now) (rule 13).

    `fingerprint` is a hash of everything that shapes the answer: equal fingerprints mean equal
    guarded queries for equal text. `limits` are the policies' caller-visible limits (rows,
    bytes). `valid_until` is the next moment at which a grant or policy starts or ends.
    """

    tables: Mapping[Address, TableDecision] = field(hash=False)
    purpose: str | None
    purpose_was_default: bool
    revision: str
    fingerprint: str
    valid_until: datetime | None = None
    limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class CompiledCondition:
    """A condition bound to a table's raw columns; subjects stand in it as placeholders.

    A placeholder's name is `subject.region`, `request.now` ...; its meta `type` is the DuckDB
    type that its values must have.
    """

    policy: str
    expression: exp.Expression = field(compare=False)
    sql: str = ""


@dataclass(frozen=True, slots=True)
class CompiledGrant:
    """A grant as one table meets it."""

    grant: Grant
    condition: CompiledCondition | None
    columns: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy as one table, or one of its columns, meets it."""

    policy: Policy
    condition: CompiledCondition | None = None
    rule: AggregateRule | None = None


@dataclass(frozen=True, slots=True)
class TableEntry:
    """Everything that may concern one table: found once, at load."""

    address: Address
    columns: tuple[Column, ...]
    grants: tuple[CompiledGrant, ...]
    policies: tuple[CompiledPolicy, ...]
    masks: Mapping[str, tuple[CompiledPolicy, ...]]


class PolicyIndex:
    """All compiled policies of one revision, by table. Decisions are remembered, bounded."""

    def __init__(
        self,
        revision: str,
        tables: Mapping[Address, TableEntry],
        products: tuple[Product, ...],
        taxonomy: Taxonomy,
        purposes: tuple[str, ...],
    ) -> None:
        self.revision = revision
        self.tables = tables
        self.products = products
        self.rank = {kind: rank for rank, kind in enumerate(taxonomy.mask_order)}
        self.purposes = purposes
        self.decisions: OrderedDict[object, Decision] = OrderedDict()
