"""Where the value of a sub-query may stand in the SQL of a fragment.

Takes: what an input's column is compared with. Gives: the slot for it in the source's own words,
and what EXPLAIN says of it. Never computes a value: that is done as it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import sqlglot
from sqlglot import exp

from gateway.constants import INTEGERS
from gateway.draft import Draft, Input, Note, ValueEdge, ValueSlot
from gateway.estimates import share_of_a_value
from gateway.guard import GuardedRelation
from gateway.merge_text import merge_sql, renamed
from gateway.trees import DUCKDB, as_type, text_in

# Stands for a bound value while a text is cut; no name or number holds it.
_MARK = "\x02"
_SIGNS = {"EQ": "=", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">=", "Between": "BETWEEN"}


def value_slot(
    draft: Draft, edge: ValueEdge, relation: GuardedRelation, column: exp.Expression
) -> ValueSlot:
    """The slot of an edge; `column` is the compared one as its source knows it."""
    kind = next(each.type for each in relation.columns if each.name == edge.column)
    bound = "BIGINT" if kind in INTEGERS else kind
    sql, used = merge_sql(_with_types(edge) if kind == "VARCHAR" else _select(edge.values))
    return ValueSlot(
        edge.providers, sql, used, edge.column, edge.operator, kind, bound,
        _around(exp.GTE, column, bound, draft, relation),
        _around(exp.LTE, column, bound, draft, relation),
        share_of_a_value(draft, edge, relation),
    )  # fmt: skip


def _select(values: Iterable[exp.Expr]) -> exp.Select:
    return exp.Select(expressions=[each.copy() for each in values])


def _with_types(edge: ValueEdge) -> exp.Select:
    """The values, then their types: what only looks like a text is compared in another way."""
    names = [f"value {number}" for number in range(len(edge.values))]
    given = zip(edge.values, names, strict=True)
    inner = _select([exp.alias_(each, name, quoted=True) for each, name in given])
    columns = [exp.column(exp.to_identifier(name, quoted=True)) for name in names]
    types = [exp.Anonymous(this="typeof", expressions=[each.copy()]) for each in columns]
    return exp.Select(expressions=[*columns, *types]).from_(inner.subquery("given"))


def _around(
    comparison: type[exp.Binary], column: exp.Expression, bound: str, draft: Draft,
    relation: GuardedRelation,
) -> tuple[str, str]:  # fmt: skip
    """What stands before and after the bound value where the column is compared with it."""
    abilities = draft.abilities_of(relation)
    value: exp.Expression = exp.Var(this=_MARK)
    if bound in abilities.cast_parameters:
        value = as_type(value, bound)
    made = exp.Paren(this=comparison(this=column.copy(), expression=value))
    before, _, after = text_in(made, abilities.dialect).partition(_MARK)
    return before, after


def over_fetched(slot: ValueSlot, stands_for: Mapping[str, str]) -> ValueSlot:
    """The slot over the fragments that are fetched, where one stands for several inputs."""
    providers = tuple(dict.fromkeys(stands_for[name] for name in slot.providers))
    if providers == slot.providers:
        return slot
    tree = sqlglot.parse_one(slot.sql, dialect=DUCKDB)
    assert isinstance(tree, exp.Expression)
    return replace(slot, providers=providers, sql=renamed(tree, stands_for).sql(DUCKDB))


def value_notes(one: Input) -> Iterator[Note]:
    """A line of EXPLAIN for what is bound as it runs: what is compared, and never with what."""
    for edge in one.values:
        part = f"{edge.column} {_SIGNS[edge.operator]} <value of {', '.join(edge.providers)}>"
        yield Note(part, "pushed", "value", "keys")
    if one.late is not None:
        yield Note(f"{one.late.column} of the first {one.late.taken}", "pushed", "late", "keys")
