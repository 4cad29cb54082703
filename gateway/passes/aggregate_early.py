"""Rows of one source are summed up before they are joined with those of others.

Takes: a draft. Gives: a draft in which a relation that a grouped query joins by a key of its
groups, and otherwise only aggregates, delivers one row a key, with its counts and sums. Rows of one
key are alike to all that stands around them, so nothing else changes. Never for floats, whose sums
depend on their order, for tables that show groups only, where the merge reads rows in place, nor
where there would be almost as many groups as rows, or so many that to fetch the rows costs less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp

from gateway.aggregates import stands_in_aggregate
from gateway.blocks import block_verdict
from gateway.draft import Draft, Input, Note
from gateway.implied import bare, flat
from gateway.partial import Partial, simple_aggregates
from gateway.passes.filter_above import Above, filters_above, taken_down, told_as_pushed
from gateway.repeats import costs_less_apart, often_repeats


def aggregate_early(draft: Draft) -> Draft:
    """Aggregate what may be aggregated at its source."""
    if not draft.context.push_down or len(draft.inputs) < 2:
        return draft
    inputs = dict(draft.inputs)
    for select in list(draft.tree.find_all(exp.Select)):
        if not is_grouped(select):
            continue
        for table in joined_tables(select):
            one = inputs.get(table.name)
            if one is not None and _may_shrink(select, table, one, draft, inputs):
                above = filters_above(select, table, one, draft)
                found = Early(select, table, one, above)
                reason = found.apply(replace(draft, inputs=inputs), inputs)
                if reason is None:
                    break
                note = Note(f"aggregates of {table.alias_or_name}", "stayed", reason, "aggregate")
                inputs[table.name] = replace(one, notes=(*one.notes, note))
    return replace(draft, inputs=inputs)


def is_grouped(select: exp.Select) -> bool:
    """Whether it has plain keys, and nothing within that might look at single rows."""
    group = select.args.get("group")
    if group is None or not group.expressions or not select.args.get("joins"):
        return False
    others = [key for key, value in group.args.items() if value and key != "expressions"]
    odd = any(select.args.get(key) for key in ("qualify", "laterals", "windows"))
    joins = select.args["joins"]
    plain = all(not one.method and one.kind in ("", "INNER", "CROSS", "OUTER") for one in joins)
    parts = [one for key, one in select.args.items() if key not in ("with_", "from_", "joins")]
    nested = any(
        each.find(exp.Query, exp.Window)
        for part in parts
        for each in (part if isinstance(part, list) else [part])
        if isinstance(each, exp.Expression)
    )
    return not others and not odd and plain and not nested


def joined_tables(select: exp.Select) -> list[exp.Table]:
    """The tables that it reads itself."""
    first = select.args.get("from_")
    nodes = [first.this] if first is not None else []
    nodes += [one.this for one in select.args.get("joins") or ()]
    return [one for one in nodes if isinstance(one, exp.Table) and not one.args.get("joins")]


def _may_shrink(
    select: exp.Select, table: exp.Table, one: Input, draft: Draft, inputs: dict[str, Input]
) -> bool:
    """Whether its rows travel, and alone from their source."""
    relation = one.relations[0]
    abilities = draft.abilities_of(relation)
    if one.block is not None or one.limit is not None or relation.block is not None:
        return False
    if abilities.is_reference or not abilities.can_group:
        return False
    source = draft.source_of(relation)
    others = [inputs[each.name] for each in joined_tables(select) if each.name in inputs]
    return all(
        each is one or all(draft.source_of(member) != source for member in each.relations)
        for each in others
    )


@dataclass(slots=True)
class Early:
    """One relation of a grouped query under aggregation."""

    select: exp.Select
    table: exp.Table
    one: Input
    above: tuple[Above, ...] = ()

    def apply(self, draft: Draft, inputs: dict[str, Input]) -> str | None:
        """None where it was done, else the reason why not."""
        alias, shape = self.table.alias_or_name, self.one.relations[0].shape
        aggregates = simple_aggregates(self.select, alias, shape)
        key = self._key()
        if aggregates is None or key is None:
            return "not_combinable" if aggregates is None else "not_one_key"
        if not often_repeats(draft, self.one, [(self.one.relations[0], key)]):
            return "rarely_repeats"
        others = [inputs[one.name] for one in joined_tables(self.select)
                  if one is not self.table and one.name in inputs]  # fmt: skip
        if costs_less_apart(draft, self.one, key, self._read(), others):
            return "rows_cheaper"
        block, finals = self._taken_apart(aggregates, key)
        verdict = block_verdict(block, draft)
        if verdict.block is None:
            return verdict.reason
        name = f"block_{self.table.name}"
        del inputs[self.table.name]
        note = Note(f"aggregates by {key}", "pushed", "", "aggregate")
        notes = (*told_as_pushed(self.one, self.above), note)
        inputs[name] = replace(
            self.one, relations=verdict.relations, block=verdict.block, notes=notes
        )
        taken_down(self.above)
        self.table.set("alias", self._alias())
        self.table.set("this", exp.to_identifier(name, quoted=True))
        for node, final in finals:
            node.replace(final)
        return None

    def apply_here(self) -> bool:
        """Whether its rows may be grouped in the merge before they are joined; then they are."""
        alias, shape = self.table.alias_or_name, self.one.relations[0].shape
        aggregates, key = simple_aggregates(self.select, alias, shape), self._key()
        if aggregates is None or key is None:
            return False
        block, finals = self._taken_apart(aggregates, key)
        self.table.replace(exp.Subquery(this=block, alias=self._alias()))
        for node, final in finals:
            node.replace(final)
        return True

    def _taken_apart(
        self, aggregates: list[exp.AggFunc], key: str
    ) -> tuple[exp.Select, list[tuple[exp.AggFunc, exp.Expr]]]:
        """The groups by a key, and what stands in the place of each aggregate over them."""
        partial = Partial(self.table.alias_or_name, self.one.relations[0].shape, {})
        finals = [(node, partial.final(node)) for node in aggregates]
        return self._block(key, partial), finals

    def _alias(self) -> exp.Expression:
        made = exp.TableAlias(this=exp.to_identifier(self.table.alias_or_name, quoted=True))
        found = self.table.args.get("alias") or made
        assert isinstance(found, exp.Expression)
        return found.copy()

    def _key(self) -> str | None:
        """The one column that is read outside of aggregates, if groups are made by it."""
        alias = self.table.alias_or_name
        columns = (each.predicate.find_all(exp.Column) for each in self.above)
        moved = {id(one) for each in columns for one in each}
        read = [
            one for one in self.select.find_all(exp.Column)
            if one.table == alias and id(one) not in moved
        ]  # fmt: skip
        if any(one.find_ancestor(exp.Select) is not self.select for one in read):
            # A query within might look at single rows.
            return None
        named = {one.name for one in read if not stands_in_aggregate(one)}
        if len(named) != 1:
            return None
        (name,) = named
        keys = {(one.table, one.name) for one in self.select.args["group"].expressions
                if isinstance(one, exp.Column)}  # fmt: skip
        equal = {(alias, name)} | {
            (other.table, other.name)
            for one, other in self._equalities()
            if (one.table, one.name) == (alias, name)
        }
        return name if keys & equal else None

    def _read(self) -> set[str]:
        alias = self.table.alias_or_name
        return {one.name for one in self.select.find_all(exp.Column) if one.table == alias}

    def _equalities(self) -> list[tuple[exp.Column, exp.Column]]:
        where = self.select.args.get("where")
        holders = [where.this] if where is not None else []
        holders += [one.args["on"] for one in self.select.args["joins"] if one.args.get("on")]
        found = []
        for holder in holders:
            for one in flat(holder, exp.And):
                node = bare(one)
                left, right = node.args.get("this"), node.args.get("expression")
                if not isinstance(node, exp.EQ) or not isinstance(left, exp.Column):
                    continue
                if isinstance(right, exp.Column):
                    found += [(left, right), (right, left)]
        return found

    def _block(self, key: str, partial: Partial) -> exp.Select:
        alias = self.table.alias_or_name
        column = exp.column(key, table=alias, quoted=True)
        block = exp.Select().select(exp.alias_(column, key, quoted=True), copy=False)
        for name, made in partial.columns.items():
            block.select(exp.alias_(made, name, quoted=True), copy=False)
        block.from_(self.table.copy(), copy=False)
        for each in self.above:
            block.where(each.predicate.copy(), copy=False)
        block.set("group", exp.Group(expressions=[column.copy()]))
        return block
