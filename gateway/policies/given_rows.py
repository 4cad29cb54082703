"""A guarded query over rows that somebody wrote down.

Takes: a guarded query, rows by table. Gives: the rows of the answer, made by the same plan, gate
and merge as a request's, with nothing pushed down. Never opens a source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from catalog.model import Source
from connectors.base import Abilities, Connection, Fragment, SourceColumn, stream_schema
from gateway.draft import PlanContext
from gateway.engines.base import Engine
from gateway.errors import InvalidConfig
from gateway.execute import execute
from gateway.guard import GuardedQuery
from gateway.physical import physical_tables
from gateway.plan import plan
from gateway.pools import Pools
from gateway.request import Limits
from gateway.resolve import Address
from gateway.run import Run
from gateway.sharing import Still
from gateway.snapshot import Snapshot

Rows = Sequence[Mapping[str, object]]


def rows_of(
    guarded: GuardedQuery, snapshot: Snapshot, given: Mapping[Address, Rows], engine: Engine
) -> list[tuple[object, ...]]:
    """The rows that the query gives over the given ones."""
    tables = physical_tables(tuple(given), snapshot)
    sources = snapshot.mesh.sources
    shapes = {
        name: tuple((column.name, column.type) for column in one.columns)
        for name, one in guarded.relations.items()
    }
    context = PlanContext(
        tables=tables,
        abilities={identity: Abilities(one.kind, "duckdb") for identity, one in sources.items()},
        describe=lambda tree, values: (),
        push_down=False,
    )
    run = Run(
        query_id="case",
        sources=sources,
        pools=_GivenPools({
            (tables[address].source, tables[address].physical_name): rows
            for address, rows in given.items()
        }),
        engine=engine,
        key_of=lambda group: f"the key of {group} in cases".encode(),
        schema=engine.describe(guarded.tree.sql("duckdb"), shapes, (), "UTC"),
        limits=Limits(seconds=60),
    )  # fmt: skip
    result = execute(plan(guarded, context), run)
    return [
        tuple(column[number].as_py() for column in batch.columns)
        for batch in result.batches()
        for number in range(batch.num_rows)
    ]


class _GivenPools(Pools):
    """Leases connections that hold the given rows of a source."""

    def __init__(self, rows: Mapping[tuple[str, str], Rows]) -> None:
        super().__init__(lambda source: {})
        self._rows = rows

    @contextmanager
    def lease(
        self, source: Source, wait: float = 30.0, still: Still = lambda: False
    ) -> Iterator[Connection]:
        """The rows of one source."""
        yield _GivenConnection({
            name: rows for (identity, name), rows in self._rows.items()
            if identity == source.identity
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class _GivenConnection:
    """Delivers the columns that a fragment of one table asks for; knows no SQL."""

    rows: Mapping[str, Rows]

    def stream(self, fragment: Fragment) -> Iterator[pa.RecordBatch]:
        schema = stream_schema(fragment)
        rows = self.rows[fragment.tables[0]]
        arrays = [
            _array([row.get(one.name) for row in rows], schema.field(one.name))
            for one in fragment.columns
        ]
        # What does not fit is refused above: nothing here is a misfit.
        arrays += [pa.array([False] * len(rows))] * (len(schema) - len(arrays))
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        return ()

    def ping(self) -> None:
        """Always there."""

    def cancel(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing is held."""


def _array(values: list[object], field: pa.Field) -> pa.Array:
    """The values as YAML gives them in the column's type: numbers exactly, times from text."""
    try:
        if pa.types.is_decimal(field.type):
            exact = [None if one is None else Decimal(str(one)) for one in values]
            return pa.array(exact, field.type)
        if pa.types.is_temporal(field.type):
            texts = [None if one is None else str(one) for one in values]
            return _without_zone(pa.array(texts, pa.string()), field.type)
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ArithmeticError):
        raise InvalidConfig(
            f"A given value of {field.name} is no {field.type}.", hint="Correct the case."
        ) from None


def _without_zone(texts: pa.Array, wanted: pa.DataType) -> pa.Array:
    """A time that is written without a zone is UTC."""
    if not (pa.types.is_timestamp(wanted) and wanted.tz):
        return texts.cast(wanted)
    return texts.cast(pa.timestamp(wanted.unit)).cast(wanted)
