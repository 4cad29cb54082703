"""Statements that the gateway asks of one table for itself, through its own stages.

Takes: a query over one table, and what holds for its rows. Gives: a plan, and what runs it. Never
lets text of the user's in, and asks no source as anybody: nothing here knows a caller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from catalog.model import Source
from connectors.base import Abilities
from gateway.authorize import visible
from gateway.bind import bind
from gateway.decision import Decision, TableDecision
from gateway.draft import PhysicalTable, Plan, PlanContext
from gateway.engines.base import Engine
from gateway.guard import guard
from gateway.parse import ParsedStatement
from gateway.plan import plan
from gateway.pools import Pools
from gateway.request import Limits
from gateway.resolve import Address, Directory, KnownProduct, resolve
from gateway.run import Run
from gateway.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Reader:
    """What reading takes: engine, connections, abilities."""

    engine: Engine
    pools: Pools
    abilities_of: Callable[[Source], Abilities]


@dataclass(frozen=True, slots=True)
class OwnStatement:
    """What is asked. name: in place of a query id, and of a decision's fingerprint."""

    name: str
    query: exp.Select
    decided: TableDecision
    table: PhysicalTable
    limits: Limits


def table_named(address: Address) -> exp.Table:
    """A table as such a query names it."""
    return exp.table_(address.table, db=address.product, catalog=address.domain, quoted=True)


def planned(asked: OwnStatement, snapshot: Snapshot, reader: Reader) -> tuple[Plan, Run]:
    """The plan of a statement under what was decided for its table, and how it runs."""
    address = asked.decided.address
    known = Directory({
        (address.domain.casefold(), address.product.casefold()): KnownProduct(
            domain=address.domain, product=address.product,
            tables={address.major: (address.table,)},
            default_tables={address.major: address.table}, preferred=address.major,
        )
    })  # fmt: skip
    decision = Decision(
        tables={address: asked.decided}, purpose=None, purpose_was_default=False,
        revision=snapshot.mesh.revision, fingerprint=asked.name,
    )  # fmt: skip
    resolved = resolve(ParsedStatement("query", asked.query), known, None)
    guarded = guard(bind(resolved, visible(decision)), decision)
    shapes = {name: one.shape for name, one in guarded.relations.items()}

    def described(query: exp.Expression) -> pa.Schema:
        return reader.engine.describe(query.sql("duckdb"), shapes, (), "UTC")

    context = PlanContext(
        tables={address: asked.table},
        abilities={
            name: reader.abilities_of(source)
            for name, source in snapshot.mesh.sources.items()
        },
        describe=lambda query, values: tuple(
            (field.metadata or {})[b"type"].decode() for field in described(query)
        ),
    )
    run = Run(
        query_id=asked.name, sources=snapshot.mesh.sources, pools=reader.pools,
        engine=reader.engine, key_of=_no_key, schema=described(guarded.tree),
        limits=asked.limits,
    )  # fmt: skip
    return plan(guarded, context), run


def _no_key(_: str) -> bytes:
    raise AssertionError("what the gateway reads for itself shows no pseudonym")
