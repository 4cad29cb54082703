"""Which column of which input a name stands for.

Takes: a column of a merge's tree, the inputs. Gives: the input and the column that it is, through
derived tables, CTEs and blocks. `origin_of` goes only where a filter on the name could go down;
`delivered_by` also where the values are some of the column's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from gateway.aggregates import has_aggregate
from gateway.draft import Input
from gateway.passes.push_filters import preserved_aliases


@dataclass(frozen=True, slots=True)
class Origin:
    """A column of an input: its name in the merge, and the relation's own."""

    input: str
    column: str
    relation: str
    relation_column: str


def origin_of(
    column: exp.Column, tree: exp.Expression, inputs: Mapping[str, Input]
) -> Origin | None:
    """The column of an input whose rows a filter on the name could leave out; else None."""
    return _followed(column, tree, inputs, must_filter=True)


def delivered_by(
    column: exp.Column, tree: exp.Expression, inputs: Mapping[str, Input]
) -> Origin | None:
    """The column of an input that has all values that the name can have but NULL; else None."""
    return _followed(column, tree, inputs, must_filter=False)


def _followed(
    column: exp.Column, tree: exp.Expression, inputs: Mapping[str, Input], must_filter: bool
) -> Origin | None:
    node = _source(column)
    if isinstance(node, exp.Table) and node.name in inputs:
        return _in_input(node.name, column.name, inputs, must_filter)
    query = _query(node, tree, must_filter)
    inner = _output(query, column.name, must_filter) if query is not None else None
    return _followed(inner, tree, inputs, must_filter) if inner is not None else None


def _in_input(
    name: str, column: str, inputs: Mapping[str, Input], must_filter: bool
) -> Origin | None:
    one = inputs[name]
    if one.block is None:
        return Origin(name, column, one.relations[0].name, column)
    if not isinstance(one.block, exp.Select):
        return None
    inner = _output(one.block, column, must_filter)
    if inner is None:
        return None
    members = {each.name: Input((each,)) for each in one.relations}
    found = _followed(inner, one.block, members, must_filter)
    return None if found is None else replace(found, input=name, column=column)


def _source(column: exp.Column) -> exp.Expr | None:
    """What stands in the nearest FROM under the column's alias."""
    node: exp.Expr | None = column.parent
    while node is not None:
        if isinstance(node, exp.Select):
            for one in _from(node):
                if one.alias_or_name == column.table:
                    return one
        node = node.parent
    return None


def _from(select: exp.Select) -> list[exp.Expr]:
    first = select.args.get("from_")
    joined = [one.this for one in select.args.get("joins") or ()]
    return [*([first.this] if first is not None else []), *joined]


def _query(node: exp.Expr | None, tree: exp.Expression, must_filter: bool) -> exp.Select | None:
    """The query of a derived table or of a CTE; one that is read twice takes no filter."""
    if isinstance(node, exp.Subquery) and not node.alias_column_names:
        body = node.unnest()
        return body if isinstance(body, exp.Select) else None
    if not isinstance(node, exp.Table) or node.alias_column_names:
        return None
    cte = _cte(node)
    if cte is None or cte.alias_column_names or not isinstance(cte.this, exp.Select):
        return None
    read = sum(1 for one in tree.find_all(exp.Table) if one.name == node.name)
    return cte.this if read == 1 or not must_filter else None


def _cte(table: exp.Table) -> exp.CTE | None:
    node = table.parent
    while node is not None:
        held = node.args.get("with_")
        if isinstance(held, exp.With):
            found = [one for one in held.expressions if one.alias == table.name]
            if found:
                is_simple = not held.recursive and isinstance(found[0], exp.CTE)
                return found[0] if is_simple else None
        node = node.parent
    return None


def _output(query: exp.Select, name: str, must_filter: bool) -> exp.Column | None:
    """The plain column that an output is; with `must_filter`, if a filter on it could go below."""
    found = [one for one in query.expressions if one.alias_or_name == name]
    value = found[0].unalias() if len(found) == 1 else None
    if not isinstance(value, exp.Column) or not value.table:
        return None
    if must_filter and not _lets_through(query, value):
        return None
    return value


def _lets_through(query: exp.Select, column: exp.Column) -> bool:
    if any(query.args.get(key) for key in ("limit", "offset", "qualify", "laterals")):
        return False
    distinct, group = query.args.get("distinct"), query.args.get("group")
    if query.find(exp.Window) or (distinct is not None and distinct.args.get("on")):
        return False
    if group is not None:
        others = [key for key, value in group.args.items() if value and key != "expressions"]
        if others or column not in group.expressions:
            return False
    elif any(map(has_aggregate, query.expressions)) or query.args.get("having"):
        return False
    joins = query.args.get("joins") or []
    if any(join.method in ("ASOF", "POSITIONAL") for join in joins):
        return False
    return column.table in preserved_aliases(query, joins)
