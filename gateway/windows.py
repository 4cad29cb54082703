"""Which window functions a source may compute.

Takes: a window of a query, what a source can do and the types of its parts. Gives: a reason code
where the source might answer otherwise. Floats are never added up: frames that slide add and take
away in an order of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from connectors.base import Abilities
from gateway.constants import family

_RANKS = (exp.RowNumber, exp.Rank, exp.DenseRank)
_SHIFTS = (exp.Lag, exp.Lead)
_AGGREGATES = (exp.Count, exp.Sum, exp.Min, exp.Max)
WINDOW_INTEGERS = _RANKS
_EDGES = ("UNBOUNDED", "CURRENT ROW")

Refusal = Callable[[exp.Expression], str | None]


def window_refusal(
    node: exp.Window, abilities: Abilities, refusal: Refusal, type_name: Refusal
) -> str | None:
    """A reason code, or None where the source means the same."""
    if not abilities.can_window or node.args.get("alias") or node.args.get("first"):
        return "window"
    return (
        _function(node.this, refusal, type_name)
        or _keys(node, abilities, refusal, type_name)
        or _frame(node.args.get("spec"))
    )


def _function(node: exp.Expression, refusal: Refusal, type_name: Refusal) -> str | None:
    if isinstance(node, _RANKS):
        return "window" if node.expressions else None
    if isinstance(node, _SHIFTS):
        offset = node.args.get("offset")
        counted = offset is None or (isinstance(offset, exp.Literal) and offset.name.isdigit())
        plain = counted and node.args.get("default") is None
        return refusal(node.this) if plain and isinstance(node.this, exp.Column) else "window"
    if not isinstance(node, _AGGREGATES) or node.find(exp.Distinct):
        return "window"
    if isinstance(node, exp.Sum) and family(type_name(node.this) or "") in ("DOUBLE", "REAL", ""):
        return "window"
    return refusal(node)


def _keys(
    node: exp.Window, abilities: Abilities, refusal: Refusal, type_name: Refusal
) -> str | None:
    for one in node.args.get("partition_by") or ():
        kind = family(type_name(one) or "")
        if kind not in abilities.groupable:
            return "collation" if kind == "VARCHAR" else "group"
        reason = refusal(one)
        if reason:
            return reason
    order = node.args.get("order")
    for one in order.expressions if order is not None else ():
        if not isinstance(one, exp.Ordered) or one.args.get("with_fill"):
            return "construct"
        if family(type_name(one.this) or "") not in abilities.sortable:
            return "sort"
        reason = refusal(one.this)
        if reason:
            return reason
    return None


def _frame(spec: exp.Expression | None) -> str | None:
    """Frames by rows, and the one by range that stands where none is said."""
    if spec is None:
        return None
    start, end = spec.args.get("start"), spec.args.get("end")
    if spec.args.get("exclude"):
        return "window"
    if spec.args.get("kind", "").upper() == "ROWS":
        return None if _is_edge(start) and _is_edge(end) else "window"
    is_default = (start, end) == _EDGES and spec.args.get("start_side", "").upper() == "PRECEDING"
    return None if spec.args.get("kind", "").upper() == "RANGE" and is_default else "window"


def _is_edge(edge: object) -> bool:
    if isinstance(edge, exp.Literal):
        return not edge.is_string and edge.name.isdigit()
    return edge in _EDGES
