"""What an access request would take, for whoever may know the whole mesh.

Takes: a snapshot that holds the requested grants, what state says, a grant asked for. Gives: what
is missing besides: approvals, exceptions from policies that deny or hide, a smaller way where a
revoked grant would do. Never for the one who asks: it names what he may not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from catalog.model import Grant, Policy
from gateway.access_request import Asker, exception_request
from gateway.authorize import authorize_tables
from gateway.decision import PolicyIndex, Standing, TableEntry
from gateway.errors import InvalidConfig, RateLimited, SqluiceError
from gateway.identity import principal_of
from gateway.matching import Asking, bits_of
from gateway.policies.compile import approval_of
from gateway.request import Principal
from gateway.resolve import Address
from gateway.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do: a command, or a document for the mesh; or why nothing helps.

    kind: restore, approve, exception, nobody.
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Review:
    """What a requested grant needs. `is_needless`: he has all of it without the grant."""

    grant: str
    user: str
    is_needless: bool
    steps: tuple[Step, ...]


def with_request(snapshot: Snapshot, content: Mapping[str, Any]) -> dict[str, Any]:
    """A requested grant with its names in declared case: who asked wrote them as he knew them."""
    made = dict(content)
    domain = str(made.pop("domain", "") or str(made.get("id", "")).split(".")[0])
    products = [
        one for one in snapshot.mesh.products
        if one.domain.casefold() == domain.casefold()
        and one.name.casefold() == str(made.get("product", "")).casefold()
    ]  # fmt: skip
    if not products:
        raise InvalidConfig(
            "There is no product of that name.",
            hint="Correct `product`, or name the domain with --domain.",
        )
    made["product"] = products[0].name
    if "tables" in made:
        found = [one for product in products for name in made["tables"]
                 if (one := product.table(str(name))) is not None]  # fmt: skip
        made["tables"] = list(dict.fromkeys(one.name for one in found)) or made["tables"]
    return {"domain": products[0].domain, **made}


def review(snapshot: Snapshot, grant: Grant, standing: Standing, now: datetime) -> Review:
    """The steps that let the one user of a grant read what it names, once each."""
    user = next(iter(sorted(grant.subjects[0].users)), "")
    purpose = next(iter(sorted(grant.purposes)), None)
    asked = _Asked(snapshot, grant, user, purpose, now)
    if asked.gives(_without(standing, grant.id)):
        return Review(grant.id, user, True, ())
    restored = asked.restored(_without(standing, grant.id))
    if restored:
        return Review(grant.id, user, False, tuple(map(_restore, restored)))
    steps = dict.fromkeys(asked.steps(standing))
    return Review(grant.id, user, False, tuple(steps))


def _without(standing: Standing, grant: str) -> Standing:
    """As if the requested grant were not there."""
    return replace(standing, revoked=standing.revoked | {(grant, "")})


def _restore(pair: tuple[str, str]) -> Step:
    grant, user = pair
    of = f" --user {user}" if user else ""
    return Step("restore", f"sqluice access restore {grant}{of} --as NAME")


class _Asked:
    """One requested grant."""

    def __init__(
        self, snapshot: Snapshot, grant: Grant, user: str, purpose: str | None, now: datetime
    ) -> None:
        known = next((one for one in snapshot.mesh.users if one.name == user), None)
        self._principal = principal_of(known) if known is not None else Principal(user)
        self._index = snapshot.index
        self._grant = grant
        self._purpose = purpose
        self._now = now

    def gives(self, standing: Standing) -> bool:
        """Whether he sees every column that is asked for."""
        index = self._index.under(standing)
        return all(self._sees(entry, index) for entry in self._entries())

    def _sees(self, entry: TableEntry, index: PolicyIndex) -> bool:
        try:
            made = authorize_tables(
                (entry.address,), self._principal, self._purpose, self._now, index
            )
        except RateLimited:
            return True
        except SqluiceError:
            return False
        seen = {one.name for one in made.tables[entry.address].columns}
        return self._columns(entry) <= seen

    def restored(self, standing: Standing) -> tuple[tuple[str, str], ...]:
        """The one revocation without which he needs no grant; () where there is none."""
        for pair in sorted(standing.revoked):
            rest = replace(standing, revoked=standing.revoked - {pair})
            if pair[0] != self._grant.id and self.gives(rest):
                return (pair,)
        return ()

    def steps(self, standing: Standing) -> Iterator[Step]:
        """What stands in the way of the grant itself."""
        name = approval_of(self._grant)
        for entry in self._entries():
            asking = Asking(self._principal, self._purpose, self._now, standing.approved)
            applying = entry.restricting.applying(asking)
            for number in bits_of(applying & entry.effects.require):
                wants = entry.policies[number].policy.settings.get("approval")
                if wants and not self._grant.approver and name not in standing.approved:
                    yield Step("approve", f"sqluice access approve {self._grant.id} --as NAME")
            for policy in self._hiding(entry, applying):
                request = exception_request(
                    policy, Asker(self._principal.user, self._purpose, self._now)
                )
                place = policy.place.file if policy.place is not None else ""
                yield Step("exception", request) if request else Step(
                    "nobody", f"{policy.id} ({place}) allows no exceptions"
                )

    def _hiding(self, entry: TableEntry, applying: int) -> Iterator[Policy]:
        """The policies that deny the table, or hide a column that is asked for."""
        for number in bits_of(applying & entry.effects.deny):
            yield entry.policies[number].policy
        wanted = self._columns(entry)
        for column in entry.columns:
            if column.column.name in wanted and self._grant.columns is not None:
                for number in bits_of(column.bits & applying):
                    if column.outcomes[number].decision is None:
                        yield entry.policies[number].policy

    def _entries(self) -> Iterator[TableEntry]:
        for address, entry in self._index.tables.items():
            if self._means(address):
                yield entry

    def _means(self, address: Address) -> bool:
        grant = self._grant
        return (
            (address.domain, address.product) == (grant.domain, grant.product)
            and (grant.major is None or grant.major == address.major)
            and (grant.tables is None or address.table in grant.tables)
        )

    def _columns(self, entry: TableEntry) -> set[str]:
        """Those asked for; where all are, one that is not hidden is enough."""
        names = {one.column.name for one in entry.columns}
        if self._grant.columns is None:
            return set()
        asked = {one.casefold() for one in self._grant.columns}
        return {one for one in names if one.casefold() in asked}
