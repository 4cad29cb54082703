"""A bound query and its decision become one guarded query (stage 5).

Takes: a `BoundQuery` and a `Decision`. Gives: a `GuardedQuery`, the only thing that may be
planned. Never reads a policy (DESIGN 5, barrier rules 1 to 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from sqlglot import exp

from gateway.aggregated import AggregatedBlock, take_block
from gateway.authorize import unknown_table
from gateway.bind import BoundQuery
from gateway.decision import ColumnDecision, Condition, Decision, Scope, TableDecision
from gateway.errors import InternalError
from gateway.groups import ENTITY
from gateway.masks import mask_expression
from gateway.resolve import Address
from gateway.trees import DUCKDB, read_below
from gateway.unread import drop_unread


@dataclass(frozen=True, slots=True)
class GuardedColumn:
    """A column of a guarded relation.

    name: the visible name. type: its visible DuckDB type. raw: the raw columns it reads, as
    (name, contract type). expression: DuckDB SQL over the raw columns (unqualified, quoted,
    declared case) that yields the visible value. A pseudonym stands in it as the call
    `PSEUDONYM("column", 'join group')` (exp.Anonymous), which only the gateway can evaluate.
    clear: the visible value is the raw value in every visible row.
    policy: which policy masks it, else ''.
    is_cellwise: the value is a CASE of one condition, since some grants cover it in their own
      rows only.
    keys_stay: the policies that keep its keys from other sources.
    """

    name: str
    type: str
    expression: exp.Expression
    raw: tuple[tuple[str, str], ...]
    clear: bool
    policy: str = ""
    is_cellwise: bool = False
    keys_stay: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GuardedRelation:
    """One table *reference* behind its barrier: exactly policy and masks on that table.

    name: its name in the tree (`guarded_0` ...). columns: the visible columns the query reads
    (never none: a query that only counts rows reads the first clear, else the first column).
    filters: conditions over the raw row, all of which must be true. clear: nothing restricts.
    block: what groups the query reads, where the table shows groups only; `columns` are then those
      that the groups are made from, all dimensions and the entity (` entity`) among them.
    """

    name: str
    address: Address
    columns: tuple[GuardedColumn, ...]
    filters: tuple[Condition, ...]
    filter_raw: tuple[tuple[str, str], ...]
    clear: bool
    block: AggregatedBlock | None = None

    @property
    def shape(self) -> tuple[tuple[str, str], ...]:
        """What the query reads: names and DuckDB types."""
        if self.block is not None:
            return self.block.shape
        return tuple((one.name, one.type) for one in self.columns)


_TOKEN = object()


class GuardedQuery:
    """A query that carries its decision inside. Only `guard()` can make one.

    tree: the bound tree in which each reference to a table of the mesh has become the one-part
      quoted name of a guarded relation, under its alias; each relation is named exactly once.
    relations: by name. outputs, parameters: as in the bound query.
    """

    __slots__ = ("decision", "outputs", "parameters", "relations", "tree")

    def __init__(  # noqa: PLR0913 - all by name, from guard() alone
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


def guard(bound: BoundQuery, decision: Decision) -> GuardedQuery:
    """Put each table reference behind its decision; raises UnknownTable where there is none."""
    tree = bound.tree.copy()
    prefix = _free_prefix(tree)
    relations: dict[str, GuardedRelation] = {}
    blocks = _take_blocks(tree, decision)
    drop_unread(tree)
    tables = _mesh_tables(tree)
    used = _used_columns(tree, tables)
    for number, table in enumerate(tables):
        address: Address = table.meta["address"]
        decided = decision.tables.get(address)
        if decided is None:
            raise unknown_table(address)
        name = f"{prefix}{number}"
        block = blocks.get(id(table))
        relations[name] = (
            _relation(name, decided, used[id(table)])
            if block is None
            else _grouped_relation(name, decided, block)
        )
        alias = table.args["alias"]
        made = exp.Table(this=exp.to_identifier(name, quoted=True), alias=alias)
        if table.args.get("joins"):
            made.set("joins", table.args["joins"])
        if table is tree:
            raise InternalError("a table is no query")
        table.replace(made)
    return GuardedQuery(
        _TOKEN,
        tree=tree,
        relations=relations,
        decision=decision,
        outputs=bound.outputs,
        parameters=bound.parameters,
    )


def _take_blocks(tree: exp.Expression, decision: Decision) -> dict[int, AggregatedBlock]:
    """The blocks over tables that show groups only, by reference."""
    found: dict[int, AggregatedBlock] = {}
    if all(one.aggregate is None for one in decision.tables.values()):
        return found
    for table in _mesh_tables(tree):
        decided = decision.tables.get(table.meta["address"])
        if decided is not None and decided.aggregate is not None:
            select = table.find_ancestor(exp.Select)
            if not isinstance(select, exp.Select):
                raise InternalError("a table stands outside a query")
            found[id(table)] = take_block(select, table, decided)
    return found


def _mesh_tables(tree: exp.Expression) -> list[exp.Table]:
    return [one for one in tree.find_all(exp.Table) if "address" in one.meta]


def _free_prefix(tree: exp.Expression) -> str:
    """A prefix that no name of the caller's begins with."""
    names = {one.name.casefold() for one in tree.find_all(exp.Identifier)}
    prefix = "guarded_"
    while any(name.startswith((prefix, f"block_{prefix}")) for name in names):
        prefix = f"_{prefix}"
    return prefix


def _used_columns(tree: exp.Expression, tables: list[exp.Table]) -> dict[int, set[str]]:
    """The columns that each table reference is read for, anywhere below its query."""
    used: dict[int, set[str]] = {}
    read: dict[int, dict[str, set[str]]] = {}
    for table in tables:
        select = table.find_ancestor(exp.Select) or tree
        if id(select) not in read:
            read[id(select)] = read_below(select)
        used[id(table)] = read[id(select)].get(table.alias, set())
    return used


def _relation(name: str, decided: TableDecision, used: set[str]) -> GuardedRelation:
    wanted = [one for one in decided.columns if one.name in used]
    if not wanted:
        clear = [one for one in decided.columns if one.kind == "clear"]
        wanted = [(clear or list(decided.columns))[0]]
    filters = (*decided.filters, *_row_scope(decided.scopes))
    columns = tuple(_guarded_column(one, decided.scopes) for one in wanted)
    raw = {column.name for one in filters for column in one.expression.find_all(exp.Column)}
    return GuardedRelation(
        name=name,
        address=decided.address,
        columns=columns,
        filters=filters,
        filter_raw=tuple((one, "") for one in sorted(raw)),
        clear=not filters and all(one.clear for one in columns),
    )


def _grouped_relation(
    name: str, decided: TableDecision, block: AggregatedBlock
) -> GuardedRelation:
    """The rows that groups are made from, with the entity that each is about."""
    wanted = block.columns | (block.rule.dimensions & {one.name for one in decided.columns})
    filters = (*decided.filters, *_row_scope(decided.scopes))
    raw = {column.name for one in filters for column in one.expression.find_all(exp.Column)}
    columns = [
        _guarded_column(one, decided.scopes) for one in decided.columns if one.name in wanted
    ]
    entity = GuardedColumn(
        name=ENTITY,
        type=block.rule.entity_type,
        expression=exp.column(block.rule.entity, quoted=True),
        raw=((block.rule.entity, ""),),
        clear=False,
        policy=block.rule.policy,
    )
    return GuardedRelation(
        name=name,
        address=decided.address,
        columns=(*columns, entity),
        filters=filters,
        filter_raw=tuple((one, "") for one in sorted(raw)),
        clear=False,
        block=block,
    )


def is_filtered(decided: TableDecision) -> bool:
    """Whether not all rows of a table, or only groups of them, are the caller's."""
    return bool(decided.filters or _row_scope(decided.scopes)) or decided.aggregate is not None


def clear_columns(decided: TableDecision) -> tuple[str, ...]:
    """The columns whose visible values are the raw ones in every visible row."""
    columns = (_guarded_column(one, decided.scopes) for one in decided.columns)
    return tuple(one.name for one in columns if one.clear)


def _row_scope(scopes: tuple[Scope, ...]) -> tuple[Condition, ...]:
    """A row is visible iff some grant's scope is true."""
    conditions = [one.condition for one in scopes]
    found = [one for one in conditions if one is not None]
    if len(found) != len(conditions):
        return ()
    if not found:
        return (Condition("no grant", exp.false(), "FALSE"),)
    policy = ", ".join(dict.fromkeys(one.policy for one in found))
    either = cast("exp.Expression", exp.or_(*(one.expression.copy() for one in found), copy=False))
    return (Condition(policy, either, either.sql(DUCKDB)),)


def _guarded_column(one: ColumnDecision, scopes: tuple[Scope, ...]) -> GuardedColumn:
    if one.kind == "clear" and all(scope.columns is None for scope in scopes):
        return _clear_column(one.name, one.type, one.policy, one.keys_stay)
    # Shared: whoever changes it copies it first.
    value = _mask(one)
    covering = [s for s in scopes if s.columns is None or one.name in s.columns]
    cellwise = len(covering) != len(scopes) and all(s.condition is not None for s in covering)
    policy = one.policy
    if cellwise:
        conditions = [s.condition.expression.copy() for s in covering if s.condition is not None]
        value = exp.Case(ifs=[exp.If(this=exp.or_(*conditions, copy=False), true=value.copy())])
        policy = policy or ", ".join(s.grant for s in covering)
    raw = dict.fromkeys(column.name for column in value.find_all(exp.Column))
    return GuardedColumn(
        name=one.name,
        type=one.type,
        expression=value,
        raw=tuple((name, "") for name in raw),
        clear=one.kind == "clear" and not cellwise,
        policy=policy,
        is_cellwise=cellwise,
        keys_stay=one.keys_stay,
    )


@lru_cache(maxsize=4096)
def _clear_column(
    name: str, kind: str, policy: str, keys_stay: tuple[str, ...]
) -> GuardedColumn:
    return GuardedColumn(
        name, kind, exp.column(name, quoted=True), ((name, ""),), clear=True, policy=policy,
        keys_stay=keys_stay,
    )


_mask = lru_cache(maxsize=4096)(mask_expression)


def render(guarded: GuardedQuery) -> str:
    """A guarded query as text, for golden tests and for people."""
    parts = []
    for one in guarded.relations.values():
        columns = ", ".join(
            f'{column.expression.sql(DUCKDB)} AS "{column.name}"' for column in one.columns
        )
        where = " AND ".join(f"({condition.sql}) IS TRUE" for condition in one.filters)
        text = f"{one.name} AS (SELECT {columns} FROM {one.address}"
        parts.append(text + (f" WHERE {where}" if where else "") + ")")
    return "\n".join([*parts, guarded.tree.sql(DUCKDB)])
