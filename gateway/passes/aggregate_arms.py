"""The arms of UNION ALL are summed up before they are put together.

Takes: a draft. Gives: a draft in which a query that only groups and aggregates a UNION ALL over
several sources has each arm grouped and aggregated first, at its source where it can be. No arm
gives more rows than before. Never for floats, nor over tables that show groups only.
"""

from __future__ import annotations

from sqlglot import exp

from gateway.aggregates import stands_in_aggregate
from gateway.blocks import block_verdict
from gateway.draft import Draft
from gateway.partial import Partial, simple_aggregates
from gateway.passes.spread_limits import union_arms

_PLAIN_QUERY = {"expressions", "from_", "group", "having", "order", "limit", "offset"}
_PLAIN_ARM = {"expressions", "from_", "joins", "where"}
Shape = tuple[tuple[str, str], ...]


def aggregate_arms(draft: Draft) -> Draft:
    """Aggregate the arms of each query that asks for no more."""
    if draft.context.push_down and len(draft.inputs) > 1:
        for select in list(draft.tree.find_all(exp.Select)):
            union = _union(select)
            if union is not None:
                _rewrite(select, union, draft)
    return draft


def _union(select: exp.Select) -> exp.Union | None:
    """The UNION ALL that a query reads alone."""
    if {key for key, value in select.args.items() if value} - _PLAIN_QUERY:
        return None
    first = select.args.get("from_")
    source = first.this if first is not None else None
    if not isinstance(source, exp.Subquery) or source.alias_column_names:
        return None
    body = source.this
    plain = isinstance(body, exp.Union) and not body.args.get("distinct")
    ends = ("order", "limit", "offset", "with_", "by_name")
    return body if plain and not any(body.args.get(key) for key in ends) else None


def _rewrite(select: exp.Select, union: exp.Union, draft: Draft) -> None:
    arms = [one for one in union_arms(union) if isinstance(one, exp.Select)]
    names = [one.alias_or_name for one in union.selects]
    shape = _shape(arms, names, draft) if len(arms) == len(list(union_arms(union))) else None
    alias = select.args["from_"].this.alias_or_name
    if shape is None or not _reads_only(select, alias, shape):
        return
    keys = _keys(select, alias)
    aggregates = simple_aggregates(select, alias, shape)
    if aggregates is None or keys is None:
        return
    partial = Partial(alias, shape, {})
    finals = [(node, partial.final(node)) for node in aggregates]
    made = [_arm(arm, names, keys, partial) for arm in arms]
    if not any(block_verdict(one, draft).block is not None for one in made):
        return
    for arm, one in zip(arms, made, strict=True):
        arm.replace(one)
    for node, final in finals:
        node.replace(final)


def _shape(arms: list[exp.Select], names: list[str], draft: Draft) -> Shape | None:
    """The outputs and their types, where every arm gives plain columns of one type each."""
    if len(set(names)) != len(names) or len({_source(one, draft) for one in arms}) < 2:
        return None
    kinds: list[tuple[str | None, ...]] = []
    for arm in arms:
        if {key for key, value in arm.args.items() if value} - _PLAIN_ARM:
            return None
        kinds.append(tuple(_type(one.unalias(), arm, draft) for one in arm.expressions))
    if len(set(kinds)) != 1 or None in kinds[0] or len(kinds[0]) != len(names):
        return None
    return tuple((name, kind or "") for name, kind in zip(names, kinds[0], strict=True))


def _tables(arm: exp.Select) -> list[exp.Table]:
    nodes = [arm.args["from_"].this] if arm.args.get("from_") else []
    nodes += [one.this for one in arm.args.get("joins") or ()]
    return [one for one in nodes if isinstance(one, exp.Table)]


def _source(arm: exp.Select, draft: Draft) -> str | None:
    """The source of an arm's first table; None where it has none."""
    for table in _tables(arm):
        one = draft.inputs.get(table.name)
        if one is not None and one.relations[0].block is None:
            return draft.source_of(one.relations[0])
    return None


def _type(value: exp.Expr, arm: exp.Select, draft: Draft) -> str | None:
    if not isinstance(value, exp.Column):
        return None
    for table in _tables(arm):
        one = draft.inputs.get(table.name)
        if one is None or table.alias_or_name != value.table:
            continue
        if one.relations[0].block is None:
            return dict(one.relations[0].shape).get(value.name)
    return None


def _reads_only(select: exp.Select, alias: str, shape: Shape) -> bool:
    """Whether all that the query reads are outputs of the arms, outside of queries within."""
    known = {name for name, _ in shape}
    own = [one for one in select.find_all(exp.Column)
           if one.find_ancestor(exp.Select) is select and one.table]  # fmt: skip
    within = [one for one in select.find_all(exp.Select) if one is not select]
    nested = any(one.find_ancestor(exp.From) is None for one in within)
    return not nested and all(one.table == alias and one.name in known for one in own)


def _keys(select: exp.Select, alias: str) -> list[str] | None:
    """The columns that groups are made by; what is read besides must stand in aggregates."""
    group = select.args.get("group")
    if group is not None and [k for k, v in group.args.items() if v and k != "expressions"]:
        return None
    given = group.expressions if group is not None else []
    if not all(isinstance(one, exp.Column) for one in given):
        return None
    keys = [one.name for one in given]
    free = {
        one.name
        for one in select.find_all(exp.Column)
        if one.table == alias and not stands_in_aggregate(one)
    }
    return keys if free <= set(keys) and not select.find(exp.Window) else None


def _arm(
    arm: exp.Select, names: list[str], keys: list[str], partial: Partial
) -> exp.Select:
    values = {
        name: one.unalias() for name, one in zip(names, arm.expressions, strict=True)
    }
    made = arm.copy()
    outputs: list[exp.Expr] = [exp.alias_(values[name].copy(), name, quoted=True) for name in keys]
    for name, aggregate in partial.columns.items():
        held = exp.Paren(this=aggregate.copy())
        for column in list(held.find_all(exp.Column)):
            column.replace(values[column.name].copy())
        outputs.append(exp.alias_(held.this, name, quoted=True))
    made.set("expressions", outputs)
    if keys:
        made.set("group", exp.Group(expressions=[values[name].copy() for name in keys]))
    return made
