"""What can have no row is not fetched.

Takes: a draft whose filters have gone down. Gives: a draft in which each relation that can deliver
no row that counts is an empty table of its types in the merge: by predicates that contradict each
other, `LIMIT 0`, a policy that is simply false, or since what it is joined with is empty. The text
and the decision alone say so; a policy's constants are compared with nothing (DESIGN 5, barrier
rule 5). Never cuts tables that show groups only, which answer by rules of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from gateway.aggregates import has_aggregate
from gateway.contradictions import exclude_each_other, is_never_true
from gateway.draft import Draft, Input, Note
from gateway.implied import bare


def cut_empty(draft: Draft) -> Draft:
    """Replace what stays empty by nothing."""
    if not draft.context.push_down:
        return draft
    search = _Search(draft, {}, {})
    if not search.finds_anything():
        return draft
    for scope in traverse_scope(draft.tree):
        search.visit(scope)
    if not search.cut:
        return draft
    inputs = dict(draft.inputs)
    notes = []
    for table, reason in search.cut.values():
        one = inputs.pop(table.name)
        notes.append(Note(str(one.relations[0].address), "cut", reason, "cut"))
        table.replace(_nothing(table, one))
    return replace(draft, inputs=inputs, notes=(*draft.notes, *dict.fromkeys(notes)))


def _nothing(table: exp.Table, one: Input) -> exp.Subquery:
    """No rows, of the relation's columns."""
    query = exp.Select()
    for name, kind in one.relations[0].shape:
        query.select(exp.alias_(exp.cast(exp.null(), kind), name, quoted=True), copy=False)
    query.where(exp.false(), copy=False)
    alias = table.args.get("alias") or exp.TableAlias(
        this=exp.to_identifier(table.alias_or_name, quoted=True)
    )
    made = exp.Subquery(this=query, alias=alias.copy())
    if table.args.get("joins"):
        made.set("joins", table.args["joins"])
    return made


@dataclass(slots=True)
class _Search:
    """Which queries give no row, inner ones first, and the tables that nobody needs."""

    draft: Draft
    empty: dict[int, bool]
    cut: dict[int, tuple[exp.Table, str]]

    def finds_anything(self) -> bool:
        """Whether a relation, a predicate or a LIMIT lets nothing pass by itself."""
        return any(self._reason(one) for one in self.draft.inputs.values()) or any(
            _limit_is_zero(one)
            if isinstance(one, exp.Query)
            else self._never(one if isinstance(one, exp.Where) else one.args.get("on"))
            for one in self.draft.tree.find_all(exp.Query, exp.Where, exp.Join)
        )

    def visit(self, scope: Scope) -> None:
        """One query after those within it."""
        query = scope.expression
        if isinstance(query, exp.SetOperation):
            left, right = (self.empty.get(id(bare(one)), False) for one in
                           (query.this, query.expression))  # fmt: skip
            match query:
                case exp.Union():
                    self.empty[id(query)] = left and right
                case exp.Intersect():
                    self.empty[id(query)] = left or right
                case _:
                    self.empty[id(query)] = left
        elif isinstance(query, exp.Select):
            self.empty[id(query)] = self._select(query, scope)
        if isinstance(query, exp.Query) and _limit_is_zero(query):
            self.empty[id(query)] = True
            self._cut_below(query, "limit_zero")

    def _select(self, select: exp.Select, scope: Scope) -> bool:
        first = select.args.get("from_")
        if first is None:
            return False
        is_empty = self._rows(select, first.this, scope)
        if not is_empty and self._never(select.args.get("where")):
            is_empty = True
            for one in (first, *(select.args.get("joins") or ())):
                self._cut_below(one.this, "contradiction")
        return is_empty and _gives_rows_of_rows(select)

    def _rows(self, select: exp.Select, first: exp.Expression, scope: Scope) -> bool:
        """Whether the FROM is empty; what stands in the joins of an empty one is not needed."""
        is_empty = self._operand(first, scope)
        passed = [first]
        for join in select.args.get("joins") or ():
            right = join.this
            never = self._never(join.args.get("on")) and not join.method
            if never and (join.side == "LEFT" or join.kind == "ANTI"):
                self._cut_below(right, "contradiction")
            right_empty = self._operand(right, scope) or (
                never and (join.side == "LEFT" or join.kind == "ANTI")
            )
            passed.append(right)
            is_empty = _joined(join, is_empty, right_empty) or (
                never and not join.side and join.kind in ("", "INNER", "SEMI")
            )
            if is_empty:
                for one in passed:
                    self._cut_below(one, "joined_with_nothing")
        return is_empty

    def _operand(self, node: exp.Expression, scope: Scope) -> bool:
        """Whether a table or a query in a FROM has no row."""
        if isinstance(node, exp.Table) and not node.args.get("joins"):
            if node.name in self.draft.inputs:
                reason = self._reason(self.draft.inputs[node.name])
                if reason:
                    self.cut.setdefault(id(node), (node, reason))
                return bool(reason)
            source = scope.sources.get(node.alias_or_name)
            return isinstance(source, Scope) and self.empty.get(id(source.expression), False)
        if isinstance(node, exp.Subquery) and not node.args.get("joins"):
            return self.empty.get(id(node.unnest()), False)
        return False

    def _reason(self, one: Input) -> str:
        relation = one.relations[0]
        if relation.block is not None:
            return ""
        if any(_is_false(condition.expression) for condition in relation.filters):
            return "policy_leaves_none"
        pushed = [each for held in one.pushed.values() for each in held]
        return "contradiction" if exclude_each_other(pushed, self.draft.context.timezone) else ""

    def _never(self, holder: exp.Expression | None) -> bool:
        predicate = holder.this if isinstance(holder, exp.Where) else holder
        return predicate is not None and is_never_true(predicate, self.draft.context.timezone)

    def _cut_below(self, node: exp.Expr, reason: str) -> None:
        """No table below is needed."""
        for table in node.find_all(exp.Table):
            one = self.draft.inputs.get(table.name)
            if one is not None and one.relations[0].block is None:
                self.cut.setdefault(id(table), (table, reason))


def _joined(join: exp.Join, left: bool, right: bool) -> bool:
    """Whether a join of two operands, each empty or not, is empty."""
    if join.method in ("ASOF", "POSITIONAL"):
        return left and right
    match join.side or join.kind:
        case "LEFT" | "ANTI":
            return left
        case "RIGHT":
            return right
        case "FULL":
            return left and right
        case _:
            return left or right


def _is_false(condition: exp.Expression) -> bool:
    """Whether a condition is a constant that lets no row pass."""
    match bare(condition):
        case exp.And() as both:
            return _is_false(both.this) or _is_false(both.expression)
        case exp.Or() as either:
            return _is_false(either.this) and _is_false(either.expression)
        case exp.Boolean() as constant:
            return not constant.this
        case other:
            return isinstance(other, exp.Null)


def _gives_rows_of_rows(select: exp.Select) -> bool:
    """Whether no row in means no row out: an aggregate without keys gives one of none."""
    group = select.args.get("group")
    if group is not None:
        others = [key for key, value in group.args.items() if value and key != "expressions"]
        return bool(group.expressions) and not others
    return not has_aggregate(select) and select.args.get("having") is None


def _limit_is_zero(query: exp.Query) -> bool:
    limit = query.args.get("limit")
    count = limit.expression if isinstance(limit, exp.Limit) else None
    return isinstance(count, exp.Literal) and not count.is_string and count.name == "0"
