"""What the policies say of a resolved query (stage 3).

Takes: a `ResolvedQuery`, a `Request` (principal, purpose, now) and a `PolicyIndex`. Gives: a
`Decision`. Never touches the query's tree (DESIGN 5, rules 1 to 3, 7, 9, 13).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from catalog.model import Column, Mask, Policy, Product, Subjects
from gateway.decision import (
    AggregateRule,
    ColumnDecision,
    CompiledGrant,
    Decision,
    PolicyIndex,
    Reason,
    Scope,
    TableDecision,
    TableEntry,
)
from gateway.errors import PurposeRequired, UnknownTable
from gateway.request import Principal, Request
from gateway.resolve import Address, Directory, KnownProduct, ResolvedQuery
from gateway.subjects import SubjectValues

_KEPT_DECISIONS = 4096


def directory(index: PolicyIndex, principal: Principal, now: datetime) -> Directory:
    """What the principal may know: tables that some grant gives him now, for any purpose."""
    found: dict[tuple[str, str], dict[int, list[str]]] = {}
    pins: dict[tuple[str, str], set[int]] = {}
    for address, entry in index.tables.items():
        grants = _active(entry, principal, now)
        if not grants or _denied(entry, principal, None):
            continue
        key = (address.domain, address.product)
        found.setdefault(key, {}).setdefault(address.major, []).append(address.table)
        pins.setdefault(key, set()).update(
            one.grant.major for one in grants if one.grant.major is not None
        )
    known: dict[tuple[str, str], KnownProduct] = {}
    for key, majors in found.items():
        known[key[0].casefold(), key[1].casefold()] = _known(index, key, majors, pins[key])
    return Directory(known)


def purposes(index: PolicyIndex, principal: Principal, now: datetime) -> tuple[str, ...]:
    """The purposes that some grant of the principal's allows now, in their declared order."""
    allowed: set[str] = set()
    for entry in index.tables.values():
        if _denied(entry, principal, None):
            continue
        for one in _active(entry, principal, now):
            allowed |= set(one.grant.purposes or index.purposes)
    return tuple(one for one in index.purposes if one in allowed)


def _known(
    index: PolicyIndex, key: tuple[str, str], majors: Mapping[int, list[str]], pins: set[int]
) -> KnownProduct:
    products = {one.major: one for one in index.products if (one.domain, one.name) == key}
    active = [major for major in majors if products[major].status == "active"]
    newest = max(active or majors)
    preferred = newest if not pins else (next(iter(pins)) if len(pins) == 1 else None)
    return KnownProduct(
        domain=key[0],
        product=key[1],
        tables={major: tuple(tables) for major, tables in majors.items()},
        default_tables={
            major: _default_table(products[major], tables) for major, tables in majors.items()
        },
        preferred=preferred,
    )


def _default_table(product: Product, tables: list[str]) -> str | None:
    """The declared default, or the only table of the product, if the caller may know it."""
    only = product.tables[0].name if len(product.tables) == 1 else None
    name = product.default_table or only
    return name if name in tables else None


def authorize(resolved: ResolvedQuery, request: Request, index: PolicyIndex) -> Decision:
    """The decision for a query; UnknownTable and PurposeRequired where it is no."""
    return authorize_tables(resolved.tables, request.principal, request.purpose, request.now, index)


def authorize_tables(
    addresses: tuple[Address, ...],
    principal: Principal,
    purpose: str | None,
    now: datetime,
    index: PolicyIndex,
) -> Decision:
    """The decision for some tables, remembered until the next grant starts or ends."""
    key = (addresses, _identity(principal), purpose)
    known = index.decisions.get(key)
    if known is not None and known.valid_until is not None and now < known.valid_until:
        return known
    made = _decide(addresses, principal, purpose, now, index)
    if made.valid_until is not None:
        index.decisions[key] = made
        while len(index.decisions) > _KEPT_DECISIONS:
            index.decisions.popitem(last=False)
    return made


def visible(decision: Decision) -> Mapping[Address, tuple[tuple[str, str], ...]]:
    """The visible columns of each table, for binding."""
    return {
        address: tuple((one.name, one.type) for one in table.columns)
        for address, table in decision.tables.items()
    }


def _identity(principal: Principal) -> object:
    return (
        principal.user,
        principal.groups,
        principal.roles,
        tuple(sorted((name, tuple(values)) for name, values in principal.attributes.items())),
    )


def _decide(
    addresses: tuple[Address, ...],
    principal: Principal,
    purpose: str | None,
    now: datetime,
    index: PolicyIndex,
) -> Decision:
    entries = []
    for address in addresses:
        entry = index.tables.get(address)
        if entry is None or not _active(entry, principal, now):
            raise unknown_table(address)
        entries.append(entry)
    chosen, was_default = _purpose(entries, principal, purpose, now, index)
    tables: dict[Address, TableDecision] = {}
    reasons: list[Reason] = []
    limits: dict[str, int] = {}
    subjects = SubjectValues(principal, chosen, now)
    for entry in entries:
        if _denied(entry, principal, chosen):
            raise unknown_table(entry.address)
        tables[entry.address] = _table(entry, subjects, index, reasons)
        _limits(entry, subjects, limits, reasons)
    return Decision(
        tables=tables,
        purpose=chosen,
        purpose_was_default=was_default,
        revision=index.revision,
        fingerprint=_fingerprint(index.revision, chosen, tables, limits),
        valid_until=None if subjects.used_now else _valid_until(entries, now),
        limits=limits,
        reasons=tuple(reasons),
    )


def unknown_table(address: Address) -> UnknownTable:
    """The error that reads the same for what is denied and for what does not exist."""
    return UnknownTable(f"There is no table {address} that you may query.")


def subject_matches(subjects: Subjects, principal: Principal) -> bool:
    """Any of users, groups and roles (where any is named), and every attribute."""
    named = subjects.users or subjects.groups or subjects.roles
    someone = (
        principal.user in subjects.users
        or bool(principal.groups & subjects.groups)
        or bool(principal.roles & subjects.roles)
    )
    if not (subjects.everyone or someone or (not named and subjects.attributes)):
        return False
    return all(
        values & frozenset(principal.attributes.get(name, ()))
        for name, values in subjects.attributes.items()
    )


def _any_matches(subjects: tuple[Subjects, ...], principal: Principal) -> bool:
    return any(subject_matches(one, principal) for one in subjects)


def _active(entry: TableEntry, principal: Principal, now: datetime) -> list[CompiledGrant]:
    return [
        one
        for one in entry.grants
        if (one.grant.valid_from is None or one.grant.valid_from <= now)
        and (one.grant.until is None or now < one.grant.until)
        and _any_matches(one.grant.subjects, principal)
    ]


def _applies(policy: Policy, principal: Principal, purpose: str | None) -> bool:
    concerned = not policy.subjects or _any_matches(policy.subjects, principal)
    in_purpose = not policy.purposes or purpose in policy.purposes
    return concerned and in_purpose and not _any_matches(policy.unless, principal)


def _denied(entry: TableEntry, principal: Principal, purpose: str | None) -> bool:
    return any(
        one.policy.effect == "deny" and _applies(one.policy, principal, purpose)
        for one in entry.policies
    )


def _purpose(
    entries: list[TableEntry],
    principal: Principal,
    purpose: str | None,
    now: datetime,
    index: PolicyIndex,
) -> tuple[str | None, bool]:
    """The statement's purpose and whether it is the only one possible (rule 9)."""
    possible: set[str] | None = None
    failing: TableEntry | None = None
    needed = False
    for entry in entries:
        grants = _active(entry, principal, now)
        required = any(
            one.policy.effect == "require"
            and one.policy.settings.get("purpose")
            and _applies(one.policy, principal, purpose)
            for one in entry.policies
        )
        free = any(not one.grant.purposes for one in grants)
        allowed = (
            set(index.purposes) if free else {name for one in grants for name in one.grant.purposes}
        )
        # Any purpose is any that the governance group has named: a made-up one is none.
        if required or not free or purpose not in (None, *index.purposes):
            needed = True
            possible = allowed if possible is None else possible & allowed
        if purpose is not None and purpose not in allowed:
            failing = failing or entry
    if purpose is not None and failing is None:
        return purpose, False
    if purpose is None and not needed:
        return None, False
    choices = sorted(possible or ())
    if not choices:
        raise unknown_table((failing or entries[0]).address)
    if purpose is None and len(choices) == 1:
        return choices[0], True
    listed = ", ".join(choices)
    raise PurposeRequired(
        f"Say why you ask; your purposes here are: {listed}.",
        hint=f"SET purpose = '{choices[0]}', the field `purpose` of an HTTP request, or the Flight "
        "SQL header x-sqluice-purpose.",
    )


def _table(
    entry: TableEntry, subjects: SubjectValues, index: PolicyIndex, reasons: list[Reason]
) -> TableDecision:
    scopes = []
    for one in _active(entry, subjects.principal, subjects.now):
        if one.grant.purposes and subjects.purpose not in one.grant.purposes:
            continue
        condition = subjects.fill(one.condition) if one.condition else None
        scopes.append(Scope(one.grant.id, condition, one.columns))
        rows = "rows of its scope" if condition else "all rows"
        reasons.append(Reason(str(entry.address), f"granted, {rows}", one.grant.id))
    filters = []
    for policy in entry.policies:
        if policy.condition is None or policy.policy.effect != "filter":
            continue
        if _applies(policy.policy, subjects.principal, subjects.purpose):
            filters.append(subjects.fill(policy.condition))
            reasons.append(Reason(str(entry.address), "rows filtered", policy.policy.id))
    covered = [
        one
        for one in entry.columns
        if any(scope.columns is None or one.name in scope.columns for scope in scopes)
    ]
    columns = []
    for column in covered:
        made = _column(entry, column, subjects, index, reasons)
        if made is not None:
            columns.append(made)
    if not columns:
        raise unknown_table(entry.address)
    rule = _aggregate(entry, subjects, reasons)
    return TableDecision(entry.address, tuple(scopes), tuple(filters), tuple(columns), rule)


def _aggregate(
    entry: TableEntry, subjects: SubjectValues, reasons: list[Reason]
) -> AggregateRule | None:
    """The strictest of all matching rules of groups; at load they were held to one entity."""
    found = [
        one.rule
        for one in entry.policies
        if one.rule is not None and _applies(one.policy, subjects.principal, subjects.purpose)
    ]
    if not found:
        return None
    reasons += [Reason(str(entry.address), "groups only", one.policy) for one in found]
    remembered = [one.remember for one in found if one.remember is not None]
    return AggregateRule(
        policy=", ".join(one.policy for one in found),
        entity=found[0].entity,
        entity_type=found[0].entity_type,
        minimum=max(one.minimum for one in found),
        dimensions=frozenset.intersection(*(one.dimensions for one in found)),
        dominance=min(one.dominance for one in found),
        atoms=min(one.atoms for one in found),
        remember=max(remembered) if len(remembered) == len(found) else None,
    )


def _column(
    entry: TableEntry,
    column: Column,
    subjects: SubjectValues,
    index: PolicyIndex,
    reasons: list[Reason],
) -> ColumnDecision | None:
    """The strictest of all matching masks (rule 3); None where the column is hidden."""
    matching = [
        one.policy
        for one in entry.masks.get(column.name, ())
        if _applies(one.policy, subjects.principal, subjects.purpose)
    ]
    clear = ColumnDecision(column.name, column.type, column.type)
    if not matching:
        return clear
    strictest = min(index.rank[_kind(one)] for one in matching)
    winners = [one for one in matching if index.rank[_kind(one)] == strictest]
    name = f"{entry.address}.{column.name}"
    kind = _kind(winners[0])
    reasons.append(Reason(name, "hidden" if kind == "hide" else f"masked: {kind}", winners[0].id))
    if kind == "hide":
        return None
    if kind == "clear":
        return clear
    masks = {one.mask for one in winners}
    if len(masks) > 1:
        named = ", ".join(one.id for one in winners)
        reasons.append(Reason(name, "masked: null, since masks of one rank differ", named))
        return ColumnDecision(column.name, column.type, column.type, "null", winners[0].id)
    mask = winners[0].mask
    assert mask is not None
    kept = column.masked_type or column.type
    type_name = kept if kind in ("pseudonym", "partial") else column.type
    return ColumnDecision(
        column.name, column.type, type_name, kind, winners[0].id, mask_arguments(mask)
    )


def _kind(policy: Policy) -> str:
    return "hide" if policy.effect == "hide" else (policy.mask.kind if policy.mask else "null")


def mask_arguments(mask: Mask) -> Mapping[str, str]:
    """A mask's arguments as text, by name."""
    values = {
        "value": mask.value,
        "join_group": mask.join_group,
        "unit": mask.unit,
        "size": mask.size,
        "keep_first": str(mask.keep_first),
        "keep_last": str(mask.keep_last),
        "fill": mask.fill,
    }
    return MappingProxyType({name: one for name, one in values.items() if one is not None})


def _limits(
    entry: TableEntry, subjects: SubjectValues, limits: dict[str, int], reasons: list[Reason]
) -> None:
    for one in entry.policies:
        if one.policy.effect != "limit" or not _applies(
            one.policy, subjects.principal, subjects.purpose
        ):
            continue
        for name, value in one.policy.settings.items():
            if name in ("rows", "bytes") and isinstance(value, int):
                limits[name] = min(value, limits.get(name, value))
                reasons.append(Reason(str(entry.address), f"{name} limited", one.policy.id))


def _valid_until(entries: list[TableEntry], now: datetime) -> datetime:
    moments = [
        moment
        for entry in entries
        for one in entry.grants
        for moment in (one.grant.valid_from, one.grant.until)
        if moment is not None and moment > now
    ]
    return min(moments, default=now + timedelta(hours=1))


def _fingerprint(
    revision: str,
    purpose: str | None,
    tables: Mapping[Address, TableDecision],
    limits: Mapping[str, int],
) -> str:
    content = [
        revision,
        purpose,
        sorted(limits.items()),
        [
            (
                str(address),
                address.major,
                [
                    (
                        s.grant,
                        s.condition.sql if s.condition else None,
                        sorted(s.columns) if s.columns is not None else None,
                    )
                    for s in one.scopes
                ],
                [(f.policy, f.sql) for f in one.filters],
                [
                    (c.name, c.type, c.kind, c.policy, sorted(c.arguments.items()))
                    for c in one.columns
                ],
                _rule_content(one.aggregate),
            )
            for address, one in sorted(
                tables.items(), key=lambda pair: (str(pair[0]), pair[0].major)
            )
        ],
    ]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()


def _rule_content(rule: AggregateRule | None) -> object:
    if rule is None:
        return None
    bounds = [rule.minimum, rule.dominance, rule.atoms, rule.remember]
    return [rule.policy, rule.entity, sorted(rule.dimensions), *bounds]
