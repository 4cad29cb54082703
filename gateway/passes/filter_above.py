"""Filters that a barrier does not let through stand above it, at the source all the same.

Takes: a draft after blocks and joins. Gives: a draft in which a restricted relation that others'
rows are joined with is read as a block of its own: behind its barrier as before, and outside of it
the predicates that speak of it alone and that its source decides exactly. Never moves a predicate
into a barrier, nor to the null-supplying side of an outer join.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlglot import exp

from gateway.aggregates import has_aggregate
from gateway.blocks import block_verdict
from gateway.draft import Draft, Input, Note
from gateway.passes.push_filters import conjuncts, decided_by, predicate_places, put_back
from gateway.trees import text_of


@dataclass(frozen=True, slots=True)
class Above:
    """A predicate that only the barrier kept from its source, and where it stands."""

    holder: exp.Expression
    key: str
    predicate: exp.Expression


def filter_above(draft: Draft) -> Draft:
    """Make blocks of restricted relations whose filters stayed."""
    if not draft.context.push_down:
        return draft
    inputs = dict(draft.inputs)
    for select in list(draft.tree.find_all(exp.Select)):
        for table in _tables(select):
            one = inputs.get(table.name)
            if one is not None:
                _take(select, table, one, draft, inputs)
    return replace(draft, inputs=inputs)


def filters_above(
    select: exp.Select, table: exp.Table, one: Input, draft: Draft
) -> tuple[Above, ...]:
    """The predicates of a query that may stand above a relation's barrier."""
    relation, alias = one.relations[0], table.alias_or_name
    joins = select.args.get("joins") or []
    is_plain = one.block is None and one.limit is None and relation.block is None
    if not is_plain or relation.clear or draft.abilities_of(relation).is_reference:
        return ()
    if any(join.method in ("ASOF", "POSITIONAL") for join in joins):
        return ()
    return tuple(
        Above(holder, key, each)
        for holder, key, aliases in predicate_places(select, joins)
        if alias in aliases and holder.args.get(key) is not None
        for each in conjuncts(holder.args[key])
        if _is_own(each, alias) and decided_by(each, relation, draft)[0] == "barrier"
    )


def taken_down(found: tuple[Above, ...]) -> None:
    """Take predicates out of where they stood."""
    for holder, key in {(id(one.holder), one.key): (one.holder, one.key) for one in found}.values():
        kept = [each for each in conjuncts(holder.args[key])
                if not any(each is other.predicate for other in found)]  # fmt: skip
        put_back(holder, key, kept)


def told_as_pushed(one: Input, found: tuple[Above, ...]) -> tuple[Note, ...]:
    """The notes of an input, whose filters are its source's now."""
    parts = {text_of(each.predicate) for each in found}
    return tuple(
        replace(note, outcome="pushed", reason="")
        if note.part in parts and note.reason == "barrier" else note
        for note in one.notes
    )  # fmt: skip


def _is_own(predicate: exp.Expression, alias: str) -> bool:
    used = {column.table for column in predicate.find_all(exp.Column)}
    return used == {alias} and not predicate.find(exp.Query, exp.Window, exp.UDTF) and not (
        has_aggregate(predicate)
    )


def _tables(select: exp.Select) -> Iterator[exp.Table]:
    first = select.args.get("from_")
    nodes = [first.this] if first is not None else []
    nodes += [one.this for one in select.args.get("joins") or ()]
    for one in nodes:
        if isinstance(one, exp.Table) and not one.args.get("joins"):
            yield one


def _take(
    select: exp.Select, table: exp.Table, one: Input, draft: Draft, inputs: dict[str, Input]
) -> None:
    found = filters_above(select, table, one, draft)
    if not found:
        return
    alias = table.alias_or_name
    inside = {id(column) for each in found for column in each.predicate.find_all(exp.Column)}
    read = {
        column.name for column in select.find_all(exp.Column)
        if column.table == alias and id(column) not in inside
    }  # fmt: skip
    names = [column for column, _ in one.relations[0].shape if column in read]
    # A block without a column is none, and of one that is named by case alone nobody knows which.
    if not names or len({name.casefold() for name in names}) < len(names):
        return
    block = exp.Select()
    for column in names:
        value = exp.column(column, table=alias, quoted=True)
        block.select(exp.alias_(value, column, quoted=True), copy=False)
    block.from_(table.copy(), copy=False)
    for each in found:
        block.where(each.predicate.copy(), copy=False)
    verdict = block_verdict(block, replace(draft, inputs=inputs))
    if verdict.block is None:
        return
    name = f"block_{table.name}"
    del inputs[table.name]
    inputs[name] = replace(
        one, relations=verdict.relations, block=verdict.block, notes=told_as_pushed(one, found)
    )
    taken_down(found)
    made = exp.TableAlias(this=exp.to_identifier(alias, quoted=True))
    table.set("alias", table.args.get("alias") or made)
    table.set("this", exp.to_identifier(name, quoted=True))
