"""Rows that repeat leave their source once, where repeating changes nothing.

Takes: a draft after blocks and joins have gone down. Gives: a draft in which an input delivers each
row once if only the set of its rows counts: below DISTINCT, IN, EXISTS, a semi join, a set
operation, or aggregates that do not count. Never compares by anything but what the source and
DuckDB tell apart alike: floats stay out, since 0.0 and -0.0 are equal and can be told apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from sqlglot import exp

from gateway.aggregates import has_aggregate, has_unknown_aggregate
from gateway.blocks import block_verdict, output_types
from gateway.constants import INTEGERS, family
from gateway.draft import Draft, Input, Note
from gateway.guard import GuardedRelation
from gateway.repeats import often_repeats
from gateway.trees import read_below
from gateway.volatile import is_volatile

_EXACT = INTEGERS | {
    "BOOLEAN", "DECIMAL", "VARCHAR", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE",
    "UUID",
}  # fmt: skip
_ROW_BY_ROW = (exp.Window, exp.Unnest, exp.Explode, exp.Lateral)
_ENDS = ("limit", "offset")
_SHAPED = ("group", "having", "distinct", "order", *_ENDS)
_NOTE = Note("DISTINCT", "pushed")


def fetch_distinct(draft: Draft) -> Draft:
    """Fetch sets where sets are enough."""
    if not draft.context.push_down or is_volatile(draft.tree):
        return draft
    inputs = dict(draft.inputs)
    references = Counter(each.address for one in inputs.values() for each in one.relations)
    for select in list(draft.tree.find_all(exp.Select)):
        for table in _tables_of_sets(select):
            one = inputs.get(table.name)
            if one is None or one.limit is not None or _is_in_place(one, draft):
                continue
            here = replace(draft, inputs=inputs)
            if one.block is not None:
                inputs[table.name] = _distinct_block(one, here)
            elif references[one.relations[0].address] == 1:
                # One that is read twice is fetched once.
                _wrap(select, table, here, inputs)
    return replace(draft, inputs=inputs)


def _is_in_place(one: Input, draft: Draft) -> bool:
    """Whether the merge reads the rows where they lie."""
    return bool(draft.abilities_of(one.relations[0]).in_place)


def _tables_of_sets(select: exp.Select) -> Iterator[exp.Table]:
    """The tables of a query of which only the set of rows counts."""
    first, joins = select.args.get("from_"), select.args.get("joins") or []
    if first is None or any(join.method in ("ASOF", "POSITIONAL") for join in joins):
        return
    absorbs = _absorbs(select)
    nodes = [first.this] if absorbs else []
    nodes += [one.this for one in joins if absorbs or one.kind in ("SEMI", "ANTI")]
    yield from (one for one in nodes if isinstance(one, exp.Table) and not one.args.get("joins"))


def _absorbs(select: exp.Select) -> bool:
    """Whether rows that repeat below change nothing of what the query is asked for."""
    distinct, group = select.args.get("distinct"), select.args.get("group")
    if select.args.get("qualify") or select.find(*_ROW_BY_ROW) or has_unknown_aggregate(select):
        return False
    aggregates = list(_aggregates(select))
    if group is not None or aggregates or select.args.get("having"):
        plain = group is None or not any(
            value for key, value in group.args.items() if key != "expressions"
        )
        return plain and all(_ignores_repeats(one) for one in aggregates)
    if distinct is not None:
        return not distinct.args.get("on")
    return _is_a_set(select)


def _aggregates(select: exp.Select) -> Iterator[exp.AggFunc]:
    """Its own, and those of queries within: more than needed, to be sure."""
    for key in ("expressions", "having", "order"):
        part = select.args.get(key)
        for each in part if isinstance(part, list) else [part]:
            if isinstance(each, exp.Expression):
                yield from each.find_all(exp.AggFunc)


def _ignores_repeats(node: exp.AggFunc) -> bool:
    if node.args.get("expressions"):
        return False
    if isinstance(node, exp.Count):
        return isinstance(node.this, exp.Distinct) and len(node.this.expressions) == 1
    return isinstance(node, exp.Min | exp.Max | exp.LogicalAnd | exp.LogicalOr)


def _is_a_set(query: exp.Query) -> bool:
    """Whether only the set of a query's rows counts where it stands."""
    if any(query.args.get(key) for key in _ENDS):
        return False
    node: exp.Expr = query
    parent = query.parent
    while isinstance(parent, exp.Subquery) and not isinstance(parent.parent, exp.From | exp.Join):
        if any(parent.args.get(key) for key in _ENDS):
            return False
        node, parent = parent, parent.parent
    match parent:
        case exp.In():
            return parent.args.get("query") is node
        case exp.Exists():
            return True
        case exp.SetOperation():
            return _is_arm_of_a_set(parent)
        case exp.Subquery():
            return _is_read_as_a_set(parent)
        case _:
            return False


def _is_arm_of_a_set(whole: exp.SetOperation) -> bool:
    with_ = whole.find_ancestor(exp.With)
    if with_ is not None and with_.args.get("recursive"):
        return False
    if whole.args.get("distinct"):
        return True
    return isinstance(whole, exp.Union) and _is_a_set(whole)


def _is_read_as_a_set(derived: exp.Subquery) -> bool:
    """Whether the query around a derived table does not count its rows."""
    if any(derived.args.get(key) for key in (*_ENDS, "pivots", "sample")):
        return False
    holder = derived.parent
    around = holder.parent if holder is not None else None
    if not isinstance(around, exp.Select) or holder is None:
        return False
    if any(join.method in ("ASOF", "POSITIONAL") for join in around.args.get("joins") or []):
        return False
    is_checked_only = isinstance(holder, exp.Join) and holder.kind in ("SEMI", "ANTI")
    return is_checked_only or _absorbs(around)


def _distinct_block(one: Input, draft: Draft) -> Input:
    """The input with each row of its block once, where that is worth it."""
    block = one.block
    if not isinstance(block, exp.Select) or any(block.args.get(key) for key in _SHAPED):
        return one
    values = [each.unalias() for each in block.expressions]
    if block.find(*_ROW_BY_ROW) or has_aggregate(block):
        return one
    nodes = [block.args["from_"].this, *(join.this for join in block.args.get("joins") or ())]
    named = {
        table.alias_or_name: relation
        for table in nodes
        for relation in one.relations
        if isinstance(table, exp.Table) and table.name == relation.name
    }
    columns = [
        (named[value.table], value.name)
        for value in values
        if isinstance(value, exp.Column) and value.table in named
    ]
    if len(columns) != len(values) or not _are_exact(output_types(block, draft), one, draft):
        return one
    if not often_repeats(draft, one, columns):
        return one
    made = block.copy()
    made.set("distinct", exp.Distinct())
    return replace(one, block=made, notes=(*one.notes, _NOTE))


def _are_exact(kinds: tuple[str, ...], one: Input, draft: Draft) -> bool:
    abilities = draft.abilities_of(one.relations[0])
    alike = _EXACT if abilities.is_reference else _EXACT & abilities.groupable
    plain = all(family(each) in alike and not each.endswith("]") for each in kinds)
    return abilities.can_distinct and plain


def _wrap(select: exp.Select, table: exp.Table, draft: Draft, inputs: dict[str, Input]) -> None:
    """Make a block of a relation: each combination of what is read of it, once."""
    one = inputs[table.name]
    relation = one.relations[0]
    read = read_below(select).get(table.alias_or_name, set())
    kept = [column for column in relation.columns if column.name in read]
    columns: list[tuple[GuardedRelation, str]] = [(relation, each.name) for each in kept]
    if relation.block is not None or not often_repeats(draft, one, columns):
        return
    if not _are_exact(tuple(each.type for each in kept), one, draft):
        return
    alias = table.alias_or_name
    block = exp.Select(distinct=exp.Distinct())
    for each in kept:
        column = exp.column(each.name, table=alias, quoted=True)
        block.select(exp.alias_(column, each.name, quoted=True), copy=False)
    block.from_(table.copy(), copy=False)
    verdict = block_verdict(block, draft)
    if verdict.block is None:
        return
    name = f"block_{table.name}"
    del inputs[table.name]
    inputs[name] = replace(
        one, relations=verdict.relations, block=verdict.block, notes=(*one.notes, _NOTE)
    )
    made = exp.TableAlias(this=exp.to_identifier(alias, quoted=True))
    table.set("alias", table.args.get("alias") or made)
    table.set("this", exp.to_identifier(name, quoted=True))
