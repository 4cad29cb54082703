"""A query that was answered, run again under the same decision.

Takes: a request with its guarded query. Gives: plans of it with fewer abilities, and their rows.
Never asks again who may see what: the decision is the one that was made. Ends within its deadline
and its bounds of rows, by an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from connectors.base import Abilities
from gateway.ability_names import without
from gateway.draft import Plan
from gateway.errors import TimedOut
from gateway.execute import execute
from gateway.pipeline import keys_in_force
from gateway.plan import plan
from gateway.prepare import Prepared, Services, plan_context
from gateway.request import Limits, Request
from gateway.result import Result
from gateway.run import Run
from gateway.self_check.metered import Metered
from gateway.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one check: rows of an answer, rows that are fetched for one run, seconds in all."""

    rows: int
    fetched: int
    seconds: float


class Replay:
    """One query under check."""

    def __init__(  # noqa: PLR0913, PLR0917 - what one run takes
        self,
        request: Request,
        snapshot: Snapshot,
        prepared: Prepared,
        services: Services,
        bounds: Bounds,
        announce: Callable[[Result | None], None],
    ) -> None:
        """The time begins to run."""
        # What the clock showed when it was answered stands in the place of the clock.
        self.request = replace(request, parameters=prepared.parameters)
        self.prepared = prepared
        self._snapshot = snapshot
        self._services = services
        self._bounds = bounds
        self._announce = announce
        self._until = time.monotonic() + bounds.seconds
        context = plan_context(prepared.guarded, self.request, snapshot, services)
        # Whether to refuse was decided for the caller.
        self._context = replace(context, require_pushdown=False)
        self.tried = 0

    @property
    def abilities(self) -> Mapping[str, Abilities]:
        """Of every source, as they are at this moment."""
        return self._context.abilities

    def dialect_of(self, source: str) -> str:
        """sqlglot's name of a source's SQL."""
        return self.abilities[source].dialect

    def pushed(self, less: Mapping[str, Iterable[str]] | None = None) -> Plan:
        """The plan with some abilities of some sources less."""
        self._remaining()
        held = {
            name: without(one, (less or {}).get(name, ())) for name, one in self.abilities.items()
        }
        return plan(self.prepared.guarded, replace(self._context, abilities=held))

    def pulled(self) -> Plan:
        """The plan that leaves everything to the gateway."""
        held = {name: without(one, ["in_place"]) for name, one in self.abilities.items()}
        context = replace(self._context, push_down=False, abilities=held)
        return plan(self.prepared.guarded, context)

    def rows(self, made: Plan) -> pa.Table:
        """The answer by a plan; an error where it is too much or takes too long."""
        self.tried += 1
        run = Run(
            query_id=self.request.query_id,
            sources=self._snapshot.mesh.sources,
            pools=Metered(self._services.pools, self._bounds.fetched),
            engine=self._services.engine,
            key_of=keys_in_force(self._snapshot, self._services),
            schema=self.prepared.schema,
            limits=Limits(rows=self._bounds.rows, seconds=self._remaining()),
            parameters=self.request.parameters,
            timezone=self.request.timezone,
        )
        result = execute(made, run, self._announce)
        return pa.Table.from_batches(list(result.batches()), self.prepared.schema)

    def _remaining(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimedOut("The check took longer than it may.")
        return left
