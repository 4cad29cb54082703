"""Which types the parameters of a query have, as far as the query itself says so.

Takes: a bound tree and the visible columns of its tables. Gives: a DuckDB type for each parameter,
'' where nothing tells. Never changes the tree, never decides anything: clients that must know a
type before they send a value are told by it.
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types

from gateway.bind import Visible
from gateway.resolve import Address

_COMPARED = (
    exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ,
    exp.Between, exp.In, exp.Coalesce, exp.Nullif, exp.Case, exp.If, exp.Add, exp.Sub, exp.Mul,
    exp.Div, exp.Mod, exp.IntDiv,
)  # fmt: skip
_TEXTS = (exp.Like, exp.ILike, exp.SimilarTo, exp.RegexpLike, exp.DPipe, exp.Upper, exp.Lower)
_COUNTS = (exp.Limit, exp.Offset)
_TRANSPARENT = (exp.Paren, exp.Neg, exp.Not)
_BY_QUANTILE = (exp.Quantile, exp.ApproxQuantile)
_PERCENTILES = (exp.PercentileCont, exp.PercentileDisc)


def infer_parameters(tree: exp.Expression, visible: Visible, count: int) -> tuple[str, ...]:
    """The type of each parameter; the first place that tells one counts."""
    found = [""] * count
    if not count:
        return ()
    shares = _shares(tree)
    for node in _annotated(tree, visible).find_all(exp.Parameter):
        number = int(node.this.name)
        if number <= count and not found[number - 1]:
            found[number - 1] = "DOUBLE" if number in shares else _told(node)
    return tuple(found)


def imagined(tree: exp.Expression, values: tuple[object, ...]) -> tuple[object, ...]:
    """The values to describe a query by: of which share a quantile is, no binder takes as NULL."""
    shares = _shares(tree) if None in values else frozenset()
    return tuple(
        0.5 if value is None and number in shares else value
        for number, value in enumerate(values, 1)
    )


def _shares(tree: exp.Expression) -> frozenset[int]:
    """The numbers of the parameters that say which share of the rows a quantile is of."""
    found: set[int] = set()
    for node in tree.find_all(*_BY_QUANTILE, *_PERCENTILES):
        if isinstance(node, _BY_QUANTILE):
            share = node.args.get("quantile")
        else:
            # WITHIN GROUP leaves the column outside.
            share = node.args.get("expression") or node.this
        if isinstance(share, exp.Order):
            share = share.this
        if isinstance(share, exp.Expr):
            found.update(int(one.this.name) for one in share.find_all(exp.Parameter))
    return frozenset(found)


def _annotated(tree: exp.Expression, visible: Visible) -> exp.Expression:
    schema: dict[str, Any] = {}
    copied = tree.copy()
    for table in copied.find_all(exp.Table):
        address = table.meta.get("address")
        if isinstance(address, Address) and len(table.parts) == 3:
            domain, product, name = (part.name for part in table.parts)
            columns = dict(visible[address])
            schema.setdefault(domain, {}).setdefault(product, {})[name] = columns
    try:
        return annotate_types(copied, schema=schema, dialect="duckdb")
    except SqlglotError:
        # A client is then told less.
        return copied


def _told(parameter: exp.Expr) -> str:
    """What stands around a parameter says of its type."""
    node = parameter
    while isinstance(node.parent, _TRANSPARENT):
        node = node.parent
    parent = node.parent
    if isinstance(parent, exp.Tuple | exp.Array) and isinstance(parent.parent, exp.In):
        parent = parent.parent
    if isinstance(parent, exp.Cast):
        return str(parent.to.sql("duckdb"))
    if isinstance(parent, _COUNTS):
        return "BIGINT"
    if isinstance(parent, _TEXTS):
        return "VARCHAR"
    if isinstance(parent, _COMPARED):
        others = (one for one in parent.iter_expressions() if one is not node)
        return next((kind for one in others if (kind := _type_of(one))), "")
    return ""


def _type_of(node: exp.Expr) -> str:
    kind = node.type
    if not isinstance(kind, exp.DataType) or kind.is_type("unknown", "null"):
        return ""
    return str(kind.sql("duckdb"))
