"""Policies and grants become an index, at load.

Takes: a mesh. Gives: a `PolicyIndex`, or an InvalidConfig that names every condition and mask
that cannot hold, with its file. Never lets a condition through that could fail for some row: a
policy that can fail is an oracle (DESIGN 5, rules 3, 4, 11 and 12).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from sqlglot import exp

from catalog.model import Grant, Hours, Mesh, Policy, PolicyException, Product, Subjects, Table
from gateway.decision import (
    CompiledCondition,
    CompiledGrant,
    CompiledPolicy,
    Condition,
    Effects,
    PolicyIndex,
    Reason,
    Scope,
    TableEntry,
)
from gateway.errors import InvalidConfig
from gateway.matching import Rules, hours_of, moments_of, who
from gateway.policies.ceilings import above_ceilings
from gateway.policies.columns import Asked, Shared, column_entry, kind_of, told
from gateway.policies.concerning import Concerned, Concerning
from gateway.policies.conditions import ConditionError, compile_condition
from gateway.policies.entitled import DeclaredEntitlements
from gateway.policies.groups import GroupError, one_entity, rule_of
from gateway.resolve import Address

_EVERYONE = (Subjects(everyone=True),)


@dataclass(frozen=True, slots=True)
class _Mesh:
    """A mesh, looked up: grants by product, exceptions by policy, ranks, entitlements."""

    concerning: Concerning
    grants: Mapping[tuple[str, str], tuple[Grant, ...]]
    exceptions: Mapping[str, tuple[Subjects, ...]]
    rank: Mapping[str, int]
    entitled: DeclaredEntitlements
    problems: list[str]
    shared: Shared = field(default_factory=Shared)
    sets: dict[tuple[str, ...], _Set] = field(default_factory=dict)
    plain: dict[str, CompiledPolicy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Set:
    """What a row of policies has in common wherever it stands: tables share their rows."""

    policies: tuple[Policy, ...]
    bits: Mapping[str, int]
    rules: Rules
    effects: Effects
    moments: frozenset[datetime]
    hours: tuple[Hours, ...]


def compile_policies(mesh: Mesh) -> PolicyIndex:
    """The index of a mesh; raises InvalidConfig with one line a problem."""
    problems: list[str] = []
    grants = defaultdict(list)
    for grant in mesh.grants:
        grants[grant.domain, grant.product].append(grant)
    known = _Mesh(
        Concerning(mesh),
        {key: tuple(found) for key, found in grants.items()},
        _exceptions(mesh.exceptions),
        {kind: rank for rank, kind in enumerate(mesh.taxonomy.mask_order)},
        DeclaredEntitlements(mesh),
        problems,
    )
    tables = {
        Address(product.domain, product.name, table.name, product.major): _entry(
            known, product, table
        )
        for product in mesh.products
        if product.status not in ("retired", "draft", "proposed")
        for table in product.tables
    }
    problems.extend(above_ceilings(mesh))
    if problems:
        raise InvalidConfig(
            "\n".join(dict.fromkeys(problems)),
            hint="Correct the files named and run `sqluice check`.",
        )
    purposes = tuple(one.name for one in mesh.purposes)
    index = PolicyIndex(mesh.revision, tables, mesh.products, purposes)
    index.pushed_groups = _pushed_groups(mesh, tables)
    return index


def _pushed_groups(mesh: Mesh, tables: Mapping[Address, TableEntry]) -> frozenset[str]:
    """Join groups whose key may go to sources: the governance group and every domain agree."""
    refusing = set()
    agreed = {one.name: one.pushed_groups for one in mesh.domains}
    for address, entry in tables.items() if mesh.taxonomy.pushed_groups else ():
        for column in entry.columns:
            for outcome in column.outcomes.values():
                made = outcome.decision
                group = made.arguments.get("join_group") if made is not None else None
                if group is not None and group not in agreed[address.domain]:
                    refusing.add(group)
    return mesh.taxonomy.pushed_groups - refusing


def _exceptions(exceptions: Iterable[PolicyException]) -> Mapping[str, tuple[Subjects, ...]]:
    """Whom each policy spares for a while."""
    found: dict[str, tuple[Subjects, ...]] = {}
    for one in exceptions:
        made = tuple(_within(subjects, one) for subjects in one.subjects)
        found[one.policy] = (*found.get(one.policy, ()), *made)
    return found


def _within(subjects: Subjects, one: PolicyException) -> Subjects:
    starts = [moment for moment in (subjects.valid_from, one.valid_from) if moment is not None]
    ends = [moment for moment in (subjects.until, one.until) if moment is not None]
    return replace(
        subjects, valid_from=max(starts), until=min(ends),
        approval="" if one.approver else approval_of(one),
    )  # fmt: skip


def approval_of(one: Grant | PolicyException) -> str:
    """What an approval in state names: the id with the content that was approved."""
    content = json.dumps(_plain(replace(one, place=None)), sort_keys=True)
    return f"{one.id}:{hashlib.sha256(content.encode()).hexdigest()[:32]}"


def _plain(value: object) -> object:
    """A value of the catalog as JSON, the same in every process."""
    if isinstance(value, frozenset):
        return sorted(str(one) for one in value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Grant | PolicyException | Subjects | Hours):
        return {name: _plain(getattr(value, name)) for name in value.__slots__}
    return None if value is None else str(value)


def _entry(known: _Mesh, product: Product, table: Table) -> TableEntry:
    address = Address(product.domain, product.name, table.name, product.major)
    grants = tuple(
        made
        for grant in known.grants.get((product.domain, product.name), ())
        if (grant.major is None or grant.major == product.major)
        and (grant.tables is None or table.name in grant.tables)
        and (made := _grant(known, grant, table, address)) is not None
    )
    concerned = known.concerning.of(product, table)
    row = _row(known, concerned)
    asked = Asked(
        str(address), table, row.bits,
        lambda author: known.entitled.over(author, str(address)), known.problems, known.shared,
    )  # fmt: skip
    compiled = tuple(_policy(known, one, table, address) for one in row.policies)
    differing = one_entity(compiled)
    if differing is not None:
        known.problems.append(f"{address}: rules of groups {differing}")
    columns = tuple(
        column_entry(one, concerned.columns.get(one.name, ()), asked) for one in table.columns
    )
    moments, hours = _changes(grants, row)
    return TableEntry(
        address=address,
        columns=columns,
        grants=grants,
        policies=compiled,
        granting=who(one.grant.subjects for one in grants),
        restricting=row.rules,
        effects=row.effects,
        moments=moments,
        hours=hours,
        entitlements=_needed(
            *(one.condition for one in grants),
            *(one.condition for one in compiled),
            *(made.expression for one in columns for made in one.outcomes.values()),
        ),
    )


def _row(known: _Mesh, concerned: Concerned) -> _Set:
    """The table's own policies, then masks with the strictest first: its bit is the lowest."""
    masks = {one.id: one for found in concerned.columns.values() for one in found}
    key = (*(one.id for one in concerned.table), "", *masks)
    found = known.sets.get(key)
    if found is None:
        by_rank = sorted(masks.values(), key=lambda one: (known.rank[kind_of(one)], one.id))
        found = known.sets[key] = _made_row(known, (*concerned.table, *by_rank))
    return found


def _made_row(known: _Mesh, policies: tuple[Policy, ...]) -> _Set:
    subjects = [
        subject
        for one in policies
        for subject in (*one.subjects, *one.unless, *known.exceptions.get(one.id, ()))
    ]
    moments = {moment for one in policies for moment in (one.valid_from, one.until)}
    settings = [one.settings.get("hours") for one in policies]
    return _Set(
        policies=policies,
        bits={one.id: number for number, one in enumerate(policies)},
        rules=_rules(known, policies),
        effects=_effects(policies),
        moments=frozenset({one for one in moments if one is not None} | set(moments_of(subjects))),
        hours=(*hours_of(subjects), *(one for one in settings if isinstance(one, Hours))),
    )


def _needed(*conditions: CompiledCondition | None) -> frozenset[str]:
    return frozenset(name for one in conditions if one is not None for name in one.entitlements)


def _changes(
    grants: tuple[CompiledGrant, ...], row: _Set
) -> tuple[tuple[datetime, ...], tuple[Hours, ...]]:
    """When a decision may change: fixed moments, and hours of the week."""
    subjects = [one for made in grants for one in made.grant.subjects]
    moments = {one for made in grants for one in (made.grant.valid_from, made.grant.until)}
    held = row.moments | {one for one in moments if one is not None} | set(moments_of(subjects))
    return tuple(sorted(held)), tuple(dict.fromkeys((*hours_of(subjects), *row.hours)))


def _rules(known: _Mesh, policies: tuple[Policy, ...]) -> Rules:
    any_purpose = 0
    by_purpose: dict[str | None, int] = {}
    for number, one in enumerate(policies):
        if not one.purposes:
            any_purpose |= 1 << number
        for name in one.purposes:
            by_purpose[name] = by_purpose.get(name, 0) | 1 << number
    return Rules(
        concerned=who(one.subjects or _EVERYONE for one in policies),
        exempt=who((*one.unless, *known.exceptions.get(one.id, ())) for one in policies),
        any_purpose=any_purpose,
        by_purpose=MappingProxyType(by_purpose),
        timed=tuple(
            (1 << number, (one.valid_from, one.until))
            for number, one in enumerate(policies)
            if one.valid_from or one.until
        ),
    )


def _effects(policies: tuple[Policy, ...]) -> Effects:
    def bits(effect: str) -> int:
        return sum(1 << number for number, one in enumerate(policies) if one.effect == effect)

    return Effects(*(bits(name) for name in ("deny", "filter", "limit", "require", "aggregate")))


def _grant(known: _Mesh, grant: Grant, table: Table, address: Address) -> CompiledGrant | None:
    condition = None
    if grant.scope is not None:
        entitled = known.entitled.over(grant.domain, str(address))
        try:
            condition = compile_condition(grant.id, grant.scope, table, entitled)
        except ConditionError as error:
            known.problems.append(told(grant.place, grant.id, f"scope: {error}"))
            return None
    days = None
    if grant.valid_from is not None and grant.until is not None:
        days = (grant.until - grant.valid_from).total_seconds() / 86_400
    columns = _columns(known, grant, table)
    fixed = _fixed(condition)
    static = condition is None or fixed is not None
    return CompiledGrant(
        grant, condition, columns,
        approval="" if grant.approver else approval_of(grant), days=days,
        fixed=Scope(grant.id, fixed, columns) if static else None,
        reason=Reason(
            str(address), f"granted, {'rows of its scope' if condition else 'all rows'}", grant.id
        ),
    )  # fmt: skip


def _columns(known: _Mesh, grant: Grant, table: Table) -> frozenset[str] | None:
    if grant.columns is None:
        return None
    names = {name: table.column(name) for name in grant.columns}
    unknown = sorted(name for name, column in names.items() if column is None)
    if unknown and len(table.columns) and grant.tables is not None:
        message = f"columns: {table.name} has no {', '.join(unknown)}"
        known.problems.append(told(grant.place, grant.id, message))
    return frozenset(column.name for column in names.values() if column is not None)


def _policy(known: _Mesh, policy: Policy, table: Table, address: Address) -> CompiledPolicy:
    if policy.effect not in ("filter", "aggregate"):
        # The same whatever the table.
        found = known.plain.get(policy.id)
        if found is None:
            found = known.plain[policy.id] = CompiledPolicy(policy)
        return found
    try:
        if policy.effect == "aggregate":
            return CompiledPolicy(policy, rule=rule_of(policy, table))
        entitled = known.entitled.over(policy.domain, str(address))
        made = compile_condition(policy.id, policy.filter or "", table, entitled)
    except (ConditionError, GroupError) as error:
        known.problems.append(told(policy.place, policy.id, f"{policy.effect}: {error}"))
        return CompiledPolicy(policy)
    reason = Reason(str(address), "rows filtered", policy.id)
    return CompiledPolicy(policy, made, fixed=_fixed(made), reason=reason)


def _fixed(condition: CompiledCondition | None) -> Condition | None:
    """The condition of everybody, where no subject stands in it."""
    if condition is None or condition.expression.find(exp.Placeholder) is not None:
        return None
    return Condition(condition.policy, condition.expression, condition.sql)
