"""Widenings, loosenings and tightenings as values.

Takes: what a comparison found. Gives: `Widening`s with an id that any change of what widens
changes, so that an approval is of exactly one. Never decides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from catalog.model import Mesh, Place, Policy, Subjects
from gateway.policies.ceilings import granted
from gateway.policies.columns import kind_of
from gateway.policies.counterparts import Spot
from gateway.policies.weaker import Weakness

_SHOWN_GRANTS = 3
_OF_COLUMNS = ("mask", "hide", "keysStay", "ceiling")


@dataclass(frozen=True, slots=True)
class Difference:
    """A policy that nothing as strict matches on the other side of a change.

    `shown` is the mask that is left to those who see more; '' where none is.
    """

    policy: Policy
    old: Spot
    new: Spot
    weak: Weakness
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Widening:
    """What a domain's files would let through. `column` '' means the whole table.

    `policy` is the policy, the ceiling or the entitlement that would lose its hold, `file` where
    it stands; `place` is where the domain's words stand. `example` says who would see what.
    """

    id: str
    table: str
    column: str
    policy: str
    file: str
    place: str
    message: str
    example: str

    @property
    def domain(self) -> str:
        """The domain whose files widen."""
        return self.table.split(".", maxsplit=1)[0]

    @property
    def named(self) -> str:
        """One line for a log: the example is made of the policies' constants, and left out."""
        return f"{self._what} Widening {self.id}"

    @property
    def _what(self) -> str:
        name = f"{self.table}.{self.column}" if self.column else self.table
        return f"{self.place}: {name}: {self.policy} ({self.file}) {self.message}."

    def __str__(self) -> str:
        """One line for whoever has the files."""
        example = f" {self.example}." if self.example else ""
        return f"{self._what}{example} Widening {self.id}"


@dataclass(frozen=True, slots=True)
class Loosening:
    """What the author of a policy loosened, as he may. `author` '' is the governance group."""

    policy: str
    author: str
    table: str
    message: str
    example: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a newer revision lets through, and what it no longer does."""

    widenings: tuple[Widening, ...] = ()
    loosenings: tuple[Loosening, ...] = ()
    tightenings: tuple[str, ...] = ()


def widening_of(after: Mesh, found: Difference) -> Widening:
    """A widening of a column; of the whole table where the policy concerns rows."""
    policy, new, weak = found.policy, found.new, found.weak
    is_table = policy.effect not in (*_OF_COLUMNS, "condition")
    place = new.column.place or new.table.place or new.product.place
    if weak.left == policy.id and policy.domain is not None:
        place = next((one.place for one in after.policies if one.id == policy.id), place)
    made = Widening(
        "", new.address, "" if is_table else new.column.name, policy.id, _file(policy.place),
        str(place or ""), _cause(found), f"{_seen(found)}: {_readers(after, new)}",
    )  # fmt: skip
    return replace(made, id=_id(after, found, made))


def unreadable(before: str, after: str) -> Widening:
    """An older revision that this version cannot read: whatever it held back may be let through."""
    text = json.dumps(["unreadable", before, after])
    return Widening(
        hashlib.sha256(text.encode()).hexdigest()[:32], "the mesh", "", "every policy", "state",
        f"revision {before[:12]}", "cannot be compared: this version cannot read that revision", "",
    )  # fmt: skip


def _cause(found: Difference) -> str:
    policy, weak = found.policy, found.weak
    if policy.effect == "condition":
        return weak.why
    if weak.left == policy.id:
        return f"would hold it less: it {weak.why}"
    words = "; ".join(_changes(found.old, found.new))
    left = f"; {weak.left} is less strict" if weak.left else ""
    return f"would not hold it any more ({words or weak.why}){left}"


def _changes(old: Spot, new: Spot) -> list[str]:
    """How the words about a column changed."""
    lost = sorted(_tags(old) - _tags(new))
    found = [f"it lost the tag {one}" for one in lost]
    before, now = old.column.classification, new.column.classification
    if before != now:
        found.append(f"its classification {before or 'none'} became {now or 'none'}")
    if _name(old) != _name(new):
        found.append(f"it was {_name(old)}")
    if old.product.source != new.product.source:
        found.append(f"its source was {old.product.source}")
    return found


def _tags(spot: Spot) -> frozenset[str]:
    return spot.column.tags | spot.table.tags | spot.product.tags


def _name(spot: Spot) -> str:
    product = spot.product
    return f"{product.address}@{product.major}.{spot.table.name}.{spot.column.name}"


def _seen(found: Difference) -> str:
    policy, name = found.policy, found.new.column.name
    if policy.effect == "ceiling":
        return f"{name} could be granted beyond the ceiling"
    if policy.effect in ("mask", "hide"):
        before = "hidden" if policy.effect == "hide" else f"shown as {kind_of(policy)}"
        shown = f"shown as {found.shown}" if found.shown else "shown in clear"
        return f"{name}, until now {before}, would be {shown}"
    if policy.effect == "keysStay":
        return f"keys of {name} could be sent to other sources"
    if policy.effect == "filter":
        row = str(found.weak.example or "some row")
        return f"{row} would be seen"
    if policy.effect == "condition":
        return "rows or values that it holds back would be seen"
    return f"{policy.effect} would not hold as it did"


def _readers(after: Mesh, new: Spot) -> str:
    """Who would see it by the grants of the newer revision."""
    grants = [
        one for one in after.grants
        if (one.domain, one.product) == (new.product.domain, new.product.name)
        and new.column.name in granted(one, new.product, new.table)
    ]  # fmt: skip
    if not grants:
        return "nobody yet, since no grant covers it"
    shown = ", ".join(f"{_whom(one.subjects)} by {one.id}" for one in grants[:_SHOWN_GRANTS])
    return shown + (" and others" if len(grants) > _SHOWN_GRANTS else "")


def _whom(subjects: tuple[Subjects, ...]) -> str:
    named = [
        f"{what} {name}" for one in subjects
        for what, names in (("user", one.users), ("group", one.groups), ("role", one.roles))
        for name in sorted(names)
    ]  # fmt: skip
    everybody = any(one.everyone for one in subjects)
    return "everybody" if everybody else ", ".join(named) or "those with certain attributes"


def _file(place: Place | None) -> str:
    return "" if place is None else f"{place.file}:{place.line}"


def _id(after: Mesh, found: Difference, made: Widening) -> str:
    """A hash of what, old and new: 128 bits, since somebody might look for two with one id."""
    policy, new = found.policy, found.new
    now = [one for one in after.policies if one.id == policy.id]
    exceptions = [one for one in after.exceptions if one.policy == policy.id]
    content = {
        "what": [made.table, new.product.major, made.column, policy.id, policy.effect],
        "old": [plain(policy), _words(found.old)],
        "new": [plain(now), plain(exceptions), _words(new), found.shown, found.weak.left],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _words(spot: Spot) -> list[object]:
    product, table, column = spot.product, spot.table, spot.column
    return [
        _name(spot), product.source, table.physical_name, column.physical_name, column.type,
        sorted(_tags(spot)), column.classification,
    ]  # fmt: skip


def plain(value: object) -> object:
    """A value of the catalog as JSON, the same in every process, without places."""
    if isinstance(value, frozenset):
        return sorted(str(one) for one in value)
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Place):
        return None
    names = getattr(type(value), "__dataclass_fields__", None)
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names if name != "place"}
    return None if value is None else str(value)
