"""Keys: what one input delivers may narrow another.

Takes: a draft after all passes that move predicates. Gives: a draft whose inputs know by which
columns of other inputs they could be narrowed: an equality, or IN, of two plain columns, standing
where a filter could go down to the one side (trap 38 and DESIGN 6). Whether keys are sent is
decided as it runs. Never sends a masked column, one whose contract or policies say that its keys
stay, what a block compared with such a column, nor anything to a masked column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations

from sqlglot import exp

from gateway.constants import INTEGERS, family
from gateway.draft import Draft, Input, KeyEdge, Note
from gateway.guard import GuardedRelation
from gateway.passes.columns_down import Origin, delivered_by, origin_of
from gateway.passes.push_filters import conjuncts, narrowing

# More ways to narrow one input are not weighed.
_MOST = 6


def send_keys(draft: Draft) -> Draft:
    """Tell each input what could narrow it."""
    if not draft.context.push_down or len(draft.inputs) < 2:
        return draft
    inputs = dict(draft.inputs)
    for select in draft.tree.find_all(exp.Select):
        equal: list[set[exp.Column]] = []
        for conjunct, aliases in narrowing(select):
            for narrowed, by in _sides(conjunct, select):
                if narrowed.table in aliases:
                    _note(narrowed, by, draft, inputs)
                if {narrowed.table, by.table} <= aliases and isinstance(conjunct.unnest(), exp.EQ):
                    _join_classes(equal, narrowed, by)
        for one in equal:
            for narrowed, by in permutations(sorted(one, key=_name), 2):
                _note(narrowed, by, draft, inputs)
    return replace(draft, inputs=inputs)


def _name(column: exp.Column) -> tuple[str, str]:
    return column.table, column.name


def _join_classes(classes: list[set[exp.Column]], left: exp.Column, right: exp.Column) -> None:
    """What equals the same equals each other, in every row that passes all conditions."""
    touched = [one for one in classes if left in one or right in one]
    for one in touched:
        classes.remove(one)
    classes.append(set().union({left, right}, *touched))


def _sides(
    conjunct: exp.Expression, select: exp.Select
) -> Iterator[tuple[exp.Column, exp.Column]]:
    """Pairs of columns: the first has no value in a row that counts but one of the second's."""
    node = conjunct.unnest()
    match node:
        case exp.EQ(this=exp.Column() as left, expression=exp.Column() as right):
            yield left, right
            yield right, left
        case exp.In(this=exp.Column() as left) if isinstance(node.args.get("query"), exp.Query):
            inner = node.args["query"].unnest()
            if isinstance(inner, exp.Select) and len(inner.expressions) == 1:
                output = inner.expressions[0].unalias()
                if isinstance(output, exp.Column):
                    yield left, output


def _note(
    narrowed: exp.Column, by: exp.Column, draft: Draft, inputs: dict[str, Input]
) -> None:
    """Add an edge where both columns are those of inputs, and everybody agrees."""
    target = origin_of(narrowed, draft.tree, inputs)
    source = delivered_by(by, draft.tree, inputs)
    if target is None or source is None or target.input == source.input:
        return
    one = inputs[target.input]
    edge = KeyEdge(source.input, source.column, target.relation, target.relation_column)
    if edge in one.edges or len(one.edges) == _MOST:
        return
    if not (_may_take(target, draft, inputs) and _may_give(source, inputs)):
        return
    if _type_of(target, inputs) != _type_of(source, inputs):
        return
    if keys_stay(source, draft, inputs):
        relation = _relation(source, inputs)
        part = f"keys of {relation.address}.{source.relation_column}"
        note = Note(part, "stayed", "keys_stay", "keys")
        if note not in one.notes:
            inputs[target.input] = replace(one, notes=(*one.notes, note))
        return
    inputs[target.input] = replace(one, edges=(*one.edges, edge))


def _relation(origin: Origin, inputs: dict[str, Input]) -> GuardedRelation:
    return next(r for r in inputs[origin.input].relations if r.name == origin.relation)


def _type_of(origin: Origin, inputs: dict[str, Input]) -> str:
    """The type of the column; whole numbers of any size compare alike."""
    relation = _relation(origin, inputs)
    kind = next(one.type for one in relation.columns if one.name == origin.relation_column)
    return "BIGINT" if kind in INTEGERS - {"HUGEINT"} else kind


def _may_take(origin: Origin, draft: Draft, inputs: dict[str, Input]) -> bool:
    one, relation = inputs[origin.input], _relation(origin, inputs)
    abilities = draft.abilities_of(relation)
    return (
        one.limit is None
        and relation.block is None
        and abilities.can_filter
        and _is_clear(origin, relation)
        and family(_type_of(origin, inputs)) in abilities.key_types
    )


def _may_give(origin: Origin, inputs: dict[str, Input]) -> bool:
    relation = _relation(origin, inputs)
    return relation.block is None and _is_clear(origin, relation)


def keys_stay(origin: Origin, draft: Draft, inputs: Mapping[str, Input]) -> bool:
    """Whether a column's values must not go to another source.

    Its own contract or policies say so, or its block compared columns with one that stays: what
    comes through such a join are values of the other column, under another name.
    """
    one = inputs[origin.input]
    staying = {each.name: _staying(each, draft) for each in one.relations}
    if origin.relation_column in staying[origin.relation]:
        return True
    if one.block is None or not any(staying.values()):
        return False
    return any(_compares(node, one, staying) for node in _conditions(one.block))


def stays_at_home(one: Input, draft: Draft) -> bool:
    """Whether any column that an input reads is one whose values must not go to another source."""
    return any(
        _staying(each, draft) & {column.name for column in each.columns} for each in one.relations
    )


def _staying(relation: GuardedRelation, draft: Draft) -> frozenset[str]:
    declared = draft.context.tables[relation.address].keys_stay
    return declared | {each.name for each in relation.columns if each.keys_stay}


def _conditions(block: exp.Expression) -> Iterator[exp.Expression]:
    """Each predicate of a block and of the queries in it."""
    for holder in block.find_all(exp.Join, exp.Where, exp.Having, exp.Qualify):
        predicate = holder.args.get("on" if isinstance(holder, exp.Join) else "this")
        if predicate is not None:
            yield from conjuncts(predicate)


def _compares(
    node: exp.Expression, one: Input, staying: Mapping[str, frozenset[str]]
) -> bool:
    """Whether a predicate reads a column that stays, or one of unknown origin, beside another's."""
    assert one.block is not None
    members = {each.name: Input((each,)) for each in one.relations}
    columns = list(node.find_all(exp.Column))
    found = [delivered_by(each, one.block, members) for each in columns]
    names = {each.relation if each is not None else "" for each in found}
    is_kept = any(each is None or each.relation_column in staying[each.relation] for each in found)
    return is_kept and len(names) > 1


def _is_clear(origin: Origin, relation: GuardedRelation) -> bool:
    return any(one.clear and one.name == origin.relation_column for one in relation.columns)
