"""Rows that came one by one since that costs less are summed up before the merge joins them.

Takes: a draft after all passes that move anything. Gives: a draft in whose merge each relation that
`aggregate_early` left as it is, since its rows cost less than its groups, is grouped by its key
before it is joined, as its source would have done it: a join of the groups is a fraction of one of
the rows. Never moves anything to a source or changes what is fetched.
"""

from __future__ import annotations

from sqlglot import exp

from gateway.draft import Draft
from gateway.passes.aggregate_early import Early, is_grouped, joined_tables


def aggregate_here(draft: Draft) -> Draft:
    """Group in the merge what was not worth grouping at its source."""
    left = {name for name, one in draft.inputs.items()
            if any(note.reason == "rows_cheaper" for note in one.notes)}  # fmt: skip
    for select in list(draft.tree.find_all(exp.Select)) if left else ():
        for table in joined_tables(select) if is_grouped(select) else ():
            if table.name in left and Early(select, table, draft.inputs[table.name]).apply_here():
                break
    return draft
