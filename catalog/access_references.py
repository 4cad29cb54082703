"""What exceptions, entitlements and subjects refer to exists, and is theirs to speak of.

Takes: all values of a mesh. Gives: problems. An exception is written by whoever wrote the policy,
within the days that the policy allows; a domain's entitlement reads the domain's own tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from catalog.documents import Document
from catalog.model import Entitlement, Place, Policy, PolicyException, Subjects, Table
from catalog.problems import Problems, nearest
from catalog.values import Parts


def check_access(parts: Parts) -> None:
    """Exceptions, entitlements, the words in subjects, the domains' pushed join groups."""
    policies = {one.id: one for one, _ in parts.policies}
    for exception, document in parts.exceptions:
        _check_exception(exception, document, policies, parts)
    for entitlement, document in parts.entitlements:
        _check_entitlement(entitlement, document, parts)
    _check_purposes(parts)
    _check_groups(parts)
    for domain in parts.domains:
        for name in sorted(domain.pushed_groups - set(parts.join_groups)):
            parts.problems.add(
                domain.place, "unknown_join_group", f"pushPseudonyms names {name!r}, which is "
                "not in the taxonomy", nearest(name, parts.join_groups) or "remove it",
            )


def _check_exception(
    one: PolicyException, document: Document, policies: dict[str, Policy], parts: Parts
) -> None:
    policy, problems = policies.get(one.policy), parts.problems
    if policy is None:
        if not parts.lost:
            problems.add(
                document.place("policy"), "unknown_policy", f"there is no policy {one.policy}",
                nearest(one.policy, policies) or "name the policy by its id",
            )
        return
    if policy.domain != one.domain:
        problems.add(
            document.place("policy"), "misplaced",
            f"{policy.id} was written by {policy.domain or 'the governance group'}, and only its "
            "author makes exceptions from it", "ask them",
        )
    _check_length(one, policy, document, problems)
    _check_approver(one, document, problems)


def _check_length(
    one: PolicyException, policy: Policy, document: Document, problems: Problems
) -> None:
    if not policy.exception_days:
        problems.add(
            document.place("policy"), "invalid_value", f"{policy.id} allows no exceptions",
            "let its author add exceptions: {maxDays: 14}",
        )
    elif one.until - one.valid_from > timedelta(days=policy.exception_days):
        problems.add(
            document.place("until"), "invalid_value",
            f"{policy.id} allows exceptions of {policy.exception_days} days at most",
            "shorten it",
        )


def _check_approver(one: PolicyException, document: Document, problems: Problems) -> None:
    if one.approver and any(one.approver in subjects.users for subjects in one.subjects):
        problems.add(
            document.place("approver"), "invalid_value", "nobody approves his own exception",
            "name another approver",
        )


def _check_entitlement(one: Entitlement, document: Document, parts: Parts) -> None:
    problems = parts.problems
    domain = one.table.split(".", maxsplit=1)[0]
    if one.domain not in (None, domain):
        problems.add(
            one.place, "misplaced", f"{one.domain} reads entitlements from its own tables only",
            "name one of its tables, or ask the governance group",
        )
        return
    if not parts.is_whole(domain):
        return
    tables = _tables(parts)
    table = tables.get(one.table)
    if table is None:
        problems.add(
            one.place, "unknown_table", f"there is no table {one.table}",
            nearest(one.table, tables) or "write it as domain.product.table",
        )
        return
    known = {column.name for column in table.columns}
    for key, name in (("subject", one.subject), *(("values", each) for each in one.values)):
        if name not in known:
            problems.add(
                document.place(key), "unknown_column", f"{table.name} has no column {name}",
                nearest(name, known),
            )


def _tables(parts: Parts) -> dict[str, Table]:
    return {
        f"{product.address}.{table.name}": table
        for product in parts.products for table in product.tables
    }


def _check_purposes(parts: Parts) -> None:
    if "governance" in parts.lost:
        return
    known = {one.name for one in parts.purposes}
    for one, place in _subjects(parts):
        for name in sorted(one.purposes - known):
            parts.problems.add(
                place, "unknown_purpose", f"the purpose {name!r} is not in purposes.yaml",
                nearest(name, known) or "let the governance group add it",
            )


def _check_groups(parts: Parts) -> None:
    """Where identities.yaml lists the groups, no file may name another."""
    if parts.groups is None or parts.identities is None:
        return
    named: list[tuple[str, Place]] = [
        (group, parts.identities.place("users", user.name, "groups"))
        for user in parts.users for group in user.groups
    ]
    named += [
        (group, parts.identities.place("users", user.name, "mayImpersonate"))
        for user in parts.users if user.impersonates for group in user.impersonates.groups
    ]
    named += [
        (group, place) for one, place in _subjects(parts, "groups") for group in sorted(one.groups)
    ]
    for group, place in named:
        if group not in parts.groups:
            parts.problems.add(
                place, "unknown_group", f"the group {group!r} is not in identities.yaml",
                nearest(group, parts.groups) or "add it to groups",
            )


def _subjects(parts: Parts, key: str = "purposes") -> Iterator[tuple[Subjects, Place]]:
    """All subjects of all files, with the place of one of their keys."""
    for policy, document in parts.policies:
        yield from _placed(policy.subjects, document, "subjects", key)
        yield from _placed(policy.unless, document, "unless", key)
    for grant, document in parts.grants:
        yield from _placed(grant.subjects, document, "subjects", key)
    for ceiling, document in parts.ceilings:
        yield from _placed(ceiling.subjects, document, "subjects", key)
    for exception, document in parts.exceptions:
        yield from _placed(exception.subjects, document, "subjects", key)


def _placed(
    subjects: tuple[Subjects, ...], document: Document, name: str, key: str
) -> Iterator[tuple[Subjects, Place]]:
    for number, one in enumerate(subjects):
        yield one, document.place(name, number, key)
