"""A LIMIT over UNION ALL holds for each of its arms too.

Takes: a draft. Gives: a draft in which each arm gives no more rows than the whole needs, the first
ones by the same order where there is one. The whole orders and limits again. Never for arms whose
order would be another one, since their types differ.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from gateway.draft import Draft
from gateway.implied import bare

_ENDS = ("order", "limit", "offset")


def spread_limits(draft: Draft) -> Draft:
    """Limit the arms of each UNION ALL that is limited."""
    if draft.context.push_down:
        for union in list(draft.tree.find_all(exp.Union)):
            rows = rows_wanted(union)
            arms = list(union_arms(union))
            if rows is not None and all(isinstance(one, exp.Select) for one in arms):
                _limit(union, [one for one in arms if isinstance(one, exp.Select)], rows, draft)
    return draft


def rows_wanted(query: exp.Query) -> int | None:
    """LIMIT plus OFFSET where both are plain numbers."""
    limit, offset = query.args.get("limit"), query.args.get("offset")
    if not isinstance(limit, exp.Limit) or not _is_count(limit.expression):
        return None
    if offset is not None and not _is_count(offset.expression):
        return None
    return int(limit.expression.name) + (int(offset.expression.name) if offset else 0)


def _is_count(node: exp.Expression) -> bool:
    return isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit()


def union_arms(union: exp.Expression) -> Iterator[exp.Expression]:
    """The queries that UNION ALL puts together; one that is not UNION ALL counts as a whole."""
    for one in (union.this, union.expression):
        inner = one.this if isinstance(one, exp.Subquery) and not one.alias else one
        plain = isinstance(inner, exp.Union) and not inner.args.get("distinct")
        if plain and not any(inner.args.get(key) for key in (*_ENDS, "with_", "by_name")):
            yield from union_arms(inner)
        else:
            yield inner


def _limit(union: exp.Union, arms: list[exp.Select], rows: int, draft: Draft) -> None:
    if union.args.get("distinct") or union.args.get("by_name"):
        return
    order = union.args.get("order")
    keys: list[list[exp.Expression]] = [[] for _ in arms]
    for key in order.expressions if order is not None else ():
        found = _keys(key, arms, draft)
        if found is None:
            return
        for held, one in zip(keys, found, strict=True):
            held.append(one)
    for arm, held in zip(arms, keys, strict=True):
        if any(arm.args.get(name) for name in _ENDS):
            continue
        if held:
            arm.set("order", exp.Order(expressions=held))
        arm.set("limit", exp.Limit(expression=exp.Literal.number(rows)))
        if not isinstance(arm.parent, exp.Subquery):
            arm.replace(exp.Subquery(this=arm.copy()))


def _keys(
    key: exp.Expression, arms: list[exp.Select], draft: Draft
) -> list[exp.Expression] | None:
    """The key in terms of each arm's columns, where all have one type."""
    name = bare(key.this) if isinstance(key, exp.Ordered) else None
    if not isinstance(name, exp.Column) or name.table or key.args.get("with_fill"):
        return None
    outputs = [one.alias_or_name.casefold() for one in arms[0].expressions]
    if outputs.count(name.name.casefold()) != 1:
        return None
    place = outputs.index(name.name.casefold())
    values = [arm.expressions[place].unalias() for arm in arms if place < len(arm.expressions)]
    kinds = {_type(value, arm, draft) for value, arm in zip(values, arms, strict=False)}
    if len(values) != len(arms) or len(kinds) != 1 or None in kinds:
        return None
    made = [key.copy() for _ in values]
    for ordered, value in zip(made, values, strict=True):
        ordered.set("this", value.copy())
    return made


def _type(value: exp.Expression, arm: exp.Select, draft: Draft) -> str | None:
    """The type of a plain column of a table of the mesh."""
    tables = [arm.args["from_"].this] if arm.args.get("from_") else []
    tables += [join.this for join in arm.args.get("joins") or ()]
    if not isinstance(value, exp.Column):
        return None
    for table in tables:
        one = draft.inputs.get(table.name) if isinstance(table, exp.Table) else None
        if one is not None and table.alias_or_name == value.table:
            found = (kind for name, kind in one.relations[0].shape if name == value.name)
            return next(found, None)
    return None
