"""Is one restriction at least as strict as another?

Takes: two policies with the exceptions from them. Gives: why the newer is weaker, or None. Compares
whom, when, why and what; never compares conditions (`implication` does). Whatever it cannot compare
counts as weaker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import cast

from catalog.model import Entitlement, Mask, Policy, PolicyException, Subjects
from gateway.policies.columns import kind_of

_EVERYONE = (Subjects(everyone=True),)
# Coarser units first; a week is no part of a month.
_UNITS: Mapping[str, tuple[str, ...]] = {
    "year": ("year", "quarter", "month", "day", "hour"), "quarter": ("quarter", "month", "day",
    "hour"), "month": ("month", "day", "hour"), "week": ("week", "day", "hour"),
    "day": ("day", "hour"), "hour": ("hour",),
}  # fmt: skip
_COUNTED = frozenset({"rows", "bytes", "requests", "seconds"})
_PERIODS = ("minute", "hour", "day")


@dataclass(frozen=True, slots=True)
class Restriction:
    """A policy as it stands in one revision: the exceptions from it, what its condition asks."""

    policy: Policy
    exceptions: tuple[PolicyException, ...] = ()
    entitlements: tuple[Entitlement, ...] = ()


def ended(policy: Policy, now: datetime) -> bool:
    """Whether a policy holds no more."""
    return policy.until is not None and policy.until <= now


def whom(new: Restriction, old: Restriction, now: datetime) -> str | None:
    """Why the newer one leaves somebody, some purpose or some time out; None where it does not."""
    ours, theirs = new.policy, old.policy
    if ours.subjects and not _all_within(theirs.subjects or _EVERYONE, ours.subjects):
        return "concerns fewer people"
    if ours.purposes and not (theirs.purposes and theirs.purposes <= ours.purposes):
        return "concerns fewer purposes"
    if ours.valid_from is not None and ours.valid_from > max(theirs.valid_from or now, now):
        return "begins later"
    if ours.until is not None and (theirs.until is None or ours.until < theirs.until):
        return "ends earlier"
    if not _all_within(ours.unless, theirs.unless):
        return "spares more people by unless"
    if ours.exception_days > theirs.exception_days:
        return "allows longer exceptions"
    return _exceptions(new, old) or _entitlements(new, old)


def _exceptions(new: Restriction, old: Restriction) -> str | None:
    for one in new.exceptions:
        if one in old.exceptions or _all_within(one.subjects, old.policy.unless):
            continue
        if not any(_is_longer(other, one) for other in old.exceptions):
            return f"has the new or longer exception {one.id}"
    return None


def _entitlements(new: Restriction, old: Restriction) -> str | None:
    """A condition may be the same, and ask something else under the same name."""
    before = {one.id: replace(one, ttl=0) for one in old.entitlements}
    for one in new.entitlements:
        if one.id in before and before[one.id] != replace(one, ttl=0):
            return f"asks the entitlement {one.id}, which changed"
    return None


def _is_longer(outer: PolicyException, inner: PolicyException) -> bool:
    return (
        outer.valid_from <= inner.valid_from and inner.until <= outer.until
        and outer.approver == inner.approver and _all_within(inner.subjects, outer.subjects)
    )  # fmt: skip


def effect(new: Policy, old: Policy, order: tuple[str, ...]) -> str | None:
    """Why what the newer one does is weaker; None where it is as strict. Filters: `implication`."""
    if new.effect == "deny":
        return None
    if old.effect in ("mask", "hide"):
        return _mask(new, old, order)
    if old.effect == "keysStay":
        # A masked column gives no keys either.
        return None if new.effect in ("mask", "hide", "keysStay") else "lets its keys leave"
    if new.effect != old.effect:
        return f"does not {old.effect}"
    if old.effect == "limit":
        return _limit(new.settings, old.settings)
    if old.effect == "require":
        return _require(new.settings, old.settings)
    return _groups(new.settings, old.settings) if old.effect == "aggregate" else None


def _mask(new: Policy, old: Policy, order: tuple[str, ...]) -> str | None:
    if new.effect not in ("mask", "hide"):
        return "does not mask"
    ours, theirs = kind_of(new), kind_of(old)
    if ours != theirs:
        # What an expression shows nobody can say: it replaces nothing, and little replaces it.
        sure = ours != "expression" and (theirs != "expression" or ours in ("hide", "null"))
        return None if sure and order.index(ours) < order.index(theirs) else f"shows {ours}"
    if new.mask is None or old.mask is None or new.mask == old.mask:
        return None
    return _same_kind(new.mask, old.mask)


def _same_kind(new: Mask, old: Mask) -> str | None:
    match new.kind:
        case "constant":
            return None
        case "pseudonym":
            same = new.join_group == old.join_group
            return None if same else f"is in the join group {new.join_group}"
        case "partial":
            less = (
                new.form == old.form and new.keep_first <= old.keep_first
                and new.keep_last <= old.keep_last
            )  # fmt: skip
            return None if less else "keeps other or more characters"
        case "bucket":
            return None if _is_coarser(new, old) else "has other or finer buckets"
        case _:
            return "computes something else"


def _is_coarser(new: Mask, old: Mask) -> bool:
    if old.unit is not None:
        return new.unit is not None and old.unit in _UNITS[new.unit]
    if new.size is None or old.size is None:
        return False
    return Decimal(new.size) % Decimal(old.size) == 0


def _limit(new: Mapping[str, object], old: Mapping[str, object]) -> str | None:
    if "hours" in old and new.get("hours") != old["hours"]:
        return "has other hours"
    for name in (*sorted(_COUNTED), "concurrent"):
        if name in old and not (name in new and _number(new[name]) <= _number(old[name])):
            return f"allows more {name}"
    if _COUNTED & set(old) and not _is_longer_period(new, old):
        return "counts a shorter period"
    return None


def _is_longer_period(new: Mapping[str, object], old: Mapping[str, object]) -> bool:
    ours, theirs = new.get("per"), old.get("per")
    if ours is None or theirs is None:
        return ours == theirs
    return _PERIODS.index(str(ours)) >= _PERIODS.index(str(theirs))


def _require(new: Mapping[str, object], old: Mapping[str, object]) -> str | None:
    for name in ("purpose", "approval"):
        if old.get(name) and not new.get(name):
            return f"requires no {name}"
    if "expiry" in old and not (
        "expiry" in new and _number(new["expiry"]) <= _number(old["expiry"])
    ):
        return "allows longer grants"
    return None


def _groups(new: Mapping[str, object], old: Mapping[str, object]) -> str | None:
    if str(new["entity"]).casefold() != str(old["entity"]).casefold():
        return "counts other entities"
    if _number(new["minimum"]) < _number(old["minimum"]):
        return f"shows groups of {new['minimum']}"
    if not _words(new["dimensions"]) <= _words(old["dimensions"]):
        return "has more dimensions"
    if _number(new.get("dominance", 1)) > _number(old.get("dominance", 1)):
        return "lets one entity dominate more"
    remembered, before = new.get("remember"), old.get("remember")
    if remembered is not None and (before is None or _number(remembered) < _number(before)):
        return "remembers answers for a shorter time"
    kept, before = new.get("atoms"), old.get("atoms")
    return None if kept == before else "keeps another number of answered entities"


def _number(value: object) -> Decimal:
    return Decimal(str(value))


def _words(value: object) -> frozenset[str]:
    return frozenset(str(one).casefold() for one in cast(Iterable[object], value))


def _all_within(inner: tuple[Subjects, ...], outer: tuple[Subjects, ...]) -> bool:
    return all(any(within(one, other) for other in outer) for one in inner)


def within(inner: Subjects, outer: Subjects) -> bool:
    """Whether whoever is meant by `inner` is surely meant by `outer`, known or unknown."""
    named = outer.users or outer.groups or outer.roles
    if named and not outer.everyone:
        ours = inner.users or inner.groups or inner.roles
        if not ours or inner.everyone or not (
            inner.users <= outer.users and inner.groups <= outer.groups
            and inner.roles <= outer.roles
        ):  # fmt: skip
            return False
    return (
        all(len(inner.attributes.get(name, ())) > 0 and inner.attributes[name] <= values
            for name, values in outer.attributes.items())
        and _is_part(inner.clients, outer.clients)
        and _is_part(inner.purposes, outer.purposes)
        and _is_near(inner.networks, outer.networks)
        and outer.hours in (None, inner.hours)
        and outer.approval in ("", inner.approval)
        and (outer.valid_from is None
             or (inner.valid_from is not None and outer.valid_from <= inner.valid_from))
        and (outer.until is None or (inner.until is not None and inner.until <= outer.until))
        and (inner == outer or _means_somebody(outer))
    )  # fmt: skip


def _means_somebody(one: Subjects) -> bool:
    return one != Subjects()


def _is_part(inner: frozenset[str], outer: frozenset[str]) -> bool:
    return not outer or (bool(inner) and inner <= outer)


def _is_near(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    if not outer:
        return True
    ranges = [ip_network(one) for one in outer]
    return bool(inner) and all(
        any(_lies_in(ip_network(one), other) for other in ranges) for one in inner
    )


def _lies_in(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network):
        return inner.subnet_of(outer)
    return False
