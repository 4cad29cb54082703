"""FROM: tables, sub-queries, functions, joins; USING and NATURAL become conditions.

Takes: a SELECT and its empty scope. Gives: the scope filled, the tree in bound form. Never joins
over a column that the caller cannot see.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from gateway.binding.expressions import Place, bind_expression
from gateway.binding.lookup import Found, column_named
from gateway.binding.scopes import (
    BindQuery,
    Merged,
    Output,
    Relation,
    Scope,
    Shape,
    Value,
    Visible,
    distinct,
)
from gateway.binding.words import ambiguous, did_you_mean, unknown, unsupported
from gateway.errors import InternalError
from gateway.resolve import Address

_OPEN_JOIN = ("on", "using", "side", "kind", "method")


class Sources:
    """Fills scopes with what the FROMs of one statement name."""

    def __init__(self, visible: Visible, bind_query: BindQuery) -> None:
        self._visible = visible
        self._bind_query = bind_query

    def fill(self, select: exp.Select, scope: Scope) -> None:
        """Bind the FROM of a SELECT; afterwards the scope knows its relations."""
        first = select.args.get("from_")
        if first is None:
            return
        _flatten(select, first)
        groups: list[tuple[exp.Expression, list[exp.Join]]] = [(first, [])]
        for join in select.args.get("joins") or []:
            if any(join.args.get(key) for key in _OPEN_JOIN):
                groups[-1][1].append(join)
            else:
                groups.append((join, []))
        if len(groups) == 1:
            self._chain(groups[0][0], groups[0][1], scope)
            return
        # A comma binds weaker than JOIN: conditions of a group see that group.
        for number, (head, joins) in enumerate(groups):
            if number:
                _refuse_unnest(head.this, joins)
            group = scope.child()
            self._chain(head, joins, group)
            _refuse_twice(scope.relations, group.relations)
            scope.absorb(group)

    def _chain(self, head: exp.Expression, joins: Sequence[exp.Join], scope: Scope) -> None:
        self._item(head.this, scope)
        for join in joins:
            if join.args.get("expressions"):
                raise unsupported("This join is not served")
            right = scope.child()
            self._item(join.this, right)
            _refuse_twice(scope.relations, right.relations)
            self._join(join, scope, right)

    def _item(self, node: exp.Expression, scope: Scope) -> None:
        joins = node.args.get("joins")
        if joins:
            group = scope.child()
            self._single(node, group)
            for join in joins:
                if not any(join.args.get(key) for key in _OPEN_JOIN):
                    raise unsupported("A comma inside parentheses is not served")
                right = group.child()
                self._item(join.this, right)
                _refuse_twice(group.relations, right.relations)
                self._join(join, group, right)
            scope.absorb(group)
        else:
            self._single(node, scope)

    def _single(self, node: exp.Expression, scope: Scope) -> None:
        match node:
            case exp.Table() if isinstance(node.this, exp.Func):
                self._function(node, scope)
            case exp.Table():
                self._table(node, scope)
            case exp.Subquery() if _is_joined(node):
                self._parenthesised(node, scope)
            case exp.Subquery():
                self._derived(node, node, scope)
            case exp.Lateral():
                self._lateral(node, scope)
            case exp.Unnest():
                self._unnest(node, scope)
            case exp.Values():
                self._values(node, scope)
            case _:
                raise unsupported(f"{type(node).__name__} is not served in FROM")

    def _table(self, table: exp.Table, scope: Scope) -> None:
        address = table.meta.get("address")
        written = table.args.get("alias")
        names = [one.name for one in written.columns] if written is not None else []
        alias = table.alias or table.name
        if isinstance(address, Address):
            columns = tuple(Output(name, name, kind) for name, kind in self._visible[address])
            explicit = not table.meta.get("implicit_alias")
        else:
            cte = scope.ctes.get(table.name.casefold()) if not table.args.get("db") else None
            if cte is None:
                raise unsupported(f"{table.name} cannot be read here", table.this)
            columns, address, explicit = cte.outputs, None, bool(table.alias)
            table.set("this", exp.to_identifier(cte.name, quoted=True))
        relation = Relation(
            scope.unique(alias), alias.casefold(), _renamed(columns, names, table),
            paths=frozenset() if explicit or address is None else _paths(table, address, alias),
            address=address, is_explicit=explicit,
        )
        _set_alias(table, relation.alias)
        scope.relations.append(relation)

    def _parenthesised(self, node: exp.Subquery, scope: Scope) -> None:
        """`(a JOIN b ON ..)`, or with an alias a derived table of all its columns."""
        if node.alias:
            inner = node.this
            select = exp.Select(expressions=[exp.Star()], from_=exp.From(this=inner))
            node.set("this", select)
            self._derived(node, node, scope)
            return
        group = scope.child()
        self._item(node.this, group)
        scope.absorb(group)

    def _derived(self, node: exp.Expression, subquery: exp.Subquery, scope: Scope) -> None:
        """A sub-query in FROM; one that reads its neighbours becomes LATERAL."""
        for key in ("order", "limit", "offset", "with_"):
            if subquery.args.get(key) and subquery.alias:
                raise unsupported("ORDER BY and LIMIT belong inside the parentheses")
        written = node.args.get("alias")
        names = tuple(one.name for one in written.columns) if written is not None else ()
        alias = node.alias
        node.set("alias", None)
        gate = scope.child(gate=True)
        bound = self._bind_query(subquery.this, gate, Shape(names, unique=True))
        subquery.set("this", bound.node)
        relation = Relation(
            scope.unique(alias or "subquery"), alias.casefold(), bound.outputs
        )
        if gate.is_lateral and not isinstance(node, exp.Lateral):
            _refuse_joins(node)
            lateral = exp.Lateral(this=exp.Subquery(this=bound.node))
            node.replace(lateral)
            node = lateral
        _set_alias(node, relation.alias)
        scope.relations.append(relation)

    def _lateral(self, node: exp.Lateral, scope: Scope) -> None:
        inner = node.this
        if node.args.get("view") or node.args.get("outer"):
            raise unsupported("LATERAL VIEW is not served")
        if isinstance(inner, exp.Subquery):
            self._derived(node, inner, scope)
            return
        _refuse_joins(node)
        if isinstance(inner, exp.Unnest):
            plain: exp.Expression = inner
        elif isinstance(inner, exp.Func):
            plain = exp.Table(this=inner, ordinality=bool(node.args.get("ordinality")))
        else:
            raise unsupported("This LATERAL is not served")
        plain.set("alias", node.args.get("alias"))
        node.replace(plain)
        self._single(plain, scope)

    def _unnest(self, node: exp.Unnest, scope: Scope) -> None:
        if len(node.expressions) != 1:
            raise unsupported("unnest takes one list", hint="Write one unnest for each list.")
        self._bind(node.expressions[0], scope)
        offset = node.args.get("offset")
        ordinality = ""
        if offset:
            ordinality = offset.name if isinstance(offset, exp.Identifier) else "ordinality"
            node.set("offset", exp.to_identifier(ordinality, quoted=True))
        self._function_relation(node, scope, "unnest", ordinality)
        if offset:
            columns = node.args["alias"].args["columns"]
            node.args["alias"].set("columns", columns[:1])

    def _function(self, table: exp.Table, scope: Scope) -> None:
        call = table.this
        name = call.name if isinstance(call, exp.Anonymous) else "generate_series"
        if isinstance(call, exp.GenerateSeries) and call.args.get("is_end_exclusive"):
            name = "range"
        self._bind(call, scope)
        ordinality = "ordinality" if table.args.get("ordinality") else ""
        self._function_relation(table, scope, name.lower(), ordinality)

    def _function_relation(
        self, node: exp.Expression, scope: Scope, name: str, ordinality: str
    ) -> None:
        """`range(3) AS r`: a table r with a column r that is also called range."""
        written = node.args.get("alias")
        names = [one.name for one in written.columns] if written is not None else []
        alias = node.alias or name
        first = names[0] if names else alias
        columns = [Output(first, first, also="" if names else name)]
        if ordinality:
            second = names[1] if len(names) > 1 else ordinality
            if second.casefold() == first.casefold():
                raise unsupported(f"{alias} has two columns {first}",
                                  hint="Give them different names.")
            columns.append(Output(second, second, "BIGINT"))
        if len(names) > len(columns):
            raise unknown(f"{alias} has fewer columns than names are given", None)
        relation = Relation(scope.unique(alias), alias.casefold(), tuple(columns))
        _set_alias(node, relation.alias, [one.column for one in columns])
        scope.relations.append(relation)

    def _values(self, node: exp.Values, scope: Scope) -> None:
        self._bind_rows(node, scope)
        width = width_of(node)
        written = node.args.get("alias")
        names = [one.name for one in written.columns] if written is not None else []
        columns = tuple(Output(f"col{i}", f"col{i}") for i in range(width))
        outputs = _renamed(columns, names, node)
        outputs = tuple(Output(one.name, one.name) for one in outputs)
        alias = node.alias
        relation = Relation(scope.unique(alias or "values"), alias.casefold(), outputs)
        _set_alias(node, relation.alias, [one.column for one in outputs])
        scope.relations.append(relation)

    def _bind_rows(self, node: exp.Values, scope: Scope) -> None:
        for row in node.expressions:
            self._bind(row, scope)

    def _bind(self, node: exp.Expression, scope: Scope) -> None:
        bound = bind_expression(node, Place(scope, self._bind_query))
        if bound is not node:
            node.replace(bound)

    def _join(self, join: exp.Join, left: Scope, right: Scope) -> None:
        """Join the right side into the left scope; the condition sees both."""
        natural = join.method == "NATURAL"
        names = list(join.args.get("using") or [])
        if natural:
            names = _common(left, right)
            join.set("method", None)
        conditions, merged = [], []
        for name in names:
            pair = _pair(name, left, right)
            conditions.append((pair[0].expression, pair[1].expression))
            merged.append(_merge(name.name.casefold(), left, right, join.side))
        join.set("using", None)
        relations = list(right.relations)
        keeps_right = join.kind not in ("SEMI", "ANTI")
        _take_over(left, right, names, merged if keeps_right else None)
        if conditions:
            join.set("on", _condition(conditions, is_asof=join.method == "ASOF"))
        elif join.args.get("on") is not None:
            self._bind(join.args["on"], left)
        if not keeps_right:
            left.relations = [one for one in left.relations if one not in relations]
            left.spent |= {one.alias.casefold() for one in relations} | right.spent


def width_of(values: exp.Values) -> int:
    """How many columns the rows have."""
    first = values.expressions[0]
    return len(first.expressions) if isinstance(first, exp.Tuple) else 1


def _is_joined(node: exp.Subquery) -> bool:
    inner = node.this
    return isinstance(inner, exp.Table) or (
        isinstance(inner, exp.Subquery) and not inner.alias and _is_joined(inner)
    ) or (isinstance(inner, exp.Subquery) and bool(inner.args.get("joins") or inner.alias))


def _set_alias(node: exp.Expression, name: str, columns: Sequence[str] = ()) -> None:
    node.set("alias", exp.TableAlias(
        this=exp.to_identifier(name, quoted=True),
        columns=[exp.to_identifier(one, quoted=True) for one in columns],
    ))


def _refuse_unnest(head: exp.Expression, joins: Sequence[exp.Join]) -> None:
    """Before an unnest the comma is written as JOIN, which must not change what is joined."""
    inner = head.this if isinstance(head, exp.Lateral) else head
    if isinstance(inner, exp.Unnest) and any(
        one.side in ("RIGHT", "FULL") or one.method in ("ASOF", "POSITIONAL") for one in joins
    ):
        raise unsupported("This join behind an unnest is not served",
                          hint="Put the unnest into a sub-query.")


def _refuse_joins(node: exp.Expression) -> None:
    """What becomes another node would lose the joins that hang on it."""
    if node.args.get("joins"):
        raise unsupported("A LATERAL cannot be the first in parentheses here",
                          hint="Write the join without parentheses.")


def _flatten(select: exp.Select, first: exp.Expression) -> None:
    """Where FROM stands first the parser hangs all joins on its first table."""
    joins = first.this.args.get("joins")
    if joins:
        first.this.set("joins", None)
        select.set("joins", [*joins, *(select.args.get("joins") or [])])


def _renamed(
    columns: tuple[Output, ...], names: Sequence[str], node: exp.Expression
) -> tuple[Output, ...]:
    """The columns under the names of an alias's list."""
    if len(names) > len(columns):
        raise unknown(
            f"{node.alias_or_name} has {len(columns)} columns and {len(names)} names are given",
            node.args["alias"].columns[0],
        )
    if not names:
        return columns
    wanted = [*names, *(one.name for one in columns[len(names) :])]
    return tuple(
        Output(name, one.column, one.type)
        for name, one in zip(distinct(wanted), columns, strict=True)
    )


def _paths(table: exp.Table, address: Address, alias: str) -> frozenset[tuple[str, ...]]:
    """The longer names by which columns of a table without an alias may be called."""
    written = tuple(part.casefold() for part in table.meta.get("written") or ())
    domain, product = address.domain.casefold(), address.product.casefold()
    pinned = f"{product}@{address.major}"
    ends = {address.table.casefold(), alias.casefold()}
    paths = {written[i:] for i in range(len(written) - 1)}
    for end in ends:
        for middle in (product, pinned):
            paths |= {(middle, end), (domain, middle, end)}
    return frozenset(paths)


def _refuse_twice(left: Sequence[Relation], right: Sequence[Relation]) -> None:
    """One name for two tables, unless longer names tell them apart."""
    for one in right:
        for other in left:
            if not one.called or one.called != other.called:
                continue
            if (one.is_explicit and other.is_explicit) or one.address == other.address:
                raise ambiguous(f"The name {other.alias} stands for two tables", None,
                                "Give each its own alias.")


def _common(left: Scope, right: Scope) -> list[exp.Identifier]:
    """The columns of a NATURAL JOIN, in the order of the left side."""
    offered = {name for one in right.relations for name in
               (output.name.casefold() for output in one.columns)}
    names = dict.fromkeys(
        output.name for one in left.relations for output in one.columns
        if output.name.casefold() in offered
    )
    found = list({name.casefold(): name for name in names}.values())
    if not found:
        raise unknown("NATURAL JOIN finds no column that both sides have", None)
    return [exp.to_identifier(name) for name in found]


def _pair(name: exp.Identifier, left: Scope, right: Scope) -> tuple[Found, Found]:
    folded = name.name.casefold()
    sides = (column_named(left, folded, name), column_named(right, folded, name))
    if sides[0] is None or sides[1] is None:
        side, scope = ("left", left) if sides[0] is None else ("right", right)
        offered = [output.name for one in scope.relations for output in one.columns]
        raise unknown(f"The {side} side of the join has no column {name.name}", name,
                      did_you_mean(name.name, offered))
    return sides[0], sides[1]


def _side(folded: str, scope: Scope) -> Merged:
    found = scope.merged.get(folded)
    if found:
        return found[0]
    values: tuple[Value, ...] = tuple(
        (one, one.by_name[folded]) for one in scope.relations if folded in one.by_name
    )
    if len(values) != 1:
        raise InternalError("a side of USING was not found", private=folded)
    return Merged(values, values)


def _merge(folded: str, left: Scope, right: Scope, side: str) -> Merged:
    one, other = _side(folded, left), _side(folded, right)
    values = one.values
    if side == "RIGHT":
        values = other.values
    elif side == "FULL":
        values = one.values + other.values
    return Merged(one.members + other.members, values)


def _take_over(
    left: Scope, right: Scope, names: Sequence[exp.Identifier], merged: list[Merged] | None
) -> None:
    """The left scope gets the relations of the right one, and the columns merged anew."""
    folded = [one.name.casefold() for one in names]
    if merged is not None:
        for name in folded:
            left.merged.pop(name, None)
            right.merged.pop(name, None)
        for name, one in zip(folded, merged, strict=True):
            left.merged[name] = [one]
        left.absorb(right)
    else:
        left.relations.extend(right.relations)


def _condition(
    pairs: Sequence[tuple[exp.Expression, exp.Expression]], is_asof: bool
) -> exp.Expression:
    """Equalities; the last of an ASOF JOIN is "not later than"."""
    made: list[exp.Expression] = [
        exp.EQ(this=one, expression=other) for one, other in pairs
    ]
    if is_asof:
        made[-1] = exp.GTE(this=pairs[-1][0], expression=pairs[-1][1])
    condition = made[0]
    for one in made[1:]:
        condition = exp.And(this=condition, expression=one)
    return condition
