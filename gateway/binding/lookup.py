"""What a column reference means.

Takes: the parts of a name and a scope. Gives: a bound expression. Follows DuckDB: the nearest
scope wins; in a scope the longest path to a relation, then a column, then a whole row, then an
alias of the SELECT list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from gateway.binding.scopes import Merged, Relation, Scope, Value
from gateway.binding.types import can_have_fields
from gateway.binding.words import ambiguous, unknown, unknown_name, unsupported

_LONGEST_PATH = 3
_NEEDS_PARENTHESES = (
    exp.Binary, exp.Unary, exp.Between, exp.In, exp.Interval, exp.AtTimeZone, exp.Lambda,
)


@dataclass(frozen=True, slots=True)
class Found:
    """A bound expression, the name that DuckDB gives it, and its type where known."""

    expression: exp.Expression
    name: str
    type: str | None = None


def look_up(parts: Sequence[exp.Identifier], scope: Scope) -> Found:
    """The meaning of `a`, `t.a`, `product.t.a`, `domain.product.t.a`, `t.a.field` ...

    Raises UnknownColumn and AmbiguousName, which list visible names only.
    """
    path = tuple(one.name.casefold() for one in parts)
    crossed: list[Scope] = []
    level: Scope | None = scope
    while level is not None:
        found = _at(level, parts, path)
        if found is not None:
            if not crossed:
                return found
            _cross(found.expression, crossed)
            # What comes from outside keeps the name as it is written.
            return replace(found, name=parts[-1].name)
        crossed.append(level)
        level = level.parent
    raise unknown_name(parts, scope)


def _cross(expression: exp.Expression, crossed: list[Scope]) -> None:
    """Note who reads a neighbour, and refuse what DuckDB would read as a field."""
    for one in crossed:
        if one.gate and one.query is not None and one.query not in crossed:
            one.is_lateral = True
    tables = {column.table.casefold() for column in expression.find_all(exp.Column)}
    for one in crossed:
        for relation in one.relations:
            taken = tables & relation.by_name.keys()
            if taken:
                raise unsupported(
                    f"{taken.pop()} names a table and, further in, a column",
                    hint="Give the table another alias.",
                )


def _at(level: Scope, parts: Sequence[exp.Identifier], path: tuple[str, ...]) -> Found | None:
    for length in range(min(_LONGEST_PATH, len(path) - 1), 0, -1):
        owners = [
            (relation, relation.by_name[path[length]]) for relation in level.relations
            if path[length] in relation.by_name and relation.is_called(path[:length])
        ]
        if len(owners) > 1:
            raise _several(owners, parts[length])
        if owners:
            return _with_fields(_value(owners[0]), parts[length + 1 :], parts)
    found = column_named(level, path[0], parts[0])
    if found is not None:
        return _with_fields(found, parts[1:], parts)
    if len(path) > 1:
        return None
    return _whole_row(level, path[0], parts[0]) or _alias(level, path[0], parts[0])


def column_named(level: Scope, folded: str, part: exp.Identifier) -> Found | None:
    """The column of that name in this scope alone."""
    merged = level.merged.get(folded)
    if merged:
        if len(merged) > 1:
            raise _several([value for one in merged for value in one.values], part)
        return _merged_value(merged[0], part.name)
    owners = [
        (relation, relation.by_name[folded]) for relation in level.relations
        if folded in relation.by_name
    ]
    if len(owners) > 1:
        raise _several(owners, part)
    return _value(owners[0]) if owners else None


def _merged_value(merged: Merged, written: str) -> Found:
    if len(merged.values) == 1:
        return _value(merged.values[0])
    types = {output.type for _, output in merged.values}
    return Found(merged.expression, written, types.pop() if len(types) == 1 else None)


def _value(owner: Value) -> Found:
    relation, output = owner
    return Found(relation.column(output), output.name, output.type)


def _several(owners: Sequence[Value], part: exp.Identifier) -> Exception:
    names = dict.fromkeys(
        f"{_longest(relation)}.{output.name}" for relation, output in owners
    )
    return ambiguous(
        f"The column {part.name} can mean {' or '.join(names)}", part,
        "Write it with its table, or with the table's full name.",
    )


def _longest(relation: Relation) -> str:
    if relation.address is not None and not relation.is_explicit:
        return str(relation.address)
    return relation.alias


def _with_fields(
    found: Found, fields: Sequence[exp.Identifier], parts: Sequence[exp.Identifier]
) -> Found:
    if not fields:
        return found
    if not can_have_fields(found.type):
        raise unknown(
            f"{parts[-len(fields) - 1].name} is no structure and has no field {fields[0].name}",
            fields[0],
        )
    expression = found.expression
    for one in fields:
        expression = field_of(expression, one.name)
    return Found(expression, fields[-1].name)


def field_of(expression: exp.Expression, name: str) -> exp.Expression:
    """`(expression).name`, which DuckDB cannot read as table and column."""
    inner = expression if isinstance(expression, exp.Paren) else exp.Paren(this=expression)
    return exp.Dot(this=inner, expression=exp.to_identifier(name, quoted=True))


def _whole_row(level: Scope, folded: str, part: exp.Identifier) -> Found | None:
    owners = [relation for relation in level.relations if relation.called == folded]
    if len(owners) > 1:
        raise ambiguous(f"{part.name} can mean several tables", part, "Give each its own alias.")
    return Found(row_of(owners[0]), part.name) if owners else None


def row_of(relation: Relation) -> exp.Expression:
    """A whole row, as a structure of its visible columns."""
    return exp.Struct(expressions=[
        exp.PropertyEQ(
            this=exp.to_identifier(output.name, quoted=True), expression=relation.column(output)
        )
        for output in relation.columns
    ])


def _alias(level: Scope, folded: str, part: exp.Identifier) -> Found | None:
    alias = level.aliases.get(folded)
    if alias is None:
        return None
    level.budget.spend(alias.size)
    return Found(copy_of(alias.expression), part.name)


def copy_of(expression: exp.Expression) -> exp.Expression:
    """A copy that can stand inside any other expression."""
    copy = expression.copy()
    needs = isinstance(copy, _NEEDS_PARENTHESES) and not isinstance(copy, exp.Paren | exp.Dot)
    return exp.Paren(this=copy) if needs else copy


def preferred_alias(part: exp.Identifier, scope: Scope) -> Found | None:
    """The alias that wins over a column, in HAVING."""
    folded = part.name.casefold()
    return _alias(scope, folded, part) if folded in scope.preferred else None
