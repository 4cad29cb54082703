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
    reader = _Reader(visible, found)
    for select in tree.find_all(exp.Select):
        reader.sources(select)
    for node in tree.find_all(exp.Column, exp.Star, exp.Columns):
        reader.read(node)
    for join in tree.find_all(exp.Join):
        reader.joined(join)
    return tuple(found.values())


class _Reader:
    """Gives names to the sources of the SELECT that they stand in, or of one around it."""

    def __init__(self, visible: Columns, found: dict[object, Wanted]) -> None:
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
            if node.alias_column_names:
                # The names are his own, in the order of columns that he may not know.
                return self._renamed(node, alias)
            key = address or tuple(one.casefold() for one in written)
            wanted = self._found.setdefault(key, Wanted(written, address))
            outputs = None
            if address is not None:
                outputs = frozenset(one.casefold() for one in self._visible.get(address, ()))
            return _Source(alias, wanted, outputs)
        return _Source(alias, None, self._outputs(node))

    def _renamed(self, node: exp.Table, alias: str) -> _Source:
        written = tuple(node.meta["written"])
        address = node.meta.get("address")
        key = address or tuple(one.casefold() for one in written)
        wanted = self._found.setdefault(key, Wanted(written, address))
        wanted.is_all = True
        return _Source(alias, None, None)

    def _outputs(self, node: exp.Expr) -> frozenset[str] | None:
        """The names that a sub-query or a CTE gives, where they can be read off."""
        if node.alias_column_names and not isinstance(node, exp.Table):
            return frozenset(one.casefold() for one in node.alias_column_names)
        body = node.this if isinstance(node, exp.Subquery) else None
        if isinstance(node, exp.Table):
            cte = _cte_of(node)
            body = cte.this if cte is not None else None
            if cte is not None and cte.alias_column_names:
                return frozenset(one.casefold() for one in cte.alias_column_names)
        if not isinstance(body, exp.Query):
            return None
        names = node.alias_column_names or body.named_selects
        return None if "*" in names else frozenset(one.casefold() for one in names)

    def read(self, node: exp.Expr) -> None:
        """One column, or a star."""
        select = node.find_ancestor(exp.Select)
        if select is None or (isinstance(node, exp.Star) and isinstance(node.parent, exp.Count)):
            return
        if not isinstance(node, exp.Column):
            if not isinstance(node.parent, exp.Column):
                for one in self.sources(select):
                    _take_all(one)
            return
        parts = tuple(one.name for one in node.parts)
        owner, column = self._owner(select, parts)
        if owner is None:
            # A name before the point that is no table is a column with fields.
            self._unqualified(select, node, parts[0])
        elif isinstance(node.this, exp.Star):
            _take_all(owner)
        else:
            _take(owner, column)

    def _owner(self, select: exp.Select, parts: tuple[str, ...]) -> tuple[_Source | None, str]:
        """The table before the column's name, by its alias or by its whole name; and the column."""
        folded = tuple(one.casefold() for one in parts)
        for around in _around(select):
            for length in range(min(3, len(parts) - 1), 0, -1):
                for one in self.sources(around):
                    if _is_called(one, folded[:length]):
                        return one, parts[length]
        return None, ""

    def _unqualified(self, select: exp.Select, node: exp.Column, name: str) -> None:
        folded = name.casefold()
        if _is_alias(select, node, folded):
            return
        unowned: list[_Source] = []
        for around in _around(select, is_bounded=True):
            sources = self.sources(around)
            owners = [one for one in sources if one.outputs is not None and folded in one.outputs]
            if owners:
                _take(owners[0], name)
                return
            if any(one.alias == folded for one in sources):
                _take_all(next(one for one in sources if one.alias == folded))
                return
            # What an inner table may have, an outer one is not asked for.
            if not any(one.outputs is None for one in unowned):
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
        sources = self.sources(select)
        alias = join.this.alias_or_name.casefold()
        place = next((n for n, one in enumerate(sources) if one.alias == alias), len(sources) - 1)
        if join.args.get("method") == "NATURAL":
            for one in sources[: place + 1]:
                _take_all(one)
        for name in join.args.get("using") or ():
            _take(sources[place], name.name)
            self._shared(sources[:place], name.name)

    def _shared(self, left: tuple[_Source, ...], name: str) -> None:
        """The side of USING that has several tables: who has the name by other words, has it."""
        folded = name.casefold()
        if any(_has(one, folded) for one in left):
            for one in left:
                if one.outputs is not None and folded in one.outputs:
                    _take(one, name)
            return
        unknown = [one for one in left if one.outputs is None] or list(left)
        for one in unknown:
            if len(unknown) == 1:
                _take(one, name)
            else:
                _take_all(one)


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


def _around(select: exp.Select, is_bounded: bool = False) -> Iterator[exp.Select]:
    """A SELECT and those that it stands in; bounded: as far as its names without a table reach."""
    yield select
    node: exp.Expr = select
    for parent in _parents(select):
        is_apart = isinstance(parent, exp.CTE) or (
            isinstance(parent, exp.From | exp.Join)
            and isinstance(node, exp.Subquery)
            and parent.this is node
        )
        if is_apart and is_bounded:
            return
        if isinstance(parent, exp.Select):
            yield parent
        node = parent


def _cte_of(table: exp.Table) -> exp.CTE | None:
    """The CTE that a name means: the nearest of that name."""
    name = table.name.casefold()
    for parent in _parents(table):
        held = parent.args.get("with_")
        for one in held.expressions if isinstance(held, exp.With) else ():
            if isinstance(one, exp.CTE) and one.alias.casefold() == name:
                return one
    return None


def _has(source: _Source, folded: str) -> bool:
    if source.outputs is not None:
        return folded in source.outputs
    return source.wanted is not None and folded in {
        one.casefold() for one in source.wanted.columns
    }


def _is_alias(select: exp.Select, node: exp.Column, folded: str) -> bool:
    """Whether a name means an output of its own SELECT rather than a column."""
    inside = {id(one) for one in _parents(node)}
    for one in select.expressions:
        if id(one) in inside:
            # Outputs further on are no names yet.
            return False
        if isinstance(one, exp.Alias) and one.alias.casefold() == folded:
            return True
    return False


def _is_called(source: _Source, parts: tuple[str, ...]) -> bool:
    if len(parts) == 1:
        return source.alias == parts[0]
    written = source.wanted.written if source.wanted is not None else ()
    return tuple(one.casefold() for one in written[-len(parts) :]) == parts


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
