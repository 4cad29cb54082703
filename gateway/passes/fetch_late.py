"""Wide columns after the first rows: an input that is wanted only for the rows that a LIMIT leaves.

Takes: a draft after `send_keys`. Gives: a draft in which such an input knows how the keys of the
first rows are found without it, and how it is seen that they were enough. Whether it is fetched so
is decided as it runs. Right whatever stands how often: it rests on no contract's word. Never for an
input that is restricted for the caller, nor by sort keys that add up floats; nor by an order that
reads what must not go to another source: who comes first would tell of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from gateway.aggregates import has_aggregate
from gateway.constants import INTEGERS
from gateway.draft import Draft, Input, LateEdge
from gateway.estimates import is_probably_key
from gateway.passes.push_filters import conjuncts
from gateway.passes.send_keys import stays_at_home
from gateway.passes.send_values import is_masked, is_repeatable
from gateway.trees import DUCKDB

_PARTS = {"expressions", "from_", "joins", "where", "group", "order", "limit", "offset"}
# Of the rows that are shown, how many more are fetched, so that some may be missing.
_TIMES, _MORE = 2, 10
_LARGEST = 1_000
KEY, SORT, PLACE, TOTAL = "key", "sort", "place", "total"


def fetch_late(draft: Draft) -> Draft:
    """Tell each input whether it is wanted for the first rows only."""
    if not draft.context.push_down or len(draft.inputs) < 2:
        return draft
    shape = _shape_of(draft)
    if shape is None:
        return draft
    inputs = dict(draft.inputs)
    for alias, name in shape.inputs.items():
        edge = _edge(alias, shape, draft)
        if edge is not None:
            inputs[name] = replace(inputs[name], late=edge)
    return replace(draft, inputs=inputs)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A statement: its inputs by alias, its conditions, groups (None: not grouped), first order."""

    inputs: Mapping[str, str]
    conditions: tuple[exp.Expression, ...]
    groups: tuple[exp.Expression, ...] | None
    sort: exp.Expression
    order: exp.Ordered
    wanted: int


def _shape_of(draft: Draft) -> _Shape | None:
    tree = draft.tree
    if not isinstance(tree, exp.Select) or {k for k, v in tree.args.items() if v} - _PARTS:
        return None
    if tree.find(exp.Window, exp.Subquery) or len(list(tree.find_all(exp.Query))) > 1:
        return None
    inputs, order, wanted = _inputs(tree, draft), tree.args.get("order"), _wanted(tree)
    conditions = _conditions(tree)
    if inputs is None or order is None or wanted is None or conditions is None:
        return None
    first = order.expressions[0]
    if not isinstance(first, exp.Ordered) or first.args.get("with_fill"):
        return None
    sort, group = _meant(first.this, tree), tree.args.get("group")
    if group is None and any(map(has_aggregate, (*tree.expressions, sort))):
        return None
    if group is not None and {k for k, v in group.args.items() if v} != {"expressions"}:
        return None
    groups = None if group is None else tuple(group.expressions)
    # A name without a table is that of an output.
    read = (sort, *conditions, *(groups or ()), *tree.expressions)
    if not all(_aliases(one) <= set(inputs) for one in read):
        return None
    return _Shape(inputs, conditions, groups, sort, first, wanted)


def _inputs(tree: exp.Select, draft: Draft) -> Mapping[str, str] | None:
    """Plain inner joins of inputs, each read once."""
    first = tree.args.get("from_")
    joins = tree.args.get("joins") or []
    if first is None or any(
        one.side or one.method or one.args.get("using") or one.kind not in ("", "INNER", "CROSS")
        for one in joins
    ):
        return None
    tables = [first.this, *(one.this for one in joins)]
    if not all(isinstance(one, exp.Table) and one.name in draft.inputs for one in tables):
        return None
    found = {one.alias_or_name: one.name for one in tables}
    is_once = len(found) == len(tables) == len(set(found.values()))
    return found if is_once else None


def _wanted(tree: exp.Select) -> int | None:
    """How many rows of the order are needed, with those that are passed over."""
    total = 0
    for key in ("limit", "offset"):
        clause = tree.args.get(key)
        if clause is None:
            continue
        value = clause.expression
        is_plain = isinstance(value, exp.Literal) and value.name.isdigit()
        if not is_plain or {k for k, v in clause.args.items() if v} != {"expression"}:
            return None
        total += int(value.name)
    return total if tree.args.get("limit") is not None and 0 < total <= _LARGEST else None


def _conditions(tree: exp.Select) -> tuple[exp.Expression, ...] | None:
    found: list[exp.Expression] = []
    where = tree.args.get("where")
    for predicate in (
        *([where.this] if where is not None else []),
        *(one.args["on"] for one in tree.args.get("joins") or () if one.args.get("on")),
    ):
        found += conjuncts(predicate)
    return tuple(found) if all(_aliases(one) for one in found) else None


def _meant(node: exp.Expression, tree: exp.Select) -> exp.Expression:
    """What an order names: an output by its name, or itself."""
    if isinstance(node, exp.Column) and not node.table:
        held = [one for one in tree.expressions if one.alias_or_name == node.name]
        return held[0].unalias() if len(held) == 1 else node
    return node


def _aliases(node: exp.Expr) -> set[str]:
    return {column.table for column in node.find_all(exp.Column)}


def _edge(alias: str, shape: _Shape, draft: Draft) -> LateEdge | None:
    """How an input could wait for the first rows; None where that would not be right."""
    one = draft.inputs[shape.inputs[alias]]
    if one.block is not None or one.limit is not None:
        return None
    if not one.relations[0].clear or one.relations[0].block is not None:
        return None
    sides = _sides(alias, shape)
    if sides is None or not _is_asked_by_its_source(one, draft):
        return None
    core, (wide, narrow) = sides
    if not is_probably_key(draft, one.relations[0], wide.name):
        return None
    read = tuple(shape.inputs[each] for each in core)
    kind = next(each.type for each in one.relations[0].columns if each.name == wide.name)
    link = next(
        (
            each for each in one.edges
            if each.column == wide.name and each.provider_column == narrow.name
            and each.provider == shape.inputs[narrow.table]
        ),
        None,
    )  # fmt: skip
    if link is None or kind not in INTEGERS - {"HUGEINT"}:
        return None
    if any(
        is_masked(draft.inputs[name]) or stays_at_home(draft.inputs[name], draft) for name in read
    ):  # fmt: skip
        return None
    whole = (shape.sort, *shape.conditions)
    # A mean may come out in either of two ways, which differ in the last digit.
    if shape.sort.find(exp.Avg) or not all(is_repeatable(each, read, draft) for each in whole):
        return None
    groups = _groups(core, (wide, narrow), shape)
    if shape.groups is not None and groups is None:
        return None
    others = tuple(each for each in shape.inputs if each not in core and each != alias)
    return LateEdge(
        one.relations[0].name,
        wide.name,
        tuple(shape.inputs[each] for each in (*core, *others)),
        _first(core, narrow, groups, shape),
        _enough(alias, wide, others, shape),
        _TIMES * shape.wanted + _MORE,
        shape.wanted,
    )


def _is_asked_by_its_source(one: Input, draft: Draft) -> bool:
    """Whether the source can say which keys stand in it more than once."""
    abilities = draft.abilities_of(one.relations[0])
    counts = "Count" in abilities.aggregates and "BIGINT" in abilities.groupable
    is_able = abilities.can_group and abilities.can_subquery
    return is_able and not abilities.in_place and (counts or abilities.is_reference)


def _sides(
    alias: str, shape: _Shape
) -> tuple[tuple[str, ...], tuple[exp.Column, exp.Column]] | None:
    """What decides the order, and the one equality that ties the input to it.

    All else hangs on the input directly.
    """
    near = _aliases(shape.sort)
    if not near or alias in near:
        return None
    is_growing = True
    while is_growing:
        more = {
            each
            for one in shape.conditions
            if alias not in _aliases(one) and _aliases(one) & near
            for each in _aliases(one)
        }
        is_growing = not more <= near
        near |= more
    across = [one for one in shape.conditions if _aliases(one) & near and _aliases(one) - near]
    if len(across) != 1:
        return None
    tie = _tie(across[0], alias)
    others = set(shape.inputs) - near - {alias}
    if tie is None or not all(_hangs(each, alias, shape) is not None for each in others):
        return None
    return tuple(each for each in shape.inputs if each in near), tie


def _tie(condition: exp.Expression, alias: str) -> tuple[exp.Column, exp.Column] | None:
    """The two plain columns of an equality, that of the alias first."""
    node = condition.unnest()
    if not isinstance(node, exp.EQ):
        return None
    left, right = node.this, node.expression
    if not (isinstance(left, exp.Column) and isinstance(right, exp.Column)):
        return None
    if left.table == alias and right.table != alias:
        return left, right
    return (right, left) if right.table == alias and left.table != alias else None


def _hangs(other: str, alias: str, shape: _Shape) -> exp.Column | None:
    """The column of another input that equals one of the input's."""
    for one in shape.conditions:
        tie = _tie(one, other)
        if tie is not None and tie[1].table == alias:
            return tie[0]
    return None


def _groups(
    core: tuple[str, ...], ties: tuple[exp.Column, exp.Column], shape: _Shape
) -> tuple[exp.Expression, ...] | None:
    """Groups as far as they read what decides the order; None where the key makes no group."""
    held = shape.groups or ()
    near = [one for one in held if _aliases(one) and _aliases(one) <= set(core)]
    far = [one for one in held if _aliases(one) and not _aliases(one) & set(core)]
    if len(near) + len(far) != len(held) or not any(one in ties for one in held):
        return None
    return tuple(one for one in near if one != ties[1])


def _first(
    core: tuple[str, ...],
    narrow: exp.Column,
    groups: tuple[exp.Expression, ...] | None,
    shape: _Shape,
) -> exp.Expression:
    """Keys of the first rows by their place, and how many rows there are."""
    inner = _select(core, shape)
    for value, name in ((narrow, KEY), (shape.sort, SORT)):
        inner.select(exp.alias_(value.copy(), name, quoted=True), copy=False)
    if groups is not None:
        inner.group_by(narrow.copy(), *(one.copy() for one in groups), copy=False)
    order = shape.order.copy()
    order.set("this", exp.column(exp.to_identifier(SORT, quoted=True)))
    ranked = exp.Window(this=exp.Anonymous(this="rank"), order=exp.Order(expressions=[order]))
    counted = exp.Window(this=exp.Count(this=exp.Star()))
    return exp.Select(
        expressions=[
            exp.column(exp.to_identifier(KEY, quoted=True)),
            exp.alias_(ranked, PLACE, quoted=True), exp.alias_(counted, TOTAL, quoted=True),
        ]
    ).from_(inner.subquery("narrow"))  # fmt: skip


def _enough(
    alias: str, wide: exp.Column, others: tuple[str, ...], shape: _Shape
) -> tuple[exp.Expression, ...]:
    """Keys that stand once behind all conditions; then whether each of the others hangs alone."""
    once = _select((alias, *others), shape)
    once.select(exp.alias_(wide.copy(), KEY, quoted=True), copy=False)
    once.group_by(wide.copy(), copy=False)
    counted = exp.Count(this=exp.Star())
    once.having(exp.EQ(this=counted, expression=exp.Literal.number(1)), copy=False)
    alone = []
    for each in others:
        column = _hangs(each, alias, shape)
        assert column is not None
        distinct = exp.Count(this=exp.Distinct(expressions=[column.copy()]))
        query = _from((each,), shape)
        same = exp.EQ(this=exp.Count(this=column.copy()), expression=distinct)
        query.select(same, copy=False)
        alone.append(query)
    return (once, *alone)


def _select(aliases: tuple[str, ...], shape: _Shape) -> exp.Select:
    """These inputs under the conditions that read no others."""
    made = _from(aliases, shape)
    for one in shape.conditions:
        if _aliases(one) <= set(aliases):
            made.where(one.copy(), copy=False)
    return made


def _from(aliases: tuple[str, ...], shape: _Shape) -> exp.Select:
    tables: Iterator[exp.Table] = (
        exp.Table(
            this=exp.to_identifier(shape.inputs[each], quoted=True),
            alias=exp.TableAlias(this=exp.to_identifier(each, quoted=True)),
        )
        for each in aliases
    )
    made = exp.Select().from_(next(tables), copy=False, dialect=DUCKDB)
    for each in tables:
        made.join(each, join_type="CROSS", copy=False)
    return made
