"""Why a decision is as it is: for each table and column the rule that won.

Takes: a decision, the index that it was made from, who asked. Gives: lines that the caller may
read: rules by id and file, what they did, which of them lost. Never names a hidden column, never
shows a policy's literal or what of the subject it asks for (DESIGN 5, barrier rule 5).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from catalog.model import Grant, Hours, Policy
from gateway.access_request import Asker, Wish, exception_request, grant_request
from gateway.decision import (
    ColumnDecision,
    ColumnEntry,
    CompiledCondition,
    Decision,
    PolicyIndex,
    TableDecision,
    TableEntry,
)
from gateway.hours import is_open, shown
from gateway.matching import Asking, bits_of
from gateway.resolve import Address
from gateway.subjects import SubjectValues

NO_EXCEPTION = "it allows no exceptions; ask whoever wrote it"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of EXPLAIN POLICY.

    what: statement, purpose, table, rows, groups, limit, require, column. `policy` is the id of
    the grant or policy that decided, `file` where it stands in the mesh. `request` is a document
    that would change the outcome.
    """

    what: str
    object: str
    outcome: str
    policy: str = ""
    file: str = ""
    detail: str = ""
    request: str = ""


@dataclass(frozen=True, slots=True)
class Why:
    """One decision, told. `read` are the columns that the statement reads, by table."""

    decision: Decision
    index: PolicyIndex
    asking: Asking
    read: Mapping[Address, Collection[str]]
    spent: Mapping[str, float]

    def lines(self) -> Iterator[Line]:
        """Everything that holds for the tables of the decision."""
        for address, table in self.decision.tables.items():
            entry = self.index.tables[address]
            applying = entry.restricting.applying(self.asking)
            yield from self._grants(entry, table)
            yield from self._filters(entry, table, applying)
            yield from self._others(entry, applying)
            yield from self._columns(entry, table, applying)

    @property
    def asker(self) -> Asker:
        """Who would send a request."""
        return Asker(self.asking.principal.user, self.decision.purpose, self.asking.now)

    def _grants(self, entry: TableEntry, table: TableDecision) -> Iterator[Line]:
        by_id = {one.grant.id: one for one in entry.grants}
        empty = []
        for scope in table.scopes:
            outcome = "granted, rows of its scope" if scope.condition else "granted, all rows"
            made = by_id.get(scope.grant)
            is_empty = made is not None and self.is_empty(made.condition)
            empty.append(is_empty)
            detail = "its scope leaves you no row" if is_empty else ""
            line = Line("table", str(entry.address), outcome, scope.grant, detail=detail)
            yield by_rule(line, made.grant) if made is not None else line
        if all(empty):
            names = self._read(table)
            address = entry.address
            wish = Wish(address.domain, address.product, address.table, names)
            yield Line(
                "rows", str(address), "no row", detail="no grant of yours leaves you a row",
                request=grant_request(wish, self.asker),
            )  # fmt: skip

    def _read(self, table: TableDecision) -> tuple[str, ...]:
        read = self.read.get(table.address, ())
        names = tuple(one.name for one in table.columns if one.name in read)
        return names or (table.columns[0].name,)

    def _filters(
        self, entry: TableEntry, table: TableDecision, applying: int
    ) -> Iterator[Line]:
        left = dict.fromkeys(one.policy for one in table.filters)
        for number in bits_of(applying & entry.effects.filter):
            made = entry.policies[number]
            left.pop(made.policy.id, None)
            detail = "it leaves you no row" if self.is_empty(made.condition) else ""
            line = Line("rows", str(table.address), "rows filtered", detail=detail)
            yield restricting(line, made.policy, self.asker)
        # What was decided elsewhere than in the files of the mesh.
        yield from (Line("rows", str(table.address), "rows filtered", one) for one in left)

    def _others(self, entry: TableEntry, applying: int) -> Iterator[Line]:
        name, effects = str(entry.address), entry.effects
        for number in bits_of(applying & effects.aggregate):
            policy = entry.policies[number].policy
            yield restricting(Line("groups", name, "groups only"), policy, self.asker)
        for number in bits_of(applying & effects.limit):
            policy = entry.policies[number].policy
            for outcome in _limited(policy):
                line = Line("limit", name, outcome, detail=self._used_up(policy))
                yield restricting(line, policy, self.asker)
        for number in bits_of(applying & effects.require):
            policy = entry.policies[number].policy
            for outcome in _required(policy):
                yield restricting(Line("require", name, outcome), policy, self.asker)

    def _used_up(self, policy: Policy) -> str:
        seconds = self.spent.get(policy.id)
        return "" if seconds is None else f"used up; it begins anew in {seconds:.0f} seconds"

    def _columns(self, entry: TableEntry, table: TableDecision, applying: int) -> Iterator[Line]:
        read = self.read.get(entry.address, ())
        entries = {one.column.name: one for one in entry.columns}
        for column in table.columns:
            if column.name not in read:
                continue
            made = entries[column.name]
            bits = made.bits & applying
            known = {made.outcomes[number].policy for number in bits_of(bits)}
            if column.policy and column.policy not in known:
                name = f"{entry.address}.{column.name}"
                yield Line("column", name, _kind(column), column.policy)
            elif bits:
                yield self._masked(entry, column, made, bits)
            else:
                yield self._clear(entry, table, column)
            yield from self._stays(entry, made, applying)

    def _stays(self, entry: TableEntry, made: ColumnEntry, applying: int) -> Iterator[Line]:
        """The policies that keep a column's keys from other sources."""
        for number in bits_of(made.stays & applying):
            name = f"{entry.address}.{made.column.name}"
            policy = entry.policies[number].policy
            yield restricting(Line("column", name, "keys stay"), policy, self.asker)

    def _clear(self, entry: TableEntry, table: TableDecision, column: ColumnDecision) -> Line:
        """A column that no policy touches: grants gave it."""
        by_id = {one.grant.id: one.grant for one in entry.grants}
        covering = [
            one.grant for one in table.scopes if one.columns is None or column.name in one.columns
        ]
        detail = f"also {', '.join(covering[1:])}" if covering[1:] else ""
        if len(covering) < len(table.scopes):
            detail = "; ".join(filter(None, (detail, "NULL in rows that only other grants give")))
        name = f"{entry.address}.{column.name}"
        line = Line("column", name, "clear", covering[0], detail=detail)
        return by_rule(line, by_id[covering[0]]) if covering[0] in by_id else line

    def _masked(
        self, entry: TableEntry, column: ColumnDecision, made: ColumnEntry, bits: int
    ) -> Line:
        """A column under the strictest of its masks; the others have lost."""
        winner, *others = (made.outcomes[number] for number in bits_of(bits))
        policies = {one.policy.id: one.policy for one in entry.policies}
        told = [
            f"{one.policy} ({_kind(one.decision)})" for one in others if one.decision is not None
        ]
        detail = f"stronger than {', '.join(told)}" if told else ""
        if winner.rivals & bits:
            detail = "masks of one rank differ, so it is NULL"
        line = Line("column", f"{entry.address}.{column.name}", _kind(column), detail=detail)
        return restricting(line, policies[winner.policy], self.asker)

    def is_empty(self, condition: CompiledCondition | None) -> bool:
        """Whether a condition holds for no row, since the caller has none of what it asks for.

        Told by what he has alone: constants of the condition have no say in it.
        """
        if condition is None:
            return False
        values = SubjectValues(self.asking.principal, self.asking.purpose, self.asking.now)
        return _is_empty(condition.expression, values)


def _is_empty(node: exp.Expr, values: SubjectValues) -> bool:
    if isinstance(node, exp.Paren):
        return _is_empty(node.this, values)
    if isinstance(node, exp.Or):
        return _is_empty(node.left, values) and _is_empty(node.right, values)
    if isinstance(node, exp.And):
        return _is_empty(node.left, values) or _is_empty(node.right, values)
    if isinstance(node, exp.Not):
        inner = node.this.unnest()
        return isinstance(inner, exp.In) and _is_empty(inner, values)
    if isinstance(node, exp.In):
        return bool(node.expressions) and all(_lacks(one, values) for one in node.expressions)
    if isinstance(node, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE):
        return _lacks(node.left, values) or _lacks(node.right, values)
    return False


def _lacks(node: exp.Expr, values: SubjectValues) -> bool:
    return isinstance(node, exp.Placeholder) and not values.values(node.name)


def by_rule(line: Line, rule: Policy | Grant) -> Line:
    """A line with the rule that decided. The file alone: a line number tells of its neighbours."""
    file = rule.place.file if rule.place is not None else ""
    return replace(line, policy=rule.id, file=file)


def restricting(line: Line, policy: Policy, asker: Asker) -> Line:
    """A line of a policy, with the exception that would lift it."""
    request = exception_request(policy, asker)
    details = [line.detail] if line.detail else []
    if not request and line.outcome != "clear":
        details.append(NO_EXCEPTION)
    return replace(by_rule(line, policy), detail="; ".join(details), request=request)


def denied_lines(entry: TableEntry, asking: Asking) -> Iterator[Line]:
    """The policies that deny a table which the caller may know, for this purpose alone."""
    asker = Asker(asking.principal.user, asking.purpose, asking.now)
    for number in bits_of(entry.restricting.applying(asking) & entry.effects.deny):
        policy = entry.policies[number].policy
        line = Line("table", str(entry.address), "denied", detail="for this purpose")
        yield restricting(line, policy, asker)


def closed_lines(entry: TableEntry, asking: Asking) -> Iterator[Line]:
    """The limits of hours that a table is outside of now."""
    asker = Asker(asking.principal.user, asking.purpose, asking.now)
    for number in bits_of(entry.restricting.applying(asking) & entry.effects.limit):
        policy = entry.policies[number].policy
        hours = policy.settings.get("hours")
        if isinstance(hours, Hours) and not is_open(hours, asking.now):
            detail = f"it may be queried {shown(hours)}"
            line = Line("limit", str(entry.address), "closed now", detail=detail)
            yield restricting(line, policy, asker)


def _kind(column: ColumnDecision | None) -> str:
    kind = column.kind if column is not None else "clear"
    return "clear" if kind == "clear" else f"masked: {kind}"


def _limited(policy: Policy) -> Iterator[str]:
    per = policy.settings.get("per")
    for name in ("rows", "bytes", "requests", "seconds"):
        if isinstance(policy.settings.get(name), int):
            yield f"{name} limited" if per is None else f"{name} limited per {per}"
    if isinstance(policy.settings.get("concurrent"), int):
        yield "statements at once limited"
    if isinstance(policy.settings.get("hours"), Hours):
        yield "hours limited"


def _required(policy: Policy) -> Iterator[str]:
    for name, told in (
        ("purpose", "a purpose"), ("approval", "approved grants"), ("expiry", "grants that end"),
    ):  # fmt: skip
        if policy.settings.get(name):
            yield f"{told} required"
