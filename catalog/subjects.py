"""Whom and when: subjects, hours, networks and moments of our own files.

Takes: documents that fit their shape. Gives: values of `catalog.model`; what a shape cannot say
(a network that is none, a time zone that nobody knows) becomes a problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_network
from types import MappingProxyType
from typing import Any
from zoneinfo import available_timezones

from catalog.documents import Document
from catalog.model import Hours, Subjects
from catalog.problems import Problems, nearest

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def subjects_of(document: Document, key: str, problems: Problems) -> tuple[Subjects, ...]:
    """Whom a policy, a grant or an exception concerns."""
    found = []
    for number, one in enumerate(document.content.get(key) or ()):
        path = (key, number)
        zone = one.get("hours")
        found.append(Subjects(
            users=words(one.get("users")), groups=words(one.get("groups")),
            roles=words(one.get("roles")),
            attributes=MappingProxyType({
                name: frozenset(value) for name, value in attributes_of(one.get("attributes"))
            }),
            everyone=bool(one.get("all")),
            clients=frozenset(str(name).casefold() for name in one.get("clients") or ()),
            networks=tuple(_networks(document, path, one.get("networks") or [], problems)),
            purposes=words(one.get("purposes")),
            hours=hours_of(document, (*path, "hours"), zone, problems) if zone else None,
            valid_from=moment_of(document, (*path, "from"), one.get("from"), problems),
            until=moment_of(document, (*path, "until"), one.get("until"), problems),
        ))
        _check_period(document, path, found[-1].valid_from, found[-1].until, problems)
    return tuple(found)


def hours_of(
    document: Document, path: tuple[str | int, ...], content: Mapping[str, Any], problems: Problems
) -> Hours:
    """Hours of the week; every day where none is named."""
    zone = str(content["zone"])
    zones = _zones()
    if zone not in zones:
        problems.add(
            document.place(*path, "zone"), "invalid_value", f"there is no time zone {zone!r}",
            nearest(zone, zones) or "name it as the time zone database does, such as Europe/Berlin",
        )
        zone = "UTC"
    days = frozenset(_DAYS.index(one) for one in content.get("days") or _DAYS)
    return Hours(days, _minutes(content["from"]), _minutes(content["to"]), zone)


def moment_of(
    document: Document, path: tuple[str | int, ...], text: str | None, problems: Problems
) -> datetime | None:
    """A day or a moment; without a zone it is UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        problems.add(
            document.place(*path), "invalid_value", f"there is no day or time {text}",
            "write 2027-01-31 or 2027-01-31T12:00:00Z",
        )
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def period_of(
    document: Document, problems: Problems
) -> tuple[datetime | None, datetime | None]:
    """The keys `from` and `until` of a whole document."""
    start = moment_of(document, ("from",), document.content.get("from"), problems)
    until = moment_of(document, ("until",), document.content.get("until"), problems)
    _check_period(document, (), start, until, problems)
    return start, until


def attributes_of(content: Mapping[str, Any] | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Attributes with their values as text."""
    for key, value in (content or {}).items():
        yield key, tuple(str(one) for one in (value if isinstance(value, list) else [value]))


def words(values: list[Any] | None) -> frozenset[str]:
    """A list of words as a set of texts."""
    return frozenset(str(one) for one in values or ())


@cache
def _zones() -> frozenset[str]:
    """Names of time zones; `localtime` is this machine's own affair."""
    return frozenset(available_timezones() - {"localtime"})


def _check_period(
    document: Document, path: tuple[str | int, ...], start: datetime | None,
    until: datetime | None, problems: Problems,
) -> None:
    if start is not None and until is not None and until <= start:
        problems.add(
            document.place(*path, "until"), "invalid_value", "it ends before it begins",
            "correct from or until",
        )


def _networks(
    document: Document, path: tuple[str | int, ...], networks: list[Any], problems: Problems
) -> Iterator[str]:
    for number, one in enumerate(networks):
        try:
            yield str(ip_network(str(one)))
        except ValueError:
            problems.add(
                document.place(*path, "networks", number), "invalid_value",
                f"{one} is no network", "write it as 10.1.0.0/16 or 2001:db8::/32",
            )


def _minutes(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)
