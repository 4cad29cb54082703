"""Aggregates in two steps: what a source counts and sums up, and what is made of that.

Takes: aggregates of a query over some relation. Gives: whether each can be put together from parts,
the parts, and what stands in the aggregates' places. Never takes floats apart: their sums depend on
their order.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from gateway.aggregates import has_unknown_aggregate
from gateway.constants import INTEGERS, family

_PARTS = ("expressions", "having", "order")
_SUMMED = (exp.Sum, exp.Avg)
_SIMPLE = (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max)


def simple_aggregates(
    select: exp.Select, alias: str, shape: tuple[tuple[str, str], ...]
) -> list[exp.AggFunc] | None:
    """All aggregates of a query, where each can be put together from parts; else None.

    alias, shape: the relation that is aggregated, and the types of its columns.
    """
    found: list[exp.AggFunc] = []
    for key in _PARTS:
        part = select.args.get(key)
        for each in part if isinstance(part, list) else [part]:
            found += list(each.find_all(exp.AggFunc)) if each is not None else []
    if has_unknown_aggregate(select):
        return None
    types = dict(shape)
    return found if found and all(_is_simple(one, alias, types) for one in found) else None


def _is_simple(node: exp.AggFunc, alias: str, types: dict[str, str]) -> bool:
    if not isinstance(node, _SIMPLE) or isinstance(node.parent, exp.Filter | exp.Window):
        return False
    value = node.this
    if isinstance(value, exp.Star):
        return isinstance(node, exp.Count)
    if not isinstance(value, exp.Column) or node.expressions:
        return False
    if value.table != alias:
        return isinstance(node, exp.Min | exp.Max)
    kind = family(types.get(value.name, ""))
    return not isinstance(node, _SUMMED) or kind in INTEGERS or kind == "DECIMAL"


@dataclass(slots=True)
class Partial:
    """The columns that a source has to deliver, and how aggregates are made of them."""

    alias: str
    shape: tuple[tuple[str, str], ...]
    columns: dict[str, exp.Expr]

    def final(self, node: exp.AggFunc) -> exp.Expr:
        """What stands in an aggregate's place."""
        value = node.this
        if isinstance(value, exp.Star):
            counted = self._part("count", exp.Count(this=exp.Star()))
            # A row that an outer join has filled up stands for itself.
            rows = exp.Coalesce(this=counted, expressions=[exp.Literal.number(1)])
            return self._counted(exp.Sum(this=rows))
        if value.table != self.alias:
            return node.copy()
        match node:
            case exp.Count():
                return self._counted(exp.Sum(this=self._of("count", exp.Count, value)))
            case exp.Sum():
                return self._summed(value)
            case exp.Avg():
                counted = exp.Sum(this=self._of("count", exp.Count, value))
                total = exp.cast(exp.Sum(this=self._of("sum", exp.Sum, value)), "DOUBLE")
                return exp.Paren(this=exp.Div(this=total, expression=counted))
            case exp.Min():
                return exp.Min(this=self._of("min", exp.Min, value))
            case _:
                return exp.Max(this=self._of("max", exp.Max, value))

    def _counted(self, total: exp.Expr) -> exp.Expr:
        none = exp.Coalesce(this=total, expressions=[exp.Literal.number(0)])
        return exp.cast(none, "BIGINT")

    def _summed(self, value: exp.Column) -> exp.Expr:
        total = exp.Sum(this=self._of("sum", exp.Sum, value))
        kind = next(kind for name, kind in self.shape if name == value.name)
        return exp.cast(total, "HUGEINT") if kind in INTEGERS else total

    def _of(self, word: str, kind: type[exp.AggFunc], value: exp.Column) -> exp.Expr:
        return self._part(f"{word} {value.name}", kind(this=value.copy()))

    def _part(self, name: str, made: exp.Expr) -> exp.Expr:
        taken = {column.casefold() for column, _ in self.shape}
        while name.casefold() in taken:
            name = f"_{name}"
        self.columns.setdefault(name, made)
        return exp.column(name, table=self.alias, quoted=True)
