"""The largest single-source blocks go down whole.

Takes: a draft. Gives: a draft in which each largest closed query (the statement itself, else CTE
bodies, derived tables, arms of set operations, closed sub-queries) that one source can run with
identical meaning has become one input. Never takes a block whose policy its source cannot keep.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from gateway.answer_types import answer_type
from gateway.blocks import BlockVerdict, block_verdict, output_types
from gateway.draft import Draft, Input, Note
from gateway.guard import GuardedRelation
from gateway.passes.derive_filters import OF_ARMS

# What the engine calls the type of a bare NULL.
_UNTYPED = '"NULL"'


def push_blocks(draft: Draft) -> Draft:
    """Replace each largest single-source block by an input of its own."""
    if not draft.context.push_down:
        return draft
    holder = exp.Paren(this=draft.tree)
    inputs = dict(draft.inputs)
    _visit(holder.this, replace(draft, tree=holder.this), inputs)
    return replace(draft, tree=holder.this.pop(), inputs=inputs)


def _visit(query: exp.Expression, draft: Draft, inputs: dict[str, Input]) -> None:
    verdict = block_verdict(query, draft)
    names = [one.alias_or_name for one in query.selects] if isinstance(query, exp.Query) else []
    reason = verdict.reason or _names_refusal(query, names)
    if verdict.block is not None and reason is None:
        reason = _types_refusal(verdict.block, draft)
    if reason is None:
        if _is_root(query):
            _drop_arms(verdict.relations, draft, inputs)
        _replace(query, verdict, names, inputs)
        return
    if verdict.relations and len({draft.source_of(one) for one in verdict.relations}) == 1:
        name = verdict.relations[0].name
        note = Note("query block", "stayed", reason, "block")
        inputs[name] = replace(inputs[name], notes=(*inputs[name].notes, note))
    for child in _children(query):
        _visit(child, draft, inputs)


def _names_refusal(query: exp.Expression, names: list[str]) -> str | None:
    distinct = len({name.casefold() for name in names}) == len(names)
    return None if _is_root(query) or distinct else "duplicate_names"


def _is_root(query: exp.Expression) -> bool:
    return isinstance(query.parent, exp.Paren) and query.parent.parent is None


def _drop_arms(
    relations: tuple[GuardedRelation, ...], draft: Draft, inputs: dict[str, Input]
) -> None:
    """Leave out what follows from an OR that its source has whole, and derives it from.

    Only of a whole statement: nothing that another predicate stands on is left in the merge. A
    barrier lets nothing of the source's own making through, so what is told it stays.
    """
    for relation in relations:
        if not (relation.clear and draft.abilities_of(relation).derives_arms):
            continue
        one = inputs[relation.name]
        held = one.pushed.get(relation.name, ())
        dropped = [each for each in held if OF_ARMS in each.meta]
        texts = {each.meta[OF_ARMS] for each in dropped}
        inputs[relation.name] = replace(
            one,
            pushed={**one.pushed, relation.name: tuple(e for e in held if OF_ARMS not in e.meta)},
            notes=tuple(n for n in one.notes if n.reason != "derived" or n.part not in texts),
        )


def _types_refusal(query: exp.Expression, draft: Draft) -> str | None:
    """A NULL takes its type from what stands around the block, which no source sees.

    And what Arrow would lose on the way from a source stays where it is written as text.
    """
    types = output_types(query, draft)
    if any(_UNTYPED in one for one in types):
        return "untyped_null"
    return "type_not_kept" if any(answer_type(one) != one for one in types) else None


def _replace(
    query: exp.Expression,
    verdict: BlockVerdict,
    names: list[str],
    inputs: dict[str, Input],
) -> None:
    name = f"block_{verdict.relations[0].name}"
    taken = [inputs.pop(one.name) for one in verdict.relations]
    done = Note("query block", "pushed", "", "block")
    notes = (*(note for one in taken for note in one.notes), done)
    pushed = {key: value for one in taken for key, value in one.pushed.items()}
    inputs[name] = Input(verdict.relations, block=verdict.block, pushed=pushed, notes=notes)
    chosen = exp.Select()
    for output in names:
        chosen.select(
            exp.alias_(exp.column(output, table=name, quoted=True), output, quoted=True), copy=False
        )
    chosen.from_(exp.Table(this=exp.to_identifier(name, quoted=True)), copy=False)
    query.replace(chosen)


def _children(query: exp.Expression) -> list[exp.Expression]:
    """The queries directly below, each under no other query."""
    found: list[exp.Expression] = []
    for one in query.find_all(exp.Select, exp.SetOperation, bfs=False):
        around: exp.Expr | None = one.find_ancestor(exp.Select, exp.SetOperation)
        if around is query and isinstance(one, exp.Expression) and not _is_recursive(one):
            found.append(one)
    return found


def _is_recursive(query: exp.Expression) -> bool:
    cte = query.parent
    with_ = cte.parent if isinstance(cte, exp.CTE) else None
    return isinstance(with_, exp.With) and bool(with_.recursive)
