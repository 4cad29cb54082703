"""Whether one source can run a whole query block with identical meaning.

Takes: a query over guarded relations and a draft. Gives: a `BlockVerdict`: the one source that
can run it, the relations in it and the form that is sent, or the reason why none can. Never
decides by a source's kind: two servers of one kind are two sources.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, build_scope, traverse_scope

from gateway.constants import INTEGERS, family, value_of
from gateway.correlated import (
    BY_ROW,
    is_looked_up,
    is_one_value,
    reads_outer_row,
    with_laterals,
)
from gateway.doubles import MEAN, is_exact
from gateway.draft import Draft
from gateway.gate import split
from gateway.guard import GuardedRelation
from gateway.pushable import Checker, folded, mixes_collations, reads_zone, same_meaning
from gateway.spelling import PART_FUNCTIONS, TRUNCATIONS
from gateway.trees import as_type, text_of
from gateway.volatile import is_volatile

_TYPE = "duckdb_type"
# Several groupings at once.
_SEVERAL = (exp.Rollup, exp.Cube, exp.GroupingSets)
_GROUPABLE = (
    exp.Column, exp.Case, exp.Coalesce, exp.Cast, exp.Left, exp.Substring, exp.Extract,
    *PART_FUNCTIONS, *TRUNCATIONS,
)  # fmt: skip
_SELECT_PARTS = {
    "with_",
    "expressions",
    "from_",
    "joins",
    "where",
    "group",
    "having",
    "distinct",
    "order",
    "limit",
    "offset",
    "kind",
    "hint",
}


@dataclass(frozen=True, slots=True)
class BlockVerdict:
    """`block` is what goes to `source`; where it is None, `reason` says why."""

    source: str
    relations: tuple[GuardedRelation, ...]
    reason: str | None = None
    block: exp.Expression | None = None


def block_verdict(query: exp.Expression, draft: Draft) -> BlockVerdict:
    """Whether and where the block can run; it must be closed (no outer names)."""
    tables = list(query.find_all(exp.Table))
    # Scope by scope: a CTE of an inner query must not vouch for the name of an outer one, which
    # at the source would mean whatever table or view has that name there.
    inputs = [draft.inputs.get(one.name) for one in tables if not is_defined_in(one, query)]
    if any(one is None for one in inputs) or not inputs:
        return BlockVerdict("", (), "outer_names" if inputs else "no_table")
    relations = tuple(one.relations[0] for one in inputs if one is not None)
    sources = {draft.source_of(one) for one in relations}
    if len(sources) != 1:
        return BlockVerdict("", relations, "several_sources")
    checker = _checker(draft, relations[0])
    reason = _refusal(query, relations, draft, checker)
    block = None if reason else folded(query, checker)
    block = block if block is None or checker.abilities.is_reference else with_laterals(block)
    if block is None:
        return BlockVerdict(sources.pop(), relations, reason or "parameter")
    return BlockVerdict(sources.pop(), relations, None, block)


def _checker(draft: Draft, relation: GuardedRelation) -> Checker:
    """The checker for expressions whose columns carry their types."""
    return Checker(
        draft.abilities_of(relation),
        lambda column: column.meta.get(_TYPE),
        draft.context.parameters,
        draft.context.timezone,
    )


def output_types(block: exp.Expression, draft: Draft) -> tuple[str, ...]:
    """The types of a block's outputs, its bound parameters told by their types or values."""
    copy = block.copy()
    values: list[object] = []
    numbers: dict[str, int] = {}
    for node in list(copy.find_all(exp.Parameter)):
        if node.meta["type"]:
            node.replace(as_type(exp.null(), node.meta["type"]))
            continue
        number = numbers.setdefault(text_of(node.meta["constant"]), len(values) + 1)
        if number > len(values):
            values.append(node.meta["value"])
        node.this.replace(exp.Literal.number(number))
    return draft.context.describe(copy, tuple(values))


def is_defined_in(table: exp.Expr, query: exp.Expr) -> bool:
    """Whether the name means a CTE that the query itself defines, seen from where it stands."""
    path: list[exp.Expr] = []
    node: exp.Expr | None = table
    while node is not None and not table.args.get("db"):
        path.append(node)
        with_ = node.args.get("with_")
        if isinstance(with_, exp.With) and table.name in _visible_ctes(with_, path):
            return True
        node = None if node is query else node.parent
    return False


def _visible_ctes(with_: exp.With, path: list[exp.Expr]) -> set[str]:
    """The names of a WITH that can be seen from the end of a path up to it."""
    names: set[str] = set()
    for cte in with_.expressions:
        if any(cte is one for one in path):
            body = cte.this.unnest() if isinstance(cte.this, exp.Subquery) else cte.this
            again = body.expression if isinstance(body, exp.SetOperation) else None
            knows_itself = with_.recursive and any(again is one for one in path)
            return names | ({cte.alias} if knows_itself else set())
        names.add(cte.alias)
    return names


def _refusal(
    query: exp.Expression, relations: tuple[GuardedRelation, ...], draft: Draft, checker: Checker
) -> str | None:
    abilities = draft.abilities_of(relations[0])
    scope = build_scope(query)
    if scope is None or scope.external_columns:
        return "outer_names"
    if any(one.block is not None for one in relations):
        return "groups_only"
    if any(not one.clear for one in relations) and abilities.barrier is None:
        return "barrier"
    for one in relations:
        if split(draft, one).needs_gate:
            return "policy_not_exact"
    if is_volatile(query):
        return "volatile"
    if abilities.is_reference:
        if mixes_collations(query, abilities):
            return "collation"
        types = [column.type for one in relations for column in one.columns]
        is_utc = draft.context.timezone == "UTC"
        zoned = not is_utc and reads_zone(query, types, draft.context.parameters)
        return "timezone" if zoned else None
    names = [cte.alias.casefold() for cte in query.find_all(exp.CTE)]
    if len(set(names)) != len(names):
        # Which of them a name means is not the same everywhere.
        return "cte"
    with_ = query.args.get("with_")
    if with_ is not None and (with_.recursive or not abilities.can_cte):
        return "recursive" if with_.recursive else "cte"
    return _StructureCheck(draft, checker).refusal(query)


class _StructureCheck:
    """Walks the block scope by scope, inner ones first, with the types of all columns."""

    def __init__(self, draft: Draft, checker: Checker) -> None:
        self.draft = draft
        self.abilities = checker.abilities
        self.checker = checker
        self.outputs: dict[int, dict[str, str | None]] = {}
        self.means: set[tuple[int, str]] = set()
        self.scope: Scope | None = None

    def refusal(self, query: exp.Expression) -> str | None:
        for scope in traverse_scope(query):
            self.scope = scope
            self._type_columns(scope)
            reason = self._scope_refusal(scope)
            if reason:
                return reason
        return None

    def _tell_outputs(self, query: exp.Select) -> None:
        self.outputs[id(query)] = {
            one.alias_or_name: self.checker.type_name(one) for one in query.expressions
        }
        for one in query.expressions:
            if not is_exact(one, self.checker.type_name):
                self.means.add((id(query), one.alias_or_name))

    def _type_columns(self, scope: Scope) -> None:
        for column in scope.columns:
            column.meta[_TYPE] = self._column_type(scope, column)
            source = scope.sources.get(column.table)
            below = source.expression if isinstance(source, Scope) else None
            column.meta[MEAN] = isinstance(below, exp.SetOperation) or (
                (id(below), column.name) in self.means
            )

    def _column_type(self, scope: Scope | None, column: exp.Column) -> str | None:
        while scope is not None:
            source = scope.sources.get(column.table)
            if isinstance(source, exp.Table):
                relation = self.draft.inputs[source.name].relations[0]
                return next((c.type for c in relation.columns if c.name == column.name), None)
            if isinstance(source, Scope):
                return self.outputs.get(id(source.expression), {}).get(column.name)
            scope = scope.parent
        return None

    def _scope_refusal(self, scope: Scope) -> str | None:
        query = scope.expression
        if isinstance(query, exp.SetOperation):
            return self._set_operation(query)
        if not isinstance(query, exp.Select):
            return "construct"
        self._tell_outputs(query)
        unknown = {key for key, value in query.args.items() if value} - _SELECT_PARTS
        if unknown:
            return sorted(unknown)[0].rstrip("_")
        return (
            self._expressions(query)
            or self._joins(query)
            or self._grouping(query)
            or self._ordering(query)
        )

    def _expressions(self, query: exp.Select) -> str | None:
        if query.find(exp.Window) and (query.args.get("group") or not self.abilities.can_window):
            return "window"
        for one in query.expressions:
            value = one.unalias()
            constant = isinstance(value, exp.Literal | exp.Boolean)
            reason = None if constant else self._expression(value)
            if reason:
                return reason
            if self.checker.type_name(value) is None and not constant:
                return "type_unknown"
        where, having = query.args.get("where"), query.args.get("having")
        for clause in (where, having):
            reason = self._expression(clause.this) if clause is not None else None
            if reason:
                return reason
        return None

    def _expression(self, node: exp.Expression) -> str | None:
        nested = node.find(exp.Select, exp.SetOperation)
        if nested is None:
            return self.checker.refusal(node)
        if not self.abilities.can_subquery:
            return "subquery"
        match node:
            case exp.And() | exp.Or():
                return self._expression(node.this) or self._expression(node.expression)
            case exp.Not() | exp.Paren():
                return self._expression(node.this)
            case exp.Exists():
                return None
            case exp.In():
                kind = family(self.checker.type_name(node.this) or "")
                inner = self.outputs.get(id(node.args["query"].unnest()), {}).values()
                same = [family(one or "?") for one in inner] == [kind]
                return None if kind in self.abilities.groupable and same else "subquery"
            case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
                return self._beside_one_value(node)
            case _:
                return "subquery"

    def _beside_one_value(self, node: exp.Expression) -> str | None:
        """A comparison with a sub-query that has exactly one row, whatever the outer row is."""
        sides = [node.this, node.expression]
        kinds = []
        for side in sides:
            if isinstance(side, exp.Subquery):
                reason = self._one_value_refusal(side)
                kinds.append(next(iter(self.outputs.get(id(side.this), {}).values()), None))
            else:
                nested = side.find(exp.Query) is not None
                reason = "subquery" if nested else self.checker.refusal(side)
                kinds.append(self.checker.type_name(side))
            if reason:
                return reason
        one, other = kinds
        if one is None or other is None:
            return "type_unknown"
        if family(one) not in self.abilities.comparable:
            return "collation" if one == "VARCHAR" else "type_not_comparable"
        compares = same_meaning(one, other) or self.checker.mixes(*sides)
        return None if compares else "type_mismatch"

    def _one_value_refusal(self, side: exp.Subquery) -> str | None:
        """Why a sub-query may be more than one value, or one that takes too long to find."""
        if not is_one_value(side.this):
            return "subquery"
        if not reads_outer_row(side.this):
            return None
        assert self.scope is not None, "the scope that is looked at"
        found = self.abilities.can_lateral and is_looked_up(
            side, self.scope, self.draft, self.checker.type_name
        )
        side.meta[BY_ROW] = found
        return None if found else "subquery"

    def _joins(self, query: exp.Select) -> str | None:
        for join in query.args.get("joins") or []:
            if join.method or join.kind not in ("", "INNER", "CROSS", "OUTER"):
                return "join"
            if not (self.abilities.can_outer_join if join.side else self.abilities.can_join):
                return "join"
            on = join.args.get("on")
            if join.side == "FULL" and not (self.abilities.can_full_join and _is_equality(on)):
                return "join"
            reason = self._expression(on) if on is not None else None
            if reason:
                return reason
        return None

    def _grouping(self, query: exp.Select) -> str | None:
        group, distinct = query.args.get("group"), query.args.get("distinct")
        aggregates = query.find(exp.AggFunc) is not None
        if (group is not None or aggregates) and not self.abilities.can_group:
            return "aggregate"
        if group is not None:
            extra = [key for key, value in group.args.items() if value and key != "expressions"]
            if extra or group.find(*_SEVERAL):
                return "construct"
            if any(not self._groupable(one) for one in group.expressions):
                return "group"
        if distinct is not None:
            if distinct.args.get("on"):
                return "construct"
            if not self.abilities.can_distinct:
                return "distinct"
            if any(not self._groupable(one.unalias()) for one in query.expressions):
                return "distinct"
        return None

    def _groupable(self, node: exp.Expression) -> bool:
        plain = isinstance(node, _GROUPABLE)
        kind = family(self.checker.type_name(node) or "")
        return plain and kind in self.abilities.groupable and self.checker.refusal(node) is None

    def _ordering(self, query: exp.Expression) -> str | None:
        order, limit = query.args.get("order"), query.args.get("limit")
        offset = query.args.get("offset")
        for clause in (limit, offset):
            if clause is not None and not (
                isinstance(clause, exp.Limit | exp.Offset)
                and self._is_count(clause.expression)
                and self.abilities.can_limit
            ):
                return "limit"
        if order is None:
            return None
        if not self.abilities.can_sort:
            return "sort"
        for one in order.expressions:
            if not isinstance(one, exp.Ordered) or one.args.get("with_fill"):
                return "construct"
            kind = family(self._key_type(query, one.this) or "")
            if kind not in self.abilities.sortable:
                return "collation" if kind == "VARCHAR" else "sort"
        return None

    def _is_count(self, node: exp.Expression) -> bool:
        value = value_of(node, self.checker.parameters)
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    def _key_type(self, query: exp.Expression, key: exp.Expression) -> str | None:
        """The type of a sort key: an output by its name, or an expression the source can do."""
        if isinstance(key, exp.Column) and not key.table:
            return self.outputs.get(id(query), {}).get(key.name)
        return None if self.checker.refusal(key) else self.checker.type_name(key)

    def _set_operation(self, query: exp.SetOperation) -> str | None:
        if not self.abilities.can_set_operation or query.args.get("by_name"):
            return "set_operation"
        left, right = (
            list(self.outputs.get(id(side.unnest()), {"?": None}).items())
            for side in (query.this, query.expression)
        )
        merged: dict[str, str | None] = {}
        for (name, one), (_, other) in zip(left, right, strict=False):
            both = {one, other}
            if None in both or (len(both) != 1 and not both <= INTEGERS):
                return "type_mismatch"
            if family(one or "") not in self.abilities.groupable:
                return "set_operation"
            merged[name] = one
        self.outputs[id(query)] = merged
        return self._ordering_of_set(query)

    def _ordering_of_set(self, query: exp.SetOperation) -> str | None:
        return "construct" if query.args.get("order") else self._ordering(query)


def _is_equality(on: exp.Expression | None) -> bool:
    """Equalities of two columns, which is all that a FULL JOIN may stand on in PostgreSQL."""
    match on:
        case exp.And():
            return _is_equality(on.this) and _is_equality(on.expression)
        case exp.Paren():
            return _is_equality(on.this)
        case exp.EQ():
            return isinstance(on.this, exp.Column) and isinstance(on.expression, exp.Column)
        case _:
            return False
