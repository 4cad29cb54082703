"""Aggregates in a tree, those too that the parser has no class for.

Takes: a part of a tree. Gives: whether aggregates stand in it. Never trusts `exp.AggFunc` alone:
count_star, mean, fsum and twenty more are parsed as functions without a name of their own.
"""

from __future__ import annotations

from sqlglot import exp

from gateway.functions import is_aggregate


def is_aggregation(node: exp.Expr) -> bool:
    """Whether the node itself is a call of an aggregate."""
    return isinstance(node, exp.AggFunc) or _is_unknown(node)


def has_aggregate(node: exp.Expr) -> bool:
    """Whether an aggregate stands anywhere in it."""
    return node.find(exp.AggFunc) is not None or has_unknown_aggregate(node)


def has_unknown_aggregate(node: exp.Expr) -> bool:
    """Whether an aggregate stands in it that the parser has no class for."""
    return any(_is_unknown(one) for one in node.find_all(exp.Anonymous))


def stands_in_aggregate(node: exp.Expr) -> bool:
    """Whether an aggregate is above it."""
    parent = node.parent
    while parent is not None and not is_aggregation(parent):
        parent = parent.parent
    return parent is not None


def _is_unknown(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and is_aggregate(node.name)
