"""Policies and grants become an index, at load.

Takes: a mesh. Gives: a `PolicyIndex`, or an InvalidConfig that names every condition and mask
that cannot hold, with its file. Never lets a condition through that could fail for some row: a
policy that can fail is an oracle (DESIGN 5, rules 3, 4, 11 and 12).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from catalog.model import Column, Grant, Match, Mesh, Place, Policy, Product, Subjects, Table
from gateway.constants import INTEGERS, family
from gateway.decision import CompiledGrant, CompiledPolicy, PolicyIndex, TableEntry
from gateway.errors import InvalidConfig
from gateway.policies.conditions import ConditionError, compile_condition
from gateway.policies.groups import GroupError, one_entity, rule_of
from gateway.resolve import Address

_TABLE_EFFECTS = ("deny", "filter", "aggregate", "limit", "require")
_TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")


def compile_policies(mesh: Mesh) -> PolicyIndex:
    """The index of a mesh; raises InvalidConfig with one line a problem."""
    problems: list[str] = []
    tables: dict[Address, TableEntry] = {}
    for product in mesh.products:
        if product.status in ("retired", "draft", "proposed"):
            continue
        for table in product.tables:
            address = Address(product.domain, product.name, table.name, product.major)
            tables[address] = _entry(mesh, product, table, address, problems)
    if problems:
        raise InvalidConfig(
            "\n".join(dict.fromkeys(problems)),
            hint="Correct the files named and run `sqluice check`.",
        )
    return PolicyIndex(
        mesh.revision,
        tables,
        mesh.products,
        mesh.taxonomy,
        tuple(one.name for one in mesh.purposes),
    )


def _entry(
    mesh: Mesh, product: Product, table: Table, address: Address, problems: list[str]
) -> TableEntry:
    grants = tuple(
        made
        for grant in mesh.grants
        if _grant_concerns(grant, product, table)
        and (made := _grant(grant, table, problems)) is not None
    )
    concerning = [
        one for one in mesh.policies if (one.domain is None or one.domain == product.domain)
    ]
    policies = tuple(
        compiled
        for one in concerning
        if one.effect in _TABLE_EFFECTS
        and _matches_table(mesh, one.match, product, table)
        and (compiled := _policy(one, table, problems)) is not None
    )
    differing = one_entity(policies)
    if differing is not None:
        problems.append(f"{address}: rules of groups {differing}")
    masks: dict[str, tuple[CompiledPolicy, ...]] = {}
    for column in table.columns:
        found = [
            one
            for one in concerning
            if one.effect in ("mask", "hide")
            and _matches_column(mesh, one.match, product, table, column)
        ]
        for one in found:
            _check_mask(one, column, problems)
        _check_conflicts(mesh, found, f"{address}.{column.name}", problems)
        if found:
            masks[column.name] = tuple(CompiledPolicy(one) for one in found)
    return TableEntry(address, table.columns, grants, policies, masks)


def _grant_concerns(grant: Grant, product: Product, table: Table) -> bool:
    return (
        (grant.domain, grant.product) == (product.domain, product.name)
        and (grant.major is None or grant.major == product.major)
        and (grant.tables is None or table.name in grant.tables)
    )


def _grant(grant: Grant, table: Table, problems: list[str]) -> CompiledGrant | None:
    condition = None
    if grant.scope is not None:
        try:
            condition = compile_condition(grant.id, grant.scope, table)
        except ConditionError as error:
            problems.append(_problem(grant.place, grant.id, f"scope: {error}"))
            return None
    columns = None
    if grant.columns is not None:
        names = {name: table.column(name) for name in grant.columns}
        unknown = sorted(name for name, column in names.items() if column is None)
        if unknown and len(table.columns) and grant.tables is not None:
            problems.append(
                _problem(
                    grant.place, grant.id, f"columns: {table.name} has no {', '.join(unknown)}"
                )
            )
        columns = frozenset(column.name for column in names.values() if column is not None)
    return CompiledGrant(grant, condition, columns)


def _policy(policy: Policy, table: Table, problems: list[str]) -> CompiledPolicy | None:
    try:
        if policy.effect != "filter":
            return CompiledPolicy(policy, rule=rule_of(policy, table))
        return CompiledPolicy(policy, compile_condition(policy.id, policy.filter or "", table))
    except (ConditionError, GroupError) as error:
        problems.append(_problem(policy.place, policy.id, f"{policy.effect}: {error}"))
        return None


def _problem(place: Place | None, name: str, message: str) -> str:
    return f"{place}: {name}: {message}" if place is not None else f"{name}: {message}"


def _matches_table(mesh: Mesh, match: Match, product: Product, table: Table) -> bool:
    """A table-wide effect also holds where one of its columns is what the policy speaks of."""
    if not _matches_place(mesh, match, product, table):
        return False
    wide = not (match.tags or match.classifications or match.columns)
    return wide or any(
        _matches_column(mesh, match, product, table, column) for column in table.columns
    )


def _matches_place(mesh: Mesh, match: Match, product: Product, table: Table) -> bool:
    source = mesh.sources.get(product.source)
    return (
        match.domain in (None, product.domain)
        and match.product in (None, product.name, product.address)
        and match.table in (None, table.name, f"{product.address}.{table.name}")
        and (match.region is None or (source is not None and source.region == match.region))
    )


def _matches_column(
    mesh: Mesh, match: Match, product: Product, table: Table, column: Column
) -> bool:
    if not _matches_place(mesh, match, product, table):
        return False
    tags = column.tags | table.tags | product.tags
    has_tag = not match.tags or any(
        tag == wanted or tag.startswith(f"{wanted}.") for wanted in match.tags for tag in tags
    )
    has_class = not match.classifications or column.classification in match.classifications
    named = not match.columns or column.name in match.columns
    return has_tag and has_class and named


def _check_mask(policy: Policy, column: Column, problems: list[str]) -> None:
    mask = policy.mask
    if policy.effect == "hide" or mask is None:
        return
    visible = column.masked_type or column.type
    wrong = None
    if mask.kind in ("pseudonym", "partial") and family(visible) != "VARCHAR":
        wrong = f"{column.name} is {column.type} and declares no text for its masked form"
    elif mask.kind == "partial" and family(column.type) != "VARCHAR":
        wrong = f"{column.name} is {column.type}; partial masks text only"
    elif mask.kind == "pseudonym" and family(column.type) not in INTEGERS | {
        "VARCHAR",
        "DATE",
        "UUID",
    }:
        wrong = f"{column.name} is {column.type}, which has no canonical text"
    elif mask.kind == "bucket":
        wrong = _bucket_problem(policy, column)
    if wrong:
        problems.append(_problem(policy.place, policy.id, f"mask {mask.kind}: {wrong}"))


def _bucket_problem(policy: Policy, column: Column) -> str | None:
    mask = policy.mask
    kind = family(column.type)
    if mask is None:
        return None
    if kind in _TIMES:
        return None if mask.unit else f"{column.name} is {column.type} and needs a unit"
    if kind in INTEGERS | {"DOUBLE", "REAL", "DECIMAL"}:
        try:
            return None if float(mask.size or "") > 0 else "the size must be more than 0"
        except ValueError:
            return f"{column.name} is {column.type} and needs a size"
    return f"{column.name} is {column.type}; bucket masks numbers and times only"


def _check_conflicts(mesh: Mesh, policies: list[Policy], column: str, problems: list[str]) -> None:
    """Two different masks of one rank that could meet are a load error (rule 3)."""
    masks = [one for one in policies if one.mask is not None]
    for one, other in combinations(masks, 2):
        assert one.mask is not None and other.mask is not None
        if (
            one.mask.kind == other.mask.kind
            and one.mask != other.mask
            and not _disjoint(one, other)
        ):
            problems.append(
                _problem(
                    one.place,
                    one.id,
                    f"differs from {other.id} ({other.place}) on {column}, and both masks have one "
                    "rank; make their subjects exclude each other or use one mask",
                )
            )


def _disjoint(one: Policy, other: Policy) -> bool:
    """Whether no principal can meet both, as far as the files prove it."""
    pairs = list(_pairs(one, other))
    return bool(pairs) and all(
        _exclude(a, b) or a in other.unless or b in one.unless for a, b in pairs
    )


def _pairs(one: Policy, other: Policy) -> Iterator[tuple[Subjects, Subjects]]:
    everyone = (Subjects(everyone=True),)
    for a in one.subjects or everyone:
        for b in other.subjects or everyone:
            yield a, b


def _exclude(a: Subjects, b: Subjects) -> bool:
    shared = set(a.attributes) & set(b.attributes)
    return (
        bool(
            a.users
            and b.users
            and not (a.users & b.users)
            and not (a.groups or a.roles or b.groups or b.roles)
        )
        and not shared
    )


def masks_by_column(index: PolicyIndex, address: Address) -> Mapping[str, tuple[str, ...]]:
    """The ids of masks by column, for reports."""
    entry = index.tables[address]
    return {name: tuple(one.policy.id for one in found) for name, found in entry.masks.items()}
