"""Columns that were only filtered by stay at their source.

Takes: a draft whose filters have been pushed. Gives: a draft in which a relation delivers what the
merge still reads of it. Never drops the last column: rows are counted by it.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from gateway.draft import Draft, Input


def drop_columns(draft: Draft) -> Draft:
    """Narrow the relations of which a filter went down."""
    inputs = dict(draft.inputs)
    for table in draft.tree.find_all(exp.Table):
        one = inputs.get(table.name)
        if one is not None and one.pushed and one.block is None:
            inputs[table.name] = _narrowed(one, _read(table))
    return replace(draft, inputs=inputs)


def _read(table: exp.Table) -> frozenset[str]:
    """The columns that the query around a reference, and what stands within, reads of it."""
    around = table.find_ancestor(exp.Select)
    assert around is not None, "a table stands in a query"
    alias = table.alias_or_name
    return frozenset(one.name for one in around.find_all(exp.Column) if one.table == alias)


def _narrowed(one: Input, read: frozenset[str]) -> Input:
    relation = one.relations[0]
    if relation.block is not None:
        return one
    kept = tuple(column for column in relation.columns if column.name in read)
    narrow = replace(relation, columns=kept or relation.columns[:1])
    return replace(one, relations=(narrow, *one.relations[1:]))
