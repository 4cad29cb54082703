"""Scopes: which relations and columns a name can mean.

Takes: nothing. Gives: the values that binding works on. Never looks beyond what the caller may
see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from sqlglot import exp

from gateway.errors import UnsupportedSql
from gateway.resolve import Address

# The visible columns of each table: (name, DuckDB type) in contract order.
Visible = Mapping[Address, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Output:
    """A column that a relation offers.

    name: what queries call it. column: its name in the bound text. type: None where unknown.
    also: a second name (`range` for `range(3) AS r`, whose column is `r`).
    """

    name: str
    column: str
    type: str | None = None
    also: str = ""


@dataclass(slots=True, eq=False)
class Relation:
    """A table, sub-query or function in a FROM.

    alias: its name in the bound text, unique in its chain of scopes. called: what the query
    calls it, folded; empty where it has no name. paths: folded longer names that mean it too.
    """

    alias: str
    called: str
    columns: tuple[Output, ...]
    paths: frozenset[tuple[str, ...]] = frozenset()
    address: Address | None = None
    is_explicit: bool = True
    by_name: dict[str, Output] = field(init=False)

    def __post_init__(self) -> None:
        self.by_name = {
            one.also: Output(one.also, one.column, one.type) for one in self.columns if one.also
        }
        self.by_name.update((one.name.casefold(), one) for one in self.columns)

    def is_called(self, path: tuple[str, ...]) -> bool:
        """Whether the folded path before a column means this relation."""
        return path == (self.called,) or path in self.paths

    @property
    def full_name(self) -> tuple[str, ...]:
        """What DuckDB calls it in the name of an output."""
        if self.address is not None and not self.is_explicit:
            return (self.address.domain, self.address.product, self.address.table)
        if not self.called:
            return ("unnamed_subquery",)
        return (self.alias if self.alias.casefold() == self.called else self.called,)

    def column(self, output: Output) -> exp.Column:
        """A bound reference to one of its columns."""
        return exp.Column(
            this=exp.to_identifier(output.column, quoted=True),
            table=exp.to_identifier(self.alias, quoted=True),
        )


Value = tuple[Relation, Output]


@dataclass(frozen=True, slots=True)
class Merged:
    """The one column that USING or NATURAL makes of several.

    members: all of them. values: whose value it has; several: the first that is not NULL.
    """

    members: tuple[Value, ...]
    values: tuple[Value, ...]

    @property
    def expression(self) -> exp.Expression:
        """A bound expression for the merged value."""
        first, *rest = [relation.column(output) for relation, output in self.values]
        return exp.Coalesce(this=first, expressions=rest) if rest else first


@dataclass(frozen=True, slots=True)
class Cte:
    """A common table expression that is in scope."""

    name: str
    outputs: tuple[Output, ...]


Ctes = Mapping[str, Cte]


@dataclass(slots=True)
class Budget:
    """How many nodes stars and aliases may still add: copies of copies grow without end."""

    left: int = 200_000

    def spend(self, nodes: int) -> None:
        """Take that many; raises UnsupportedSql where they are used up."""
        self.left -= nodes
        if self.left < 0:
            raise UnsupportedSql(
                "The statement grows too large when its stars and aliases are written out.",
                hint="Name fewer columns, or compute in steps with WITH.",
            )


@dataclass(slots=True, eq=False)
class Alias:
    """What an alias of the SELECT list stands for; size: its nodes."""

    expression: exp.Expression
    size: int


@dataclass(slots=True, eq=False)
class Scope:
    """What names can mean at one level; unknown ones are looked for in the parent.

    aliases: the outputs that may be named so far, by folded name. pending: aliases that come
    later in the SELECT list. preferred: aliases that win over columns (HAVING). query: the scope
    of the query in whose FROM this one stands. gate: this is the border of a derived table;
    is_lateral tells whether something inside has read a neighbour in the same FROM. spent: the
    folded aliases of relations that can no longer be named.
    """

    parent: Scope | None
    ctes: Ctes = field(default_factory=lambda: MappingProxyType({}))
    query: Scope | None = None
    gate: bool = False
    relations: list[Relation] = field(default_factory=list)
    merged: dict[str, list[Merged]] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    pending: frozenset[str] = frozenset()
    preferred: frozenset[str] = frozenset()
    is_lateral: bool = False
    spent: set[str] = field(default_factory=set)
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        if self.parent is not None:
            self.budget = self.parent.budget

    def child(self, gate: bool = False) -> Scope:
        """A scope inside this one's FROM."""
        return Scope(parent=self, ctes=self.ctes, query=self.query or self, gate=gate)

    def absorb(self, other: Scope) -> None:
        """Take over the relations of a scope inside the FROM."""
        self.relations.extend(other.relations)
        self.spent |= other.spent
        for name, found in other.merged.items():
            self.merged.setdefault(name, []).extend(found)

    def unique(self, wanted: str) -> str:
        """The wanted alias, or one like it that no relation in the chain has."""
        taken: set[str] = set()
        scope: Scope | None = self
        while scope is not None:
            taken.update(one.alias.casefold() for one in scope.relations)
            taken |= scope.spent
            scope = scope.parent
        chosen, number = wanted, 0
        while chosen.casefold() in taken:
            number += 1
            chosen = f"{wanted}_{number}"
        return chosen

    def merged_of(self) -> dict[tuple[int, str], Merged]:
        """Each merged column by its members."""
        return {
            (id(relation), output.name.casefold()): one
            for found in self.merged.values() for one in found
            for relation, output in one.members
        }


@dataclass(frozen=True, slots=True)
class Shape:
    """What the reader of a query asks of its outputs.

    names: new names for the first outputs. unique: names are made distinct, as DuckDB does for
    what is read by a FROM. is_strict: more names than outputs are an error.
    """

    names: tuple[str, ...] = ()
    unique: bool = False
    is_strict: bool = True


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound query. `called`: by which folded names an ORDER BY may call each output."""

    node: exp.Expression
    outputs: tuple[Output, ...]
    called: tuple[frozenset[str], ...]


def distinct(names: Sequence[str]) -> list[str]:
    """The names, made distinct as DuckDB does for what is read by a FROM."""
    made: list[str] = []
    taken: set[str] = set()
    for wanted in names:
        name, number = wanted, 0
        while name.casefold() in taken:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name.casefold())
        made.append(name)
    return made


BindQuery = Callable[[exp.Expression, Scope, Shape], Bound]
