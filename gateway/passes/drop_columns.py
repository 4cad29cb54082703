"""Columns that were only filtered by stay at their source.

Takes: a draft whose filters have been pushed. Gives: a draft in which a relation delivers what the
merge still reads of it. Never drops the last column: rows are counted by it.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from gateway.draft import Draft, Input
from gateway.trees import read_below


def drop_columns(draft: Draft) -> Draft:
    """Narrow the relations of which a filter went down."""
    inputs = dict(draft.inputs)
    read: dict[int, dict[str, set[str]]] = {}
    for table in draft.tree.find_all(exp.Table):
        one = inputs.get(table.name)
        if one is not None and one.pushed and one.block is None:
            # What the query around a reference reads of it, and what stands within that.
            around = table.find_ancestor(exp.Select)
            assert around is not None, "a table stands in a query"
            if id(around) not in read:
                read[id(around)] = read_below(around)
            inputs[table.name] = _narrowed(one, read[id(around)].get(table.alias_or_name, set()))
    return replace(draft, inputs=inputs)


def _narrowed(one: Input, read: set[str]) -> Input:
    relation = one.relations[0]
    if relation.block is not None:
        return one
    kept = tuple(column for column in relation.columns if column.name in read)
    narrow = replace(relation, columns=kept or relation.columns[:1])
    return replace(one, relations=(narrow, *one.relations[1:]))
