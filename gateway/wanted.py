"""Which columns of which tables a statement names, as far as its own text tells.

Takes: a surveyed tree, the columns that the caller sees of the tables that he may know. Gives:
what he wants of each table. Never learns more of a table that he may not know than he wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from gateway.resolve import Address

Columns = Mapping[Address, tuple[str, ...]]


@dataclass(slots=True)
class Wanted:
    """What a statement wants of one table.

    `written` is its name as he wrote it. `columns` are those named that belong to it; of a table
    that he may know, `missing` are those he does not see. `is_all`: a star, or names that could
    belong to another table too.
    """

    written: tuple[str, ...]
    address: Address | None
    columns: dict[str, None] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)
    is_all: bool = False


@dataclass(frozen=True, slots=True)
class _Source:
    """Something in a FROM. `outputs` None: they are not known; `wanted` None: no table."""

    alias: str
    wanted: Wanted | None
    outputs: frozenset[str] | None


def wanted_of(tree: exp.Expression, visible: Columns) -> tuple[Wanted, ...]:
    """What a statement wants of each table, in the order of their first mention."""
    found: dict[object, Wanted] = {}
    reader = _Reader(tree, visible, found)
    for select in tree.find_all(exp.Select):
        reader.sources(select)
    for node in tree.find_all(exp.Column, exp.Star, exp.Columns):
        reader.read(node)
    for join in tree.find_all(exp.Join):
        reader.joined(join)
    return tuple(found.values())


class _Reader:
    """Gives names to the sources of the SELECT that they stand in, or of one around it."""

    def __init__(
        self, tree: exp.Expression, visible: Columns, found: dict[object, Wanted]
    ) -> None:
        self._tree = tree
        self._visible = visible
        self._found = found
        self._sources: dict[int, tuple[_Source, ...]] = {}

    def sources(self, select: exp.Select) -> tuple[_Source, ...]:
        """What a SELECT reads from."""
        kept = self._sources.get(id(select))
        if kept is None:
            kept = tuple(self._source(one) for one in _relations(select))
            self._sources[id(select)] = kept
        return kept

    def _source(self, node: exp.Expr) -> _Source:
        alias = node.alias_or_name.casefold()
        if isinstance(node, exp.Table) and ("address" in node.meta or "missing" in node.meta):
            address = node.meta.get("address")
            written = tuple(node.meta["written"])
            key = address or tuple(one.casefold() for one in written)
            wanted = self._found.setdefault(key, Wanted(written, address))
            outputs = None
            if address is not None:
                outputs = frozenset(one.casefold() for one in self._visible.get(address, ()))
            return _Source(alias, wanted, outputs)
        return _Source(alias, None, self._outputs(node))

    def _outputs(self, node: exp.Expr) -> frozenset[str] | None:
        """The names that a sub-query or a CTE gives, where they can be read off."""
        body = node.this if isinstance(node, exp.Subquery) else None
        if isinstance(node, exp.Table):
            name = node.name.casefold()
            ctes = [one for one in self._tree.find_all(exp.CTE) if one.alias.casefold() == name]
            body = ctes[0].this if len(ctes) == 1 else None
            if body is not None and ctes[0].alias_column_names:
                return frozenset(one.casefold() for one in ctes[0].alias_column_names)
        if not isinstance(body, exp.Query):
            return None
        names = node.alias_column_names or body.named_selects
        return None if "*" in names else frozenset(one.casefold() for one in names)

    def read(self, node: exp.Expr) -> None:
        """One column, or a star."""
        select = node.find_ancestor(exp.Select)
        if select is None or (isinstance(node, exp.Star) and isinstance(node.parent, exp.Count)):
            return
        if isinstance(node, exp.Column) and isinstance(node.this, exp.Star):
            found = self._named(select, node.table)
            for one in found[:1]:
                _take_all(one)
        elif not isinstance(node, exp.Column):
            if not isinstance(node.parent, exp.Column):
                for one in self.sources(select):
                    _take_all(one)
        elif node.table and (owners := self._named(select, node.table)):
            _take(owners[0], node.name)
        else:
            # A name before the point that is no table is a column with fields.
            self._unqualified(select, node, (node.table or node.name))

    def _named(self, select: exp.Select, name: str) -> list[_Source]:
        folded = name.casefold()
        return [
            one for around in _around(select) for one in self.sources(around) if one.alias == folded
        ]

    def _unqualified(self, select: exp.Select, node: exp.Column, name: str) -> None:
        folded = name.casefold()
        if _is_alias(select, node, folded):
            return
        unowned: list[_Source] = []
        for around in _around(select):
            sources = self.sources(around)
            owners = [one for one in sources if one.outputs is not None and folded in one.outputs]
            if owners:
                _take(owners[0], name)
                return
            if any(one.alias == folded for one in sources):
                _take_all(next(one for one in sources if one.alias == folded))
                return
            unowned += [one for one in sources if one.wanted is not None]
        unknown = [one for one in unowned if one.outputs is None] or unowned
        if len(unknown) == 1:
            _take(unknown[0], name)
        else:
            for one in unknown:
                _take_all(one)

    def joined(self, join: exp.Join) -> None:
        """The columns of USING belong to both sides; NATURAL may take any."""
        select = join.find_ancestor(exp.Select)
        if select is None:
            return
        for one in self.sources(select):
            if join.args.get("method") == "NATURAL":
                _take_all(one)
            for name in join.args.get("using") or ():
                if one.wanted is not None:
                    _take(one, name.name)


def _relations(select: exp.Select) -> Iterator[exp.Expr]:
    """What stands in the FROM of a SELECT and in its joins."""
    waiting: list[exp.Expr] = []
    source = select.args.get("from_")
    if source is not None:
        waiting.append(source.this)
    waiting += [one.this for one in select.args.get("joins") or ()]
    waiting += list(select.args.get("laterals") or ())
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, exp.Paren) or (
            isinstance(one, exp.Subquery) and isinstance(one.this, exp.Table)
        ):
            waiting.append(one.this)
        else:
            yield one
        waiting += [join.this for join in one.args.get("joins") or ()]


def _around(select: exp.Select) -> Iterator[exp.Select]:
    """A SELECT and those that it stands in."""
    one: exp.Select | None = select
    while one is not None:
        yield one
        one = one.find_ancestor(exp.Select)


def _is_alias(select: exp.Select, node: exp.Column, folded: str) -> bool:
    """Whether a name means an output of its own SELECT rather than a column."""
    for one in select.expressions:
        if isinstance(one, exp.Alias) and one.alias.casefold() == folded:
            return not any(around is one for around in _parents(node))
    return False


def _parents(node: exp.Expr) -> Iterator[exp.Expr]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def _take(source: _Source, name: str) -> None:
    wanted = source.wanted
    if wanted is None:
        return
    names = {one.casefold() for one in (*wanted.columns, *wanted.missing)}
    if name.casefold() in names:
        return
    is_seen = source.outputs is None or name.casefold() in source.outputs
    (wanted.columns if is_seen else wanted.missing)[name] = None


def _take_all(source: _Source) -> None:
    if source.wanted is not None:
        source.wanted.is_all = True
