"""Queries: SELECT, set operations, VALUES, WITH, each clause in DuckDB's order of binding.

Takes: a resolved query, the scope around it, what its reader asks of its outputs. Gives: the
bound query, its outputs, and how an ORDER BY may call them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sqlglot import exp

from gateway.binding.clauses import OutputKeys, Projection, bind_group, bind_order, refuse_ungrouped
from gateway.binding.expressions import Place, bind_expression, path_of
from gateway.binding.lookup import Found, look_up
from gateway.binding.output_names import name_of
from gateway.binding.scopes import (
    Alias,
    Bound,
    Cte,
    Ctes,
    Output,
    Scope,
    Shape,
    Visible,
    distinct,
)
from gateway.binding.sources import Sources
from gateway.binding.stars import Item, columns_in, expand_columns, expand_star, is_star
from gateway.binding.words import ambiguous, unknown, unsupported
from gateway.errors import TypeMismatch


class Binder:
    """Binds the queries of one statement."""

    def __init__(self, visible: Visible) -> None:
        self._sources = Sources(visible, self.bind)

    def bind(self, node: exp.Expression, parent: Scope, shape: Shape) -> Bound:
        """Any query."""
        match node:
            case exp.Select():
                return self._select(node, parent, shape)
            case exp.SetOperation():
                return self._set_operation(node, parent, shape)
            case exp.Subquery():
                return self._subquery(node, parent, shape)
            case exp.Values():
                return self._values(node, parent, shape)
            case _:
                raise unsupported(f"{type(node).__name__} is not served as a query")

    def _ctes(self, node: exp.Expression, parent: Scope) -> Scope:
        """The parent scope, with the WITH of a query in it."""
        with_ = node.args.get("with_")
        if with_ is None:
            return parent
        ctes = dict(parent.ctes)
        own: set[str] = set()
        for cte in with_.expressions:
            folded = cte.alias.casefold()
            if folded in own:
                raise ambiguous(f"The name {cte.alias} stands for two WITH queries",
                                cte.args["alias"].this, "Give each its own name.")
            own.add(folded)
            ctes[folded] = self._cte(cte, _within(parent, ctes), bool(with_.recursive))
        return _within(parent, ctes)

    def _cte(self, cte: exp.CTE, scope: Scope, recursive: bool) -> Cte:
        alias = cte.args["alias"]
        shape = Shape(tuple(one.name for one in alias.columns), unique=True, is_strict=False)
        body = cte.this
        if recursive and isinstance(body, exp.SetOperation):
            bound = self._set_operation(body, scope, shape, own=cte.alias)
        else:
            bound = self.bind(body, scope, shape)
        cte.set("this", bound.node)
        cte.set("alias", exp.TableAlias(this=exp.to_identifier(cte.alias, quoted=True)))
        return Cte(cte.alias, bound.outputs)

    def _subquery(self, node: exp.Subquery, parent: Scope, shape: Shape) -> Bound:
        """A query in parentheses, maybe with an ORDER BY or LIMIT behind them."""
        parent = self._ctes(node, parent)
        _push_tail(node)
        bound = self.bind(node.this, parent, shape)
        node.set("this", bound.node)
        self._tail(node, bound, parent)
        return Bound(node, bound.outputs, bound.called)

    def _values(self, node: exp.Values, parent: Scope, shape: Shape) -> Bound:
        """VALUES as a query becomes a SELECT, so that its outputs have names."""
        tail = {key: node.args.get(key) for key in ("order", "limit", "offset", "with_")}
        for key in tail:
            node.set(key, None)
        select = exp.Select(expressions=[exp.Star()])
        node.set("alias", None)
        select.set("from_", exp.From(this=node))
        for key, value in tail.items():
            select.set(key, value)
        return self._select(select, parent, shape)

    def _set_operation(
        self, node: exp.SetOperation, parent: Scope, shape: Shape, own: str = ""
    ) -> Bound:
        parent = self._ctes(node, parent)
        by_name = bool(node.args.get("by_name"))
        left = self.bind(node.this, parent, Shape() if by_name else shape)
        after = parent
        if own:
            after = _within(parent, {**parent.ctes, own.casefold(): Cte(own, left.outputs)})
        right = self.bind(node.expression, after, Shape())
        node.set("this", left.node)
        node.set("expression", right.node)
        if by_name:
            if own:
                raise unsupported("UNION BY NAME is not served in a recursive query")
            bound = _by_name(node, left, right, shape)
        else:
            bound = _by_position(node, left, right)
        self._tail(node, bound, parent)
        return bound

    def _tail(self, node: exp.Expression, bound: Bound, parent: Scope) -> None:
        """ORDER BY, LIMIT and OFFSET behind a set operation or parentheses."""
        place = Place(_within(None, parent.ctes), self.bind)
        self._limits(node, place)
        order = node.args.get("order")
        if order is None:
            return
        keys = _keys_behind(node, bound)
        folded = {one.name.casefold() for one in bound.outputs}
        takes_expressions = _is_set(node) and len(folded) == len(bound.outputs)
        for one in order.expressions:
            for column in list(one.find_all(exp.Column)):
                position = keys.called(column)
                if position is None:
                    raise unknown(f"{column.sql('duckdb')} names no output of the query",
                                  column.this)
                if not (takes_expressions or _is_key(one.this)):
                    raise unsupported("ORDER BY takes the name of an output here", column.this)
                if column is not one.this:
                    column.replace(keys.key(position))
        is_plain = all(_is_key(one.this) for one in order.expressions)
        if is_plain:
            bind_order(order, keys, place)

    def _limits(self, node: exp.Expression, place: Place) -> None:
        for key in ("limit", "offset"):
            clause = node.args.get(key)
            if clause is None:
                continue
            empty = Place(_within(None, place.scope.ctes), self.bind)
            for inner in ("expression", "count"):
                value = clause.args.get(inner)
                if isinstance(value, exp.Expression):
                    clause.set(inner, bind_expression(value, empty))

    def _select(self, select: exp.Select, parent: Scope, shape: Shape) -> Bound:
        if select.args.get("laterals") or select.args.get("kind"):
            raise unsupported("This form of SELECT is not served")
        outer = self._ctes(select, parent)
        scope = Scope(parent=outer, ctes=outer.ctes)
        self._sources.fill(select, scope)
        place = Place(scope, self.bind)
        projections = self._projections(select, place)
        _name(projections, shape)
        select.set("expressions", [
            exp.Alias(this=one.expression, alias=exp.to_identifier(one.name, quoted=True))
            for one in projections
        ])
        self._clauses(select, projections, place)
        outputs = tuple(Output(one.name, one.name, one.type) for one in projections)
        return Bound(select, outputs, tuple(one.called for one in projections))

    def _clauses(
        self, select: exp.Select, projections: Sequence[Projection], place: Place
    ) -> None:
        where = select.args.get("where")
        if where is not None:
            where.set("this", _condition(where.this, place))
        group = select.args.get("group")
        by_all = group is not None and bool(group.args.get("all"))
        if group is not None:
            bind_group(group, projections, place)
            if not any(group.args.values()):
                select.set("group", None)
        for window in select.args.get("windows") or []:
            bind_expression(window, place)
        having = select.args.get("having")
        if having is not None:
            place.scope.preferred = _preferred(select, place.scope)
            having.set("this", bind_expression(having.this, place))
            place.scope.preferred = frozenset()
            if by_all:
                refuse_ungrouped(having.this, select.args.get("group"))
        qualify = select.args.get("qualify")
        if qualify is not None:
            qualify.set("this", bind_expression(qualify.this, place))
        keys = _keys(projections, place.scope)
        distinct = select.args.get("distinct")
        if distinct is not None and distinct.args.get("on") is not None:
            on = distinct.args["on"]
            inner = on.expressions if isinstance(on, exp.Tuple) else [on]
            order = exp.Order(expressions=list(inner))
            bind_order(order, keys, place, "DISTINCT ON")
            made = [one.this for one in order.expressions]
            distinct.set("on", exp.Tuple(expressions=made))
        if select.args.get("order") is not None:
            bind_order(select.args["order"], keys, place)
        self._limits(select, place)

    def _projections(self, select: exp.Select, place: Place) -> list[Projection]:
        written = list(select.expressions)
        if not written:
            written = [exp.Star()]
        scope = place.scope
        later = [one.alias.casefold() for one in written if isinstance(one, exp.Alias)]
        made: list[Projection] = []
        for one in written:
            scope.pending = frozenset(later)
            for projection in self._projection(one, place):
                made.append(projection)
                if projection.is_alias:
                    size = sum(1 for _ in projection.expression.walk())
                    for name in projection.called:
                        scope.aliases[name] = Alias(projection.expression, size)
            if isinstance(one, exp.Alias):
                later.pop(0)
        scope.pending = frozenset()
        return made

    def _projection(self, node: exp.Expression, place: Place) -> Iterator[Projection]:
        """The outputs of one projection, which are several for stars and COLUMNS."""
        alias = node.alias if isinstance(node, exp.Alias) else ""
        inner = node.this if alias else node
        if not alias and isinstance(inner, exp.Columns) and not inner.args.get("unpack"):
            yield from (_of_item(one, is_alias=True) for one in expand_star(inner, place))
        elif is_star(inner) and not isinstance(inner, exp.Columns):
            if alias:
                raise unsupported("A star takes no alias")
            yield from (_of_item(one, one.is_alias) for one in expand_star(inner, place))
        elif columns_in(inner):
            if "\\" in alias:
                raise unsupported("An alias of COLUMNS takes no groups of a pattern")
            for name, made in expand_columns(inner, place):
                written = alias or name or name_of(made)
                yield self._computed(made, place, written, bool(alias or name))
        else:
            yield self._plain(inner, place, alias)

    def _plain(self, inner: exp.Expression, place: Place, alias: str) -> Projection:
        column = inner
        while isinstance(column, exp.Paren):
            column = column.this
        parts = path_of(column)
        if parts is not None:
            found = look_up(parts, place.scope)
            return _of_column(found, alias, column)
        return self._computed(inner, place, alias or name_of(inner), bool(alias))

    def _computed(
        self, inner: exp.Expression, place: Place, name: str, is_alias: bool
    ) -> Projection:
        holder = exp.Paren(this=inner)
        expression = bind_expression(holder, place).this
        called = frozenset({name.casefold()}) if is_alias else frozenset()
        return Projection(name, expression, called, is_alias)


def _within(parent: Scope | None, ctes: Ctes) -> Scope:
    """A scope without relations, for what sees other WITH queries than its parent."""
    return Scope(parent=parent, ctes=ctes)


def _condition(node: exp.Expression, place: Place) -> exp.Expression:
    """A condition; one with COLUMNS holds for every column."""
    if not columns_in(node):
        return bind_expression(node, place)
    first, *rest = [bind_expression(one, place) for _, one in expand_columns(node, place)]
    condition: exp.Expression = exp.Paren(this=first)
    for one in rest:
        condition = exp.And(this=condition, expression=exp.Paren(this=one))
    return condition


def _preferred(select: exp.Select, scope: Scope) -> frozenset[str]:
    """Aliases that win over columns in HAVING: all but those of grouped columns."""
    group = select.args.get("group")
    keys = group.expressions if group is not None else []
    grouped = {one.name.casefold() for one in keys if isinstance(one, exp.Column)}
    return frozenset(scope.aliases) - grouped


def _is_key(node: exp.Expression) -> bool:
    while isinstance(node, exp.Paren):
        node = node.this
    number = node.this if isinstance(node, exp.Neg) else node
    return isinstance(number, exp.Literal) or isinstance(node, exp.Column | exp.Var)


def _of_item(item: Item, is_alias: bool) -> Projection:
    called = frozenset({item.name.casefold()})
    is_plain = isinstance(item.expression, exp.Column) and not is_alias
    return Projection(item.name, item.expression, called, is_alias, item.type, is_plain)


def _push_tail(node: exp.Subquery) -> None:
    """`(SELECT ...) ORDER BY ...` orders the SELECT itself, where it has no such clause."""
    inner: exp.Expression = node
    while isinstance(inner, exp.Subquery) and (inner is node or _is_bare(inner)):
        inner = inner.this
    if not isinstance(inner, exp.Select) or any(inner.args.get(key) for key in _TAIL):
        return
    for key in _TAIL:
        inner.set(key, node.args.get(key))
        node.set(key, None)


_TAIL = ("order", "limit", "offset")


def _is_set(node: exp.Expression) -> bool:
    while isinstance(node, exp.Subquery):
        node = node.this
    return isinstance(node, exp.SetOperation)


def _keys_behind(node: exp.Expression, bound: Bound) -> OutputKeys:
    """What ORDER BY may call behind a set operation, where the first of a name counts."""
    pairs = [(name, i) for i, called in enumerate(bound.called) for name in called]
    counts = Counter(name for name, _ in pairs)
    twice = frozenset() if _is_set(node) else {name for name in counts if counts[name] > 1}
    return OutputKeys([one.name for one in bound.outputs], dict(pairs[::-1]), frozenset(twice))


def _keys(projections: Sequence[Projection], scope: Scope) -> OutputKeys:
    """What ORDER BY may call: the last alias, else the only column of that name.

    Of several columns none is called; the name is looked up in FROM.
    """
    positions: dict[str, int] = {}
    plain: dict[str, list[int]] = {}
    called = Counter(name for one in projections for name in one.called)
    for i, one in enumerate(projections):
        for name in one.called:
            if one.is_plain:
                plain.setdefault(name, []).append(i)
            else:
                positions[name] = i
    for name, found in plain.items():
        if len(found) == 1:
            positions.setdefault(name, found[0])
    unclear = frozenset(
        name for name, merged in scope.merged.items()
        if called[name] > 1 and any(len(one.values) > 1 for one in merged)
    )
    return OutputKeys([one.name for one in projections], positions, unclear)


def _of_column(found: Found, alias: str, column: exp.Expression) -> Projection:
    names = {found.name.casefold()} if isinstance(column, exp.Column) else set()
    if alias:
        names = {alias.casefold()}
    # DuckDB takes a column that is written in other letters for one with an alias.
    is_plain = not alias and column.name == found.name and isinstance(
        found.expression, exp.Column
    )
    return Projection(
        alias or found.name, found.expression, frozenset(names), bool(alias), found.type,
        is_plain=is_plain,
    )


def _name(projections: Sequence[Projection], shape: Shape) -> None:
    """Give outputs the names that their reader asks for, made distinct where he must."""
    if len(shape.names) > len(projections) and shape.is_strict:
        raise unknown(
            f"The query has {len(projections)} columns and {len(shape.names)} names are given",
            None,
        )
    for one, name in zip(projections, shape.names, strict=False):
        one.name = name
    if not shape.unique:
        return
    for one, name in zip(projections, distinct([one.name for one in projections]), strict=True):
        one.name = name


def _by_position(node: exp.SetOperation, left: Bound, right: Bound) -> Bound:
    if len(left.outputs) != len(right.outputs):
        raise TypeMismatch(
            f"The two sides of {node.key.upper()} have {len(left.outputs)} and "
            f"{len(right.outputs)} columns.",
            hint="Give both sides equally many columns.",
        )
    outputs = tuple(
        replace(one, type=one.type if one.type == other.type else None)
        for one, other in zip(left.outputs, right.outputs, strict=True)
    )
    called = []
    taken = {name for names in left.called for name in names}
    for one, other in zip(left.called, right.called, strict=True):
        called.append(one | (other - taken))
    return Bound(node, outputs, tuple(called))


def _by_name(node: exp.SetOperation, left: Bound, right: Bound, shape: Shape) -> Bound:
    """UNION BY NAME over positions: what a side lacks is NULL."""
    for side in (left, right):
        names = [one.name.casefold() for one in side.outputs]
        twice = next((one for one in names if names.count(one) > 1), None)
        if twice is not None:
            raise ambiguous(f"UNION BY NAME finds the name {twice} twice on one side", None,
                            "Give each output its own alias.")
    known = {one.name.casefold(): one.name for one in left.outputs}
    for one in right.outputs:
        known.setdefault(one.name.casefold(), one.name)
    finals = [Projection(name, exp.null(), frozenset({name.casefold()}), False)
              for name in known.values()]
    _name(finals, shape)
    pairs = list(zip(known, [one.name for one in finals], strict=True))
    node.set("by_name", None)
    node.set("this", _with_all(left, pairs, "left"))
    node.set("expression", _with_all(right, pairs, "right"))
    outputs = tuple(Output(one.name, one.name) for one in finals)
    return Bound(node, outputs, tuple(one.called for one in finals))


def _with_all(side: Bound, names: Sequence[tuple[str, str]], alias: str) -> exp.Expression:
    """The side with all the columns, in their order."""
    if [name for _, name in names] == [one.name for one in side.outputs]:
        return side.node
    own = {one.name.casefold(): one.name for one in side.outputs}
    inner = side.node
    while isinstance(inner, exp.Subquery) and _is_bare(inner):
        inner = inner.this
    select = exp.Select()
    for folded, name in names:
        value: exp.Expression = exp.null()
        if folded in own:
            value = exp.column(own[folded], table=alias, quoted=True)
        select.select(exp.alias_(value, name, quoted=True), copy=False)
    table = exp.TableAlias(this=exp.to_identifier(alias, quoted=True))
    return select.from_(exp.Subquery(this=inner, alias=table), copy=False)


def _is_bare(node: exp.Subquery) -> bool:
    return not any(value for key, value in node.args.items() if key != "this")
