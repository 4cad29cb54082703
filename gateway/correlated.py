"""Sub-queries of one value that read the row outside of them.

Takes: a sub-query beside a comparison, a draft. Gives: whether it is one value, whether its source
finds the rows for each outer row by an index, and a block in which such sub-queries stand in FROM.
There the source asks once for each value that the outer relation has, not once for each row of a
join. Never lets a source run through a whole table for each row.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, build_scope

from gateway.constants import INTEGERS, family
from gateway.doubles import TypeName
from gateway.draft import Draft, Input
from gateway.estimates import rows_of
from gateway.guard import GuardedRelation
from gateway.implied import bare, flat

# On a sub-query: it reads the outer row, and its source finds what it needs by an index.
BY_ROW = "by row"
# Compared without a cast and without a collation, so that an index of theirs is used.
_INDEXED = INTEGERS - {"HUGEINT"} | {"DATE", "UUID"}


def is_one_value(query: exp.Expression) -> bool:
    """An aggregate over all rows, alone: no error of a second row."""
    if not isinstance(query, exp.Select) or len(query.expressions) != 1:
        return False
    parts = {key for key, value in query.args.items() if value}
    if parts - {"expressions", "from_", "joins", "where", "having"} or query.find(exp.Window):
        return False
    output = query.expressions[0]
    # Found here and not in a sub-query of its own, which would leave a row for each.
    return any(one.find_ancestor(exp.Select) is query for one in output.find_all(exp.AggFunc))


def reads_outer_row(query: exp.Expression) -> bool:
    """Whether it names what stands outside of it."""
    scope = build_scope(query)
    return scope is None or bool(scope.external_columns)


def is_looked_up(side: exp.Subquery, outer: Scope, draft: Draft, type_name: TypeName) -> bool:
    """Whether the source may be asked for it by row.

    It finds a table's rows by an index, less often than the table has rows, and nothing in it
    stands behind a barrier, which would be filled anew for each row.
    """
    query = side.this
    if not isinstance(side.find_ancestor(exp.Where, exp.Having, exp.Join, exp.Select), exp.Where):
        return False
    where, tables = query.args.get("where"), _tables(query, draft)
    if where is None or tables is None or query.args.get("having") is not None:
        return False
    own = [one for one in query.find_all(exp.Column) if one.table not in tables]
    if any(one.find_ancestor(exp.Where, exp.Join, exp.Select) is not where for one in own):
        return False
    means = (type_name(one.this) or "" for one in query.find_all(exp.Avg))
    if any(family(one) not in INTEGERS for one in means):
        # Row by row the merge engine makes a mean of decimals in another way.
        return False
    search = _Search(tables, outer, draft, type_name)
    return any(search.finds(one) for one in flat(where.this, exp.And))


def _tables(query: exp.Select, draft: Draft) -> dict[str, GuardedRelation] | None:
    """The relations of its FROM by alias; None where one is no clear table joined inwards."""
    if len(list(query.find_all(exp.Query))) != 1:
        return None
    joins = query.args.get("joins") or []
    if any(one.side or one.method or one.kind not in ("", "INNER", "CROSS") for one in joins):
        return None
    found = {}
    for one in (query.args["from_"].this, *(join.this for join in joins)):
        held = draft.inputs.get(one.name) if isinstance(one, exp.Table) else None
        if held is None or not held.relations[0].clear:
            return None
        found[one.alias_or_name] = held.relations[0]
    return found


@dataclass(frozen=True, slots=True)
class _Search:
    """The relations of a sub-query by alias, the scope outside of it."""

    tables: dict[str, GuardedRelation]
    outer: Scope
    draft: Draft
    type_name: TypeName

    def finds(self, conjunct: exp.Expression) -> bool:
        """Whether a conjunct finds rows of a larger table by an index."""
        node = bare(conjunct)
        sides = [node.this, node.expression] if isinstance(node, exp.EQ) else []
        columns = [one for one in sides if isinstance(one, exp.Column)]
        inner = [one for one in columns if one.table in self.tables]
        other = [one for one in columns if one.table not in self.tables]
        if len(inner) != 1 or len(other) != 1:
            return False
        kinds = {family(self.type_name(one) or "") for one in columns}
        if not (kinds <= _INDEXED and (len(kinds) == 1 or kinds <= INTEGERS)):
            return False
        size = self.draft.context.sizes.get(self.tables[inner[0].table].address)
        asking = self._asking(other[0])
        if size is None or asking is None or inner[0].name not in size.indexed:
            return False
        return rows_of(self.draft, asking) < size.rows

    def _asking(self, column: exp.Column) -> Input | None:
        """The input whose rows ask."""
        source = self.outer.sources.get(column.table)
        return self.draft.inputs.get(source.name) if isinstance(source, exp.Table) else None


def with_laterals(block: exp.Expression) -> exp.Expression:
    """The block with what is asked by row in FROM, where it has one row whatever it finds."""
    asked = [one for one in block.find_all(exp.Subquery) if one.meta.get(BY_ROW)]
    taken = {one.alias_or_name for one in block.find_all(exp.Table, exp.Subquery, exp.CTE)}
    for number, side in enumerate(asked):
        name = f"asked_{number}"
        while name in taken:
            name = f"_{name}"
        select, query = side.find_ancestor(exp.Select), side.this
        assert select is not None, "it was found in the WHERE of one"
        side.replace(exp.column("value", table=name, quoted=True))
        query.set("expressions", [exp.alias_(query.expressions[0].unalias(), "value", quoted=True)])
        made = exp.Lateral(
            this=exp.Subquery(this=query),
            alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)),
        )
        select.append("joins", exp.Join(this=made))
    return block
