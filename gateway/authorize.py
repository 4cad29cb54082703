"""What the policies say of a resolved query (stage 3).

Takes: a `ResolvedQuery`, a `Request` (principal, purpose, now) and a `PolicyIndex`. Gives: a
`Decision`. Never touches the query's tree (DESIGN 5, rules 1 to 3, 7, 9, 13).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from sqlglot import exp

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

    @property
    def clear(self) -> bool:
        """No row is hidden and no visible cell is changed."""
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
