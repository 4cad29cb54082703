"""A draft becomes a plan.

Takes: a draft after all passes and the guarded query. Gives: the `Plan`: every fragment's SQL,
its gate, the merge's SQL. Never adds or moves a predicate: that is what passes do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

from sqlglot import exp

from connectors.base import Fragment, FragmentColumn
from gateway.blocks import output_types
from gateway.draft import (
    Draft,
    InPlaceForm,
    Input,
    KeyedForm,
    KeySlot,
    LateSlot,
    Note,
    Piece,
    Plan,
    PlannedFragment,
    ValueSlot,
)
from gateway.estimates import rows_of, shape_of
from gateway.gate import Split, gate_shown, gate_sql, pseudonyms_of, split
from gateway.groups import ENTITY, GroupStatements, group_statements
from gateway.guard import GuardedColumn, GuardedQuery, GuardedRelation
from gateway.late_slots import late_over_fetched
from gateway.merge_text import merge_sql, renamed
from gateway.parting import ranged_sql
from gateway.pushable import folded
from gateway.render import Rendered, raw_names, render_block, render_relation
from gateway.trees import DUCKDB, text_of
from gateway.value_slots import over_fetched, value_notes


def assemble(draft: Draft, guarded: GuardedQuery) -> Plan:
    """The plan of a draft, whose tree is used up."""
    made = tuple(_fragment(draft, name, one) for name, one in draft.inputs.items())
    is_whole = len(made) == 1 and _is_pass_through(draft)
    fragments, stands_for = _once(made)
    can_stream = len(fragments) == 1 and fragments[0].groups is None and _reads_once(draft.tree)
    tree = renamed(draft.tree, stands_for)
    merge, used = (None, ()) if is_whole else merge_sql(tree, is_last=True)
    return Plan(
        fragments=fragments,
        merge=merge,
        outputs=guarded.outputs,
        can_stream=can_stream,
        used_parameters=used,
        masked=tuple(
            f"{one.address}.{column.name}"
            for one in guarded.relations.values()
            for column in one.columns
            if column.policy and column.name != ENTITY
        ),
        notes=draft.notes,
    )


def _once(
    fragments: tuple[PlannedFragment, ...],
) -> tuple[tuple[PlannedFragment, ...], dict[str, str]]:
    """Fragments that deliver the same are fetched once; which name stands for which other."""
    kept: dict[tuple[object, ...], PlannedFragment] = {}
    stands_for: dict[str, str] = {}
    for one in fragments:
        key = _delivered(one)
        first = kept.setdefault(key, one)
        stands_for[one.name] = first.name
        if first is not one:
            notes = tuple(dict.fromkeys((*first.notes, *one.notes)))
            kept[key] = replace(first, notes=notes)
    return tuple(_provided(one, stands_for) for one in kept.values()), stands_for


def _provided(one: PlannedFragment, stands_for: dict[str, str]) -> PlannedFragment:
    """The fragment with its slots under the names of the fragments that are fetched."""

    def provided(piece: Piece) -> Piece:
        if isinstance(piece, KeySlot):
            return replace(piece, provider=stands_for[piece.provider])
        if isinstance(piece, LateSlot):
            return late_over_fetched(piece, stands_for)
        return over_fetched(piece, stands_for) if isinstance(piece, ValueSlot) else piece

    if one.keyed is None:
        return one
    pieces = tuple(provided(piece) for piece in one.keyed.pieces)
    in_place = replace(one.in_place, pieces=pieces) if one.in_place is not None else None
    return replace(one, keyed=replace(one.keyed, pieces=pieces), in_place=in_place)


def _delivered(one: PlannedFragment) -> tuple[object, ...]:
    """What two fragments have in common that deliver the same whatever the parameters are.

    Groups are answered one by one: each of them is a question to the guard.
    """
    if one.groups is not None:
        return (one.name,)
    constants = tuple(None if each is None else text_of(each) for each in one.constants)
    pieces = one.keyed.pieces if one.keyed is not None else ()
    slots = tuple(each for each in pieces if not isinstance(each, str | int))
    # A list among the values has no hash; as text it is itself, and no other value's.
    given = one.fragment.parameters
    values = tuple(repr(each) if isinstance(each, list) else each for each in given)
    fragment = replace(one.fragment, parameters=values)
    return (one.source, fragment, one.columns, one.pseudonyms, one.gate, constants, slots)


def _fragment(draft: Draft, name: str, one: Input) -> PlannedFragment:
    if one.block is not None:
        return _block_fragment(draft, name, one)
    relation = one.relations[0]
    parts = split(draft, relation)
    names = raw_names(draft, relation)
    rendered = render_relation(draft, one, names)
    table = draft.context.tables[relation.address]
    visible = {column.name: column.type for column in relation.columns}
    pseudonyms = pseudonyms_of(draft, relation, parts)
    hashed = {one.name for one in pseudonyms if one.is_hashed}
    types = {
        key: visible[key] if key in visible and not parts.needs_gate else table.columns[key][1]
        for key in names
        if key not in hashed
    } | dict.fromkeys(hashed, "VARCHAR")
    columns = tuple(FragmentColumn(key, types[key]) for key in names)
    shape = shape_of(draft, one, rendered.shown)
    rows = rows_of(draft, one, shape)
    return PlannedFragment(
        name=name,
        source=table.source,
        fragment=Fragment(
            rendered.sql,
            columns,
            (table.physical_name,),
            rendered.parameters,
            rendered.parameter_types,
            # What does not fit in a hidden row must not fail the query.
            tells_misfits=parts.needs_gate,
            expected_rows=_expected(draft, one, rows),
            is_by_row=one.limit is None,
            ranged=_ranged(draft, one, rendered),
        ),
        shown=rendered.shown,
        tables=(relation.address,),
        columns=relation.shape,
        constants=rendered.constants,
        pseudonyms=pseudonyms,
        gate=gate_sql(relation, parts) if parts.needs_gate else None,
        gate_shown=gate_shown(relation, parts) if parts.needs_gate else None,
        groups=_groups(draft, relation),
        in_place=(
            _in_place(draft, one, rendered)
            if relation.block is None and not (parts.needs_gate or pseudonyms)
            else None
        ),
        keyed=_keyed(draft, one, rendered),
        rows=rows,
        shape=shape,
        notes=(*one.notes, *value_notes(one), *_policies_at_gate(parts)),
    )


def _policies_at_gate(parts: Split) -> Iterator[Note]:
    """The policies that decide about rows only once they are at the gateway."""
    for policy in dict.fromkeys(each.policy for each in parts.gate_filters):
        yield Note(f"<{policy}>", "stayed", "policy_not_exact", "policy")


def _expected(draft: Draft, one: Input, rows: float) -> int | None:
    """The rows that the source may count on; None where they are but guessed."""
    is_known = all(each.address in draft.context.sizes for each in one.relations)
    return int(rows) if is_known else None


def _in_place(draft: Draft, one: Input, rendered: Rendered) -> InPlaceForm | None:
    if not (rendered.pieces and draft.abilities_of(one.relations[0]).in_place):
        return None
    return InPlaceForm(rendered.pieces, all(relation.clear for relation in one.relations))


def _keyed(draft: Draft, one: Input, rendered: Rendered) -> KeyedForm | None:
    if not ((one.edges or one.values or one.late) and rendered.pieces):
        return None
    return KeyedForm(rendered.pieces, _mark(draft, one))


def _mark(draft: Draft, one: Input) -> str:
    """What stands before the number of a parameter."""
    style = draft.abilities_of(one.relations[0]).parameter_style
    return "$" if style == "dollar" else "?"


def _ranged(draft: Draft, one: Input, rendered: Rendered) -> str:
    return ranged_sql(rendered.pieces, _mark(draft, one), len(rendered.parameters))


def _groups(draft: Draft, relation: GuardedRelation) -> GroupStatements | None:
    block = relation.block
    if block is None:
        return None
    predicate = block.predicate
    if predicate is not None:
        predicate = folded(predicate, draft.visible_checker(relation))
        assert predicate is not None, "the predicate was found safe, so its constants fold"
    dimensions = tuple(
        (one.name, one.type) for one in relation.columns if one.name in block.rule.dimensions
    )
    shown = tuple(_as_shown(one) for one in relation.columns if one.name in block.rule.dimensions)
    made = group_statements(block, predicate, relation.name, dimensions)
    return replace(made, shape=", ".join(shown))


def _as_shown(column: GuardedColumn) -> str:
    """A dimension, told apart by its mask: answers under different masks have no common atoms."""
    if column.clear:
        return column.name
    digest = sha256(column.expression.sql(DUCKDB).encode()).hexdigest()
    return f"{column.name} as {digest[:16]}"


def _block_fragment(draft: Draft, name: str, one: Input) -> PlannedFragment:
    assert one.block is not None
    rendered = render_block(draft, one)
    outputs = [column.alias_or_name for column in _selects(one.block)]
    types = output_types(one.block, draft)
    unique = _unique(outputs)
    columns = tuple(
        FragmentColumn(output, kind) for output, kind in zip(unique, types, strict=True)
    )
    shape = shape_of(draft, one, rendered.shown)
    rows = rows_of(draft, one, shape)
    physical = tuple(
        dict.fromkeys(draft.context.tables[r.address].physical_name for r in one.relations)
    )
    return PlannedFragment(
        name=name,
        source=draft.source_of(one.relations[0]),
        fragment=Fragment(
            rendered.sql, columns, physical, rendered.parameters, rendered.parameter_types,
            expected_rows=_expected(draft, one, rows), ranged=_ranged(draft, one, rendered),
        ),
        shown=rendered.shown,
        tables=tuple(dict.fromkeys(relation.address for relation in one.relations)),
        columns=tuple(zip(unique, types, strict=True)),
        constants=rendered.constants,
        in_place=_in_place(draft, one, rendered),
        keyed=_keyed(draft, one, rendered),
        rows=rows,
        apart=tuple(
            (each.address, rows_of(draft, Input((each,), pushed=one.pushed)))
            for each in one.relations
        ),
        shape=shape,
        notes=(*one.notes, *value_notes(one)),
    )


def _selects(query: exp.Expression | None) -> list[exp.Expr]:
    return list(query.selects) if isinstance(query, exp.Query) else []


def _unique(names: list[str]) -> list[str]:
    """Names made distinct: a whole statement may repeat them, a fragment's columns may not."""
    seen: set[str] = set()
    made = []
    for position, name in enumerate(names):
        chosen = name if name not in seen else f"{name} ({position})"
        seen.add(chosen)
        made.append(chosen)
    return made


def _is_pass_through(draft: Draft) -> bool:
    """Whether the merge would only hand the one input on, column by column, in order."""
    tree = draft.tree
    name = next(iter(draft.inputs))
    if not isinstance(tree, exp.Select) or {k for k, v in tree.args.items() if v} != {
        "expressions",
        "from_",
    }:
        return False
    source = tree.args["from_"].this
    if not (isinstance(source, exp.Table) and source.name == name):
        return False
    values = [one.unalias() for one in tree.expressions]
    if not all(isinstance(one, exp.Column) for one in values):
        return False
    given = (
        [one.alias_or_name for one in _selects(draft.inputs[name].block)]
        if draft.inputs[name].block is not None
        else [column for column, _ in draft.inputs[name].relations[0].shape]
    )
    return [one.name for one in values] == given


def _reads_once(tree: exp.Expression) -> bool:
    """Whether the one input is read once and not from a sub-query that may run again."""
    nested = tree.find(exp.CTE, exp.Exists, exp.In, exp.Lateral, exp.SetOperation)
    if nested is not None:
        return False
    tables = list(tree.find_all(exp.Table))
    selects = list(tree.find_all(exp.Select))
    return len(tables) == 1 and len(selects) == 1
