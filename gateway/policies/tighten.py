"""What a newer revision of a mesh lets through that an older one did not.

Takes: two meshes and the time. Gives: a `Comparison`: widenings, which the files of a domain may
not bring about by themselves; loosenings, which their authors may; tightenings. Never decides
whether a widening is approved.

The governance group owns its files. So the older words of the domains are first put under the
governance files of the newer revision: what differs from there on is the domains' doing (DESIGN 5,
rule 11; docs/adr/0005-widenings.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol, TypeVar

from catalog.model import Match, Mesh, Policy
from gateway.policies.columns import kind_of
from gateway.policies.concerning import COLUMN_EFFECTS
from gateway.policies.counterparts import Counterparts, Spot, spots
from gateway.policies.sides import Side
from gateway.policies.weaker import Standing, Weakness, weakness
from gateway.policies.widening import Comparison, Difference, Loosening, widening_of

Key = tuple[str, ...]
# Gives revisions that may have known some columns, newest first.
Earlier = Callable[[tuple[Spot, ...]], Iterable[Mesh]]


class _Written(Protocol):
    @property
    def domain(self) -> str | None:
        """Whose file it stands in; None: the governance group's."""


W = TypeVar("W", bound=_Written)


def no_revision(spots: tuple[Spot, ...]) -> Iterator[Mesh]:
    """There is none that knew the columns."""
    yield from ()


def compare(
    before: Mesh, after: Mesh, now: datetime, earlier: Earlier = no_revision
) -> Comparison:
    """What `after` lets through that `before` did not.

    `earlier` gives the revisions before that, newest first, which may have known some columns: what
    was gone for a while comes back under the words that it had.
    """
    governed = _governed(before, after)
    ours, theirs = Side(governed, now), Side(after, now)
    comparing = _Comparing(ours, theirs)
    differences = list(comparing.differences())
    widened = [*_widened(differences, ours, Side(before, now)), *_entitled(governed, after)]
    widened += _come_back(comparing.unknown, theirs, earlier)
    told = [widening_of(after, one) for one in widened]
    names = {one.policy.id for one in widened}
    loosened = [one for one in differences if one.policy.id not in names]
    loosened += _Comparing(Side(before, now), ours).differences()
    tightened = _Comparing(theirs, Side(before, now)).differences()
    return Comparison(
        tuple({one.id: one for one in told}.values()),
        tuple({one.policy.id: _loosening(one) for one in reversed(loosened)}.values()),
        tuple(sorted({one.policy.id for one in tightened})),
    )


def _come_back(
    unknown: Mapping[Key, Spot], theirs: Side, earlier: Earlier
) -> Iterator[Difference]:
    """What the last revision that knew a place in a source held back there."""
    for one in earlier(tuple(unknown.values())) if unknown else ():
        governed = Side(_governed(one, theirs.mesh), theirs.now)
        again = _Comparing(governed, theirs, unknown)
        yield from (each for each in again.differences() if each.policy.domain is None)
        unknown = again.unknown
        if not unknown:
            return


def _governed(before: Mesh, after: Mesh) -> Mesh:
    """The older revision under the governance files of the newer one."""
    return replace(
        before, taxonomy=after.taxonomy, ceilings=after.ceilings, purposes=after.purposes,
        policies=_mixed(before.policies, after.policies),
        exceptions=_mixed(before.exceptions, after.exceptions),
        entitlements=_mixed(before.entitlements, after.entitlements),
    )  # fmt: skip


def _mixed(before: tuple[W, ...], after: tuple[W, ...]) -> tuple[W, ...]:
    return (
        *(one for one in after if one.domain is None),
        *(one for one in before if one.domain is not None),
    )


def _widened(
    differences: Iterable[Difference], ours: Side, before: Side
) -> Iterator[Difference]:
    """Whatever lets more through than the governance group said, or on what it speaks of.

    A domain may loosen its own policies where the governance group says nothing.
    """
    for one in differences:
        sides = (ours, before)
        if one.policy.domain is None or any(
            side.is_governed(one.old) if one.policy.effect in COLUMN_EFFECTS
            else _is_table_governed(side, one.old)
            for side in sides
        ):  # fmt: skip
            yield one


def _is_table_governed(side: Side, spot: Spot) -> bool:
    return any(one.domain is None for one in side.of_table(spot)) or any(
        side.is_governed(replace(spot, column=one)) for one in spot.table.columns
    )


def _loosening(one: Difference) -> Loosening:
    return Loosening(
        one.policy.id, one.policy.domain or "", one.old.address, one.weak.why,
        str(one.weak.example or ""),
    )


class _Comparing:
    """Two sides. `only` are the columns to look at, by their places alone; None: all, and by their
    addresses too. Of the places of `unknown` ours know nothing.
    """

    def __init__(
        self, ours: Side, theirs: Side, only: Mapping[Key, Spot] | None = None
    ) -> None:
        self._ours, self._theirs, self._only = ours, theirs, only
        self._counterparts = Counterparts(ours.mesh, theirs.mesh)
        self._unchanged = ours.unchanged(theirs)
        self._still = set(_still(ours, theirs)) if ours.is_all(self._unchanged) else set[int]()
        self._rows: dict[tuple[str, ...], int] = {}
        self._known: dict[tuple[str, int], Weakness | None] = {}
        self._shown: dict[tuple[str, int, bool], str] = {}
        self.unknown: dict[Key, Spot] = {}

    def differences(self) -> Iterator[Difference]:
        """Every policy of ours that theirs do not match, once for each column or table."""
        seen: set[tuple[int, ...]] = set()
        for new in spots(self._theirs.mesh):
            if id(new.product) in self._still or (
                self._only is not None and _key(new) not in self._only
            ):
                continue
            for old in self._olds(new):
                yield from self._of_column(old, new)
                tables = (id(old.product), id(old.table), id(new.product), id(new.table))
                if tables not in seen:
                    seen.add(tables)
                    yield from self._of_table(old, new)

    def _olds(self, new: Spot) -> tuple[Spot, ...]:
        unmoved = self._counterparts.unmoved(new)
        if unmoved is not None:
            return (unmoved,)
        placed = self._counterparts.placed(new)
        if not placed:
            self.unknown[_key(new)] = new
        named = self._counterparts.named(new) if self._only is None else ()
        return (*(one for one in named if one not in placed), *placed)

    def _of_column(self, old: Spot, new: Spot) -> Iterator[Difference]:
        yield from self._missing(self._ours.of_column(old), self._theirs.of_column(new), old, new)
        known = {one.id for one in self._theirs.ceilings_of(new)}
        for one in self._ours.ceilings_of(old):
            if one.id not in known:
                shadow = Policy(one.id, "ceiling", one.match, place=one.place)
                yield Difference(shadow, old, new, Weakness("is over it no more"))

    def _of_table(self, old: Spot, new: Spot) -> Iterator[Difference]:
        held, there = self._ours.of_table(old), self._theirs.of_table(new)
        yield from self._missing(held, there, old, new)
        if not self._counterparts.is_one_table(old, new):
            return
        masks = {
            one.id: (one, column) for column in old.table.columns
            for one in self._ours.of_column(replace(old, column=column))
        }  # fmt: skip
        for policy in held:
            yield from self._misread(policy, old, new)
        for policy, column in masks.values():
            yield from self._misread(policy, replace(old, column=column), new)

    def _missing(
        self, held: tuple[Policy, ...], there: tuple[Policy, ...], old: Spot, new: Spot
    ) -> Iterator[Difference]:
        every = {one.id: one for one in there}
        governance = {name: one for name, one in every.items() if one.domain is None}
        names = every.keys() & self._unchanged
        row = self._rows.setdefault(tuple(every), len(self._rows))
        for one in held:
            if one.id in names and one.effect != "filter":
                continue
            # What a domain can take back tomorrow does not stand for the governance group's.
            candidates = governance if one.domain is None else every
            weak = self._weakness(one, candidates, row, old, new)
            if weak is not None:
                key = (one.id, row, weak.spares)
                if key not in self._shown:
                    self._shown[key] = self._left(one, there, weak)
                yield Difference(one, old, self._named(one, old, new), weak, self._shown[key])

    def _weakness(
        self, policy: Policy, candidates: Mapping[str, Policy], row: int, old: Spot, new: Spot
    ) -> Weakness | None:
        """Only of filters the answer depends on the table; others have it by row of candidates."""
        key = (policy.id, row)
        if policy.effect != "filter" and key in self._known:
            return self._known[key]
        ours, theirs = Standing(old, self._ours), Standing(new, self._theirs)
        found = weakness(policy, ours, candidates, theirs)
        if policy.effect != "filter":
            self._known[key] = found
        return found

    def _left(self, policy: Policy, there: tuple[Policy, ...], weak: Weakness) -> str:
        """The strictest mask that those meet whom the policy holds less."""
        if policy.effect not in ("mask", "hide"):
            return ""
        kinds = [
            kind_of(one) for one in there
            if one.effect in ("mask", "hide") and (one.id != policy.id or not weak.spares)
        ]  # fmt: skip
        return min(kinds, key=self._theirs.order.index, default="")

    def _named(self, policy: Policy, old: Spot, new: Spot) -> Spot:
        """Of a whole table the column whose words made the policy concern it."""
        if policy.effect in COLUMN_EFFECTS:
            return new
        for name in self._ours.reasons_in(policy, old):
            found = new.table.column(name)
            if found is not None:
                return replace(new, column=found)
        return new

    def _misread(self, policy: Policy, old: Spot, new: Spot) -> Iterator[Difference]:
        """A condition reads contract columns: a domain must not put another one under a name."""
        if policy.domain is not None:
            return
        for name in self._ours.reads(policy, old):
            before, after = old.table.column(name), new.table.column(name)
            if before is None or after is None:
                continue
            if before.physical_name.casefold() != after.physical_name.casefold():
                told = f"would read another column of the source as {name}"
                yield Difference(
                    replace(policy, effect="condition"), replace(old, column=before),
                    replace(new, column=after), Weakness(told, policy.id),
                )  # fmt: skip


def _still(ours: Side, theirs: Side) -> Iterator[int]:
    """The products of theirs of which nothing changed, nor of the rules and sources around them."""
    before, after = ours.mesh, theirs.mesh
    around = (
        before.ceilings == after.ceilings and before.sources == after.sources
        and before.taxonomy == after.taxonomy and before.entitlements == after.entitlements
    )  # fmt: skip
    known = {(one.address, one.version): one for one in before.products} if around else {}
    for one in after.products:
        if known.get((one.address, one.version)) == one:
            yield id(one)


def _entitled(before: Mesh, after: Mesh) -> Iterator[Difference]:
    """What the governance group asks of an entitlement must come from where it came."""
    for one in after.entitlements:
        names = (one.subject, *one.values)
        known = _places(before, one.table, names)
        for place, spot in _places(after, one.table, names).items():
            if one.domain is None and known and place not in known:
                shadow = Policy(one.id, "condition", Match(), place=one.place)
                old = next(iter(known.values()))
                yield Difference(shadow, old, spot, Weakness("would read other data", one.id))


def _places(mesh: Mesh, table: str, names: tuple[str, ...]) -> dict[tuple[object, ...], Spot]:
    """Where the columns of a table lie, by source, table and column."""
    sources = mesh.sources
    return {
        (
            spot.column.name, spot.product.source,
            tuple(sorted(sources[spot.product.source].settings.items())),
            spot.table.physical_name, spot.column.physical_name,
        ): spot
        for spot in spots(mesh)
        if spot.address == table and spot.column.name in names
    }  # fmt: skip


def _key(spot: Spot) -> Key:
    return spot.address, str(spot.product.major), spot.column.name
