"""Whether a fragment may be read in ranges of its table's rows, and its SQL for one of them.

Takes: an input of a draft; pieces of its SQL. Gives: whether its rows are those of one table, each
made of one row of it; the statement with the two ends of a range as its last parameters. Never
looks at how large the table is: its source does that as it runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from gateway.aggregates import has_aggregate
from gateway.draft import Draft, Input, PartSlot, Piece
from gateway.estimates import rows_of
from gateway.volatile import is_volatile

# So few rows come before a second connection does.
_FEW_ROWS = 100_000.0
_PLAIN = frozenset({"expressions", "from_", "where"})
_NOT_ROW_BY_ROW = (exp.Query, exp.Window, exp.UDTF, exp.Lateral, exp.Unnest, exp.Explode)


def may_be_parted(draft: Draft, one: Input) -> bool:
    """Whether its rows are those of ranges of one table, put together in any order."""
    relation = one.relations[0]
    if not draft.abilities_of(relation).row_ranges or one.limit is not None:
        return False
    if len(one.relations) != 1 or relation.block is not None:
        return False
    if one.block is not None and not _is_row_by_row(one.block):
        return False
    return relation.address not in draft.context.sizes or rows_of(draft, one) >= _FEW_ROWS


def _is_row_by_row(block: exp.Expression) -> bool:
    if not isinstance(block, exp.Select) or {k for k, v in block.args.items() if v} - _PLAIN:
        return False
    if len(list(block.find_all(exp.Table))) != 1 or has_aggregate(block) or is_volatile(block):
        return False
    nested = [one for one in block.find_all(*_NOT_ROW_BY_ROW) if one is not block]
    return not nested


def ranged_sql(pieces: Sequence[Piece], mark: str, parameters: int) -> str:
    """The statement over a range, whose ends come after so many parameters; '' without a place."""
    if not any(isinstance(one, PartSlot) for one in pieces):
        return ""
    low, high = f"{mark}{parameters + 1}", f"{mark}{parameters + 2}"
    return "".join(
        one if isinstance(one, str)
        else f"{mark}{one}" if isinstance(one, int)
        else f"{one.before}{low}{one.between}{high}{one.after}" if isinstance(one, PartSlot)
        else "TRUE"
        for one in pieces
    )  # fmt: skip
