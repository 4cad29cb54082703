"""Policies, grants, taxonomy, purposes, identities, domains: our own files as values.

Takes: validated documents. Gives: values of `catalog.model`. Never compiles a condition: that
needs the columns, and happens where policies are compiled.
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

_DEFAULT_ORDER = Taxonomy().mask_order


def policy_of(document: Document, domain: str | None) -> Policy:
    """A policy; `domain` None where the governance group wrote it."""
    content = document.content
    effect, value = next(iter(content["effect"].items()))
    match = content["match"]
    classes = match.get("classification") or ()
    return Policy(
        id=content["id"],
        effect=effect,
        domain=domain,
        match=Match(
            tags=_set(match.get("tags")),
            classifications=frozenset([classes] if isinstance(classes, str) else classes),
            domain=match.get("domain"),
            product=match.get("product"),
            table=match.get("table"),
            columns=_set(match.get("columns")),
            region=match.get("region"),
        ),
        subjects=_subjects(content.get("subjects")),
        purposes=_set(content.get("purposes")),
        unless=_subjects(content.get("unless")),
        filter=value if effect == "filter" else None,
        mask=_mask(value) if effect == "mask" else None,
        settings=MappingProxyType(
            dict(value) if isinstance(value, dict) and effect != "mask" else {}
        ),
        description=content.get("description", ""),
        place=document.place("effect", effect),
    )


def grant_of(document: Document, domain: str) -> Grant:
    """A grant of a domain on one of its products."""
    content = document.content
    return Grant(
        id=content["id"],
        domain=domain,
        product=content["product"].split(".")[-1],
        subjects=_subjects(content["subjects"]),
        tables=_set(content["tables"]) if "tables" in content else None,
        columns=_set(content["columns"]) if "columns" in content else None,
        scope=content.get("scope"),
        purposes=_set(content.get("purposes")),
        valid_from=_moment(content.get("from")),
        until=_moment(content.get("until")),
        major=content.get("major"),
        approver=content.get("approver", ""),
        place=document.place("id"),
    )


def domain_of(document: Document) -> Domain:
    """A domain with its sources."""
    content = document.content
    name = content["name"]
    sources = tuple(
        Source(
            domain=name,
            name=key,
            kind=one["connector"],
            region=one.get("region", ""),
            settings=MappingProxyType(
                {k: _setting(v) for k, v in (one.get("settings") or {}).items()}
            ),
            secrets=MappingProxyType(dict(one.get("secrets") or {})),
            place=document.place("sources", key),
        )
        for key, one in (content.get("sources") or {}).items()
    )
    return Domain(name, content["description"], tuple(content["owners"]), sources, document.place())


def taxonomy_of(content: Mapping[str, Any]) -> tuple[Taxonomy, tuple[str, ...]]:
    """The taxonomy and the join groups. A tag implies those above it."""
    tags = set(content.get("tags") or {})
    for tag in list(tags):
        parts = tag.split(".")
        tags |= {".".join(parts[:length]) for length in range(1, len(parts))}
    order = tuple("null" if one is None else str(one) for one in content.get("maskOrder") or ())
    taxonomy = Taxonomy(
        tags=frozenset(tags),
        classifications=tuple(one["name"] for one in content.get("classifications") or []),
        mask_order=order or _DEFAULT_ORDER,
    )
    return taxonomy, tuple(content.get("joinGroups") or ())


def purposes_of(content: Mapping[str, Any]) -> tuple[Purpose, ...]:
    """The purposes that the governance group knows."""
    return tuple(Purpose(name, text or "") for name, text in content["purposes"].items())


def users_of(content: Mapping[str, Any]) -> tuple[User, ...]:
    """The local users."""
    return tuple(
        User(
            name=name,
            verifier=one.get("verifier", ""),
            groups=_set(one.get("groups")),
            roles=_set(one.get("roles")),
            attributes=_attributes(one.get("attributes")),
            full_name=one.get("fullName", ""),
            may_impersonate=bool(one.get("mayImpersonate")),
        )
        for name, one in content["users"].items()
    )


def _subjects(content: list[Mapping[str, Any]] | None) -> tuple[Subjects, ...]:
    return tuple(
        Subjects(
            users=_set(one.get("users")),
            groups=_set(one.get("groups")),
            roles=_set(one.get("roles")),
            attributes=MappingProxyType(
                {key: frozenset(value) for key, value in _attributes(one.get("attributes")).items()}
            ),
            everyone=bool(one.get("all")),
        )
        for one in content or []
    )


def _attributes(content: Mapping[str, Any] | None) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType(
        {
            key: tuple(str(one) for one in (value if isinstance(value, list) else [value]))
            for key, value in (content or {}).items()
        }
    )


def _mask(content: Mapping[str, Any]) -> Mask:
    value, size = content.get("value"), content.get("size")
    return Mask(
        kind="null" if content["kind"] is None else content["kind"],
        value=None if value is None else _setting(value),
        join_group=content.get("joinGroup"),
        keep_first=content.get("keepFirst", 0),
        keep_last=content.get("keepLast", 0),
        fill=content.get("fill", "*"),
        unit=content.get("unit"),
        size=None if size is None else f"{size:g}",
    )


def _setting(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _set(values: list[Any] | None) -> frozenset[str]:
    return frozenset(str(one) for one in values or ())


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
