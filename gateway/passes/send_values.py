"""Values: what a scalar sub-query gives may bound what is fetched of another input.

Takes: a draft after all passes that move predicates. Gives: a draft whose inputs know with which
sub-queries their columns are compared, where a filter could go down. Whether a value is sent is
decided as it runs, and the comparison stays in the merge: what is sent is but a bound. Never sends
what reads a masked column, one whose contract or policies say that its keys stay, or groups; nor
what could be another value when the merge computes it once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlglot import exp

from gateway.aggregates import is_aggregation
from gateway.blocks import output_types
from gateway.constants import INTEGERS, family
from gateway.draft import Draft, Input, Note, ValueEdge
from gateway.passes.columns_down import Origin, origin_of
from gateway.passes.push_filters import decided_by, narrowing
from gateway.passes.send_keys import stays_at_home
from gateway.trees import as_type
from gateway.volatile import is_volatile

# More values for one input are not weighed.
_MOST = 4
_TURNED: dict[type[exp.Expr], str] = {
    exp.EQ: "EQ", exp.LT: "GT", exp.LTE: "GTE", exp.GT: "LT", exp.GTE: "LTE",
}  # fmt: skip
_NUMBERS = (*(INTEGERS - {"HUGEINT"}), "DECIMAL", "DOUBLE")
_EXAMPLES = {
    "VARCHAR": "x", "DATE": "2000-01-01",
    "TIMESTAMP": "2000-01-01 00:00:00", "TIMESTAMP WITH TIME ZONE": "2000-01-01 00:00:00+00:00",
}  # fmt: skip
# What may choose among rows, computes what only the engine knows, is about many values, or makes
# texts equal that are not.
_UNCERTAIN = (
    exp.All, exp.Any, exp.Limit, exp.Offset, exp.Fetch, exp.Window, exp.Qualify, exp.TableSample,
    exp.UDTF, exp.Lateral, exp.Anonymous, exp.Pivot, exp.Collate,
)  # fmt: skip
_CERTAIN_AGGREGATES = (exp.Count, exp.Min, exp.Max, exp.Sum, exp.Avg)
_ADDING = (exp.Sum, exp.Avg)
_ADDED = (
    exp.Column, exp.Identifier, exp.Literal, exp.Paren, exp.Add, exp.Sub, exp.Mul, exp.Neg,
    exp.Distinct,
)  # fmt: skip
_FLOATS = ("DOUBLE", "FLOAT", "REAL")


def send_values(draft: Draft) -> Draft:
    """Tell each input what values could bound it."""
    if not draft.context.push_down or len(draft.inputs) < 2:
        return draft
    inputs = dict(draft.inputs)
    for select in draft.tree.find_all(exp.Select):
        for conjunct, aliases in narrowing(select):
            for column, operator, values in _comparisons(conjunct.unnest()):
                if column.table in aliases:
                    _note(column, (operator, values), draft, inputs)
    return replace(draft, inputs=inputs)


def _comparisons(
    node: exp.Expr,
) -> Iterator[tuple[exp.Column, str, tuple[exp.Expression, ...]]]:
    """A column, how it compares, and with what, where that holds a query."""
    match node:
        case exp.Between(this=exp.Column() as column) if not node.args.get("symmetric"):
            low, high = node.args["low"], node.args["high"]
            if low.find(exp.Query) or high.find(exp.Query):
                yield column, "Between", (low, high)
        case exp.EQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            left, right = node.this, node.expression
            if isinstance(left, exp.Column) and right.find(exp.Query):
                yield left, type(node).__name__, (right,)
            elif isinstance(right, exp.Column) and left.find(exp.Query):
                yield right, _TURNED[type(node)], (left,)


def _note(
    column: exp.Column,
    compared: tuple[str, tuple[exp.Expression, ...]],
    draft: Draft,
    inputs: dict[str, Input],
) -> None:
    """Add an edge where the column may be bounded, the value is certain and everybody agrees."""
    target = origin_of(column, draft.tree, inputs)
    if target is None or not _may_take(target, draft, inputs):
        return
    operator, values = compared[0], tuple(one.copy() for one in compared[1])
    providers = _read_by(values, inputs)
    if not providers or target.input in providers or not _is_certain(values, providers, draft):
        return
    one = inputs[target.input]
    if any(is_masked(inputs[name]) for name in providers) or len(one.values) == _MOST:
        return
    if any(stays_at_home(inputs[name], draft) for name in providers):
        part = f"value that {target.relation_column} is compared with"
        note = Note(part, "stayed", "keys_stay", "keys")
        if note not in one.notes:
            inputs[target.input] = replace(one, notes=(*one.notes, note))
        return
    edge = ValueEdge(target.relation, target.relation_column, operator, values, providers)
    inputs[target.input] = replace(one, values=(*one.values, edge))


def _may_take(target: Origin, draft: Draft, inputs: dict[str, Input]) -> bool:
    """Whether a constant of the column's type may be compared with it beside its policy."""
    one = inputs[target.input]
    relation = next(each for each in one.relations if each.name == target.relation)
    kind = next(each.type for each in relation.columns if each.name == target.relation_column)
    example = _example(kind)
    if one.limit is not None or relation.block is not None or example is None:
        return False
    named = exp.column(exp.to_identifier(target.relation_column, quoted=True))
    return decided_by(exp.GTE(this=named, expression=example), relation, draft)[0] is None


def _example(kind: str) -> exp.Expression | None:
    """Some constant of a type that has an order and bounds; None for others."""
    if family(kind) in _NUMBERS:
        return exp.Literal.number(0)
    text = _EXAMPLES.get(family(kind))
    if text is None:
        return None
    is_text = kind == "VARCHAR"
    return exp.Literal.string(text) if is_text else as_type(exp.Literal.string(text), kind)


def _read_by(
    values: tuple[exp.Expression, ...], inputs: dict[str, Input]
) -> tuple[str, ...]:
    """The inputs that values read; nothing where they read anything else."""
    found: dict[str, None] = {}
    for value in values:
        named = {cte.alias for cte in value.find_all(exp.CTE)}
        if named & set(inputs) or any(one.recursive for one in value.find_all(exp.With)):
            return ()
        for table in value.find_all(exp.Table):
            if table.name in inputs:
                found[table.name] = None
            elif table.name not in named:
                return ()
    return tuple(found)


def _is_certain(
    values: tuple[exp.Expression, ...], providers: tuple[str, ...], draft: Draft
) -> bool:
    """Whether the values read nothing around them, and are the same each time."""
    return all(
        is_repeatable(value, providers, draft)
        and all(_is_own(column) for column in value.find_all(exp.Column))
        for value in values
    )


def is_repeatable(value: exp.Expression, providers: tuple[str, ...], draft: Draft) -> bool:
    """Whether the engine computes the same of the same inputs each time."""
    if value.find(*_UNCERTAIN) or is_volatile(value):
        return False
    for node in value.walk():
        if isinstance(node, exp.Distinct) and node.args.get("on"):
            return False
        if is_aggregation(node) and not isinstance(node, _CERTAIN_AGGREGATES):
            return False
        # Floats are added up in another order each time.
        if isinstance(node, _ADDING) and not _adds_exactly(node, providers, draft):
            return False
    return True


def _is_own(column: exp.Column) -> bool:
    """Whether what a column is of stands in the value itself."""
    node: exp.Expr | None = column.parent
    while node is not None:
        if isinstance(node, exp.Select):
            first = node.args.get("from_")
            held = [*([first] if first is not None else []), *(node.args.get("joins") or ())]
            if any(one.this.alias_or_name == column.table for one in held):
                return True
        node = node.parent
    return False


def _adds_exactly(node: exp.Expr, providers: tuple[str, ...], draft: Draft) -> bool:
    if not all(isinstance(each, _ADDED) for each in node.this.walk()):
        return False
    if any("e" in each.name.lower() for each in node.find_all(exp.Literal)):
        return False
    return not any(kind in _FLOATS for name in providers for kind in _types(name, draft))


def _types(name: str, draft: Draft) -> tuple[str, ...]:
    one = draft.inputs[name]
    if one.block is not None:
        return output_types(one.block, draft)
    return tuple(column.type for column in one.relations[0].columns)


def is_masked(one: Input) -> bool:
    """Whether anything that an input reads is masked, or shows groups only."""
    return any(
        relation.block is not None or not all(column.clear for column in relation.columns)
        for relation in one.relations
    )
