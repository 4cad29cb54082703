"""A guarded query becomes a plan: fragments, gate statements, one merge (stage 6).

Takes: a `GuardedQuery` and a `PlanContext` (physical tables, abilities, settings). Gives: a
`Plan`. Never opens a connection, never plans a query that carries no decision, never reads raw
statistics. The passes rewrite a `Draft`; `assemble` makes the plan of it.
"""

from __future__ import annotations

from gateway.assemble import assemble
from gateway.draft import Draft, Input, Plan, PlanContext
from gateway.errors import UnsupportedSql
from gateway.guard import GuardedQuery
from gateway.passes.aggregate_arms import aggregate_arms
from gateway.passes.aggregate_early import aggregate_early
from gateway.passes.aggregate_here import aggregate_here
from gateway.passes.cut_empty import cut_empty
from gateway.passes.derive_filters import derive_filters
from gateway.passes.drop_columns import drop_columns
from gateway.passes.fetch_distinct import fetch_distinct
from gateway.passes.fetch_late import fetch_late
from gateway.passes.filter_above import filter_above
from gateway.passes.push_blocks import push_blocks
from gateway.passes.push_dimensions import push_dimensions
from gateway.passes.push_filters import push_filters
from gateway.passes.push_joins import push_joins
from gateway.passes.push_limit import push_limit
from gateway.passes.push_top import push_top
from gateway.passes.send_keys import send_keys
from gateway.passes.send_values import send_values
from gateway.passes.share_relations import share_relations
from gateway.passes.sink_filters import sink_filters
from gateway.passes.spread_limits import spread_limits
from gateway.reasons import told

# Filters first: what a relation takes stands inside its barrier, also within a block.
PASSES = (
    push_dimensions, sink_filters, derive_filters, push_filters, cut_empty, drop_columns,
    spread_limits, aggregate_arms, aggregate_early, push_blocks, push_joins, fetch_distinct,
    filter_above, push_top, push_limit, send_keys, send_values, fetch_late, share_relations,
    aggregate_here,
)  # fmt: skip


def plan(guarded: GuardedQuery, context: PlanContext) -> Plan:
    """The plan of a guarded query.

    Raises UnsupportedSql where the caller asked that filters be pushed and one would move a
    whole table.
    """
    if not isinstance(guarded, GuardedQuery):
        raise TypeError("plan() takes a GuardedQuery and nothing else")
    draft = Draft(
        tree=guarded.tree.copy(),
        inputs={name: Input((relation,)) for name, relation in guarded.relations.items()},
        context=context,
    )
    for rewrite in PASSES:
        draft = rewrite(draft)
    made = assemble(draft, guarded)
    if context.require_pushdown:
        _refuse_whole_tables(draft)
    return made


def _refuse_whole_tables(draft: Draft) -> None:
    for one in draft.inputs.values():
        whole = one.block is None and not one.pushed and one.limit is None
        stayed = [n for n in one.notes if n.outcome == "stayed" and n.kind == "filter"]
        if whole and stayed:
            parts = "; ".join(f"{note.part} ({told(note.reason)})" for note in stayed)
            raise UnsupportedSql(
                f"require_pushdown is set and {one.relations[0].address} would move whole: {parts}",
                hint="Add a filter that compares a clear column with constants, or SET "
                "require_pushdown = false.",
            )
