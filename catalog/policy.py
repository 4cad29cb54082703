"""Our own files as values: policies, domains, taxonomy, purposes, identities.

Takes: documents that fit their shape. Gives: values of `catalog.model`; what a shape cannot say
(a mask without what its kind needs, a date that is none) becomes a problem. Never compiles a
condition: that needs the columns, and happens where policies are compiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from catalog.documents import Document
from catalog.model import (
    Domain,
    Impersonation,
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
from catalog.subjects import attributes_of, hours_of, period_of, subjects_of, words

DEFAULT_ORDER = Taxonomy().mask_order
# What each kind of mask needs one of, and what it may have.
_MASK_NEEDS: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",), "pseudonym": ("joinGroup",), "expression": ("sql",),
    "partial": ("keepFirst", "keepLast", "form"), "bucket": ("unit", "size"),
}
_MASK_MAY = {**_MASK_NEEDS, "partial": ("keepFirst", "keepLast", "fill", "form")}


def policy_of(document: Document, domain: str | None, problems: Problems) -> Policy:
    """A policy; `domain` None where the governance group wrote it."""
    content = document.content
    effect, value = next(iter(content["effect"].items()))
    if effect == "mask":
        _check_mask(document, value, problems)
    settings = dict(value) if isinstance(value, dict) and effect != "mask" else {}
    if effect == "limit":
        settings = _limit(document, settings, problems)
    start, until = period_of(document, problems)
    unless = subjects_of(document, "unless", problems)
    _check_unless(document, unless, problems)
    return Policy(
        id=content["id"], effect=effect, domain=domain,
        match=match_of(content["match"]),
        subjects=subjects_of(document, "subjects", problems),
        purposes=words(content.get("purposes")), unless=unless,
        filter=value if effect == "filter" else None,
        mask=_mask(value) if effect == "mask" else None, settings=MappingProxyType(settings),
        description=_text(content.get("description")), valid_from=start, until=until,
        exception_days=(content.get("exceptions") or {}).get("maxDays", 0),
        place=document.place("effect", effect),
    )


def match_of(match: Mapping[str, Any]) -> Match:
    """What a policy or a ceiling concerns."""
    classes = match.get("classification") or ()
    return Match(
        tags=words(match.get("tags")),
        classifications=frozenset([classes] if isinstance(classes, str) else classes),
        domain=match.get("domain"), product=match.get("product"), table=match.get("table"),
        columns=words(match.get("columns")), region=match.get("region"),
    )


def _limit(
    document: Document, content: Mapping[str, Any], problems: Problems
) -> dict[str, object]:
    """The settings of a limit, its hours as a value."""
    settings = dict(content)
    if "requests" in settings and "per" not in settings:
        problems.add(
            document.place("effect", "limit"), "missing_key",
            "a limit of requests needs a period", "add per: minute, hour or day",
        )
    if "per" in settings and not {"rows", "bytes", "requests", "seconds"} & set(settings):
        problems.add(
            document.place("effect", "limit", "per"), "unknown_key",
            "a period without rows, bytes, requests or seconds means nothing", "remove it",
        )
    if "hours" in settings:
        settings["hours"] = hours_of(
            document, ("effect", "limit", "hours"), settings["hours"], problems
        )
    return settings


def _check_unless(
    document: Document, unless: tuple[Subjects, ...], problems: Problems
) -> None:
    """A client says itself what it is called: that alone must not lift a policy."""
    for number, one in enumerate(unless):
        known = one.users or one.groups or one.roles or one.attributes or one.networks
        if one.clients and not known:
            problems.add(
                document.place("unless", number, "clients"), "invalid_value",
                "any client could give itself that name, and so lift the policy",
                "name users, groups, roles, attributes or networks beside it",
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
    _check_form(document, content, problems)
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


def _check_form(document: Document, content: Mapping[str, Any], problems: Problems) -> None:
    """The forms of a partial mask need and take different keys."""
    kind = _kind(content)
    given = [key for key in _MASK_NEEDS.get(kind, ()) if key in content]
    if kind == "partial" and content.get("form", "ends") == "ends" and given == ["form"]:
        problems.add(
            document.place("effect", "mask"), "missing_key",
            "a mask that keeps ends says how much of them", "add keepFirst or keepLast",
        )
    if kind == "partial" and content.get("form") == "digits" and "keepFirst" in content:
        problems.add(
            document.place("effect", "mask", "keepFirst"), "unknown_key",
            "the form digits keeps last characters only", "remove it",
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
        form=content.get("form", "ends"), sql=content.get("sql"),
    )


def domain_of(document: Document) -> Domain:
    """A domain with its sources."""
    content = document.content
    name = content["name"]
    sources = tuple(
        Source(
            domain=name, name=key, kind=one["connector"], region=one.get("region", ""),
            link_cost=one.get("linkCost", ""),
            settings=_settings(one.get("settings")), secrets=_settings(one.get("secrets")),
            place=document.place("sources", key),
        )
        for key, one in (content.get("sources") or {}).items()
    )
    owners = tuple(str(one) for one in content["owners"])
    pushed = words(content.get("pushPseudonyms"))
    return Domain(name, _text(content["description"]), owners, sources, pushed, document.place())


def taxonomy_of(document: Document, problems: Problems) -> tuple[Taxonomy, tuple[str, ...]]:
    """The taxonomy and the join groups. A tag implies those above it."""
    content = document.content
    tags = _with_ancestors(content.get("tags") or ())
    classes = [one["name"] for one in content.get("classifications") or []]
    if len(set(classes)) < len(classes):
        problems.add(
            document.place("classifications"), "duplicate", "a classification stands twice",
            "keep one",
        )
    order = tuple("null" if one is None else str(one) for one in content.get("maskOrder") or ())
    if order and "expression" not in order:
        # The weakest place: an expression never takes the place of a mask whose strength is known.
        order = (*order[:-1], "expression", *order[-1:])
    if order and (set(order) != set(DEFAULT_ORDER) or order[-1] != "clear" or order[0] != "hide"):
        problems.add(
            document.place("maskOrder"), "invalid_value",
            "the order of masks must begin with hide, end with clear and name each once",
            f"such as {', '.join(DEFAULT_ORDER)}",
        )
    groups = content.get("joinGroups") or {}
    pushed = frozenset(
        name for name, one in groups.items() if isinstance(one, dict) and one.get("push")
    )
    taxonomy = Taxonomy(frozenset(tags), tuple(classes), order or DEFAULT_ORDER, pushed)
    return taxonomy, tuple(groups)


def _with_ancestors(tags: Iterable[str]) -> set[str]:
    found = set(tags)
    for tag in tags:
        parts = tag.split(".")
        found |= {".".join(parts[:length]) for length in range(1, len(parts))}
    return found


def purposes_of(document: Document) -> tuple[Purpose, ...]:
    """The purposes that the governance group knows."""
    return tuple(
        Purpose(name, _text(text)) for name, text in document.content["purposes"].items()
    )


def users_of(document: Document, problems: Problems) -> tuple[User, ...]:
    """The local users."""
    for name, one in document.content["users"].items():
        if one.get("kind") == "service" and "verifier" in one:
            problems.add(
                document.place("users", name, "verifier"), "invalid_value",
                "a service has no password", "remove verifier: services sign in with tokens",
            )
    return tuple(
        User(
            name=name, verifier=one.get("verifier", ""), groups=words(one.get("groups")),
            roles=words(one.get("roles")),
            attributes=MappingProxyType(dict(attributes_of(one.get("attributes")))),
            full_name=one.get("fullName", ""), is_service=one.get("kind") == "service",
            impersonates=_impersonation(one.get("mayImpersonate")),
        )
        for name, one in document.content["users"].items()
    )


def _impersonation(content: bool | Mapping[str, Any] | None) -> Impersonation | None:
    """`true` is everybody who holds no role."""
    if not content:
        return None
    if content is True:
        return Impersonation(everybody=True)
    return Impersonation(
        bool(content.get("everybody")), words(content.get("users")), words(content.get("groups")),
        words(content.get("roles")),
    )


def _settings(content: Mapping[str, Any] | None) -> Mapping[str, str]:
    return MappingProxyType({key: _setting(value) for key, value in (content or {}).items()})


def _setting(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
