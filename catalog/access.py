"""Grants, ceilings, exceptions and entitlements: who gets what, from when, until when.

Takes: documents that fit their shape. Gives: values of `catalog.model`. Never decides whether a
name in them exists: that is told when the whole mesh is there.
"""

from __future__ import annotations

from datetime import UTC, datetime

from catalog.documents import Document
from catalog.model import Ceiling, Entitlement, Grant, PolicyException
from catalog.policy import match_of
from catalog.problems import Problems
from catalog.subjects import period_of, subjects_of, words


def grant_of(document: Document, domain: str, problems: Problems) -> Grant:
    """A grant of a domain on one of its products."""
    content = document.content
    product = str(content["product"])
    start, until = period_of(document, problems)
    subjects = subjects_of(document, "subjects", problems)
    for number, one in enumerate(subjects):
        if one.purposes:
            problems.add(
                document.place("subjects", number, "purposes"), "misplaced",
                "a grant has its purposes beside its subjects", "move them there",
            )
    return Grant(
        id=content["id"], domain=domain, product=product.removeprefix(f"{domain}."),
        subjects=subjects,
        tables=words(content["tables"]) if "tables" in content else None,
        columns=words(content["columns"]) if "columns" in content else None,
        scope=content.get("scope"), purposes=words(content.get("purposes")),
        valid_from=start, until=until, major=content.get("major"),
        approver=content.get("approver", ""), place=document.place("id"),
    )


def exception_of(document: Document, domain: str | None, problems: Problems) -> PolicyException:
    """An exception; `domain` None where the governance group wrote it."""
    content = document.content
    start, until = period_of(document, problems)
    # A moment that is none is told already; it must not become a date that holds.
    ended = datetime(1970, 1, 1, tzinfo=UTC)
    return PolicyException(
        id=content["id"], policy=content["policy"], domain=domain,
        subjects=subjects_of(document, "subjects", problems), reason=content["reason"],
        approver=content.get("approver", ""), valid_from=start or ended, until=until or ended,
        place=document.place("id"),
    )


def ceiling_of(document: Document, problems: Problems) -> Ceiling:
    """A ceiling of the governance group."""
    content = document.content
    if not {"subjects", "purposes", "maxDays"} & set(content):
        problems.add(
            document.place("id"), "missing_key", "a ceiling without subjects, purposes or maxDays "
            "caps nothing", "add one of them",
        )
    return Ceiling(
        id=content["id"], match=match_of(content["match"]),
        subjects=subjects_of(document, "subjects", problems),
        purposes=words(content.get("purposes")), max_days=content.get("maxDays"),
        place=document.place("id"),
    )


def entitlement_of(document: Document, domain: str | None) -> Entitlement:
    """An entitlement; a domain may write its own table as `product.table`."""
    content = document.content
    table = str(content["table"])
    if domain is not None and table.count(".") == 1:
        table = f"{domain}.{table}"
    return Entitlement(
        id=content["id"], table=table, subject=content["subject"],
        values=tuple(str(one) for one in content["values"]), of=content.get("of", "user"),
        ttl=content.get("ttl", 60), domain=domain, place=document.place("table"),
    )
