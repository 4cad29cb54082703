"""Filters that follow from others.

Takes: a draft. Gives: a draft in which what all arms of an OR share stands beside it, and in which
relations take what the query's predicates and its equalities imply for them: more than the query
asks for, so the predicates stay in the merge. Never derives to a masked column, through RIGHT or
FULL joins, nor anything that could fail on a row (DESIGN 5, barrier rule 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from gateway.aggregates import has_aggregate
from gateway.constants import INTEGERS, family
from gateway.draft import Draft, Input, Note
from gateway.implied import Reader, all_of, any_of, bare, flat, implied
from gateway.passes.push_filters import decided_by, predicate_places
from gateway.safe_predicates import COMPARISONS, is_safe
from gateway.trees import noted, text_of

# On a predicate: its text in notes, where it is what the arms of an OR say of one relation.
OF_ARMS = "of arms"
_NULL_PASSES = (exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.Not)
Name = tuple[str, str]


def derive_filters(draft: Draft) -> Draft:
    """Add to the inputs what follows for them."""
    if not draft.context.push_down:
        return draft
    inputs = dict(draft.inputs)
    for scope in traverse_scope(draft.tree):
        select = scope.expression
        if isinstance(select, exp.Select) and not _is_positional(select):
            _factor(select)
            _Derivation(scope, select, draft, inputs).run()
    return replace(draft, inputs=inputs)


def _joins(select: exp.Select) -> list[exp.Join]:
    return select.args.get("joins") or []


def _is_positional(select: exp.Select) -> bool:
    return any(one.method in ("ASOF", "POSITIONAL") for one in _joins(select))


def _factor(select: exp.Select) -> None:
    """`(a AND b) OR (a AND c)` as `a AND (b OR c)`: they are the same, also for NULL."""
    for holder, key, _ in predicate_places(select, _joins(select)):
        predicate = holder.args.get(key)
        if predicate is None or predicate.find(exp.Or) is None:
            continue
        parts = list(flat(predicate, exp.And))
        made = [each for one in parts for each in _factored(one)]
        if len(made) > len(parts):
            holder.set(key, all_of(made))


def _factored(conjunct: exp.Expression) -> list[exp.Expression]:
    arms = [
        {text_of(one): one for one in flat(arm, exp.And)} for arm in flat(conjunct, exp.Or)
    ]
    shared = [text for text in arms[0] if all(text in arm for arm in arms)]
    if len(arms) == 1 or not shared:
        return [conjunct]
    rests = [[one for text, one in arm.items() if text not in shared] for arm in arms]
    rest = [any_of([all_of(one) for one in rests])] if all(rests) else []
    return [*(arms[0][text] for text in shared), *rest]


@dataclass(slots=True)
class _Derivation:
    """What follows within one query for the relations that stand in its FROM."""

    scope: Scope
    select: exp.Select
    draft: Draft
    inputs: dict[str, Input]
    readers: dict[str, Reader | None] = field(default_factory=dict)

    def run(self) -> None:
        """Weaker forms of what stays, then what equalities carry to other relations."""
        facts: list[tuple[Name, exp.Expression]] = []
        for conjunct, aliases, in_every_row in self._conjuncts():
            if _is_of_columns(conjunct):
                continue
            named = sorted({one.table for one in conjunct.find_all(exp.Column)})
            for alias in named:
                reader = self._reader(alias)
                if reader is None:
                    continue
                is_plain = len(named) == 1 and is_safe(conjunct, reader.reads, reader.checker)
                found = (conjunct,) if is_plain else implied(conjunct, reader)
                if in_every_row or alias in aliases:
                    facts += [(name, one) for one in found for name in _only_column(one)]
                if found and alias in aliases and not is_plain:
                    self._weaken(conjunct, found, alias, reader)
        if facts and not any(one.side in ("RIGHT", "FULL") for one in _joins(self.select)):
            self._carry(facts)

    def _weaken(
        self, conjunct: exp.Expression, found: tuple[exp.Expression, ...], alias: str,
        reader: Reader,
    ) -> None:
        """Let the relation take what follows, unless it takes the predicate itself anyway."""
        whole = self._goes_down(conjunct, alias)
        for one in found:
            if not whole or _prunes(one, reader):
                self._add(one, alias, not whole and _is_of_arms(one, conjunct))

    def _conjuncts(self) -> Iterator[tuple[exp.Expression, set[str], bool]]:
        """Conjuncts, whose relations may take them, whether they hold in each row of the result.

        What stands at an outer, semi or anti join says nothing of the rows of its other side.
        """
        for holder, key, aliases in predicate_places(self.select, _joins(self.select)):
            predicate = holder.args.get(key)
            in_every_row = not isinstance(holder, exp.Join) or _is_inner(holder)
            for one in flat(predicate, exp.And) if predicate is not None else ():
                if not (one.find(exp.Query, exp.Window) or has_aggregate(one)):
                    yield one, aliases, in_every_row

    def _goes_down(self, conjunct: exp.Expression, alias: str) -> bool:
        """Whether the relation takes the whole of it anyway."""
        alone = all(one.table == alias for one in conjunct.find_all(exp.Column))
        relation = self._input(alias).relations[0]
        return alone and decided_by(conjunct, relation, self.draft)[0] is None

    def _input(self, alias: str) -> Input:
        table = self.scope.sources[alias]
        assert isinstance(table, exp.Table)
        return self.inputs[table.name]

    def _reader(self, alias: str) -> Reader | None:
        if alias not in self.readers:
            self.readers[alias] = self._made_reader(alias)
        return self.readers[alias]

    def _made_reader(self, alias: str) -> Reader | None:
        table = self.scope.sources.get(alias)
        one = self.inputs.get(table.name) if isinstance(table, exp.Table) else None
        if one is None or one.relations[0].block is not None:
            return None
        relation = one.relations[0]
        clear = {column.name for column in relation.columns if column.clear}
        return Reader(
            lambda column: column.table == alias and column.name in clear,
            self.draft.visible_checker(relation),
        )

    def _add(self, predicate: exp.Expression, alias: str, is_of_arms: bool = False) -> None:
        table = self.scope.sources[alias]
        assert isinstance(table, exp.Table)
        one = self.inputs[table.name]
        relation = one.relations[0]
        _, moved = decided_by(predicate, relation, self.draft)
        if moved is None:
            return
        for column in moved.find_all(exp.Column):
            column.set("table", None)
        held = one.pushed.get(table.name, ())
        if moved not in held:
            pushed = {**one.pushed, table.name: (*held, moved)}
            note = Note(text_of(predicate), "pushed", "derived")
            if is_of_arms:
                noted(moved, **{OF_ARMS: note.part})
            self.inputs[table.name] = replace(one, pushed=pushed, notes=(*one.notes, note))

    def _carry(self, facts: list[tuple[Name, exp.Expression]]) -> None:
        """A predicate on one side of an equality holds for the other."""
        everywhere, at_joins = self._equalities()
        equal = {name for pair in (*everywhere, *at_joins) for name in pair}
        facts = [(name, one) for name, one in facts if name in equal]
        known = {(name, _anonymous(one)) for name, one in facts}
        for name, predicate in facts:
            reached = _reached(name, everywhere)
            targets = [
                *sorted(reached - {name}),
                *(right for left, right in at_joins if left in reached),
            ]
            for target in targets:
                made = _renamed(predicate, target)
                entry = (target, _anonymous(made))
                if entry not in known and self._reader(target[0]) is not None:
                    known.add(entry)
                    self._add(made, target[0])

    def _equalities(self) -> tuple[list[tuple[Name, Name]], list[tuple[Name, Name]]]:
        """Equalities that hold in every row, and those that only choose rows of one side."""
        everywhere: list[tuple[Name, Name]] = []
        at_joins: list[tuple[Name, Name]] = []
        for holder, key, aliases in predicate_places(self.select, _joins(self.select)):
            predicate = holder.args.get(key)
            is_inner = not isinstance(holder, exp.Join) or _is_inner(holder)
            for one in flat(predicate, exp.And) if predicate is not None else ():
                pair = self._pair(bare(one))
                if pair is None:
                    continue
                for left, right in (pair, pair[::-1]):
                    if right[0] not in aliases:
                        continue
                    if is_inner and left[0] in aliases:
                        everywhere.append((left, right))
                    elif left[0] != right[0]:
                        at_joins.append((left, right))
        return everywhere, at_joins

    def _pair(self, node: exp.Expression) -> tuple[Name, Name] | None:
        left, right = node.args.get("this"), node.args.get("expression")
        if not (
            isinstance(node, exp.EQ)
            and isinstance(left, exp.Column)
            and isinstance(right, exp.Column)
        ):
            return None
        kinds = [self._type(one) for one in (left, right)]
        same = None not in kinds and (
            kinds[0] == kinds[1] or {family(one or "") for one in kinds} <= INTEGERS
        )
        return ((left.table, left.name), (right.table, right.name)) if same else None

    def _type(self, column: exp.Column) -> str | None:
        reader = self._reader(column.table)
        return reader.checker.type_of(column) if reader is not None else None


def _is_of_columns(conjunct: exp.Expression) -> bool:
    """Whether two columns are compared: of neither alone anything follows, or can be safe."""
    left, right = conjunct.args.get("this"), conjunct.args.get("expression")
    is_compared = isinstance(conjunct, exp.EQ | exp.LT | exp.LTE | exp.GT | exp.GTE)
    return is_compared and isinstance(left, exp.Column) and isinstance(right, exp.Column)


def _is_of_arms(one: exp.Expression, conjunct: exp.Expression) -> bool:
    """Whether it is but predicates of the conjunct's, put together as they stand there."""
    if not isinstance(bare(one), exp.Or):
        return False
    texts = _texts_within(conjunct)
    arms = [each for arm in flat(one, exp.Or) for each in flat(arm, exp.And)]
    return all(text_of(each) in texts for each in arms)


def _texts_within(conjunct: exp.Expression) -> set[str]:
    """The predicates of a conjunct: what stands below AND, OR and NOT."""
    found, left = set(), [conjunct]
    while left:
        node = left.pop()
        found.add(text_of(node))
        if isinstance(node, exp.Connector | exp.Paren | exp.Not):
            left += node.iter_expressions()
    return found


def _prunes(one: exp.Expression, reader: Reader) -> bool:
    """Whether a range tells a source more than the predicate that it decides anyway.

    Indexes, partitions and row groups are chosen by plain columns, mostly of time.
    """
    column = one.find(exp.Column)
    kind = reader.checker.type_of(column) if column is not None else None
    return kind is not None and kind.startswith(("DATE", "TIMESTAMP"))


def _is_inner(join: exp.Join) -> bool:
    return not join.side and join.kind in ("", "INNER", "CROSS")


def _only_column(predicate: exp.Expression) -> list[Name]:
    """The one column that a predicate compares with constants, unless NULL may pass it."""
    names = {(one.table, one.name) for one in predicate.find_all(exp.Column)}
    compares = predicate.find(*COMPARISONS, exp.Between, exp.In) is not None
    return list(names) if len(names) == 1 and compares and not predicate.find(*_NULL_PASSES) else []


def _reached(name: Name, pairs: list[tuple[Name, Name]]) -> set[Name]:
    found, grown = {name}, True
    while grown:
        more = {right for left, right in pairs if left in found} - found
        found |= more
        grown = bool(more)
    return found


def _renamed(predicate: exp.Expression, target: Name) -> exp.Expression:
    made = exp.Paren(this=predicate.copy())
    for column in list(made.find_all(exp.Column)):
        column.replace(exp.column(target[1], table=target[0], quoted=True))
    renamed: exp.Expression = made.this
    return renamed


def _anonymous(predicate: exp.Expression) -> str:
    """The predicate's text, whatever its column."""
    return text_of(_renamed(predicate, ("", "")))
