"""Whom rules concern, prepared at load so that a decision is a few operations on integers.

Takes: subjects of grants and policies, a principal, a purpose, the time. Gives: bits, one for
each rule of a row. Never reads a clock. What is not known of a caller (his client, his address)
lifts nothing and gives nothing: a restriction concerns him, a grant and an exemption do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from catalog.model import Hours, Subjects
from gateway.hours import is_open
from gateway.request import Principal

Period = tuple[datetime | None, datetime | None]


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, why and when; `approved` is what state has approved."""

    principal: Principal
    purpose: str | None
    now: datetime
    approved: frozenset[str] = frozenset()


def concerns(subjects: Subjects, asking: Asking, unknown: bool) -> bool:
    """Whether subjects mean somebody; `unknown` is the answer where his client or address is."""
    principal = asking.principal
    named = subjects.users or subjects.groups or subjects.roles
    if named and not (
        principal.user in subjects.users
        or principal.groups & subjects.groups
        or principal.roles & subjects.roles
        or subjects.everyone
    ):
        return False
    if not (named or subjects.everyone or _has_conditions(subjects)):
        return False
    attributes = principal.attributes
    return (
        all(values & frozenset(attributes.get(name, ()))
            for name, values in subjects.attributes.items())
        and (not subjects.purposes or asking.purpose in subjects.purposes)
        and holds_now((subjects.valid_from, subjects.until), asking.now)
        and (subjects.hours is None or is_open(subjects.hours, asking.now))
        and (not subjects.approval or subjects.approval in asking.approved)
        and (not subjects.clients or _is_client(subjects.clients, principal.client, unknown))
        and (not subjects.networks or _is_near(subjects.networks, principal.address, unknown))
    )  # fmt: skip


def holds_now(period: Period, now: datetime) -> bool:
    """Whether a time lies in a period; its end does not."""
    start, until = period
    return (start is None or start <= now) and (until is None or now < until)


def _has_conditions(subjects: Subjects) -> bool:
    return bool(
        subjects.attributes or subjects.clients or subjects.networks or subjects.purposes
        or subjects.hours or subjects.valid_from or subjects.until
    )  # fmt: skip


def _is_plain(subjects: Subjects) -> bool:
    return not (_has_conditions(subjects) or subjects.approval)


def _is_client(clients: frozenset[str], name: str, unknown: bool) -> bool:
    """By the whole name, by what stands before a version, or by a beginning with a star."""
    if not name:
        return unknown
    folded = name.casefold()
    if folded in clients or folded.split("/", maxsplit=1)[0].strip() in clients:
        return True
    return any(one.endswith("*") and folded.startswith(one[:-1]) for one in clients)


def _is_near(networks: tuple[str, ...], address: str, unknown: bool) -> bool:
    found = _address(address)
    if found is None:
        return unknown
    return any(found in _network(one) for one in networks)


@lru_cache(maxsize=4096)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.split("%", maxsplit=1)[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


@dataclass(frozen=True, slots=True)
class Who:
    """Which rules of a row concern somebody: bit n stands for rule n."""

    always: int
    by_user: Mapping[str, int]
    by_group: Mapping[str, int]
    by_role: Mapping[str, int]
    others: tuple[tuple[int, Subjects], ...]

    def bits(self, asking: Asking, unknown: bool) -> int:
        """The rules that concern him."""
        principal = asking.principal
        found = self.always | self.by_user.get(principal.user, 0)
        by_group, by_role = self.by_group, self.by_role
        if by_group:
            for name in principal.groups:
                found |= by_group.get(name, 0)
        if by_role:
            for name in principal.roles:
                found |= by_role.get(name, 0)
        for bit, subjects in self.others:
            if not found & bit and concerns(subjects, asking, unknown):
                found |= bit
        return found


def who(rules: Iterable[tuple[Subjects, ...]]) -> Who:
    """The index of a row of rules, each with its alternatives."""
    always, others = 0, []
    by_user: dict[str, int] = {}
    by_group: dict[str, int] = {}
    by_role: dict[str, int] = {}
    for number, alternatives in enumerate(rules):
        bit = 1 << number
        for one in alternatives:
            if not _is_plain(one):
                others.append((bit, one))
                continue
            if one.everyone:
                always |= bit
            for names, index in (
                (one.users, by_user), (one.groups, by_group), (one.roles, by_role)
            ):  # fmt: skip
                for name in names:
                    index[name] = index.get(name, 0) | bit
    return Who(always, by_user, by_group, by_role, tuple(others))


@dataclass(frozen=True, slots=True)
class Rules:
    """A row of policies: whom each concerns, whom it exempts, for which purposes, and when."""

    concerned: Who
    exempt: Who
    any_purpose: int
    by_purpose: Mapping[str | None, int]
    timed: tuple[tuple[int, Period], ...]

    def applying(self, asking: Asking) -> int:
        """The policies that apply."""
        found = self.concerned.bits(asking, True)
        found &= self.any_purpose | self.by_purpose.get(asking.purpose, 0)
        if found:
            found &= ~self.exempt.bits(asking, False)
        for bit, period in self.timed:
            if found & bit and not holds_now(period, asking.now):
                found &= ~bit
        return found


def bits_of(value: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
    while value:
        low = value & -value
        yield low.bit_length() - 1
        value ^= low


def moments_of(subjects: Iterable[Subjects]) -> Iterator[datetime]:
    """When the answer for some subjects may change, apart from hours."""
    for one in subjects:
        for moment in (one.valid_from, one.until):
            if moment is not None:
                yield moment


def hours_of(subjects: Iterable[Subjects]) -> Iterator[Hours]:
    """The hours that some subjects name."""
    return (one.hours for one in subjects if one.hours is not None)
