"""A LIMIT that nothing stands between goes down.

Takes: a draft. Gives: a draft in which a relation that is read alone, without filter, order,
group, distinct or window in the merge, delivers no more rows than the LIMIT needs. Never pushes
below a policy or predicate that the source does not decide itself (trap 38).
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp
from sqlglot.optimizer.scope import traverse_scope

from gateway.aggregates import has_aggregate
from gateway.draft import Draft, Note
from gateway.gate import needs_gate_filter
from gateway.passes.spread_limits import rows_wanted

_BETWEEN = ("joins", "where", "group", "having", "qualify", "distinct", "order", "laterals")


def push_limit(draft: Draft) -> Draft:
    """Set the limit of each input that a plain LIMIT reads."""
    if not draft.context.push_down:
        return draft
    if all(_rows(one) is None for one in draft.tree.find_all(exp.Select)):
        return draft
    inputs = dict(draft.inputs)
    for scope in traverse_scope(draft.tree):
        select = scope.expression
        rows = _rows(select) if isinstance(select, exp.Select) else None
        if rows is None or len(scope.sources) != 1:
            continue
        if has_aggregate(select) or select.find(exp.Window):
            continue
        table = next(iter(scope.sources.values()))
        name = table.name if isinstance(table, exp.Table) else ""
        if name not in inputs or inputs[name].block is not None:
            continue
        one = inputs[name]
        relation = one.relations[0]
        if relation.block is not None:
            continue
        if draft.abilities_of(relation).can_limit and not needs_gate_filter(draft, relation):
            note = Note(f"LIMIT {rows}", "pushed", "", "limit")
            inputs[name] = replace(one, limit=rows, notes=(*one.notes, note))
    return replace(draft, inputs=inputs)


def _rows(select: exp.Select) -> int | None:
    """LIMIT plus OFFSET where both are plain numbers and nothing stands between."""
    if any(select.args.get(key) for key in _BETWEEN) or _has_unnest(select):
        return None
    return rows_wanted(select)


def _has_unnest(select: exp.Select) -> bool:
    """Whether a row may become several or none; sub-queries are counted in, to be sure."""
    return select.find(exp.Unnest, exp.Explode) is not None
