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

from gateway.draft import Draft, Input, Note
from gateway.guard import GuardedRelation
from gateway.pushable import folded, is_safe


def push_filters(draft: Draft) -> Draft:
    """Move what may be moved; note why the rest stayed."""
    if not draft.context.push_down:
        return draft
    tree = draft.tree.copy()
    inputs = dict(draft.inputs)
    for scope in traverse_scope(tree):
        if isinstance(scope.expression, exp.Select):
            _push_scope(scope, draft, inputs)
    return replace(draft, tree=tree, inputs=inputs)


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
    first = select.args.get("from_")
    if first is None:
        return
    preserved = {first.this.alias_or_name}
    for join in joins:
        name = join.this.alias_or_name
        side = join.side
        inner = side == "" and join.kind in ("", "INNER", "CROSS")
        if inner:
            yield join, "on", preserved | {name}
            preserved = preserved | {name}
        elif side == "LEFT" or join.kind in ("SEMI", "ANTI"):
            yield join, "on", {name}
        elif side == "RIGHT":
            preserved = {name}
        else:
            preserved = set()
    where = select.args.get("where")
    if where is not None:
        yield where, "this", preserved


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
    if len(used) != 1 or conjunct.find(exp.Query, exp.Window, exp.AggFunc):
        return False
    alias = used.pop()
    table = scope.sources.get(alias)
    if not isinstance(table, exp.Table) or table.name not in inputs:
        return False
    one = inputs[table.name]
    if one.relations[0].block is not None:
        return False
    reason = refusal_of(conjunct, one.relations[0], draft)
    if reason is None and alias not in aliases:
        reason = "outer_join"
    moved = None if reason else folded(conjunct, draft.visible_checker(one.relations[0]))
    note = Note(conjunct.sql("duckdb"), "stayed" if reason else "pushed", reason or "")
    pushed = dict(one.pushed)
    if moved is not None:
        pushed[table.name] = (*pushed.get(table.name, ()), _unqualified(moved))
    inputs[table.name] = replace(one, pushed=pushed, notes=(*one.notes, note))
    return reason is None


def refusal_of(conjunct: exp.Expression, relation: GuardedRelation, draft: Draft) -> str | None:
    """Why the relation's source may not decide the predicate, None where it may."""
    checker = draft.visible_checker(relation)
    if not draft.abilities_of(relation).can_filter:
        return "source_cannot_filter"
    clear = {one.name for one in relation.columns if one.clear}
    named = {column.name for column in conjunct.find_all(exp.Column)}
    if not named <= clear:
        return "masked"
    if not relation.clear and not is_safe(conjunct, lambda c: c.name in clear, checker):
        return "barrier"
    return checker.refusal(conjunct) or (
        "parameter" if folded(conjunct, checker) is None else None
    )


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
