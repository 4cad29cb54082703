"""Predicates go down into the queries that they speak of.

Takes: a draft. Gives: a draft in which a predicate over plain outputs of one derived table, or of a
CTE that is read once, stands within it: in each arm of a set operation, below GROUP BY where it
reads keys alone. Never goes below LIMIT, windows, DISTINCT ON or outer joins that would let other
rows through, nor where the outputs' types differ from those of the arms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp

from gateway.aggregates import has_aggregate
from gateway.draft import Draft
from gateway.implied import bare, flat
from gateway.passes.push_filters import predicate_places, put_back
from gateway.unread import drop_unread
from gateway.volatile import is_volatile

_ENDS = ("limit", "offset", "qualify", "laterals")


def sink_filters(draft: Draft) -> Draft:
    """Move what may be moved, outer queries first."""
    if not draft.context.push_down:
        return draft
    has_moved = False
    for select in list(draft.tree.find_all(exp.Select, bfs=True)):
        joins = select.args.get("joins") or []
        below = [one for one in _sources(select) if not isinstance(one, exp.Table)]
        named = [one for one in _sources(select) if isinstance(one, exp.Table)]
        if not below and all(one.name in draft.inputs for one in named):
            continue
        if any(join.method in ("ASOF", "POSITIONAL") for join in joins):
            continue
        for holder, key, aliases in list(predicate_places(select, joins)):
            has_moved = _sink(select, holder, key, aliases, draft) or has_moved
    if has_moved:
        # What only the predicates read is read no more.
        drop_unread(draft.tree)
    return draft


def _sources(select: exp.Select) -> list[exp.Expression]:
    first = select.args.get("from_")
    joined = [one.this for one in select.args.get("joins") or ()]
    return [*([first.this] if first is not None else []), *joined]


def _sink(
    select: exp.Select, holder: exp.Expression, key: str, aliases: set[str], draft: Draft
) -> bool:
    """Whether a conjunct went into a query below."""
    predicate = holder.args.get(key)
    conjuncts = list(flat(predicate, exp.And)) if predicate is not None else []
    kept = []
    for conjunct in conjuncts:
        names = {one.table for one in conjunct.find_all(exp.Column)}
        target = None
        plain = not (
            conjunct.find(exp.Query, exp.Window) or has_aggregate(conjunct) or is_volatile(conjunct)
        )
        if len(names) == 1 and names <= aliases and plain:
            target = _query(select, names.pop(), draft)
        if target is None or not _take(conjunct, target, draft):
            kept.append(conjunct)
    if len(kept) < len(conjuncts):
        put_back(holder, key, kept)
    return len(kept) < len(conjuncts)


def _query(select: exp.Select, alias: str, draft: Draft) -> exp.Query | None:
    """The query behind an alias; None for one that is read twice, or that renames its columns."""
    found = [one for one in _sources(select) if one.alias_or_name == alias]
    source = found[0] if len(found) == 1 else None
    body: exp.Expr | None
    if isinstance(source, exp.Subquery) and not source.args.get("joins"):
        body = source.unnest()
    elif isinstance(source, exp.Table) and source.name not in draft.inputs:
        body = _cte(source, draft.tree)
    else:
        return None
    renames = source.alias_column_names
    return body if isinstance(body, exp.Query) and not renames else None


def _cte(table: exp.Table, tree: exp.Expression) -> exp.Expr | None:
    """The one CTE of that name, where the one reference to it is this."""
    made = [one for one in tree.find_all(exp.CTE) if one.alias == table.name]
    reads = [one for one in tree.find_all(exp.Table) if one.name == table.name]
    with_ = made[0].parent if len(made) == 1 else None
    if len(reads) != 1 or not isinstance(with_, exp.With) or with_.recursive:
        return None
    return None if made[0].alias_column_names else made[0].this.unnest()


def _take(conjunct: exp.Expression, query: exp.Query, draft: Draft) -> bool:
    """Whether the query takes the conjunct, in all of its arms."""
    arms = list(_arms(query))
    made = []
    for arm in arms:
        values = _values(conjunct, query, arm) if isinstance(arm, exp.Select) else None
        if values is None or not isinstance(arm, exp.Select):
            return False
        if any(not _lets_through(arm, one) for one in values.values()):
            return False
        made.append((arm, values))
    if len(arms) > 1 and not _same_types([values for _, values in made], arms, draft):
        return False
    for arm, values in made:
        arm.where(_renamed(conjunct, values), copy=False)
    return True


def _arms(query: exp.Expr) -> Iterator[exp.Expr]:
    inner = query.this if isinstance(query, exp.Subquery) and not query.alias else query
    plain = isinstance(inner, exp.SetOperation) and not inner.args.get("by_name")
    if plain and not any(inner.args.get(key) for key in (*_ENDS, "with_")):
        yield from _arms(inner.this)
        yield from _arms(inner.expression)
    else:
        yield inner


def _values(
    conjunct: exp.Expression, query: exp.Query, arm: exp.Select
) -> dict[str, exp.Column] | None:
    """The arm's own plain columns behind the outputs that a conjunct reads."""
    outputs = [one.alias_or_name for one in query.selects]
    found = {}
    for column in conjunct.find_all(exp.Column):
        if outputs.count(column.name) != 1:
            return None
        place = outputs.index(column.name)
        value = arm.expressions[place].unalias() if place < len(arm.expressions) else None
        if not isinstance(value, exp.Column) or not value.table:
            return None
        found[column.name] = value
    return found


def _lets_through(select: exp.Select, column: exp.Column) -> bool:
    """Whether a filter on the column may stand before all that the query does."""
    if any(select.args.get(key) for key in _ENDS) or select.find(exp.Window, exp.Unnest):
        return False
    distinct, group = select.args.get("distinct"), select.args.get("group")
    if distinct is not None and distinct.args.get("on"):
        return False
    if group is not None:
        others = [key for key, value in group.args.items() if value and key != "expressions"]
        return not others and column in group.expressions
    return select.args.get("having") is None and not any(map(has_aggregate, select.expressions))


def _same_types(
    values: list[dict[str, exp.Column]], arms: list[exp.Expr], draft: Draft
) -> bool:
    kinds = [
        {name: _type(column, arm, draft) for name, column in found.items()}
        for found, arm in zip(values, arms, strict=True)
    ]
    return all(one == kinds[0] and None not in one.values() for one in kinds)


def _type(column: exp.Column, arm: exp.Expr, draft: Draft) -> str | None:
    sources = _sources(arm) if isinstance(arm, exp.Select) else []
    for table in sources:
        one = draft.inputs.get(table.name) if isinstance(table, exp.Table) else None
        if one is not None and table.alias_or_name == column.table:
            found = (kind for name, kind in one.relations[0].shape if name == column.name)
            return next(found, None)
    return None


def _renamed(conjunct: exp.Expression, values: Mapping[str, exp.Column]) -> exp.Expression:
    root = exp.Paren(this=bare(conjunct).copy())
    for column in list(root.find_all(exp.Column)):
        column.replace(values[column.name].copy())
    made: exp.Expression = root.this
    return made
