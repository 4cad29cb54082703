"""SQL for one source, in its own dialect.

Takes: an input of a draft. Gives: the text of its fragment with bound parameters, and the form
that a caller may see. Never emits a predicate of the user's beside a policy unless the passes
found it safe; puts every other restricted relation behind the source's barrier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp

from connectors.base import Abilities
from gateway.constants import INTEGERS, family
from gateway.decision import Condition
from gateway.dialects import written
from gateway.draft import (
    Draft,
    Input,
    KeyBlock,
    KeyEdge,
    KeyRange,
    KeySlot,
    PartSlot,
    Piece,
    PseudonymColumn,
    Slot,
)
from gateway.estimates import bounds_of, share_of_a_key, values_at_provider
from gateway.gate import Split, gate_reads, policy_mark, pseudonyms_of, split, without_quotes
from gateway.guard import GuardedRelation
from gateway.late_slots import late_slot
from gateway.parting import may_be_parted
from gateway.trees import as_type, last_text, noted, put, text_in, text_of
from gateway.value_slots import value_slot

# Stands around the number of a parameter while a text is cut; no name or number holds it.
_MARK, _COLUMN = "\x02", "\x03"
# Types of keys that have one order everywhere, and parts of the text of a range.
_ORDERED = INTEGERS - {"HUGEINT"} | {"DATE"}
_RANGE_PARTS = 3


@dataclass(frozen=True, slots=True)
class Rendered:
    """A fragment's SQL, what a caller may see of it, its bound values and where they came from."""

    sql: str
    shown: str
    parameters: tuple[object, ...]
    parameter_types: tuple[str, ...]
    constants: tuple[exp.Expression | None, ...]
    pieces: tuple[Piece, ...] = ()


def render_relation(draft: Draft, one: Input, names: tuple[str, ...]) -> Rendered:
    """The fragment of one relation, delivering the raw or final columns `names`."""
    relation = one.relations[0]
    parts, is_parted = split(draft, relation), may_be_parted(draft, one)

    def build(shown: bool) -> exp.Select:
        made = _relation_select(draft, relation, parts, names, shown)
        for predicate in one.pushed.get(relation.name, ()):
            made.where(_physical(draft, relation, predicate), copy=False)
        if not shown:
            _place_slots(made, one, relation, is_parted)
        if one.limit is not None:
            made.limit(one.limit, copy=False)
        return made

    # What holds nothing of a policy is shown as it is sent.
    is_whole = relation.clear and not parts.needs_gate
    return _finish(build, is_whole, draft.abilities_of(relation), _slots(draft, one, is_parted))


def render_block(draft: Draft, one: Input) -> Rendered:
    """The fragment of a whole block, each restricted relation behind its barrier."""
    assert one.block is not None
    is_parted = may_be_parted(draft, one)

    def build(shown: bool) -> exp.Expression:
        members = {member.name: member for member in one.relations}

        def place(node: exp.Expression) -> exp.Expression:
            member = members.get(node.name) if isinstance(node, exp.Table) else None
            if member is None:
                return node
            return _as_subquery(draft, one, member, node, (shown, is_parted))

        return one.block.transform(place) if one.block is not None else exp.Select()

    is_whole = all(member.clear for member in one.relations)
    abilities = draft.abilities_of(one.relations[0])
    return _finish(build, is_whole, abilities, _slots(draft, one, is_parted))


def _place_slots(
    select: exp.Select, one: Input, relation: GuardedRelation, is_parted: bool
) -> None:
    """Where keys may be put: beside the policy, as any safe predicate over clear columns.

    So may a range of the table's rows, which reads no column and cannot fail.
    """
    owners = [each.relation for each in one.edges] + [each.relation for each in one.values]
    owners += [one.late.relation] if one.late is not None else []
    owners += [relation.name] if is_parted else []
    for number, owner in enumerate(owners):
        if owner == relation.name:
            place = exp.true()
            noted(place, slot=number)
            where = select.args.get("where")
            if where is None:
                select.where(place, copy=False)
                continue
            others = where.this
            is_either = isinstance(others, exp.Or)
            where.set("this", None)
            others = exp.Paren(this=others) if is_either else others
            where.set("this", exp.And(this=others, expression=place))


def _slots(draft: Draft, one: Input, is_parted: bool) -> tuple[Slot, ...]:
    """The predicate of each edge, in the source's own words, and that of a range of rows."""
    made: list[Slot] = []
    columns: dict[tuple[str, str], str] = {}
    for edge in one.edges:
        relation = next(each for each in one.relations if each.name == edge.relation)
        abilities = draft.abilities_of(relation)
        kind = next(each.type for each in relation.columns if each.name == edge.column)
        place = (edge.relation, edge.column)
        if place not in columns:
            column = _physical(draft, relation, exp.column(edge.column, quoted=True))
            columns[place] = last_text(column, abilities.dialect)
        written_column = columns[place]
        text = abilities.keys.format(
            column=written_column, keys=_MARK, type=abilities.key_types[family(kind)]
        )
        before, _, after = text.partition(_MARK)
        name = "BIGINT[]" if kind in INTEGERS else f"{kind}[]"
        same = [each for each in one.edges if (each.relation, each.column) == place]
        share = share_of_a_key(draft, same, relation)
        physical, _ = draft.context.tables[relation.address].columns[edge.column]
        made.append(
            KeySlot(
                edge.provider, edge.provider_column, edge.column, physical, before, after, name,
                share, values_at_provider(draft, edge),
                _range(draft, edge, relation, (kind, written_column)),
            )
        )  # fmt: skip
    for value in one.values:
        relation = next(each for each in one.relations if each.name == value.relation)
        column = _physical(draft, relation, exp.column(value.column, quoted=True))
        made.append(value_slot(draft, value, relation, column))
    if one.late is not None:
        relation = one.relations[0]
        name = draft.context.tables[relation.address].physical_name
        column = _physical(draft, relation, exp.column(one.late.column, quoted=True))
        table = _table(draft.abilities_of(relation), name)
        made.append(late_slot(draft, one, one.late, column, table))
    if is_parted:
        text = draft.abilities_of(one.relations[0]).row_ranges.format(low=_MARK, high=_MARK)
        made.append(PartSlot(*text.split(_MARK)))
    return tuple(made)


def _range(
    draft: Draft, edge: KeyEdge, relation: GuardedRelation, column: tuple[str, str]
) -> KeyRange | None:
    """What stands for keys that are too many, where the source orders the type as DuckDB does.

    column: its type, and how it is written there.
    """
    kind, written_column = column
    abilities = draft.abilities_of(relation)
    if kind not in _ORDERED or not (abilities.is_reference or kind in abilities.comparable):
        return None
    bound = "BIGINT" if kind in INTEGERS else kind
    parts = _parts_of_range(bound, bound in abilities.cast_parameters, abilities.dialect)
    if len(parts) != _RANGE_PARTS or _MARK in written_column:
        return None
    before, between, after = parts
    before = before.replace(_COLUMN, written_column)
    low, high, kept = bounds_of(draft, edge, relation)
    return KeyRange(before, between, after, bound, low, high, kept)


@lru_cache
def _parts_of_range(bound: str, is_cast: bool, dialect: str) -> tuple[str, ...]:
    """What stands around both ends, with a mark for the column."""
    value: exp.Expression = exp.Var(this=_MARK)
    if is_cast:
        value = as_type(value, bound)
    column = exp.Var(this=_COLUMN)
    made = exp.Paren(this=exp.Between(this=column, low=value, high=value.copy()))
    return tuple(text_in(made, dialect).split(_MARK))


def _as_subquery(
    draft: Draft, one: Input, relation: GuardedRelation, table: exp.Expression,
    how: tuple[bool, bool],
) -> exp.Expression:  # fmt: skip
    shown, is_parted = how
    parts = split(draft, relation)
    names = tuple(column.name for column in relation.columns)
    select = _relation_select(draft, relation, parts, names, shown)
    for predicate in one.pushed.get(relation.name, ()):
        select.where(_physical(draft, relation, predicate), copy=False)
    if not shown:
        _place_slots(select, one, relation, is_parted)
    if not relation.clear:
        _end_with_barrier(select, draft.abilities_of(relation))
    alias = exp.TableAlias(this=exp.to_identifier(table.alias_or_name, quoted=True))
    return exp.Subquery(this=select, alias=alias)


def _end_with_barrier(select: exp.Select, abilities: Abilities) -> None:
    if abilities.barrier is None:
        raise ValueError(f"{abilities.kind} has no barrier inside a statement")
    pattern = _pattern(abilities.barrier, abilities.dialect)
    for key in ("limit", "offset"):
        clause = pattern.args.get(key)
        if clause is not None:
            select.set(key, clause.copy())


@lru_cache
def _pattern(barrier: str, dialect: str) -> exp.Expr:
    return sqlglot.parse_one(f"SELECT 1 FROM t {barrier}", dialect=dialect)


def raw_names(draft: Draft, relation: GuardedRelation) -> tuple[str, ...]:
    """The columns that a relation's fragment delivers: final ones, or what its gate reads."""
    parts = split(draft, relation)
    if not parts.needs_gate:
        return tuple(one.name for one in relation.columns)
    names = [one.name for one in parts.source_columns]
    names += gate_reads(draft, relation, parts)
    return tuple(dict.fromkeys(names)) or (_any_column(draft, relation),)


def _any_column(draft: Draft, relation: GuardedRelation) -> str:
    return next(iter(draft.context.tables[relation.address].columns))


def _relation_select(
    draft: Draft, relation: GuardedRelation, parts: Split, names: tuple[str, ...], shown: bool
) -> exp.Select:
    table = draft.context.tables[relation.address]
    masked = {} if parts.needs_gate else {c.name: c for c in relation.columns if not c.clear}
    visible = {column.name for column in relation.columns}
    hashed = {one.name: one for one in pseudonyms_of(draft, relation, parts) if one.is_hashed}
    shapes = []
    for name in names:
        column = masked.get(name)
        value = column.expression if column else exp.column(name, quoted=True)
        shape = (
            _keyed_hash(draft, relation, hashed[name])
            if name in hashed
            else _physical(draft, relation, value)
        )
        if shown and (column is not None or name not in visible):
            shape = policy_mark(column.policy if column else _hidden_reason(parts))
        output = name if not shown or name in visible else "policy"
        shapes.append(exp.Alias(this=shape, alias=exp.to_identifier(output, quoted=True)))
    select = exp.Select(expressions=shapes)
    select.from_(_table(draft.abilities_of(relation), table.physical_name), copy=False)
    for condition in parts.source_filters:
        select.where(_condition(draft, relation, condition, shown), copy=False)
    return select


def _keyed_hash(
    draft: Draft, relation: GuardedRelation, one: PseudonymColumn
) -> exp.Expression:
    """The hash of a column under a key whose blocks are bound when it runs."""
    abilities = draft.abilities_of(relation)
    assert abilities.keyed_hash is not None
    text = abilities.keyed_hash.format(value='"value"', inner='"inner"', outer='"outer"')
    physical_name, _ = draft.context.tables[relation.address].columns[one.source_column]

    def place(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Column):
            return node
        if node.name == "value":
            return exp.column(physical_name, quoted=True)
        bound = exp.Parameter(this=exp.Literal.number(0))
        value = KeyBlock(one.join_group, node.name == "outer")
        noted(bound, value=value, type="BLOB")
        return bound

    return sqlglot.parse_one(text, dialect=abilities.dialect).transform(place)


def _hidden_reason(parts: Split) -> str:
    names = [one.policy for one in parts.gate_filters] + [one.policy for one in parts.gate_columns]
    return ", ".join(dict.fromkeys(names)) or "policy"


def _condition(
    draft: Draft, relation: GuardedRelation, condition: Condition, shown: bool
) -> exp.Expression:
    if shown:
        return policy_mark(condition.policy)
    return exp.Paren(this=_physical(draft, relation, condition.expression))


def _table(abilities: Abilities, physical_name: str) -> exp.Table:
    parts = physical_name.split(".") if abilities.qualified_names else [physical_name]
    if len(parts) == 1 and abilities.schema:
        parts = [abilities.schema, *parts]
    names = [exp.to_identifier(part, quoted=True) for part in parts]
    keys = ("this", "db", "catalog")
    return exp.Table(**dict(zip(keys, reversed(names), strict=False)))


def _physical(
    draft: Draft, relation: GuardedRelation, expression: exp.Expression
) -> exp.Expression:
    """A copy whose columns are the source's own, text by bytes (trap 1)."""
    table = draft.context.tables[relation.address]
    abilities = draft.abilities_of(relation)

    def place(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Column):
            return node
        physical_name, type_name = table.columns[node.name]
        made: exp.Expression = exp.column(physical_name, quoted=True)
        if (table.physical_name, physical_name) in abilities.bytewise_columns:
            return made
        if type_name == "VARCHAR" and abilities.text_cast:
            made = as_type(made, abilities.text_cast)
        if type_name == "VARCHAR" and abilities.text_collation:
            collated = exp.Collate(this=made, expression=exp.Var(this=abilities.text_collation))
            made = exp.Paren(this=collated)
        return made

    # What is a copy already need not be copied once more.
    return place(expression) if isinstance(expression, exp.Column) else expression.transform(place)


# Where a text that is written in the statement becomes a value with an order of its own.
_MAKES_TEXT = (
    exp.Case, exp.If, exp.Coalesce, exp.Greatest, exp.Least, exp.Nullif, exp.Left, exp.Right,
    exp.Substring, exp.Replace, exp.DPipe, exp.Concat,
)  # fmt: skip


def _by_bytes(made: exp.Expression, abilities: Abilities) -> None:
    """Texts without a column in them have the collation of the database: give them another."""
    if not abilities.text_collation:
        return
    for node in list(made.find_all(exp.Literal, exp.Cast)):
        if isinstance(node, exp.Cast):
            held = isinstance(node.parent, exp.Collate | exp.Anonymous)
            is_value = node.to.this == exp.DType.TEXT and not held
        else:
            is_value = node.is_string and isinstance(node.parent, _MAKES_TEXT)
        if is_value:
            collation = exp.Var(this=abilities.text_collation)
            place = exp.Paren(this=exp.Collate(this=node.copy(), expression=collation))
            node.replace(place)


def _finish(
    build: Callable[[bool], exp.Expression],
    is_whole: bool,
    abilities: Abilities,
    slots: tuple[Slot, ...] | None,
) -> Rendered:
    """The texts of what is built to be sent and to be shown, which may be the same."""
    real, shown = build(False), None if is_whole else build(True)
    _by_bytes(real, abilities)
    parameters = list(real.find_all(exp.Parameter))
    if shown is None and parameters:
        shown = _without_slots(real.copy())
    by_number = abilities.parameter_style == "dollar"
    bound: list[exp.Expr] = []
    numbers: dict[tuple[object, ...], int] = {}
    for node in parameters:
        # One value under two numbers is two values to who compares keys of groups with outputs.
        constant = node.meta.get("constant")
        origin = id(node) if constant is None or not by_number else text_of(constant)
        number = numbers.setdefault((origin, node.meta["type"]), len(bound) + 1)
        if number > len(bound):
            bound.append(node)
        place: exp.Expression = exp.Var(this=f"${number}" if by_number else f"?{number}")
        noted(place, number=number)
        if node.meta["type"] in abilities.cast_parameters:
            place = as_type(place, node.meta["type"])
        put(node, place)
    for number, node in enumerate(list(shown.find_all(exp.Parameter)) if shown else (), start=1):
        put(node, exp.Var(this=f"${number}"))
    pieces: tuple[Piece, ...] = ()
    sql = ""
    if slots or (abilities.in_place and slots is not None):
        in_brackets = any(_is_bracketed(one) for one in _places_of_slots(real))
        found = _cut(real.copy() if in_brackets else real, abilities, slots)
        if found is None:
            # A text of the statement holds the mark.
            return _finish(build, is_whole, abilities, None)
        pieces = found
        sql = "" if in_brackets else _joined(found, "$" if by_number else "?")
    sql = sql or written(_without_slots(real), abilities.dialect)
    return Rendered(
        sql,
        without_quotes(written(shown, abilities.dialect) if shown else sql),
        tuple(node.meta["value"] for node in bound),
        tuple(node.meta["type"] for node in bound),
        tuple(node.meta.get("constant") for node in bound),
        pieces,
    )


def _cut(
    real: exp.Expression, abilities: Abilities, slots: tuple[Slot, ...]
) -> tuple[Piece, ...] | None:
    """The SQL as texts with parameters and slots between; None where it cannot be cut."""
    places = [
        one
        for one in real.find_all(exp.Var, exp.Boolean)
        if "number" in one.meta or "slot" in one.meta
    ]
    for one in places:
        told = f"s{one.meta['slot']}" if "slot" in one.meta else f"{one.meta['number']}"
        one.replace(exp.Var(this=f"{_MARK}{told}{_MARK}"))
    parts = written(real, abilities.dialect).split(_MARK)
    if len(parts) != 2 * len(places) + 1:
        return None
    return tuple(
        one if place % 2 == 0 else slots[int(one[1:])] if one.startswith("s") else int(one)
        for place, one in enumerate(parts)
    )


def _joined(pieces: tuple[Piece, ...], mark: str) -> str:
    """The SQL without its slots, which are the last conjuncts where they stand."""
    made = ""
    for one in pieces:
        if isinstance(one, str):
            made += one
        elif isinstance(one, int):
            made += f"{mark}{one}"
        else:
            made = made.removesuffix(" AND " if made.endswith(" AND ") else " WHERE ")
    return made


def _places_of_slots(real: exp.Expression) -> list[exp.Boolean]:
    return [one for one in real.find_all(exp.Boolean) if "slot" in one.meta]


def _is_bracketed(place: exp.Boolean) -> bool:
    """Whether the predicate beside a slot has brackets for its sake."""
    others = place.parent.this if isinstance(place.parent, exp.And) else None
    return isinstance(others, exp.Paren) and isinstance(others.this, exp.Or)


def _without_slots(real: exp.Expression) -> exp.Expression:
    for one in _places_of_slots(real):
        holder = one.parent
        if isinstance(holder, exp.And):
            others = holder.expression if holder.this is one else holder.this
            holder.replace(others.this if _is_bracketed(one) else others)
        elif isinstance(holder, exp.Where):
            holder.pop()
    return real
