"""The first rows by an order are chosen at the source, whatever the merge makes of them.

Takes: a draft after blocks and joins have gone down. Gives: a draft in which a relation that alone
decides which rows come first delivers no others: it is ordered by its own columns and limited, and
nothing but LEFT JOINs stands beside it. The merge orders and limits again. Never below a predicate
that stayed in the merge (trap 38).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlglot import exp

from gateway.aggregates import has_aggregate
from gateway.blocks import block_verdict
from gateway.draft import Draft, Input, Note
from gateway.implied import bare
from gateway.passes.spread_limits import rows_wanted

_BETWEEN = ("where", "group", "having", "qualify", "distinct", "laterals", "windows")


def push_top(draft: Draft) -> Draft:
    """Make a block of each relation whose first rows are enough."""
    if not draft.context.push_down:
        return draft
    inputs = dict(draft.inputs)
    for select in list(draft.tree.find_all(exp.Select)):
        table = _leading(select)
        one = inputs.get(table.name) if table is not None else None
        if table is None or one is None or one.block is not None or one.limit is not None:
            continue
        block = _block(select, table, one)
        if block is not None:
            _replace(table, block, one, replace(draft, inputs=inputs), inputs)
    return replace(draft, inputs=inputs)


def _leading(select: exp.Select) -> exp.Table | None:
    """The table whose rows all come through, each at least once."""
    first = select.args.get("from_")
    joins = select.args.get("joins") or []
    if first is None or not isinstance(first.this, exp.Table) or first.this.args.get("joins"):
        return None
    plain = all(one.side == "LEFT" and not one.method and not one.args.get("using") and
                one.kind in ("", "OUTER") for one in joins)  # fmt: skip
    if not plain or any(select.args.get(key) for key in _BETWEEN):
        return None
    odd = (exp.Window, exp.Unnest, exp.Explode)
    if any(has_aggregate(one) or one.find(*odd) for one in _outputs(select)):
        return None
    return first.this


def _outputs(select: exp.Select) -> Iterator[exp.Expression]:
    yield from select.expressions
    if select.args.get("order"):
        yield select.args["order"]


def _block(select: exp.Select, table: exp.Table, one: Input) -> exp.Select | None:
    """The relation's columns, ordered and limited as the query is."""
    rows, order = rows_wanted(select), select.args.get("order")
    if rows is None or order is None or one.relations[0].block is not None:
        return None
    alias = table.alias_or_name
    keys = [_key(key, select, alias) for key in order.expressions]
    if None in keys:
        return None
    block = exp.Select()
    for name, _ in one.relations[0].shape:
        column = exp.column(name, table=alias, quoted=True)
        block.select(exp.alias_(column, name, quoted=True), copy=False)
    block.from_(table.copy(), copy=False)
    block.set("order", exp.Order(expressions=keys))
    block.set("limit", exp.Limit(expression=exp.Literal.number(rows)))
    return block


def _key(key: exp.Expression, select: exp.Select, alias: str) -> exp.Ordered | None:
    """A sort key as a column of the table; None where it is anything else."""
    if not isinstance(key, exp.Ordered) or key.args.get("with_fill"):
        return None
    value = bare(key.this)
    if isinstance(value, exp.Column) and not value.table:
        named = [one for one in select.expressions if one.alias_or_name == value.name]
        value = named[0].unalias() if len(named) == 1 else value
    if not (isinstance(value, exp.Column) and value.table == alias):
        return None
    made = key.copy()
    made.set("this", value.copy())
    return made


def _replace(
    table: exp.Table, block: exp.Select, one: Input, draft: Draft, inputs: dict[str, Input]
) -> None:
    verdict = block_verdict(block, draft)
    if verdict.block is None:
        return
    name = f"block_{table.name}"
    del inputs[table.name]
    rows = block.args["limit"].expression.name
    note = Note(f"ORDER BY, LIMIT {rows}", "pushed", "", "limit")
    inputs[name] = replace(
        one, relations=verdict.relations, block=verdict.block, notes=(*one.notes, note)
    )
    alias = exp.TableAlias(this=exp.to_identifier(table.alias_or_name, quoted=True))
    table.set("alias", table.args.get("alias") or alias)
    table.set("this", exp.to_identifier(name, quoted=True))
