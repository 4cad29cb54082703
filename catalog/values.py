"""All values of a mesh while it is read, before it is known whether they fit together.

Takes: nothing. Gives: `Parts`. Never checks anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from catalog.documents import Document
from catalog.model import (
    Ceiling,
    Domain,
    Entitlement,
    Grant,
    Policy,
    PolicyException,
    Product,
    Purpose,
    Taxonomy,
    User,
)
from catalog.problems import Problems


@dataclass(slots=True)
class Parts:
    """All values of a mesh. `lost` are the rooms of files that could not be read."""

    problems: Problems = field(default_factory=Problems)
    lost: set[str] = field(default_factory=set)
    domains: list[Domain] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    policies: list[tuple[Policy, Document]] = field(default_factory=list)
    grants: list[tuple[Grant, Document]] = field(default_factory=list)
    exceptions: list[tuple[PolicyException, Document]] = field(default_factory=list)
    entitlements: list[tuple[Entitlement, Document]] = field(default_factory=list)
    ceilings: list[tuple[Ceiling, Document]] = field(default_factory=list)
    purposes: tuple[Purpose, ...] = ()
    taxonomy: Taxonomy = Taxonomy()
    join_groups: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    identities: Document | None = None
    groups: frozenset[str] | None = None
    may_be_reserved: bool = False

    def is_whole(self, domain: str | None) -> bool:
        """Whether every file of a domain could be read; of all domains for None."""
        rooms = {one for one in self.lost if one.startswith("domains/")}
        return f"domains/{domain}" not in rooms if domain is not None else not rooms
