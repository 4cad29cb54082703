"""Who asks what, when and why.

Takes: what an endpoint read from the wire. Gives: the immutable `Request` that every stage works
on. Never reads the clock, the network or a file: the reading of the clock is a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

EMPTY: Mapping[str, tuple[str, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TokenScope:
    """What a token is bounded to. What is empty bounds nothing; a scope never gives anything.

    `products` are `domain` or `domain.product`, in small letters; `endpoints` are where the token
    signs in at all.
    """

    purposes: frozenset[str] = frozenset()
    products: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()

    @property
    def is_whole(self) -> bool:
        """Whether it bounds nothing."""
        return not (self.purposes or self.products or self.endpoints)

    def covers(self, domain: str, product: str) -> bool:
        """Whether a product lies within."""
        if not self.products:
            return True
        folded = domain.casefold()
        return folded in self.products or f"{folded}.{product.casefold()}" in self.products


WHOLE = TokenScope()


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who asks. `attributes` map a name to its values, all text.

    `client` is what his application calls itself, `address` where his connection comes from; ''
    where that is not known. `entitlements` are what entitlement tables give him, read by the
    gateway for this statement. `scope` bounds what his token is good for. `actor` is who really
    asks where somebody acts as him, `credential` what signed in (`password`, `token <id>` ...):
    both are for the audit, no decision reads them.
    """

    user: str
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: EMPTY, hash=False)
    may_impersonate: bool = False
    client: str = ""
    address: str = ""
    entitlements: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: EMPTY, hash=False)
    scope: TokenScope = WHOLE
    actor: str = field(default="", compare=False)
    credential: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one statement: rows of the answer, seconds of its run, bytes of the answer.

    More `rows` or `bytes` than that is an error; `first` is what the caller asked to be cut at.
    `policies` names the one that set a bound, by the name of the bound, where one alone did.
    """

    rows: int | None = None
    seconds: float = 300.0
    bytes: int | None = None
    first: int | None = None
    policies: tuple[tuple[str, str], ...] = ()

    def policy_of(self, bound: str) -> str:
        """The policy that set a bound; '' where none did, or several."""
        return dict(self.policies).get(bound, "")

    def within(self, allowed: Limits) -> Limits:
        """These, where the gateway allows so much: a caller may ask for less, never for more."""
        rows = [one for one in (self.rows, allowed.rows) if one is not None]
        return Limits(
            rows=min(rows) if rows else None,
            seconds=min(self.seconds, allowed.seconds),
            bytes=self.bytes if self.bytes is not None else allowed.bytes,
            first=self.first,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One statement of one principal. `parameters` are Python values, bound and never spliced.

    `domain` is the session's default domain. `dialect` is the client's SQL dialect as sqlglot
    names it. `now` is an aware UTC time. `trace` is the caller's own span (`traceparent`), ''
    for none.
    """

    sql: str
    principal: Principal
    now: datetime
    query_id: str
    purpose: str | None = None
    domain: str | None = None
    dialect: str = "duckdb"
    timezone: str = "UTC"
    parameters: tuple[object, ...] = ()
    limits: Limits = Limits()
    client: str = ""
    endpoint: str = "in-process"
    push_down: bool = True
    require_pushdown: bool = False
    link_cost: str = ""
    trace: str = ""
