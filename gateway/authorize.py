"""What the policies say of a resolved query (stage 3).

Takes: a `ResolvedQuery`, a `Request` (principal, purpose, now) and a `PolicyIndex`. Gives: a
`Decision`. Never touches the query's tree (DESIGN 5, rules 1 to 3, 7, 9, 13).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256

from catalog.model import Product
from gateway.bounds import Bounds
from gateway.decision import (
    AggregateRule,
    Alert,
    ColumnDecision,
    ColumnEntry,
    CompiledGrant,
    Decision,
    Outcome,
    PolicyIndex,
    Reason,
    Scope,
    TableDecision,
    TableEntry,
)
from gateway.errors import PurposeRequired, UnknownTable
from gateway.hours import next_change
from gateway.matching import Asking, bits_of
from gateway.request import Principal, Request
from gateway.resolve import Address, Directory, KnownProduct, ResolvedQuery
from gateway.subjects import SubjectValues

_KEPT_DECISIONS = 4096
_KEPT_DIRECTORIES = 512
_LONGEST = timedelta(hours=1)


def directory(index: PolicyIndex, principal: Principal, now: datetime) -> Directory:
    """What the principal may know: tables that some grant gives him now, for any purpose."""
    kept = index.directories.get(principal)
    if kept is not None and kept[1] <= now < kept[2]:
        return kept[0]
    asking = Asking(principal, None, now, index.standing.approved)
    found: dict[tuple[str, str], dict[int, list[str]]] = {}
    pins: dict[tuple[str, str], set[int]] = {}
    for address, entry in index.tables.items():
        applying = entry.restricting.applying(asking)
        grants = _active(entry, asking, applying, index)
        if not grants or applying & entry.effects.deny:
            continue
        if not _shows(entry, grants, asking, index):
            continue
        key = (address.domain, address.product)
        found.setdefault(key, {}).setdefault(address.major, []).append(address.table)
        pins.setdefault(key, set()).update(
            one.grant.major for one in grants if one.grant.major is not None
        )
    known: dict[tuple[str, str], KnownProduct] = {}
    for key, majors in found.items():
        known[key[0].casefold(), key[1].casefold()] = _known(index, key, majors, pins[key])
    made = Directory(known)
    index.directories[principal] = (made, now, _valid_until(list(index.tables.values()), now))
    while len(index.directories) > _KEPT_DIRECTORIES:
        index.directories.popitem(last=False)
    return made


def _shows(
    entry: TableEntry, grants: tuple[CompiledGrant, ...], asking: Asking, index: PolicyIndex
) -> bool:
    """Whether some column is visible for some purpose: a table without any is as none."""
    for purpose in asking.principal.scope.purposes or (None, *index.purposes):
        usable = [one for one in grants if not one.grant.purposes or purpose in one.grant.purposes]
        if not usable:
            continue
        applying = entry.restricting.applying(replace(asking, purpose=purpose))
        for column in entry.columns:
            name, bits = column.column.name, column.bits & applying
            is_covered = any(one.columns is None or name in one.columns for one in usable)
            hidden = bits and column.outcomes[(bits & -bits).bit_length() - 1].decision is None
            if is_covered and not hidden:
                return True
    return False


def purposes(index: PolicyIndex, principal: Principal, now: datetime) -> tuple[str, ...]:
    """The purposes that some grant of the principal's allows now, in their declared order."""
    asking = Asking(principal, None, now, index.standing.approved)
    allowed: set[str] = set()
    for entry in index.tables.values():
        applying = entry.restricting.applying(asking)
        if applying & entry.effects.deny:
            continue
        for one in _active(entry, asking, applying, index):
            allowed |= set(one.grant.purposes or index.purposes)
    within = principal.scope.purposes or allowed
    return tuple(one for one in index.purposes if one in allowed & within)


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
    """The decision for some tables, remembered as long as nothing that it read can change."""
    key = (addresses, principal, purpose)
    kept = index.decisions.get(key)
    if kept is not None and kept[1] <= now < kept[2]:
        return kept[0]
    made = _decide(addresses, principal, purpose, now, index)
    if made.valid_until is not None:
        index.decisions[key] = (made, now, made.valid_until)
        while len(index.decisions) > _KEPT_DECISIONS:
            index.decisions.popitem(last=False)
    return made


def visible(decision: Decision) -> Mapping[Address, tuple[tuple[str, str], ...]]:
    """The visible columns of each table, for binding."""
    return {
        address: tuple((one.name, one.type) for one in table.columns)
        for address, table in decision.tables.items()
    }


def entitlements_of(index: PolicyIndex, addresses: tuple[Address, ...]) -> frozenset[str]:
    """What the conditions of some tables ask entitlements for, as `entitlement.column`."""
    entries = (index.tables.get(one) for one in addresses)
    return frozenset(name for one in entries if one is not None for name in one.entitlements)


@dataclass(slots=True)
class _Gathered:
    """What a decision is put together from."""

    tables: dict[Address, TableDecision] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)
    bounds: Bounds = field(init=False)
    alerts: list[Alert] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Bounds tell their reasons among the others."""
        self.bounds = Bounds(reasons=self.reasons, marks=self.marks)


@dataclass(frozen=True, slots=True)
class _Met:
    """A table with the grants and policies that hold for who asks."""

    entry: TableEntry
    applying: int
    grants: tuple[CompiledGrant, ...]


def _decide(
    addresses: tuple[Address, ...],
    principal: Principal,
    purpose: str | None,
    now: datetime,
    index: PolicyIndex,
) -> Decision:
    asking = Asking(principal, purpose, now, index.standing.approved)
    met = [_meet(index, address, asking) for address in addresses]
    chosen, was_default = _purpose(met, asking, index)
    if chosen != purpose:
        asking = replace(asking, purpose=chosen)
        met = [_meet(index, address, asking) for address in addresses]
    subjects = SubjectValues(principal, chosen, now)
    gathered = _Gathered(marks=[index.revision, chosen or "", index.keys])
    for one in met:
        if one.applying & one.entry.effects.deny:
            raise unknown_table(one.entry.address)
        _table(one, subjects, gathered)
        if one.applying & one.entry.effects.limit:
            gathered.bounds.add(one.entry, one.applying, now)
    until = _valid_until([one.entry for one in met], now)
    bounds = gathered.bounds
    return Decision(
        tables=gathered.tables,
        purpose=chosen,
        purpose_was_default=was_default,
        revision=index.revision,
        fingerprint=sha256("\x1f".join(gathered.marks).encode()).hexdigest(),
        valid_until=None if subjects.used_now else until,
        limits=bounds.limits,
        reasons=tuple(gathered.reasons),
        quotas=tuple(bounds.quotas),
        turns=tuple(bounds.turns),
        alerts=tuple(gathered.alerts),
        entitlements=principal.entitlements,
    )


def unknown_table(address: Address) -> UnknownTable:
    """The error that reads the same for what is denied and for what does not exist."""
    return UnknownTable(f"There is no table {address} that you may query.")


def _meet(index: PolicyIndex, address: Address, asking: Asking) -> _Met:
    entry = index.tables.get(address)
    if entry is None:
        raise unknown_table(address)
    applying = entry.restricting.applying(asking)
    grants = _active(entry, asking, applying, index)
    if not grants:
        raise unknown_table(address)
    return _Met(entry, applying, grants)


def _active(
    entry: TableEntry, asking: Asking, applying: int, index: PolicyIndex
) -> tuple[CompiledGrant, ...]:
    """The grants that give something now, whatever their purposes."""
    if not asking.principal.scope.covers(entry.address.domain, entry.address.product):
        return ()
    bits = entry.granting.bits(asking, False)
    if not bits:
        return ()
    approval, days = _demands(entry, applying) if applying & entry.effects.require else (False, 0)
    standing, now, user = index.standing, asking.now, asking.principal.user
    found = []
    for number in bits_of(bits):
        one = entry.grants[number]
        start, until = one.grant.valid_from, one.grant.until
        if (start is not None and now < start) or (until is not None and until <= now):
            continue
        if standing.revoked and not standing.revoked.isdisjoint(
            ((one.grant.id, ""), (one.grant.id, user))
        ):
            continue
        if approval and one.approval and one.approval not in standing.approved:
            continue
        if days and (one.days is None or one.days > days):
            continue
        found.append(one)
    return tuple(found)


def _demands(entry: TableEntry, applying: int) -> tuple[bool, int]:
    """Whether grants must be approved, and how many days they may last; 0: no bound."""
    approval, days = False, 0
    for number in bits_of(applying & entry.effects.require):
        settings = entry.policies[number].policy.settings
        approval = approval or bool(settings.get("approval"))
        most = settings.get("expiry")
        if isinstance(most, int):
            days = min(most, days or most)
    return approval, days


def _purpose(met: list[_Met], asking: Asking, index: PolicyIndex) -> tuple[str | None, bool]:
    """The statement's purpose and whether it is the only one possible (rule 9)."""
    purpose = asking.purpose
    possible: set[str] | None = None
    failing: TableEntry | None = None
    asking_why: list[_Met] = []
    for one in met:
        allowed = _allowed(one, asking, index)
        if allowed is None:
            # Any purpose is any that the governance group has named: a made-up one is none.
            if purpose is None or purpose in index.purposes:
                continue
            allowed = set(index.purposes)
        asking_why.append(one)
        if purpose is not None and purpose not in allowed:
            failing = failing or one.entry
        possible = allowed if possible is None else possible & allowed
    if purpose is not None and failing is None:
        return purpose, False
    if purpose is None and not asking_why:
        return None, False
    choices = sorted(possible or ())
    if not choices:
        raise unknown_table((failing or met[0].entry).address)
    if purpose is None and len(choices) == 1:
        return choices[0], True
    listed = ", ".join(choices)
    told = "Say why you ask" if purpose is None else f"You may not ask for {purpose[:100]!r}"
    wanting = PurposeRequired(
        f"{told}; your purposes here are: {listed}.",
        hint=f"SET purpose = '{choices[0]}', `--purpose` of the command, the field `purpose` of an "
        "HTTP request, or the Flight SQL header x-sqluice-purpose. EXPLAIN POLICY before the query "
        "tells the smallest grant for another.",
    )
    tables = {f"{one.domain}.{one.product}" for one in (each.entry.address for each in asking_why)}
    wanting.product = tables.pop() if len(tables) == 1 else ""
    policies = {policy for one in asking_why for policy in _requiring(one)}
    wanting.policy = policies.pop() if len(policies) == 1 else ""
    raise wanting


def _allowed(one: _Met, asking: Asking, index: PolicyIndex) -> set[str] | None:
    """The purposes for which a table may be read; None: any, and none is needed."""
    allowed, within = _granted(one, index), asking.principal.scope.purposes
    # A token for some purposes needs one of them, also where the grants need none.
    return set(within) & (allowed or set(index.purposes)) if within else allowed


def _granted(one: _Met, index: PolicyIndex) -> set[str] | None:
    """The purposes for which the grants and policies let a table be read."""
    if all(grant.grant.purposes for grant in one.grants):
        return {name for grant in one.grants for name in grant.grant.purposes}
    return set(index.purposes) if _requiring(one) else None


def _requiring(one: _Met) -> tuple[str, ...]:
    """The policies that want a purpose, whatever the grants want."""
    policies = (one.entry.policies[number].policy for number in bits_of(
        one.applying & one.entry.effects.require
    ))  # fmt: skip
    return tuple(policy.id for policy in policies if policy.settings.get("purpose"))


def purposes_of(index: PolicyIndex, address: Address, asking: Asking) -> frozenset[str] | None:
    """The purposes for which somebody may read a table that he may know; None: any or none."""
    allowed = _allowed(_meet(index, address, asking), asking, index)
    return None if allowed is None else frozenset(allowed)


def _table(met: _Met, subjects: SubjectValues, gathered: _Gathered) -> None:
    entry = met.entry
    scopes = _scopes(met, subjects, gathered)
    filters = []
    for number in bits_of(met.applying & entry.effects.filter):
        policy = entry.policies[number]
        if policy.condition is None or policy.reason is None:
            continue
        made = policy.fixed or subjects.fill(policy.condition)
        filters.append(made)
        gathered.reasons.append(policy.reason)
        gathered.marks += (policy.policy.id, made.sql)
    columns = _columns(met, scopes, subjects, gathered)
    if not columns:
        raise unknown_table(entry.address)
    gathered.tables[entry.address] = TableDecision(
        entry.address, tuple(scopes), tuple(filters), columns, _aggregate(met, gathered)
    )


def _aggregate(met: _Met, gathered: _Gathered) -> AggregateRule | None:
    """The strictest of all matching rules of groups; at load they were held to one entity."""
    entry, bits = met.entry, met.applying & met.entry.effects.aggregate
    found = [rule for number in bits_of(bits) if (rule := entry.policies[number].rule) is not None]
    if not found:
        return None
    gathered.reasons += [Reason(str(entry.address), "groups only", one.policy) for one in found]
    gathered.marks += [f"groups {one.policy}" for one in found]
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


def _scopes(met: _Met, subjects: SubjectValues, gathered: _Gathered) -> list[Scope]:
    scopes = []
    gathered.marks += (str(met.entry.address), str(met.entry.address.major))
    for one in met.grants:
        if one.grant.purposes and subjects.purpose not in one.grant.purposes:
            continue
        made = one.fixed
        if made is None and one.condition is not None:
            made = Scope(one.grant.id, subjects.fill(one.condition), one.columns)
        if made is None or one.reason is None:
            continue
        scopes.append(made)
        gathered.reasons.append(one.reason)
        gathered.marks += (one.grant.id, made.condition.sql if made.condition else "")
    return scopes


def _columns(
    met: _Met, scopes: list[Scope], subjects: SubjectValues, gathered: _Gathered
) -> tuple[ColumnDecision, ...]:
    """The covered columns, each under the strictest of its masks; hidden ones are left out."""
    covered: set[str] | None = set()
    for scope in scopes:
        if scope.columns is None:
            covered = None
            break
        assert covered is not None
        covered |= scope.columns
    columns, marks, reasons = [], gathered.marks, gathered.reasons
    applying = met.applying
    for column in met.entry.columns:
        if covered is not None and column.column.name not in covered:
            continue
        bits = column.bits & applying
        stays = _keys_stay(met, column, gathered) if column.stays & applying else ()
        if not bits:
            columns.append(replace(column.clear, keys_stay=stays) if stays else column.clear)
            marks.append(column.column.name)
            continue
        outcome = column.outcomes[(bits & -bits).bit_length() - 1]
        made = outcome.decision
        marks.append(outcome.mark)
        if outcome.reason is not None:
            reasons.append(outcome.reason)
        if outcome.rivals & bits:
            made = _conflict(met.entry, outcome, column.clear, gathered)
        elif outcome.expression is not None and made is not None:
            filled = subjects.fill(outcome.expression)
            made = replace(made, expression=filled)
            marks.append(filled.sql)
        if made is not None:
            columns.append(replace(made, keys_stay=stays) if stays else made)
    return tuple(columns)


def _keys_stay(met: _Met, column: ColumnEntry, gathered: _Gathered) -> tuple[str, ...]:
    """The policies that keep a column's keys from other sources."""
    entry, name = met.entry, column.column.name
    names = tuple(entry.policies[each].policy.id for each in bits_of(column.stays & met.applying))
    gathered.reasons += [Reason(f"{entry.address}.{name}", "keys stay", one) for one in names]
    gathered.marks += [f"keys stay {one}" for one in names]
    return names


def _conflict(
    entry: TableEntry, outcome: Outcome, clear: ColumnDecision, gathered: _Gathered
) -> ColumnDecision:
    """Two different masks of one rank have met: the cell is null, the owner is told (rule 3)."""
    name = f"{entry.address}.{clear.name}"
    gathered.marks.append("null")
    gathered.reasons.append(
        Reason(name, "masked: null, since masks of one rank differ", outcome.policy)
    )
    gathered.alerts.append(Alert(
        entry.address.domain,
        f"Masks of one rank differ on {name}, among them {outcome.policy}; it is shown as NULL.",
    ))  # fmt: skip
    return ColumnDecision(clear.name, clear.type, clear.type, "null", outcome.policy)


def _valid_until(entries: list[TableEntry], now: datetime) -> datetime:
    """The next time at which something that the decision read may change."""
    until = now + _LONGEST
    for entry in entries:
        moments = entry.moments
        if moments:
            position = bisect_right(moments, now)
            if position < len(moments):
                until = min(until, moments[position])
        for hours in entry.hours:
            until = min(until, next_change(hours, now))
    return until
