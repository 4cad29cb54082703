"""How wide a row is, and how much more it counts where rows are dear.

Takes: types of columns. Gives: bytes, about. Never looks at a value.
"""

from __future__ import annotations

from collections.abc import Iterable

_WIDTHS = {
    "BOOLEAN": 1, "TINYINT": 1, "SMALLINT": 2, "INTEGER": 4, "DATE": 4, "FLOAT": 4, "BIGINT": 8,
    "DOUBLE": 8, "TIME": 8, "TIMESTAMP": 8,
}  # fmt: skip
_TEXT_WIDTH = 24
# Where rows are dear, they travel far.
_DEAR = 20.0


def width_of(columns: Iterable[tuple[str, str]]) -> float:
    """About how many bytes a row of these columns has."""
    return sum(_WIDTHS.get(kind, _TEXT_WIDTH if kind == "VARCHAR" else 16) for _, kind in columns)


def text_width_of(columns: Iterable[tuple[str, str]]) -> float:
    """About how many bytes a row of these columns has as a line of CSV."""
    named = list(columns)
    return max(width_of(named) + len(named), 1.0)


def times_of(link_cost: str) -> float:
    """How many times its price a row costs over a link."""
    return _DEAR if link_cost == "dear" else 1.0
