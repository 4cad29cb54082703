"""Our own files as values: policies, grants, domains, taxonomy, purposes, identities.

Takes: documents that fit their shape. Gives: values of `catalog.model`; what a shape cannot say
(a mask without what its kind needs, a date that is none) becomes a problem. Never compiles a
condition: that needs the columns, and happens where policies are compiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from catalog.documents import Document
from catalog.model import (
    Domain,
    Grant,
    Mask,
    Match,
    Policy,
    Purpose,
    Source,
    Subjects,
    Taxonomy,
    User,
)
from catalog.problems import Problems

DEFAULT_ORDER = Taxonomy().mask_order
# What each kind of mask needs one of, and what it may have.
_MASK_NEEDS: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",), "pseudonym": ("joinGroup",), "partial": ("keepFirst", "keepLast"),
    "bucket": ("unit", "size"),
}
_MASK_MAY = {**_MASK_NEEDS, "partial": ("keepFirst", "keepLast", "fill")}


def policy_of(document: Document, domain: str | None, problems: Problems) -> Policy:
    """A policy; `domain` None where the governance group wrote it."""
    content = document.content
    effect, value = next(iter(content["effect"].items()))
    match = content["match"]
    classes = match.get("classification") or ()
    if effect == "mask":
        _check_mask(document, value, problems)
    settings = dict(value) if isinstance(value, dict) and effect != "mask" else {}
    return Policy(
        id=content["id"], effect=effect, domain=domain,
        match=Match(
            tags=_set(match.get("tags")),
            classifications=frozenset([classes] if isinstance(classes, str) else classes),
            domain=match.get("domain"), product=match.get("product"), table=match.get("table"),
            columns=_set(match.get("columns")), region=match.get("region"),
        ),
        subjects=subjects_of(content.get("subjects")), purposes=_set(content.get("purposes")),
        unless=subjects_of(content.get("unless")),
        filter=value if effect == "filter" else None,
        mask=_mask(value) if effect == "mask" else None, settings=MappingProxyType(settings),
        description=_text(content.get("description")), place=document.place("effect", effect),
    )


def _check_mask(document: Document, content: Mapping[str, Any], problems: Problems) -> None:
    kind = _kind(content)
    needs = _MASK_NEEDS.get(kind, ())
    given = [key for key in needs if key in content]
    if needs and not given:
        problems.add(
            document.place("effect", "mask"), "missing_key",
            f"a mask of kind {kind} needs {' or '.join(needs)}", "add it",
        )
    if kind == "bucket" and len(given) > 1:
        problems.add(
            document.place("effect", "mask"), "invalid_value",
            "a bucket has a unit for times or a size for numbers, not both", "keep one",
        )
    for key in sorted(set(content) - {"kind", *_MASK_MAY.get(kind, ())}):
        problems.add(
            document.place("effect", "mask", key), "unknown_key",
            f"{key} means nothing for a mask of kind {kind}", "remove it",
        )


def _kind(content: Mapping[str, Any]) -> str:
    return "null" if content["kind"] is None else str(content["kind"])


def _mask(content: Mapping[str, Any]) -> Mask:
    value, size = content.get("value"), content.get("size")
    return Mask(
        kind=_kind(content), value=None if value is None else _setting(value),
        join_group=content.get("joinGroup"), keep_first=content.get("keepFirst", 0),
        keep_last=content.get("keepLast", 0), fill=content.get("fill", "*"),
        unit=content.get("unit"), size=None if size is None else str(size),
    )


def grant_of(document: Document, domain: str, problems: Problems) -> Grant:
    """A grant of a domain on one of its products."""
    content = document.content
    product = str(content["product"])
    start = _moment(document, "from", problems)
    until = _moment(document, "until", problems)
    if start is not None and until is not None and until <= start:
        problems.add(
            document.place("until"), "invalid_value", "the grant ends before it begins",
            "correct from or until",
        )
    return Grant(
        id=content["id"], domain=domain, product=product.removeprefix(f"{domain}."),
        subjects=subjects_of(content["subjects"]),
        tables=_set(content["tables"]) if "tables" in content else None,
        columns=_set(content["columns"]) if "columns" in content else None,
        scope=content.get("scope"), purposes=_set(content.get("purposes")),
        valid_from=start, until=until, major=content.get("major"),
        approver=content.get("approver", ""), place=document.place("id"),
    )


def _moment(document: Document, key: str, problems: Problems) -> datetime | None:
    """A day or a moment; without a zone it is UTC."""
    text = document.content.get(key)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        problems.add(
            document.place(key), "invalid_value", f"there is no day or time {text}",
            "write 2027-01-31 or 2027-01-31T12:00:00Z",
        )
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def domain_of(document: Document) -> Domain:
    """A domain with its sources."""
    content = document.content
    name = content["name"]
    sources = tuple(
        Source(
            domain=name, name=key, kind=one["connector"], region=one.get("region", ""),
            settings=_settings(one.get("settings")), secrets=_settings(one.get("secrets")),
            place=document.place("sources", key),
        )
        for key, one in (content.get("sources") or {}).items()
    )
    owners = tuple(str(one) for one in content["owners"])
    return Domain(name, _text(content["description"]), owners, sources, document.place())


def taxonomy_of(document: Document, problems: Problems) -> tuple[Taxonomy, tuple[str, ...]]:
    """The taxonomy and the join groups. A tag implies those above it."""
    content = document.content
    tags = set(content.get("tags") or {})
    for tag in list(tags):
        parts = tag.split(".")
        tags |= {".".join(parts[:length]) for length in range(1, len(parts))}
    classes = [one["name"] for one in content.get("classifications") or []]
    if len(set(classes)) < len(classes):
        problems.add(
            document.place("classifications"), "duplicate", "a classification stands twice",
            "keep one",
        )
    order = tuple("null" if one is None else str(one) for one in content.get("maskOrder") or ())
    if order and (set(order) != set(DEFAULT_ORDER) or order[-1] != "clear" or order[0] != "hide"):
        problems.add(
            document.place("maskOrder"), "invalid_value",
            "the order of masks must begin with hide, end with clear and name each once",
            f"such as {', '.join(DEFAULT_ORDER)}",
        )
    taxonomy = Taxonomy(frozenset(tags), tuple(classes), order or DEFAULT_ORDER)
    return taxonomy, tuple(content.get("joinGroups") or ())


def purposes_of(document: Document) -> tuple[Purpose, ...]:
    """The purposes that the governance group knows."""
    return tuple(
        Purpose(name, _text(text)) for name, text in document.content["purposes"].items()
    )


def users_of(document: Document) -> tuple[User, ...]:
    """The local users."""
    return tuple(
        User(
            name=name, verifier=one.get("verifier", ""), groups=_set(one.get("groups")),
            roles=_set(one.get("roles")), attributes=_attributes(one.get("attributes")),
            full_name=one.get("fullName", ""), may_impersonate=bool(one.get("mayImpersonate")),
        )
        for name, one in document.content["users"].items()
    )


def subjects_of(content: list[Mapping[str, Any]] | None) -> tuple[Subjects, ...]:
    """Whom a policy or a grant concerns."""
    return tuple(
        Subjects(
            users=_set(one.get("users")), groups=_set(one.get("groups")),
            roles=_set(one.get("roles")),
            attributes=MappingProxyType(
                {key: frozenset(value) for key, value in _attributes(one.get("attributes")).items()}
            ),
            everyone=bool(one.get("all")),
        )
        for one in content or []
    )


def _attributes(content: Mapping[str, Any] | None) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({
        key: tuple(str(one) for one in (value if isinstance(value, list) else [value]))
        for key, value in (content or {}).items()
    })


def _settings(content: Mapping[str, Any] | None) -> Mapping[str, str]:
    return MappingProxyType({key: _setting(value) for key, value in (content or {}).items()})


def _setting(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _set(values: list[Any] | None) -> frozenset[str]:
    return frozenset(str(one) for one in values or ())
