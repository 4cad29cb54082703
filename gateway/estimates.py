"""How many rows an input will deliver, as far as may be known before it runs.

Takes: a draft, with the sizes and the counts that barrier rule 5 permits to look at. Gives: rows of
an input, and what share of a relation's rows one key keeps. Never knows more of a restricted table
than what its contract says and what came under the same decision, nor what a parameter is; what it
does not know it guesses, the same for everybody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from hashlib import sha256

from sqlglot import exp

from gateway.aggregates import has_aggregate
from gateway.computed import TypedText
from gateway.constants import value_of
from gateway.draft import ColumnSize, Draft, Input, KeyEdge, TableSize, ValueEdge
from gateway.guard import GuardedRelation
from gateway.resolve import Address

UNKNOWN_ROWS = 100_000.0
# Guesses of what a predicate lets through. Of equality rather too little: who waits for keys that
# turn out to be many is asked again, who did not wait is not.
_EQUAL, _RANGE, _LIKE, _NULL, _OTHER, _FILTER, _COMPARED = 0.01, 0.3, 0.1, 0.05, 0.5, 0.3, 0.3
# What lies on one side of an average, or between two values, which may be anywhere.
_UNCERTAIN = 0.5
# Statistics count values about: as many of its rows make a column a key.
_NEARLY = 0.8
# Who gives the number of rows as a parameter wants no more than that.
_LIMITED = 1_000.0
_UNKNOWN = TableSize(UNKNOWN_ROWS)
_NOTHING = ColumnSize()
# What of a predicate statistics tell something of.
_TOLD = (
    exp.Column, exp.Identifier, exp.Literal, exp.Parameter, exp.Boolean, exp.Paren, exp.And, exp.Or,
    exp.Not, exp.EQ, exp.NEQ, exp.In, exp.Between, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Is,
    exp.Null, exp.Cast, exp.DataType,
)  # fmt: skip
_DAY_ZERO = date(1970, 1, 1).toordinal()


def shape_of(draft: Draft, one: Input, shown: str) -> str:
    """By what the rows of an input are remembered: its table if it asks for all, else its SQL.

    That is the SQL as it is shown. Values that are bound are no part of it, nor what a policy says:
    what is remembered is about all values, and under one decision the policy is the same.
    """
    first = one.relations[0]
    is_all = one.limit is None and not one.pushed.get(first.name) and _takes_all(one)
    if is_all:
        return shape_of_all(first.address)
    return sha256(f"{draft.source_of(first)} {shown}".encode()).hexdigest()


def shape_of_all(address: Address) -> str:
    """By what all rows of a table that somebody may see are remembered."""
    return sha256(str(address).encode()).hexdigest()


def _takes_all(one: Input) -> bool:
    """Whether every row of the one relation becomes one row."""
    if one.block is None:
        return True
    parts = {name for name, value in one.block.args.items() if value}
    is_plain = isinstance(one.block, exp.Select) and parts == {"expressions", "from_"}
    makes_others = one.block.find(exp.Window, exp.UDTF, exp.Subquery) or has_aggregate(one.block)
    return is_plain and len(one.relations) == 1 and not makes_others


def rows_of(draft: Draft, one: Input, shape: str = "") -> float:
    """The rows that an input is expected to deliver."""
    power = draft.context.observed.get(shape)
    if power is not None and _is_guess(draft, one):
        return float(10**power)
    if one.block is None:
        found = _relation_rows(draft, one, one.relations[0])
        return min(found, float(one.limit)) if one.limit is not None else found
    return _block_rows(draft, one, one.block)


def share_of_a_key(draft: Draft, edges: Sequence[KeyEdge], relation: GuardedRelation) -> float:
    """Of a relation's rows, what one value of a column is expected to have.

    edges: all that end in the column; what one of them tells of its values holds for each.
    """
    table, column = draft.context.tables[relation.address], edges[0].column
    size = _size(draft, relation)
    if column in table.unique:
        return 1 / max(_visible(draft, relation) or size.rows, 1.0)
    known = size.columns.get(column, _NOTHING).distinct
    found = [_distinct_at_provider(draft, each) for each in edges]
    # A foreign key has at most as many values as the key that it refers to.
    other = min((one for one in found if one is not None), default=None)
    if other is not None:
        known = min(other, size.rows if known is None else known)
    elif known is None:
        known = size.rows / 10
    return 1 / max(known, 1.0)


def is_probably_key(draft: Draft, relation: GuardedRelation, column: str) -> bool:
    """Whether a column's values are said to stand once, or nearly so: nothing may rest on that."""
    if column in draft.context.tables[relation.address].unique:
        return True
    size = _size(draft, relation)
    distinct = size.columns.get(column, _NOTHING).distinct
    return distinct is not None and distinct >= size.rows * _NEARLY


def whole_rows(draft: Draft, relation: GuardedRelation) -> float:
    """The rows of a relation's whole table, as far as that may be known."""
    return _visible(draft, relation) or _size(draft, relation).rows


def share_of_a_value(draft: Draft, edge: ValueEdge, relation: GuardedRelation) -> float:
    """Of a relation's rows, what a comparison with a value that nobody knows yet is to keep."""
    if edge.operator != "EQ":
        return _UNCERTAIN
    if edge.column in draft.context.tables[relation.address].unique:
        return 1 / max(_visible(draft, relation) or _size(draft, relation).rows, 1.0)
    return _one_value(_size(draft, relation), exp.column(edge.column))


def values_at_provider(draft: Draft, edge: KeyEdge) -> float | None:
    """How many values the provider's column has in its whole table, where that may be known."""
    found = [_size(draft, each).columns.get(name, _NOTHING).distinct
             for each, name in _at_provider(draft, edge)]  # fmt: skip
    known = [one for one in (*found, _distinct_at_provider(draft, edge)) if one is not None]
    return min(known, default=None)


def bounds_of(
    draft: Draft, edge: KeyEdge, relation: GuardedRelation
) -> tuple[float | None, float | None, float | None]:
    """Lowest, highest of a column, and what share of its rows the provider's bounds keep."""
    own = _size(draft, relation).columns.get(edge.column, _NOTHING)
    if own.low is None or own.high is None:
        return None, None, None
    for each, name in _at_provider(draft, edge):
        other = _size(draft, each).columns.get(name, _NOTHING)
        if other.low is not None and other.high is not None:
            return own.low, own.high, overlap((own.low, own.high), (other.low, other.high))
    return own.low, own.high, None


def overlap(whole: tuple[float, float], part: tuple[float, float]) -> float:
    """Of the whole numbers between two, the share that also lies between two others."""
    both = min(whole[1], part[1]) - max(whole[0], part[0]) + 1
    return min(max(both, 0.0) / max(whole[1] - whole[0] + 1, 1.0), 1.0)


def _distinct_at_provider(draft: Draft, edge: KeyEdge) -> float | None:
    """How many values the provider's column has in its whole table, where it is its key."""
    for each, name in _at_provider(draft, edge):
        if name in draft.context.tables[each.address].unique:
            return _visible(draft, each) or _size(draft, each).rows
    return None


def _at_provider(draft: Draft, edge: KeyEdge) -> Sequence[tuple[GuardedRelation, str]]:
    """The relations that the provider's column may come from, and what it is called there."""
    one = draft.inputs[edge.provider]
    name = edge.provider_column
    relations: Sequence[GuardedRelation] = one.relations[:1]
    if isinstance(one.block, exp.Select):
        value = next((e.unalias() for e in one.block.selects if e.alias_or_name == name), None)
        if not isinstance(value, exp.Column):
            return ()
        name = value.name
        relations = [
            each
            for each in one.relations
            for table in one.block.find_all(exp.Table)
            if table.name == each.name and table.alias_or_name == value.table
        ]
    return [(each, name) for each in relations]


def _size(draft: Draft, relation: GuardedRelation) -> TableSize:
    return draft.context.sizes.get(relation.address, _UNKNOWN)


def _is_guess(draft: Draft, one: Input) -> bool:
    """Whether no statistics tell how many rows an input has."""
    if any(_is_guessed(draft, each) for each in one.relations) or not _takes_all(one):
        return True
    for relation in one.relations:
        columns = _size(draft, relation).columns
        nodes = (node for each in one.pushed.get(relation.name, ()) for node in each.walk())
        if any(not isinstance(node, _TOLD) or _is_unknown(node, columns) for node in nodes):
            return True
    return False


def _is_unknown(node: exp.Expression, columns: Mapping[str, ColumnSize]) -> bool:
    """Whether a node is a column of which statistics tell nothing."""
    return isinstance(node, exp.Column) and columns.get(node.name, _NOTHING) == _NOTHING


def _is_guessed(draft: Draft, relation: GuardedRelation) -> bool:
    """Whether nobody may know how many rows a relation has, but who has seen them."""
    known = draft.context.sizes.get(relation.address)
    return bool(relation.filters) or known is None or known.is_guess


def _visible(draft: Draft, relation: GuardedRelation) -> float | None:
    """The rows of a relation that came before under the same decision."""
    if not _is_guessed(draft, relation):
        return None
    power = draft.context.observed.get(shape_of_all(relation.address))
    return None if power is None else float(10**power)


def _relation_rows(draft: Draft, one: Input, relation: GuardedRelation) -> float:
    size = _size(draft, relation)
    seen = _visible(draft, relation)
    rows = size.rows * _FILTER ** len(relation.filters) if seen is None else seen
    rows *= _share_of_all(one.pushed.get(relation.name, ()), size)
    return max(rows, 1.0)


def _share_of_all(predicates: Sequence[exp.Expression], size: TableSize) -> float:
    """Predicates count as independent, but for the two ends of one range."""
    share = 1.0
    ends: dict[str, list[float]] = {}
    for one in predicates:
        is_end = isinstance(one, exp.LT | exp.LTE | exp.GT | exp.GTE)
        known = _end(one, size) if is_end else None
        if known is None:
            share *= _share(one, size)
        else:
            ends.setdefault(known[0], []).append(known[1])
    for shares in ends.values():
        share *= max(sum(shares) - (len(shares) - 1), 0.0)
    return share


def _end(node: exp.Expression, size: TableSize) -> tuple[str, float] | None:
    """The column of one end of a range and what it lets through, where its bounds are known."""
    names = [one.name for one in (node.this, node.expression) if isinstance(one, exp.Column)]
    if len(names) != 1 or size.columns.get(names[0], _NOTHING).low is None:
        return None
    return names[0], _range(node, size)


def _block_rows(draft: Draft, one: Input, block: exp.Expression) -> float:
    """Joins follow keys: the largest relation, less what the others leave out."""
    sizes = [_visible(draft, each) or _size(draft, each).rows for each in one.relations]
    shares = [
        _relation_rows(draft, one, each) / max(size, 1.0)
        for each, size in zip(one.relations, sizes, strict=True)
    ]
    rows = max(sizes)
    for share in shares:
        rows *= share
    if isinstance(block, exp.Select):
        where = block.args.get("where")
        if where is not None:
            rows *= _share(where.this, _UNKNOWN)
        if block.args.get("group") is not None:
            rows = rows**0.75
        elif any(has_aggregate(each) for each in block.expressions):
            rows = 1.0
        rows *= _EQUAL if block.args.get("having") is not None else 1.0
        limit = block.args.get("limit")
        if limit is not None:
            most = _known_value(limit.expression)
            rows = min(rows, float(most) if isinstance(most, int) else _LIMITED)
    return max(rows, 1.0)


def _share(node: exp.Expression, size: TableSize) -> float:
    """Of all rows, those for which a predicate is true."""
    match node:
        case exp.Paren():
            return _share(node.this, size)
        case exp.And():
            return _share(node.this, size) * _share(node.expression, size)
        case exp.Or():
            both = [_share(one, size) for one in (node.this, node.expression)]
            return min(1.0, sum(both))
        case exp.Not():
            return 1 - _share(node.this, size)
        case exp.EQ() | exp.NullSafeEQ():
            return _equal(node, size)
        case exp.NEQ() | exp.NullSafeNEQ():
            return 1 - _equal(node, size)
        case exp.In():
            each = _one_value(size, node.this)
            return min(1.0, each * max(1, len(node.expressions)))
        case exp.Between():
            low = _below(node.this, node.args["low"], size)
            high = _below(node.this, node.args["high"], size)
            return max(high - low, 0.0) if low is not None and high is not None else _RANGE / 2
        case exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            return _range(node, size)
        case exp.Like() | exp.ILike():
            # NOT LIKE is one node.
            return 1 - _LIKE if node.args.get("negate") else _LIKE
        case exp.Is():
            return _NULL
        case _:
            return _OTHER


def _equal(node: exp.Expression, size: TableSize) -> float:
    sides = [one for one in (node.this, node.expression) if isinstance(one, exp.Column)]
    return _one_value(size, sides[0]) if len(sides) == 1 else _EQUAL


def _one_value(size: TableSize, column: exp.Expression) -> float:
    distinct = size.columns.get(column.name, _NOTHING).distinct
    return 1 / max(distinct, 1.0) if distinct is not None else _EQUAL


def _range(node: exp.Expression, size: TableSize) -> float:
    left, right = node.this, node.expression
    if isinstance(left, exp.Column) and isinstance(right, exp.Column):
        return _COMPARED
    is_below = isinstance(node, exp.LT | exp.LTE)
    if isinstance(right, exp.Column):
        left, right, is_below = right, left, not is_below
    found = _below(left, right, size)
    if found is None:
        return _RANGE
    return found if is_below else 1 - found


def _below(column: exp.Expression, bound: exp.Expression, size: TableSize) -> float | None:
    """Of all rows, those whose value lies below a bound, as if values were spread evenly."""
    known = size.columns.get(column.name, _NOTHING)
    value = _number(_known_value(bound))
    if value is None or known.low is None or known.high is None:
        return None
    width = known.high - known.low
    return min(1.0, max(0.0, (value - known.low) / width)) if width > 0 else 0.5


def _known_value(constant: exp.Expression) -> object | None:
    """What stands in the text: a parameter has other values when the plan is used again."""
    return None if constant.find(exp.Parameter) is not None else value_of(constant, ())


def _number(value: object) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float | Decimal):
        return float(value)
    if isinstance(value, TypedText) and value.type_name == "DATE":
        with contextlib.suppress(ValueError):
            return float(date.fromisoformat(value).toordinal() - _DAY_ZERO)
    if isinstance(value, date):
        return float(value.toordinal() - _DAY_ZERO)
    return None
