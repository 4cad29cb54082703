"""Predicates on the dimensions of a table that shows groups only.

Takes: a draft. Gives: a draft in which each conjunct that the source can decide exactly has gone
down; the whole predicate is applied again where the groups are made. Refuses a predicate that
could fail on a row: a constant has to be exactly of its dimension's type (DESIGN 5, rule 6 and
barrier rule 2).
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from gateway.draft import Draft, Input, Note
from gateway.errors import TypeMismatch
from gateway.guard import GuardedRelation
from gateway.passes.push_filters import conjuncts, decided_by
from gateway.safe_predicates import is_safe
from gateway.trees import DUCKDB


def push_dimensions(draft: Draft) -> Draft:
    """Move what may be moved; never leave what could fail."""
    inputs = {name: _pushed(draft, one) for name, one in draft.inputs.items()}
    return replace(draft, inputs=inputs)


def _pushed(draft: Draft, one: Input) -> Input:
    relation = one.relations[0]
    if relation.block is None or relation.block.predicate is None:
        return one
    checker = draft.visible_checker(relation)
    down, notes = list(one.pushed.get(relation.name, ())), list(one.notes)
    for conjunct in conjuncts(relation.block.predicate):
        if not is_safe(conjunct, lambda column: True, checker):
            raise _inexact(conjunct, relation)
        if not draft.context.push_down:
            continue
        reason, moved = decided_by(conjunct, relation, draft)
        if moved is not None:
            down.append(moved)
        notes.append(Note(conjunct.sql(DUCKDB), "stayed" if reason else "pushed", reason or ""))
    pushed = {**one.pushed, relation.name: tuple(down)} if down else one.pushed
    return replace(one, pushed=pushed, notes=tuple(notes))


def _inexact(conjunct: exp.Expression, relation: GuardedRelation) -> TypeMismatch:
    return TypeMismatch(
        f"{relation.address} shows groups only, and {conjunct.sql(DUCKDB)} does not compare a "
        "dimension with constants of exactly its type.",
        hint="Write the constants in the type of the column, as DESCRIBE shows it.",
    )
