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

from catalog.model import Column, Grant, Hours, Policy, Product
from gateway.matching import Rules, Who
from gateway.resolve import Address, Directory


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

    kind: clear, null, constant, pseudonym, expression, partial, bucket. `arguments` are the
    mask's, as text (value; join_group; form, keep_first, keep_last, fill; unit; size).
    `raw_type` is the contract's. `expression` is that of a mask of that kind. `keys_stay` are the
    policies that keep its keys from other sources.
    """

    name: str
    raw_type: str
    type: str
    kind: str = "clear"
    policy: str = ""
    arguments: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    expression: Condition | None = None
    keys_stay: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quota:
    """What one principal may take under one policy in a period: minute, hour or day (UTC)."""

    policy: str
    per: str
    requests: int | None = None
    rows: int | None = None
    bytes: int | None = None
    seconds: int | None = None


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
    guarded queries for equal text. `limits` are the policies' caller-visible limits of a
    statement (rows, bytes, seconds), `quotas` those of a period, `turns` the policies that bound
    how many statements run at once, each with its number. `valid_until` is the next moment at which
    a grant or policy starts or ends. `alerts` are what the owner of a domain must be told.
    `entitlements` are what entitlement tables gave, also those that gave nothing.
    `own_fingerprint` is that of the mesh's own rules, where a decision point was asked besides.
    """

    tables: Mapping[Address, TableDecision] = field(hash=False)
    purpose: str | None
    purpose_was_default: bool
    revision: str
    fingerprint: str
    valid_until: datetime | None = None
    limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    reasons: tuple[Reason, ...] = ()
    quotas: tuple[Quota, ...] = ()
    turns: tuple[tuple[str, int], ...] = ()
    alerts: tuple[Alert, ...] = ()
    entitlements: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    own_fingerprint: str = ""

    @property
    def grants(self) -> frozenset[str]:
        """The grants that it rests on."""
        return frozenset(one.grant for table in self.tables.values() for one in table.scopes)


@dataclass(frozen=True, slots=True)
class Alert:
    """What the owner of a domain must be told, and nobody else."""

    domain: str
    text: str


@dataclass(frozen=True, slots=True)
class CompiledCondition:
    """A condition bound to a table's raw columns; subjects stand in it as placeholders.

    A placeholder's name is `subject.region`, `request.now`, `entitlement.tenants.tenant` ...; its
    meta `type` is the DuckDB type that its values must have. `entitlements` are those it needs.
    """

    policy: str
    expression: exp.Expression = field(compare=False)
    sql: str = ""
    entitlements: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CompiledGrant:
    """A grant as one table meets it.

    `approval` names what state must have approved where the file names no approver; `days` is
    how long it lasts, None where it does not end. `fixed` is its scope where no subject stands
    in it; `reason` is what the caller is told.
    """

    grant: Grant
    condition: CompiledCondition | None
    columns: frozenset[str] | None
    approval: str = ""
    days: float | None = None
    fixed: Scope | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy as one table, or one of its columns, meets it.

    `fixed` is its condition where no subject stands in it; `reason` is what the caller is told.
    """

    policy: Policy
    condition: CompiledCondition | None = None
    rule: AggregateRule | None = None
    fixed: Condition | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one policy makes of one column: made at load, chosen at decision.

    `decision` None: hidden. `expression` where subjects stand in the mask. `rivals` are the bits
    of policies of its rank that would make something else of the column. `mark` tells outcomes
    apart in a fingerprint.
    """

    policy: str
    decision: ColumnDecision | None
    reason: Reason | None
    mark: str
    expression: CompiledCondition | None = None
    rivals: int = 0


@dataclass(frozen=True, slots=True)
class ColumnEntry:
    """A column and what policies may make of it. `bits` are those policies, strictest lowest.

    `stays` are the bits of those that keep its keys from other sources, whatever masks it.
    """

    column: Column
    clear: ColumnDecision
    bits: int = 0
    outcomes: Mapping[int, Outcome] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    stays: int = 0


@dataclass(frozen=True, slots=True)
class Effects:
    """The bits of a table's policies by effect."""

    deny: int = 0
    filter: int = 0
    limit: int = 0
    require: int = 0
    aggregate: int = 0


@dataclass(frozen=True, slots=True)
class TableEntry:
    """Everything that may concern one table: found once, at load.

    `granting` and `restricting` say whom the grants and the policies concern, by their position.
    `moments` and `hours` are when a decision on the table may change. `entitlements` are those
    that its conditions need.
    """

    address: Address
    columns: tuple[ColumnEntry, ...]
    grants: tuple[CompiledGrant, ...]
    policies: tuple[CompiledPolicy, ...]
    granting: Who
    restricting: Rules
    effects: Effects
    moments: tuple[datetime, ...] = ()
    hours: tuple[Hours, ...] = ()
    entitlements: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Standing:
    """What state says beside the files, up to the event `number`.

    `revoked` are (grant, user), user '' for everybody. `approved` are the approvals that hold.
    `epochs` is the key in force of each join group that has been rotated.
    """

    number: int = 0
    revoked: frozenset[tuple[str, str]] = frozenset()
    approved: frozenset[str] = frozenset()
    epochs: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), hash=False)


class PolicyIndex:
    """All compiled policies of one revision, by table, under what state says beside them.

    Decisions and directories are remembered, bounded.
    """

    def __init__(
        self,
        revision: str,
        tables: Mapping[Address, TableEntry],
        products: tuple[Product, ...],
        purposes: tuple[str, ...],
        standing: Standing = Standing(),
    ) -> None:
        self.revision = revision
        self.tables = tables
        self.products = products
        self.purposes = purposes
        self.standing = standing
        # Join groups whose key may go to sources: everybody concerned agrees.
        self.pushed_groups: frozenset[str] = frozenset()
        # Which keys pseudonyms have, for fingerprints.
        self.keys = " ".join(f"{name}@{epoch}" for name, epoch in sorted(standing.epochs.items()))
        # Each with the times between which it holds.
        self.decisions: OrderedDict[object, tuple[Decision, datetime, datetime]] = OrderedDict()
        self.directories: OrderedDict[object, tuple[Directory, datetime, datetime]] = OrderedDict()

    def under(self, standing: Standing) -> PolicyIndex:
        """The same policies under another standing; nothing of the old one is remembered."""
        made = PolicyIndex(self.revision, self.tables, self.products, self.purposes, standing)
        made.pushed_groups = self.pushed_groups
        return made
