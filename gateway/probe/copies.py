"""A mesh copied for an attack: its contracts and policies, over planted rows.

Takes: a snapshot, the principals who attack. Gives: an `Arena` with the mesh's own tables, grants
and policies, whose rows are made up: some that a principal may see, some that nobody of them may.
What a principal may see follows from the recorded decision and is evaluated by the oracle. Never
reads a row of a real source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from types import MappingProxyType

from sqlglot import exp

from catalog.model import Column, Mask, Mesh, Product, Table
from gateway.authorize import authorize_tables, entitlements_of
from gateway.decision import Condition as Decided
from gateway.decision import TableDecision
from gateway.errors import SqluiceError
from gateway.policies.compile import compile_policies
from gateway.probe.arenas import Arena, Attacked, drawn
from gateway.probe.plant import physical_name
from gateway.probe.rules import Condition, Given, Rules
from gateway.probe.shapes import KINDS, Field, Shape
from gateway.request import Principal
from gateway.resolve import Address
from gateway.snapshot import Snapshot

_ROWS = 24
# What the oracle can work out by itself; tables with other masks are left out.
_MASKS = ("clear", "null", "constant", "pseudonym", "partial", "bucket")
_FLAVOURS = ("word", "number", "day", "json")


def copy_of(snapshot: Snapshot, principals: Sequence[Principal], seed: int) -> Arena:
    """The mesh as an arena; tables of kinds that cannot be planted are left out."""
    chance = Random(seed)
    mesh = _planted(snapshot.mesh, seed)
    copied = Snapshot(mesh, compile_policies(mesh))
    purposes = tuple(_purpose(copied, one) for one in principals)
    tables = []
    for product in mesh.products:
        for table in product.tables:
            who = tuple(zip(principals, purposes, strict=True))
            made = _attacked(chance, copied, product, table, who)
            tables += [made] if made is not None else []
    return Arena(seed, tuple(tables), tuple(principals), copied, purposes)


def _planted(mesh: Mesh, seed: int) -> Mesh:
    """The mesh with tables under names of the probe's own at their sources."""
    number = 0
    products = []
    for product in mesh.products:
        kind = mesh.sources[product.source].kind
        tables = []
        for table in product.tables:
            number += 1
            columns = tuple(replace(one, physical_name=one.name) for one in table.columns)
            physical = physical_name(kind, f"c{seed}_t{number}") if kind in KINDS else ""
            tables.append(replace(table, physical_name=physical, columns=columns))
        if kind in KINDS and product.status not in ("retired", "draft", "proposed"):
            products.append(replace(product, tables=tuple(tables)))
    return replace(mesh, products=tuple(products), revision=f"{mesh.revision}-copy-{seed}")


def _purpose(snapshot: Snapshot, principal: Principal) -> str | None:
    """The purpose for which the principal sees most tables."""
    choices = [None, *(one.name for one in snapshot.mesh.purposes)]
    return max(
        choices,
        key=lambda one: sum(
            _decision(snapshot, address, principal, one) is not None
            for address in snapshot.index.tables
        ),
    )


def _decision(
    snapshot: Snapshot, address: Address, principal: Principal, purpose: str | None
) -> TableDecision | None:
    # Rows of an entitlement table would be made up too.
    if entitlements_of(snapshot.index, (address,)):
        return None
    try:
        now = datetime.now(UTC)
        found = authorize_tables((address,), principal, purpose, now, snapshot.index)
    except SqluiceError:
        return None
    made = found.tables[address]
    # Aggregated tables are outside the promise that is attacked here.
    known = all(
        one.kind in _MASKS and one.arguments.get("form", "ends") == "ends" for one in made.columns
    )
    return made if known and made.aggregate is None else None


def _attacked(
    chance: Random,
    snapshot: Snapshot,
    product: Product,
    table: Table,
    who: Sequence[tuple[Principal, str | None]],
) -> Attacked | None:
    address = Address(product.domain, product.name, table.name, product.major)
    decided = [_decision(snapshot, address, one, purpose) for one, purpose in who]
    found = [one for one in decided if one is not None]
    if not found:
        return None
    kind = snapshot.mesh.sources[product.source].kind
    fields = tuple(_field(chance, one, found) for one in table.columns)
    place = (product.domain, product.name, table.name, table.physical_name)
    shape = Shape(kind, *place, fields, _ROWS)
    rules = [None if one is None else _rules(one) for one in decided]
    views = [(one, principal) for one, (principal, _) in zip(rules, who, strict=True)]
    return drawn(chance, shape, next(one for one in rules if one is not None), views)


def _rules(decision: TableDecision) -> Rules:
    """What a decision says of a table, for the oracle."""
    visible = frozenset(one.name for one in decision.columns)
    grants = tuple(
        Given(
            visible if one.columns is None else one.columns & visible,
            _condition(one.condition) if one.condition is not None else None,
        )
        for one in decision.scopes
    )
    masks: dict[str, tuple[Mask | None, ...]] = {
        one.name: (
            Mask(
                one.kind,
                value=one.arguments.get("value"),
                join_group=one.arguments.get("join_group"),
                keep_first=int(one.arguments.get("keep_first", 0)),
                keep_last=int(one.arguments.get("keep_last", 0)),
                fill=one.arguments.get("fill", "*"),
                unit=one.arguments.get("unit"),
                size=one.arguments.get("size"),
            ),
        )
        for one in decision.columns
        if one.kind != "clear"
    }
    return Rules(_form(decision), grants, tuple(map(_condition, decision.filters)), masks)


def _form(decision: TableDecision) -> str:
    """Which form of policy holds for a table; the one that hides most where there are several."""
    if len({one.columns for one in decision.scopes}) > 1:
        return "cells"
    if len(decision.filters) > 1:
        return "two"
    if decision.filters:
        root = decision.filters[0].expression.unnest()
        return next(name for name, kinds in _FORMS.items() if isinstance(root, kinds))
    if all(one.condition is not None for one in decision.scopes):
        return "scope"
    return "clear" if all(one.kind == "clear" for one in decision.columns) else "mask"


_FORMS: Mapping[str, tuple[type[exp.Expr], ...]] = MappingProxyType(
    {
        "list": (exp.In,),
        "literal": (exp.EQ, exp.NEQ),
        "range": (exp.Between, exp.LT, exp.LTE, exp.GT, exp.GTE),
        "expression": (exp.Expr,),
    }
)


def _condition(decided: Decided) -> Condition:
    return Condition(decided.sql, lambda _: decided.sql)


def _field(chance: Random, column: Column, decisions: Sequence[TableDecision]) -> Field:
    """A field whose tame values include those that policies compare the column with."""
    values = sorted({one for decision in decisions for one in _compared(decision, column.name)})
    flavour = chance.choice(_FLAVOURS) if column.type == "VARCHAR" else ""
    return Field(column.name, column.type, flavour, tuple(values) if flavour else ())


def _compared(decision: TableDecision, column: str) -> Iterator[str]:
    conditions = [one.condition for one in decision.scopes if one.condition is not None]
    for condition in (*conditions, *decision.filters):
        for node in condition.expression.find_all(exp.In, exp.EQ, exp.NEQ):
            if any(one.name == column for one in node.find_all(exp.Column)):
                yield from (one.name for one in node.find_all(exp.Literal) if one.is_string)
