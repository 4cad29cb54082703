"""How often rows repeat, as far as may be known before they are fetched.

Takes: a draft, with the sizes that barrier rule 5 permits to look at; columns of an input. Gives:
whether so many rows have the same values of these columns that one of each is worth the source's
work, or whether to fetch them all costs less. Never knows more of a restricted table than what its
contract says.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from gateway.draft import ColumnSize, Draft, Input
from gateway.estimates import rows_of
from gateway.guard import GuardedRelation
from gateway.widths import times_of, width_of

# A source that groups pays for each row; this share of them has to stay there.
_WORTH = 0.5
# Of a table's rows, how many have values of their own in a column that nothing is known of.
_GUESSED = 0.1
_NOTHING = ColumnSize()
# From so many groups on, each row costs a source that groups as much more as it says by `spread`.
_MANY_GROUPS = 100_000.0
# Microseconds that the merge engine needs to group a row.
_GROUPED_HERE = 0.05
# Whoever has fewer rows than so many of the groups is likely to send keys, which leave few of both.
_NARROWS = 0.5


def often_repeats(draft: Draft, one: Input, columns: Sequence[tuple[GuardedRelation, str]]) -> bool:
    """Whether at most half as many rows are left where each combination of values stands once."""
    if not columns or _is_unique(draft, columns):
        return False
    if any(relation.address not in draft.context.sizes for relation, _ in columns):
        # Of one column it may be hoped, of several it may not.
        return len(columns) == 1
    rows = rows_of(draft, one)
    return _met(draft, rows, columns) <= rows * _WORTH


def costs_less_apart(
    draft: Draft, one: Input, key: str, read: Collection[str], joined: Iterable[Input]
) -> bool:
    """Whether all rows, with the columns that are read of them, cost less than one for each key.

    A source that declares no price of grouping groups; so does one of whose rows nothing is known,
    or that is joined with so few rows that their keys leave little to be grouped.
    """
    relation = one.relations[0]
    given = draft.abilities_of(relation).prices
    if "group" not in given or relation.address not in draft.context.sizes:
        return False
    rows = rows_of(draft, one)
    groups = _met(draft, rows, [(relation, key)])
    if any(rows_of(draft, other) < groups * _NARROWS for other in joined):
        return False
    width = width_of((each.name, each.type) for each in relation.columns if each.name in read)
    travels = given["row"] + given.get("byte", 0.0) * width
    travels *= times_of(draft.context.link_costs.of(draft.source_of(relation)))
    grouped = given["group"] + given.get("spread", 0.0) * min(groups / _MANY_GROUPS, 1.0)
    return rows * (travels + _GROUPED_HERE) < rows * grouped + groups * travels


def _met(draft: Draft, rows: float, columns: Sequence[tuple[GuardedRelation, str]]) -> float:
    """How many combinations of values are expected among so many rows."""
    whole = max(rows, *(draft.context.sizes[relation.address].rows for relation, _ in columns))
    found = min(math.prod(_values(draft, relation, name) for relation, name in columns), whole)
    # A value is met unless all of its rows are left out.
    return found * (1 - math.pow(1 - rows / whole, whole / found))


def _is_unique(draft: Draft, columns: Sequence[tuple[GuardedRelation, str]]) -> bool:
    """Whether one of them tells each row of its table from all others."""
    tables = draft.context.tables
    return any(name in tables[relation.address].unique for relation, name in columns)


def _values(draft: Draft, relation: GuardedRelation, name: str) -> float:
    size = draft.context.sizes[relation.address]
    known = size.columns.get(name, _NOTHING).distinct
    return max(1.0, size.rows * _GUESSED if known is None else known)
