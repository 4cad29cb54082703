"""GROUP BY, ORDER BY and DISTINCT ON: positions, aliases and ALL become what they mean.

Takes: the bound outputs of a query and the clause. Gives: bound keys: an output by its name
where the name is its own, else by its position, or an expression over the query's relations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from gateway.aggregates import is_aggregation
from gateway.binding.expressions import Place, bind_expression
from gateway.binding.stars import expand_columns, expand_star, is_star
from gateway.binding.words import ambiguous, unknown, unsupported


@dataclass(slots=True)
class Projection:
    """An output of a SELECT: its final name, its bound expression, how it may be called.

    is_plain: a column under its own name.
    """

    name: str
    expression: exp.Expression
    called: frozenset[str]
    is_alias: bool
    type: str | None = None
    is_plain: bool = False


class OutputKeys:
    """References to outputs, in ORDER BY and DISTINCT ON.

    positions: the index of the output that a folded name calls. unclear: names that DuckDB
    resolves in ways that cannot be told from here.
    """

    def __init__(
        self, names: Sequence[str], positions: Mapping[str, int],
        unclear: frozenset[str] = frozenset(),
    ) -> None:
        self._names = names
        self._count = Counter(name.casefold() for name in names)
        self._positions = positions
        self._unclear = unclear

    def __len__(self) -> int:
        return len(self._names)

    def key(self, position: int) -> exp.Expression:
        """The output of that index: its name, where no other has it, else its number."""
        name = self._names[position]
        if self._count[name.casefold()] > 1:
            return exp.Literal.number(position + 1)
        return exp.Column(this=exp.to_identifier(name, quoted=True))

    def called(self, node: exp.Expression) -> int | None:
        """The index of the output that a plain name calls."""
        if not isinstance(node, exp.Column) or node.args.get("table"):
            return None
        name = node.name.casefold()
        if name in self._unclear:
            raise ambiguous(f"{node.name} can mean several outputs", node.this,
                            "Write the number of the output.")
        return self._positions.get(name)

    def numbered(self, node: exp.Expression, clause: str) -> int | None:
        """The index that a number means; raises UnknownColumn where it is out of range."""
        number = _whole_number(node)
        if number is None:
            return None
        if not 1 <= number <= len(self._names):
            raise unknown(
                f"{clause} {number} names no output: there are {len(self._names)}", None
            )
        return number - 1


def _whole_number(node: exp.Expression) -> int | None:
    if isinstance(node, exp.Neg):
        inner = _whole_number(node.this)
        return None if inner is None else -inner
    if isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit():
        return int(node.name)
    return None


def without_parentheses(node: exp.Expression) -> exp.Expression:
    """What stands inside any number of parentheses."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def bind_order(
    order: exp.Order, keys: OutputKeys, place: Place, clause: str = "ORDER BY"
) -> None:
    """Bind the keys of an ORDER BY, in place."""
    bound: list[exp.Expression] = []
    if len(order.expressions) > 1 and any(_is_all(one.this) for one in order.expressions):
        raise unsupported(f"{clause} ALL stands alone")
    for one in order.expressions:
        ordered = one if isinstance(one, exp.Ordered) else exp.Ordered(this=one)
        for key in _order_keys(ordered.this, keys, place, clause):
            copy = ordered.copy()
            copy.set("this", key)
            bound.append(copy)
    order.set("expressions", bound)


def _is_all(node: exp.Expression) -> bool:
    return isinstance(node, exp.Var) and node.name.upper() == "ALL"


def _order_keys(
    node: exp.Expression, keys: OutputKeys, place: Place, clause: str
) -> Iterator[exp.Expression]:
    inner = without_parentheses(node)
    if _is_all(inner):
        yield from (keys.key(i) for i in range(len(keys)))
    elif is_star(inner):
        yield from (one.expression for one in expand_star(inner, place))
    elif inner.find(exp.Columns):
        yield from (
            bind_expression(made, place) for _, made in expand_columns(inner, place)
        )
    else:
        yield bind_key(inner, keys, place, clause)


def bind_key(
    inner: exp.Expression, keys: OutputKeys, place: Place, clause: str
) -> exp.Expression:
    """One key: a number, the name of an output, or any expression."""
    position = keys.numbered(inner, clause)
    if position is None:
        position = keys.called(inner)
    if position is not None:
        return keys.key(position)
    if isinstance(inner, exp.Literal):
        raise unsupported(f"{clause} takes no constant but the number of an output")
    holder = exp.Paren(this=inner)
    return without_parentheses(bind_expression(holder, place))


def bind_group(group: exp.Group, projections: Sequence[Projection], place: Place) -> None:
    """Bind the keys of a GROUP BY, in place; ALL becomes the list of keys."""
    if group.args.get("all"):
        positions = _positions_by_all(projections)
        group.set("all", None)
        group.set("expressions", [_output_key(projections, i) for i in positions])
        return
    sets = group.find(exp.GroupingSets, exp.Rollup, exp.Cube) is not None
    keys = _GroupKeys(projections, place, {} if sets else None)
    for key, value in list(group.args.items()):
        if isinstance(value, list):
            group.set(key, [keys.bind(one) for one in value])
        elif value:
            raise unsupported(f"GROUP BY {key} is not served")


@dataclass(frozen=True, slots=True)
class _GroupKeys:
    """Binds keys; written: how each bound key was written, where there are grouping sets."""

    projections: Sequence[Projection]
    place: Place
    written: dict[exp.Expression, str] | None

    def bind(self, node: exp.Expression) -> exp.Expression:
        """One key, or a list of them."""
        if isinstance(node, exp.Rollup | exp.Cube | exp.GroupingSets | exp.Tuple):
            node.set("expressions", [self.bind(one) for one in node.expressions])
            return node
        inner = without_parentheses(node)
        if isinstance(inner, exp.Tuple):
            return self.bind(inner)
        form = inner.sql("duckdb") if self.written is not None else ""
        position = self._output(inner)
        if position is None:
            bound = without_parentheses(bind_expression(exp.Paren(this=inner), self.place))
        else:
            bound = _output_key(self.projections, position)
        if self.written is not None and self.written.setdefault(bound, form) != form:
            # For DuckDB `a`, `t.a`, an alias and a number are different keys of grouping sets.
            raise unsupported("A key of grouping sets is written in several ways", None,
                              "Write it in the same way each time.")
        return bound

    def _output(self, inner: exp.Expression) -> int | None:
        """The index of the output that a number or an alias means."""
        number = _whole_number(inner)
        if number is not None and not 1 <= number <= len(self.projections):
            raise unknown(
                f"GROUP BY {number} names no output: there are {len(self.projections)}", None
            )
        if number is not None:
            return number - 1
        if isinstance(inner, exp.Column) and not inner.args.get("table"):
            return _alias_position(inner, self.projections, self.place)
        return None


def _alias_position(
    column: exp.Column, projections: Sequence[Projection], place: Place
) -> int | None:
    """The output whose alias the name is, where no column has that name."""
    name = column.name.casefold()
    found = [i for i, one in enumerate(projections) if one.is_alias and name in one.called]
    if not found or not isinstance(column.this, exp.Identifier):
        return None
    scope = place.scope
    is_column = name in scope.merged or any(name in one.by_name for one in scope.relations)
    return None if is_column else found[-1]


def _output_key(projections: Sequence[Projection], position: int) -> exp.Expression:
    """An output's expression as a key; its number where a copy would mean something else."""
    expression = projections[position].expression
    if isinstance(expression, exp.Column):
        return expression.copy()
    is_plain = expression.find(exp.Column) is not None and (
        expression.find(exp.Query, exp.Explode, exp.Parameter) is None
    )
    return expression.copy() if is_plain else exp.Literal.number(position + 1)


def _positions_by_all(projections: Sequence[Projection]) -> list[int]:
    """DuckDB's GROUP BY ALL: every output that reads a column outside aggregates."""
    found = []
    for position, one in enumerate(projections):
        bare, aggregates = _reads(one.expression)
        if not bare:
            continue
        if aggregates:
            raise unsupported(
                f"{one.name} mixes an aggregate with columns that GROUP BY ALL cannot group",
                hint="List the keys of GROUP BY.",
            )
        if one.expression.find(exp.Window, exp.Explode):
            raise unsupported(
                f"GROUP BY ALL cannot group by {one.name}", hint="List the keys of GROUP BY."
            )
        found.append(position)
    return found


def _reads(node: exp.Expression) -> tuple[bool, bool]:
    """Whether columns are read outside aggregates, and whether there are aggregates."""
    bare = aggregates = False
    stack = [node]
    while stack:
        one = stack.pop()
        if isinstance(one, exp.Query):
            bare = bare or _reads_outside(one)
            aggregates = aggregates or any(
                is_aggregate(inner) and _is_outside(inner, one) for inner in one.walk()
            )
        elif is_aggregate(one):
            aggregates = True
        elif isinstance(one, exp.Column):
            bare = True
        else:
            stack.extend(one.iter_expressions())
    return bare, aggregates


def refuse_ungrouped(having: exp.Expression, group: exp.Group | None) -> None:
    """DuckDB's GROUP BY ALL takes columns that only HAVING reads for keys; here they are refused.

    having: bound. group: the keys that GROUP BY ALL became.
    """
    keys = group.expressions if group is not None else []
    stack = [having]
    while stack:
        one = stack.pop()
        if one in keys or is_aggregate(one) or isinstance(one, exp.Query):
            continue
        if isinstance(one, exp.Column):
            raise unsupported(f"HAVING reads {one.name}, which GROUP BY ALL does not group by",
                              hint="List the keys of GROUP BY.")
        stack.extend(one.iter_expressions())


def _reads_outside(query: exp.Query) -> bool:
    """Whether a bound sub-query reads columns of the queries around it."""
    own = _sources(query)
    return any(one.table and one.table not in own for one in query.find_all(exp.Column))


def _is_outside(aggregate: exp.Expr, query: exp.Query) -> bool:
    """Whether an aggregate in a sub-query belongs to the query around: it reads that one only."""
    columns = list(aggregate.find_all(exp.Column))
    own = _sources(query)
    return bool(columns) and all(one.table and one.table not in own for one in columns)


def _sources(query: exp.Query) -> set[str]:
    return {one.alias for one in query.find_all(exp.Table, exp.Subquery, exp.Lateral, exp.Unnest,
                                                exp.Values)}


def is_aggregate(node: exp.Expr) -> bool:
    """Whether the node is an aggregate; one under OVER is not, but reads its columns."""
    if isinstance(node.parent, exp.Window) and node.arg_key == "this":
        return False
    return isinstance(node, exp.Filter | exp.WithinGroup) or is_aggregation(node)
