"""Predicates go to the relation they speak of.

Takes: a draft. Gives: a draft in which each conjunct that one relation's source can decide
exactly, and that the barrier admits, has left the merge for that relation's fragment. Never
pushes to the null-supplying side of an outer join, nor below ASOF or POSITIONAL joins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from gateway.aggregates import has_aggregate
from gateway.draft import Draft, Input, Note
from gateway.guard import GuardedRelation
from gateway.pushable import folded
from gateway.safe_predicates import is_safe
from gateway.trees import text_of


def push_filters(draft: Draft) -> Draft:
    """Move what may be moved; note why the rest stayed."""
    if not draft.context.push_down:
        return draft
    inputs = dict(draft.inputs)
    for scope in traverse_scope(draft.tree):
        if isinstance(scope.expression, exp.Select):
            _push_scope(scope, draft, inputs)
    return replace(draft, inputs=inputs)


def _push_scope(scope: Scope, draft: Draft, inputs: dict[str, Input]) -> None:
    select = scope.expression
    if not isinstance(select, exp.Select):
        return
    joins = select.args.get("joins") or []
    if any(join.method in ("ASOF", "POSITIONAL") for join in joins):
        return
    for holder, key, aliases in predicate_places(select, joins):
        predicate = holder.args.get(key)
        if predicate is None:
            continue
        kept = []
        for conjunct in list(conjuncts(predicate)):
            if not _move(conjunct, aliases, scope, draft, inputs):
                kept.append(conjunct)
        put_back(holder, key, kept)


def predicate_places(
    select: exp.Select, joins: list[exp.Join]
) -> Iterator[tuple[exp.Expression, str, set[str]]]:
    """Where predicates stand, with the aliases to whose relations they may go down."""
    if select.args.get("from_") is None:
        return
    on, preserved = _joined(select, joins)
    for join, aliases in on:
        yield join, "on", aliases
    where = select.args.get("where")
    if where is not None:
        yield where, "this", preserved


def narrowing(select: exp.Select) -> Iterator[tuple[exp.Expression, set[str]]]:
    """Each conjunct of its predicates, with the aliases whose relations it may narrow."""
    joins = select.args.get("joins") or []
    if any(join.method in ("ASOF", "POSITIONAL") for join in joins):
        return
    for holder, key, aliases in predicate_places(select, joins):
        predicate = holder.args.get(key)
        for conjunct in conjuncts(predicate) if predicate is not None else ():
            yield conjunct, aliases


def preserved_aliases(select: exp.Select, joins: list[exp.Join]) -> set[str]:
    """The aliases to whose relations a filter after all joins may go down."""
    return set() if select.args.get("from_") is None else _joined(select, joins)[1]


def _joined(
    select: exp.Select, joins: list[exp.Join]
) -> tuple[list[tuple[exp.Join, set[str]]], set[str]]:
    preserved = {select.args["from_"].this.alias_or_name}
    on: list[tuple[exp.Join, set[str]]] = []
    for join in joins:
        name = join.this.alias_or_name
        side = join.side
        if side == "" and join.kind in ("", "INNER", "CROSS"):
            preserved = preserved | {name}
            on.append((join, preserved))
        elif side == "LEFT" or join.kind in ("SEMI", "ANTI"):
            on.append((join, {name}))
        else:
            preserved = {name} if side == "RIGHT" else set()
    return on, preserved


def conjuncts(predicate: exp.Expression) -> Iterator[exp.Expression]:
    """What AND puts together."""
    match predicate:
        case exp.And():
            yield from conjuncts(predicate.this)
            yield from conjuncts(predicate.expression)
        case exp.Paren() if isinstance(predicate.this, exp.And):
            yield from conjuncts(predicate.this)
        case _:
            yield predicate


def _move(
    conjunct: exp.Expression,
    aliases: set[str],
    scope: Scope,
    draft: Draft,
    inputs: dict[str, Input],
) -> bool:
    """Whether the conjunct went into a relation's input."""
    used = {column.table for column in conjunct.find_all(exp.Column)}
    if len(used) != 1 or conjunct.find(exp.Query, exp.Window) or has_aggregate(conjunct):
        return False
    alias = used.pop()
    table = scope.sources.get(alias)
    if not isinstance(table, exp.Table) or table.name not in inputs:
        return False
    one = inputs[table.name]
    if one.relations[0].block is not None:
        return False
    reason, moved = decided_by(conjunct, one.relations[0], draft)
    if reason is None and alias not in aliases:
        reason, moved = "outer_join", None
    note = Note(text_of(conjunct), "stayed" if reason else "pushed", reason or "")
    pushed = dict(one.pushed)
    if moved is not None:
        pushed[table.name] = (*pushed.get(table.name, ()), _unqualified(moved))
    inputs[table.name] = replace(one, pushed=pushed, notes=(*one.notes, note))
    return reason is None


def decided_by(
    conjunct: exp.Expression, relation: GuardedRelation, draft: Draft
) -> tuple[str | None, exp.Expression | None]:
    """The predicate as the relation's source decides it, or the reason why it may not."""
    reason = _refusal(conjunct, relation, draft)
    if reason is not None:
        return reason, None
    moved = folded(conjunct, draft.visible_checker(relation))
    return ("parameter", None) if moved is None else (None, moved)


def _refusal(conjunct: exp.Expression, relation: GuardedRelation, draft: Draft) -> str | None:
    checker = draft.visible_checker(relation)
    abilities = draft.abilities_of(relation)
    if not abilities.can_filter:
        return "source_cannot_filter"
    if abilities.is_unproven and not relation.clear:
        return "barrier"
    clear = {one.name for one in relation.columns if one.clear}
    named = {column.name for column in conjunct.find_all(exp.Column)}
    if not named <= clear:
        return "masked"
    if not relation.clear and not is_safe(conjunct, lambda c: c.name in clear, checker):
        return "barrier"
    return checker.refusal(conjunct)


def _unqualified(predicate: exp.Expression) -> exp.Expression:
    for column in predicate.find_all(exp.Column):
        column.set("table", None)
    return predicate


def put_back(holder: exp.Expression, key: str, kept: list[exp.Expression]) -> None:
    """What is left of a predicate stays where it stood."""
    if kept:
        holder.set(key, exp.and_(*kept, copy=False))
    elif isinstance(holder, exp.Where):
        holder.pop()
    else:
        is_plain = isinstance(holder, exp.Join) and holder.kind in ("", "INNER") and not holder.side
        holder.set(key, None if is_plain else exp.true())
        if is_plain:
            holder.set("kind", "CROSS")
