"""A bound query and its decision become one guarded query (stage 5).

Takes: a `BoundQuery` and a `Decision`. Gives: a `GuardedQuery`, the only thing that may be
planned. Never reads a policy (DESIGN 5, barrier rules 1 to 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from gateway.authorize import Condition, Decision
from gateway.resolve import Address


@dataclass(frozen=True, slots=True)
class GuardedColumn:
    """A column of a guarded relation.

    name: the visible name. type: its visible DuckDB type. raw: the raw columns it reads, as
    (name, contract type). expression: DuckDB SQL over the raw columns (unqualified, quoted,
    declared case) that yields the visible value. A pseudonym stands in it as the call
    `PSEUDONYM("column", 'join group')` (exp.Anonymous), which only the gateway can evaluate.
    clear: the visible value is the raw value in every visible row.
    policy: which policy masks it, else ''.
    """

    name: str
    type: str
    expression: exp.Expression
    raw: tuple[tuple[str, str], ...]
    clear: bool
    policy: str = ""


@dataclass(frozen=True, slots=True)
class GuardedRelation:
    """One table *reference* behind its barrier: exactly policy and masks on that table.

    name: its name in the tree (`guarded_0` ...). columns: the visible columns the query reads
    (never none: a query that only counts rows reads the first clear, else the first column).
    filters: conditions over the raw row, all of which must be true. clear: nothing restricts.
    """

    name: str
    address: Address
    columns: tuple[GuardedColumn, ...]
    filters: tuple[Condition, ...]
    filter_raw: tuple[tuple[str, str], ...]
    clear: bool


_TOKEN = object()


class GuardedQuery:
    """A query that carries its decision inside. Only `guard()` can make one.

    tree: the bound tree in which each reference to a table of the mesh has become the one-part
      quoted name of a guarded relation, under its alias; each relation is named exactly once.
    relations: by name. outputs, parameters: as in the bound query.
    """

    __slots__ = ("decision", "outputs", "parameters", "relations", "tree")

    def __init__(
        self,
        token: object,
        *,
        tree: exp.Expression,
        relations: Mapping[str, GuardedRelation],
        decision: Decision,
        outputs: tuple[str, ...],
        parameters: int,
    ) -> None:
        if token is not _TOKEN:
            raise TypeError("only gateway.guard.guard() can make a GuardedQuery")
        self.tree = tree
        self.relations = relations
        self.decision = decision
        self.outputs = outputs
        self.parameters = parameters
