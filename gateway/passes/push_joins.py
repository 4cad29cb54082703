"""Joins of relations of one source inside a query over several.

Takes: a draft. Gives: a draft in which inner joins between relations of one source have become
one block. Never moves an outer join, nor a join whose condition names anything else.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from gateway.blocks import block_verdict
from gateway.draft import Draft, Input, Note


def push_joins(draft: Draft) -> Draft:
    """Fuse neighbouring inner joins that one source can run."""
    if not draft.context.push_down:
        return draft
    inputs = dict(draft.inputs)
    for scope in traverse_scope(draft.tree):
        select = scope.expression
        if isinstance(select, exp.Select) and _all_inner(select):
            _fuse(scope, draft, inputs)
    return replace(draft, inputs=inputs)


def _all_inner(select: exp.Select) -> bool:
    joins = select.args.get("joins") or []
    return (
        bool(joins)
        and select.args.get("from_") is not None
        and all(
            not join.side and not join.method and join.kind in ("", "INNER") and join.args.get("on")
            for join in joins
        )
    )


def _fuse(scope: Scope, draft: Draft, inputs: dict[str, Input]) -> None:
    select = scope.expression
    joins = list(select.args["joins"])
    first = select.args["from_"].this
    if not _is_plain(first, inputs):
        return
    members = [first]
    for join in joins:
        names = {one.alias_or_name for one in members} | {join.this.alias_or_name}
        used = {column.table for column in join.args["on"].find_all(exp.Column)}
        if not (_is_plain(join.this, inputs) and used <= names):
            break
        source = draft.source_of(inputs[join.this.name].relations[0])
        if source != draft.source_of(inputs[first.name].relations[0]):
            break
        members.append(join.this)
    if len(members) > 1:
        _make_block(scope, members, draft, inputs)


def _is_plain(node: exp.Expression, inputs: dict[str, Input]) -> bool:
    one = inputs.get(node.name) if isinstance(node, exp.Table) else None
    plain = one is not None and one.block is None and one.limit is None
    return plain and one is not None and one.relations[0].block is None


def _make_block(
    scope: Scope, members: list[exp.Table], draft: Draft, inputs: dict[str, Input]
) -> None:
    select = scope.expression
    count = len(members)
    block = exp.Select().from_(members[0].copy(), copy=False)
    for join in select.args["joins"][: count - 1]:
        block.append("joins", join.copy())
    aliases = {one.alias_or_name: one for one in members}
    outer = [c for c in scope.columns if c.table in aliases and not _inside(c, select, count)]
    renamed = {(c.table, c.name): f"{c.table}.{c.name}" for c in outer}
    for (table, name), output in sorted(renamed.items()):
        block.select(
            exp.alias_(exp.column(name, table=table, quoted=True), output, quoted=True), copy=False
        )
    if not renamed:
        return
    probe = replace(draft, inputs=inputs)
    verdict = block_verdict(block, probe)
    if verdict.block is None:
        return
    name = f"block_{members[0].name}"
    taken = [inputs.pop(one.name) for one in members]
    notes = (*(note for one in taken for note in one.notes), Note("join", "pushed", "", "join"))
    pushed = {key: value for one in taken for key, value in one.pushed.items()}
    inputs[name] = Input(verdict.relations, block=verdict.block, pushed=pushed, notes=notes)
    for column in outer:
        output = renamed[(column.table, column.name)]
        column.replace(exp.column(output, table=name, quoted=True))
    select.set("from_", exp.From(this=exp.Table(this=exp.to_identifier(name, quoted=True))))
    select.set("joins", select.args["joins"][count - 1 :])


def _inside(column: exp.Column, select: exp.Expr, count: int) -> bool:
    joins = select.args["joins"][: count - 1]
    node: exp.Expr | None = column
    while node is not None and node is not select:
        if any(node is join for join in joins):
            return True
        node = node.parent
    return False
