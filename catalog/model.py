"""What a mesh is made of.

Takes: nothing. Gives: the frozen values that the loader (`catalog.mesh`) builds and every other
room reads. Never opens a file, a socket or a database.

Column types are DuckDB type names in canonical spelling: BOOLEAN, TINYINT, SMALLINT, INTEGER,
BIGINT, HUGEINT, FLOAT, DOUBLE, DECIMAL(p,s), VARCHAR, BLOB, DATE, TIME, TIMESTAMP,
TIMESTAMP WITH TIME ZONE, INTERVAL, UUID, JSON and T[] of one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is declared: file relative to the mesh folder, path inside it, line."""

    file: str
    path: str = ""
    line: int | None = None

    def __str__(self) -> str:
        """`file:line path`."""
        line = f":{self.line}" if self.line is not None else ""
        return f"{self.file}{line}" + (f" {self.path}" if self.path else "")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a contract. `masked_type` is the declared type of its masked form, if any.

    `length` is the most characters that the contract allows a text, if it says so.
    """

    name: str
    type: str
    physical_name: str
    required: bool = False
    unique: bool = False
    primary_key_position: int | None = None
    masked_type: str | None = None
    tags: frozenset[str] = frozenset()
    classification: str | None = None
    description: str = ""
    business_name: str = ""
    unit: str = ""
    critical: bool = False
    examples: tuple[str, ...] = ()
    semantics: Mapping[str, str] = field(default_factory=lambda: NOTHING, hash=False)
    length: int | None = None
    keys_stay: bool = False
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Relationship:
    """A foreign key: columns of this table refer to columns of `domain.product.table`."""

    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a contract. `size` is the contract's declared number of rows, if any."""

    name: str
    physical_name: str
    columns: tuple[Column, ...]
    description: str = ""
    business_name: str = ""
    tags: frozenset[str] = frozenset()
    relationships: tuple[Relationship, ...] = ()
    size: int | None = None
    place: Place | None = None

    def column(self, name: str) -> Column | None:
        """The column of that name, whatever the case."""
        folded = name.casefold()
        return next((one for one in self.columns if one.name.casefold() == folded), None)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Names of the key's columns, in key order."""
        keyed = [one for one in self.columns if one.primary_key_position is not None]
        return tuple(one.name for one in sorted(keyed, key=lambda c: c.primary_key_position or 0))


@dataclass(frozen=True, slots=True)
class Source:
    """A configured backend of a domain. `secrets` map a setting's name to a secret reference.

    link_cost: `cheap` or `dear`; empty where it says nothing.
    """

    domain: str
    name: str
    kind: str
    settings: Mapping[str, str] = field(default_factory=lambda: NOTHING, hash=False)
    secrets: Mapping[str, str] = field(default_factory=lambda: NOTHING, hash=False)
    region: str = ""
    link_cost: str = ""
    place: Place | None = None

    @property
    def identity(self) -> str:
        """`domain.name`: sources are compared by identity, never by kind."""
        return f"{self.domain}.{self.name}"


@dataclass(frozen=True, slots=True)
class Product:
    """A data product: what a domain offers, with the tables of its contract.

    `source` is the identity of the source that holds all its tables.
    """

    domain: str
    name: str
    version: str
    status: str
    source: str
    tables: tuple[Table, ...]
    contract_id: str
    default_table: str | None = None
    purpose: str = ""
    description: str = ""
    tags: frozenset[str] = frozenset()
    owners: tuple[str, ...] = ()
    support: tuple[str, ...] = ()
    service_levels: tuple[Mapping[str, str], ...] = field(default=(), hash=False)
    quality: tuple[Mapping[str, object], ...] = field(default=(), hash=False)
    place: Place | None = None

    @property
    def major(self) -> int:
        """The major version, from a version such as `1.2.0`."""
        return int(self.version.lstrip("v").split(".")[0])

    @property
    def address(self) -> str:
        """`domain.product`."""
        return f"{self.domain}.{self.name}"

    def table(self, name: str) -> Table | None:
        """The table of that name, whatever the case."""
        folded = name.casefold()
        return next((one for one in self.tables if one.name.casefold() == folded), None)


@dataclass(frozen=True, slots=True)
class Domain:
    """An organisational owner: people, description, sources.

    `pushed_groups` are join groups whose key the domain lets travel to its sources.
    """

    name: str
    description: str
    owners: tuple[str, ...]
    sources: tuple[Source, ...]
    pushed_groups: frozenset[str] = frozenset()
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of some days of the week, in a zone. Days count from Monday, 0.

    `start` and `end` are minutes after midnight; `end` is exclusive, and where it is not after
    `start` it lies on the next day.
    """

    days: frozenset[int]
    start: int
    end: int
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Subjects:
    """Whom a grant or a policy concerns: any of the users, groups or roles, *and* the rest.

    `everyone` is true where the file says `all: true`. `attributes` map a name to the values of
    which the principal must have one. `clients` are names of applications as they say themselves,
    `networks` ranges of addresses that the connection comes from. `approval` names what state
    must have approved; '' where nothing is needed.
    """

    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    attributes: Mapping[str, frozenset[str]] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    everyone: bool = False
    clients: frozenset[str] = frozenset()
    networks: tuple[str, ...] = ()
    purposes: frozenset[str] = frozenset()
    hours: Hours | None = None
    valid_from: datetime | None = None
    until: datetime | None = None
    approval: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """The only thing that gives access. `columns` None: all; `tables` None: all of the product.

    `scope` is an SQL condition over the raw row, `subject.*` and `request.*`; None: every row.
    Empty `purposes`: any purpose. `until` is exclusive.
    """

    id: str
    domain: str
    product: str
    subjects: tuple[Subjects, ...]
    tables: frozenset[str] | None = None
    columns: frozenset[str] | None = None
    scope: str | None = None
    purposes: frozenset[str] = frozenset()
    valid_from: datetime | None = None
    until: datetime | None = None
    major: int | None = None
    approver: str = ""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """What a policy concerns; every field that is set must hold. A tag matches its descendants."""

    tags: frozenset[str] = frozenset()
    classifications: frozenset[str] = frozenset()
    domain: str | None = None
    product: str | None = None
    table: str | None = None
    columns: frozenset[str] = frozenset()
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask: `kind` is null, constant, pseudonym, expression, partial, bucket, clear.

    constant: `value`. pseudonym: `join_group`. expression: `sql` over the raw row. partial:
    `form` (ends, email, digits), `keep_first`, `keep_last`, `fill`. bucket: `unit` (year,
    quarter, month, week, day, hour) for times, `size` for numbers.
    """

    kind: str
    value: str | None = None
    join_group: str | None = None
    keep_first: int = 0
    keep_last: int = 0
    fill: str = "*"
    unit: str | None = None
    size: str | None = None
    form: str = "ends"
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Something that restricts. Exactly one effect is set.

    `effect` is deny, filter, mask, hide, keysStay, aggregate, limit or require; `filter` holds the
    SQL of a filter, `mask` that of a mask, `settings` the rest. `domain` None: written by the
    governance group, else by that domain. `unless` exempts subjects; no `subjects`: everybody.
    Several subjects: any of them. It holds from `valid_from` until `until` (exclusive).
    `exception_days` is the longest exception that it allows; 0: none.
    """

    id: str
    effect: str
    match: Match
    domain: str | None = None
    subjects: tuple[Subjects, ...] = ()
    purposes: frozenset[str] = frozenset()
    unless: tuple[Subjects, ...] = ()
    filter: str | None = None
    mask: Mask | None = None
    settings: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    description: str = ""
    valid_from: datetime | None = None
    until: datetime | None = None
    exception_days: int = 0
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class PolicyException:
    """An exception from one policy for a while, with a reason and an approver.

    Without an `approver` it holds once state has its approval.
    """

    id: str
    policy: str
    subjects: tuple[Subjects, ...]
    reason: str
    until: datetime
    valid_from: datetime
    domain: str | None = None
    approver: str = ""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that a domain may grant on what it matches; only the governance group writes one.

    `subjects` are those whom a grant may name, `purposes` those for which it may be given (empty:
    any), `max_days` how long it may last (None: without end).
    """

    id: str
    match: Match
    subjects: tuple[Subjects, ...] = ()
    purposes: frozenset[str] = frozenset()
    max_days: int | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A table that says what each subject is entitled to.

    Of its rows those count whose `subject` column holds one of the caller's `of` (user, groups,
    roles, or the name of an attribute); `values` are the columns that conditions may ask for.
    """

    id: str
    table: str
    subject: str
    values: tuple[str, ...]
    of: str = "user"
    ttl: int = 60
    domain: str | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Purpose:
    """A reason for asking that the governance group knows."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Known tags, classifications (weakest first), the order of masks (strictest first).

    `pushed_groups` are join groups whose key the governance group lets travel to sources.
    """

    tags: frozenset[str] = frozenset()
    classifications: tuple[str, ...] = ()
    mask_order: tuple[str, ...] = (
        "hide",
        "null",
        "constant",
        "pseudonym",
        "partial",
        "bucket",
        "expression",
        "clear",
    )
    pushed_groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Impersonation:
    """For whom somebody may act: `users`, members of `groups`, or with `everybody` anyone.

    Whoever holds a role is meant only where each role of his is among `roles`.
    """

    everybody: bool = False
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()

    def means(self, user: User) -> bool:
        """Whether he may act for that user."""
        is_named = self.everybody or user.name in self.users or bool(user.groups & self.groups)
        return is_named and user.roles <= self.roles


@dataclass(frozen=True, slots=True)
class User:
    """A local user. `verifier` is a SCRAM-SHA-256 verifier in PostgreSQL's form.

    One that `is_service` is a program: it has no password and signs in with tokens.
    """

    name: str
    verifier: str = ""
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    attributes: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    full_name: str = ""
    is_service: bool = False
    impersonates: Impersonation | None = None


@dataclass(frozen=True, slots=True)
class Mesh:
    """All of it, immutable; `revision` is the hash of the contents of every file read."""

    revision: str
    domains: tuple[Domain, ...]
    products: tuple[Product, ...]
    grants: tuple[Grant, ...]
    policies: tuple[Policy, ...]
    purposes: tuple[Purpose, ...]
    taxonomy: Taxonomy
    users: tuple[User, ...]
    join_groups: tuple[str, ...] = ()
    exceptions: tuple[PolicyException, ...] = ()
    entitlements: tuple[Entitlement, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    settings: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    @property
    def sources(self) -> Mapping[str, Source]:
        """All sources by identity."""
        return {one.identity: one for domain in self.domains for one in domain.sources}
