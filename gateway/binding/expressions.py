"""Expressions: every column reference in them is bound, in place.

Takes: an expression, its scope, the binder of queries. Gives: the bound expression, which may be
another node. Never descends into a sub-query itself: that is the query binder's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlglot import exp

from gateway.aggregates import is_aggregation
from gateway.binding.lookup import look_up, preferred_alias
from gateway.binding.scopes import BindQuery, Scope, Shape
from gateway.binding.types import fields_of
from gateway.binding.words import unknown, unsupported
from gateway.trees import noted

_BOUND = "bound"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression stands: its scope, and the parameters of the lambdas around it."""

    scope: Scope
    bind_query: BindQuery
    parameters: frozenset[str] = frozenset()


def mark_bound(node: exp.Expression) -> exp.Expression:
    """Tell that a node is bound although it stands in an expression that is not yet."""
    noted(node, **{_BOUND: True})
    return node


def bind_expression(node: exp.Expression, place: Place) -> exp.Expression:
    """The expression with every name in it bound."""
    handler = _HANDLERS.get(type(node))
    if handler is not None:
        return handler(node, place)
    if isinstance(node, exp.Query | exp.Values):
        return place.bind_query(node, place.scope, Shape()).node
    if place.scope.preferred and is_aggregation(node):
        return _aggregate(node, place)
    return bind_children(node, place)


def bind_children(
    node: exp.Expression, place: Place, skip: tuple[str, ...] = ()
) -> exp.Expression:
    """Bind everything below a node."""
    for key, value in list(node.args.items()):
        if key not in skip:
            _bind_part(node, key, value, place)
    return node


def _bind_part(node: exp.Expression, key: str, value: object, place: Place) -> None:
    if isinstance(value, exp.Expression):
        bound = bind_expression(value, place)
        # Always set: binding a VALUES moves it into a query of its own.
        if bound is not value or value.parent is not node:
            node.set(key, bound)
    elif isinstance(value, list):
        made = [
            bind_expression(one, place) if isinstance(one, exp.Expression) else one
            for one in value
        ]
        if any(one is not old for one, old in zip(made, value, strict=True)):
            node.set(key, made)


def _bind_key(node: exp.Expression, key: str, place: Place) -> None:
    _bind_part(node, key, node.args.get(key), place)


def _column(node: exp.Expression, place: Place) -> exp.Expression:
    if isinstance(node.this, exp.Star):
        raise unsupported("* is not served inside an expression", hint="Name the columns.")
    if node.meta.get(_BOUND):
        return node
    parts = [node.args[key] for key in ("catalog", "db", "table", "this") if node.args.get(key)]
    return _reference(parts, place)


def _reference(parts: list[exp.Identifier], place: Place) -> exp.Expression:
    first = parts[0].name.casefold()
    if first in place.parameters:
        made: exp.Expression = parts[0].copy()
        for one in parts[1:]:
            made = exp.Dot(this=made, expression=exp.to_identifier(one.name, quoted=True))
        return made
    if len(parts) == 1 and place.scope.preferred:
        preferred = preferred_alias(parts[0], place.scope)
        if preferred is not None:
            return preferred.expression
    return look_up(parts, place.scope).expression


def path_of(node: exp.Expression) -> list[exp.Identifier] | None:
    """The parts of `a.b.c.d.e`; None where the node is something else."""
    if isinstance(node, exp.Column):
        keys = ("catalog", "db", "table", "this")
        parts = [node.args[key] for key in keys if node.args.get(key)]
        return parts if all(isinstance(one, exp.Identifier) for one in parts) else None
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
        inner = path_of(node.this)
        return None if inner is None else [*inner, node.expression]
    return None


def _dot(node: exp.Expression, place: Place) -> exp.Expression:
    if not isinstance(node.expression, exp.Identifier):
        raise unsupported("This use of a dot is not served", hint="Name the columns.")
    parts = path_of(node)
    if parts is not None:
        return _reference(parts, place)
    _bind_key(node, "this", place)
    node.expression.set("quoted", True)
    return node


def _identifier(node: exp.Expression, place: Place) -> exp.Expression:
    if node.name.casefold() not in place.parameters:
        raise unknown(f"There is no column {node.name}", node)
    return node


def _lambda(node: exp.Expression, place: Place) -> exp.Expression:
    inner = _with_parameters(place, node.expressions)
    _bind_key(node, "this", inner)
    return node


def _comprehension(node: exp.Expression, place: Place) -> exp.Expression:
    _bind_key(node, "iterator", place)
    names = [node.expression]
    if node.args.get("position") is not None:
        names.append(node.args["position"])
    inner = _with_parameters(place, names)
    _bind_key(node, "this", inner)
    _bind_key(node, "condition", inner)
    return node


def _with_parameters(place: Place, names: list[exp.Expression]) -> Place:
    """Parameters hide columns; one that hides a table would change what bound names mean."""
    folded = {one.name.casefold(): one for one in names}
    scope: Scope | None = place.scope
    while scope is not None:
        for relation in scope.relations:
            if relation.alias.casefold() in folded:
                raise unsupported(
                    f"The parameter {relation.alias} has the name of a table",
                    folded[relation.alias.casefold()], "Give the parameter another name.",
                )
        scope = scope.parent
    return replace(place, parameters=place.parameters | folded.keys())


def _skipping(*keys: str) -> Callable[[exp.Expression, Place], exp.Expression]:
    def bind(node: exp.Expression, place: Place) -> exp.Expression:
        return bind_children(node, place, keys)

    return bind


def _window(node: exp.Expression, place: Place) -> exp.Expression:
    # `this` is the name where the window is defined, `alias` the window it builds on.
    skip = ("alias", "this") if isinstance(node.this, exp.Identifier) else ("alias",)
    return bind_children(node, place, skip)


def _struct(node: exp.Expression, place: Place) -> exp.Expression:
    """`struct_pack(a, b)` names its fields after the columns."""
    for one in list(node.expressions):
        if isinstance(one, exp.Column) and path_of(one) is not None:
            found = look_up(path_of(one) or [], place.scope)
            key = exp.to_identifier(found.name, quoted=True)
            one.replace(exp.PropertyEQ(this=key, expression=found.expression))
        elif isinstance(one, exp.PropertyEQ):
            bind_expression(one, place)
        else:
            raise unsupported("struct_pack takes name := value")
    return node


def _property(node: exp.Expression, place: Place) -> exp.Expression:
    if isinstance(node.this, exp.Column):
        node.set("this", node.this.this)
    # The key of a map is a value, that of a structure is a name.
    skip = ("this",) if isinstance(node.this, exp.Identifier) else ()
    return bind_children(node, place, skip)


def _unnest(node: exp.Expression, place: Place) -> exp.Expression:
    """`unnest` of a structure makes several columns, which no name stands for."""
    if node.args.get("expressions"):
        raise unsupported("unnest takes one list", hint="Name the fields of a structure.")
    parts = path_of(node.this)
    if parts is not None and parts[0].name.casefold() not in place.parameters:
        if fields_of(look_up(parts, place.scope).type) is not None:
            raise unsupported("unnest of a structure is not served",
                              parts[-1], "Write name.* for its fields.")
    elif isinstance(node.this, exp.Struct):
        raise unsupported("unnest of a structure is not served")
    return bind_children(node, place)


def _count(node: exp.Expression, place: Place) -> exp.Expression:
    if isinstance(node.this, exp.Star):
        if any(node.this.args.values()):
            raise unsupported("count(*) takes no EXCLUDE or REPLACE")
        return node
    if place.scope.preferred:
        return _aggregate(node, place)
    return bind_children(node, place)


def _aggregate(node: exp.Expression, place: Place) -> exp.Expression:
    """Inside an aggregate of HAVING a name is a column before it is an alias."""
    preferred, place.scope.preferred = place.scope.preferred, frozenset()
    try:
        return bind_children(node, place)
    finally:
        place.scope.preferred = preferred


def _star(node: exp.Expression, place: Place) -> exp.Expression:
    raise unsupported("* is not served inside an expression", hint="Name the columns.")


def _columns(node: exp.Expression, place: Place) -> exp.Expression:
    raise unsupported("COLUMNS is served in SELECT, WHERE and ORDER BY only",
                      hint="Name the columns.")


def _leaf(node: exp.Expression, place: Place) -> exp.Expression:
    return node


def _positional(node: exp.Expression, place: Place) -> exp.Expression:
    raise unsupported("#n is not served", hint="Name the column.")


def _clock(name: str) -> Callable[[exp.Expression, Place], exp.Expression]:
    """`current_date` as a call: DuckDB takes the bare word for an alias of the same name."""

    def bind(node: exp.Expression, place: Place) -> exp.Expression:
        return exp.Anonymous(this=name) if node.this is None else bind_children(node, place)

    return bind


def _refused(node: exp.Expression, place: Place) -> exp.Expression:
    raise unsupported(f"{type(node).__name__} is not served here")


_HANDLERS: dict[type[exp.Expression], Callable[[exp.Expression, Place], exp.Expression]] = {
    exp.Column: _column,
    exp.Dot: _dot,
    exp.Identifier: _identifier,
    exp.Lambda: _lambda,
    exp.Comprehension: _comprehension,
    exp.Window: _window,
    exp.Struct: _struct,
    exp.PropertyEQ: _property,
    exp.Kwarg: _skipping("this"),
    exp.Alias: _skipping("alias"),
    exp.Collate: _skipping("expression"),
    exp.Extract: _skipping("this"),
    exp.Explode: _unnest,
    exp.Unnest: _skipping("alias"),
    exp.Count: _count,
    exp.Star: _star,
    exp.Columns: _columns,
    exp.PositionalColumn: _positional,
    exp.Aliases: _refused,
    exp.TableColumn: _refused,
    exp.CurrentDate: _clock("today"),
    exp.CurrentTime: _clock("get_current_time"),
    exp.CurrentTimestamp: _clock("get_current_timestamp"),
    exp.Localtime: _clock("current_localtime"),
    exp.Localtimestamp: _clock("current_localtimestamp"),
    exp.Literal: _leaf,
    exp.Null: _leaf,
    exp.Boolean: _leaf,
    exp.DataType: _leaf,
    exp.Var: _leaf,
    exp.Parameter: _leaf,
    exp.Placeholder: _leaf,
    exp.JSONPath: _leaf,
}
