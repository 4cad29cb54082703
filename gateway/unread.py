"""Columns that nobody reads leave a bound tree (part of stage 5).

Takes: a bound tree that may be changed. Gives: the same tree without those plain columns of
sub-queries that nothing around them reads: BI tools wrap `SELECT *`, and what EXISTS lists is never
looked at. Never removes anything that could fail, that orders, groups or tells rows apart, and
never an output of the statement itself. What the caller was found to read stays as it was bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlglot import exp

# What stands beside a list that EXISTS may do without.
_PLAIN_PARTS = frozenset({"expressions", "from_", "joins", "where", "with_"})
# Where an output may be meant by its name alone or by its place.
_BY_NAME = ("order", "group", "having", "qualify")


def drop_unread(tree: exp.Expression) -> None:
    """Remove from the tree what its sub-queries give in vain, until nothing is left of that."""
    if tree.find(exp.Subquery, exp.CTE, exp.Exists) is None:
        return
    repeated = _repeated_names(tree)
    while _drop_once(tree, repeated):
        pass


def _drop_once(tree: exp.Expression, repeated: frozenset[str]) -> bool:
    """Whether something left; what it read is then perhaps read no more."""
    selects = list(tree.find_all(exp.Select))
    before = sum(len(one.expressions) for one in selects)
    for select in selects:
        holder = select.parent
        if isinstance(holder, exp.Exists):
            _empty_list(select)
        elif isinstance(holder, exp.Subquery) and isinstance(holder.parent, exp.From | exp.Join):
            _narrow(select, holder, [holder])
        elif isinstance(holder, exp.CTE) and holder.alias.casefold() not in repeated:
            _narrow(select, holder, _references(tree, holder.alias))
    return sum(len(one.expressions) for one in selects) < before


def _repeated_names(tree: exp.Expression) -> frozenset[str]:
    """Names of more than one CTE: which of them a reference means is not looked into."""
    names = Counter(one.alias.casefold() for one in tree.find_all(exp.CTE))
    return frozenset(name for name, count in names.items() if count > 1)


def _references(tree: exp.Expression, name: str) -> list[exp.Expression]:
    return [
        one
        for one in tree.find_all(exp.Table)
        if one.name.casefold() == name.casefold() and not one.db and "address" not in one.meta
    ]


def _empty_list(select: exp.Select) -> None:
    """What EXISTS lists has no influence where it consists of plain columns."""
    parts = {key for key, value in select.args.items() if value}
    if parts <= _PLAIN_PARTS and all(_is_column(one) for one in select.expressions):
        select.set("expressions", [exp.alias_(exp.Literal.number(1), "1", quoted=True)])


def _narrow(
    select: exp.Select, holder: exp.Expression, references: list[exp.Expression]
) -> None:
    """Leave the outputs that some reference reads; the first, where none does."""
    alias = holder.args.get("alias")
    named = alias is not None and not alias.args.get("columns")
    if not named or select.args.get("distinct") or _is_by_place(select) or not references:
        return
    read: set[str] = set(_own_names(select))
    for one in references:
        found = _read_of(one)
        if found is None:
            return
        read |= found
    kept = [
        one
        for one in select.expressions
        if not _is_column(one) or one.alias_or_name.casefold() in read
    ]
    select.set("expressions", kept or select.expressions[:1])


def _read_of(reference: exp.Expression) -> set[str] | None:
    """The names that a reference is read for; None where that cannot be told."""
    around = reference.find_ancestor(exp.Select)
    if around is None or reference.args.get("pivots") or reference.args.get("sample"):
        return None
    if any(
        one.args.get("using") or one.method == "NATURAL" for one in around.find_all(exp.Join)
    ):
        return None
    name = reference.alias_or_name
    read: set[str] = set()
    for column in around.find_all(exp.Column):
        is_whole = isinstance(column.this, exp.Star) or (
            not column.table and column.name.casefold() == name.casefold()
        )
        if is_whole:
            return None
        if not column.table or column.table.casefold() == name.casefold():
            read.add(column.name.casefold())
    return read


def _own_names(select: exp.Select) -> Iterator[str]:
    """Names in clauses of the query itself that may mean its outputs."""
    for key in _BY_NAME:
        held = select.args.get(key)
        if held is not None:
            for column in held.find_all(exp.Column):
                yield column.name.casefold()


def _is_by_place(select: exp.Select) -> bool:
    """Whether outputs are meant by their number."""
    order, group = select.args.get("order"), select.args.get("group")
    terms = [one.this for one in order.expressions] if order is not None else []
    terms += list(group.expressions) if group is not None else []
    return any(isinstance(one, exp.Literal) for one in terms)


def _is_column(item: exp.Expr) -> bool:
    return isinstance(item.unalias(), exp.Column)
