"""How often rows repeat, as far as may be known before they are fetched.

Takes: a draft, with the sizes that barrier rule 5 permits to look at; columns of an input. Gives:
whether so many rows have the same values of these columns that one of each is worth the source's
work. Never knows more of a restricted table than what its contract says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gateway.draft import ColumnSize, Draft, Input
from gateway.estimates import rows_of
from gateway.guard import GuardedRelation

# A source that groups pays for each row; this share of them has to stay there.
_WORTH = 0.5
# Of a table's rows, how many have values of their own in a column that nothing is known of.
_GUESSED = 0.1
_NOTHING = ColumnSize()


def often_repeats(draft: Draft, one: Input, columns: Sequence[tuple[GuardedRelation, str]]) -> bool:
    """Whether at most half as many rows are left where each combination of values stands once."""
    if not columns or _is_unique(draft, columns):
        return False
    if any(relation.address not in draft.context.sizes for relation, _ in columns):
        # Of one column it may be hoped, of several it may not.
        return len(columns) == 1
    rows = rows_of(draft, one)
    whole = max(rows, *(draft.context.sizes[relation.address].rows for relation, _ in columns))
    found = min(math.prod(_values(draft, relation, name) for relation, name in columns), whole)
    # A value is met unless all of its rows are left out.
    met = found * (1 - math.pow(1 - rows / whole, whole / found))
    return met <= rows * _WORTH


def _is_unique(draft: Draft, columns: Sequence[tuple[GuardedRelation, str]]) -> bool:
    """Whether one of them tells each row of its table from all others."""
    tables = draft.context.tables
    return any(name in tables[relation.address].unique for relation, name in columns)


def _values(draft: Draft, relation: GuardedRelation, name: str) -> float:
    size = draft.context.sizes[relation.address]
    known = size.columns.get(name, _NOTHING).distinct
    return max(1.0, size.rows * _GUESSED if known is None else known)
