"""Many arenas planted at once, and statements run over both of their worlds.

Takes: arenas and two grounds. Gives: a `Lot`, which prepares a statement once, without any way to
a source, and runs the plan over either world; the whole pipeline, with EXPLAIN, is asked too.
Connections are shared by all arenas of a lot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from catalog.model import Source
from gateway.config import load_config
from gateway.engines.base import Catalog
from gateway.engines.duckdb import DuckdbEngine, EngineSettings
from gateway.entitlements import Entitlements
from gateway.errors import SqluiceError
from gateway.execute import execute
from gateway.opening import OpenGateway, open_gateway
from gateway.own_reading import Reader
from gateway.parse import parse
from gateway.pipeline import Gateway
from gateway.plan_cache import PlanCache
from gateway.pools import Pools
from gateway.prepare import Prepared, Services, prepare
from gateway.probe.arenas import WORLDS, Arena
from gateway.probe.oracle import KEY, fill
from gateway.probe.outcomes import Outcome, difference, of_batches, of_error
from gateway.probe.plant import Ground, plant
from gateway.probe.statements import Statement
from gateway.request import Limits, Request
from gateway.run import Run
from gateway.sessions import new_query_id
from gateway.snapshot import Snapshot

# Rows of a source whose answer has gone wrong would be many; the probe's own are few.
_LIMITS = Limits(rows=2_000_000, seconds=60)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One statement of one insider over both worlds.

    stage: `refused` before anything ran, else `ran`. differs: how the worlds differ, in words.
    disagrees: how the answer differs from the oracle's; empty too where either failed.
    """

    stage: str
    outcomes: Mapping[str, Outcome]
    differs: str = ""
    disagrees: str = ""

    @property
    def code(self) -> str:
        """What the calm world answered."""
        return self.outcomes["calm"].code


@dataclass(frozen=True, slots=True)
class Ways:
    """One statement over the calm world, pushed and pulled.

    wrong: how the two differ, or the pushed answer from the oracle's; empty too where either
    failed, for which error is raised is no part of the promise. whole: one fragment is all of it.
    """

    pushed: Outcome
    pulled: Outcome
    wrong: str
    whole: bool


class Lot:
    """Planted arenas, and a gateway over each of their worlds. Used by one thread."""

    def __init__(self, arenas: Iterable[Arena], grounds: Mapping[str, Ground]) -> None:
        """Plant both worlds of every arena."""
        self.arenas = tuple(arenas)
        for world, ground in grounds.items():
            plant(ground, (one for arena in self.arenas for one in arena.planted(world)))
        spill = grounds[WORLDS[0]].folder / "spill"
        self._engine = _Engine(EngineSettings(threads=1, spill=str(spill)))
        self._opened = {world: _opened(one.folder) for world, one in grounds.items()}
        self._pools = {world: Pools(one.settings) for world, one in grounds.items()}
        self._current: Snapshot | None = None
        self._open()
        self._reference = Reference()

    def _open(self) -> None:
        services = {world: self._services(world) for world in self._pools}
        self._gateways = {world: Gateway(self._snapshot, one) for world, one in services.items()}
        # Entitlements alone may be read before a statement is decided.
        self._sealed = replace(services[WORLDS[0]], pools=Pools(_nowhere))

    def _services(self, world: str) -> Services:
        """One world's; nothing is remembered across worlds."""
        base, pools = self._opened[world].services, self._pools[world]
        reader = Reader(self._engine, pools, base.abilities_of)
        return replace(
            base, engine=self._engine, key_of=_key_of, pools=pools, plans=PlanCache(),
            entitlements=Entitlements(reader), self_check=None,
            # They would ask by the settings of a mesh of nothing, of which no source tells a size.
            statistics=None, visible_rows=None,
        )  # fmt: skip

    def forget(self) -> None:
        """Begin anew with decisions and plans."""
        self._open()
        for arena in self.arenas:
            arena.snapshot.index.decisions.clear()

    def close(self) -> None:
        """Give connections back; what was planted stays for the owner of the grounds."""
        self._reference.close()
        for pools in self._pools.values():
            pools.close()
        self._engine.close()
        for opened in self._opened.values():
            opened.close()

    def attempt(
        self, arena: Arena, who: int, statement: Statement, push_down: bool = True
    ) -> Attempt:
        """Prepare the statement once, run it over both worlds, compare with the oracle."""
        request = self._request(arena, who, statement, push_down)
        try:
            parsed = parse(request)
            prepared = prepare(request, parsed, arena.snapshot, self._sealed)
        except SqluiceError as error:
            outcome = of_error(error)
            return Attempt("refused", dict.fromkeys(WORLDS, outcome))
        outcomes = {
            world: self._run(request, prepared, arena.snapshot, pools)
            for world, pools in self._pools.items()
        }
        differs = difference(outcomes["calm"], outcomes["wild"])
        disagrees = "" if differs else self._disagreement(arena, who, statement, outcomes["calm"])
        return Attempt("ran", outcomes, differs, disagrees)

    def both_ways(self, arena: Arena, who: int, statement: Statement) -> Ways:
        """Run the statement pushed and pulled, and compare both with each other and the oracle."""
        outcomes, whole = [], False
        for push_down in (True, False):
            request = self._request(arena, who, statement, push_down)
            try:
                prepared = prepare(request, parse(request), arena.snapshot, self._sealed)
            except SqluiceError as error:
                outcomes.append(of_error(error))
                continue
            whole = whole or prepared.plan.merge is None
            pools = self._pools[WORLDS[0]]
            outcomes.append(self._run(request, prepared, arena.snapshot, pools))
        pushed, pulled = outcomes
        wrong = ""
        if pushed.error is None and pulled.error is None:
            wrong = difference(pushed, pulled) or self._disagreement(arena, who, statement, pushed)
        return Ways(pushed, pulled, wrong, whole)

    def through_pipeline(self, arena: Arena, who: int, sql: str) -> str:
        """How the worlds differ for a caller of the whole gateway; empty where they do not."""
        return difference(*self.answers(arena, who, sql).values())

    def answers(self, arena: Arena, who: int, sql: str) -> Mapping[str, Outcome]:
        """What a caller of the whole gateway gets in each world."""
        self._current = arena.snapshot
        found = {}
        for world, gateway in self._gateways.items():
            request = self._request(arena, who, Statement(sql), True)
            try:
                result = gateway.answer(request)
                found[world] = of_batches(
                    result.schema, list(result.batches()), result.masked
                )
            except SqluiceError as error:
                found[world] = of_error(error)
        return found

    def _request(self, arena: Arena, who: int, statement: Statement, push_down: bool) -> Request:
        return Request(
            sql=statement.sql,
            principal=arena.principals[who],
            now=datetime.now(UTC),
            query_id=new_query_id(),
            purpose=arena.purposes[who],
            parameters=statement.parameters,
            limits=_LIMITS,
            push_down=push_down,
        )

    def _run(
        self, request: Request, prepared: Prepared, snapshot: Snapshot, pools: Pools
    ) -> Outcome:
        run = Run(
            query_id=request.query_id,
            sources=snapshot.mesh.sources,
            pools=pools,
            engine=self._engine,
            key_of=lambda _: KEY,
            schema=prepared.schema,
            limits=request.limits,
            parameters=prepared.parameters,
        )
        try:
            result = execute(prepared.plan, run)
            return of_batches(result.schema, list(result.batches()), result.masked)
        except SqluiceError as error:
            return of_error(error)

    def _disagreement(
        self, arena: Arena, who: int, statement: Statement, got: Outcome
    ) -> str:
        """How an answer differs from plain DuckDB over the permitted rows.

        Which of several errors is raised, or whether one is, is no part of the promise.
        """
        if got.error is not None:
            return ""
        connection = self._reference.of(arena, who)
        try:
            values = list(statement.parameters)
            table = connection.sql(statement.sql, params=values or None).to_arrow_table()
        except duckdb.Error:
            return ""
        want = of_batches(table.schema, table.to_batches(), got.masked)
        return difference(got, want)

    def _snapshot(self) -> Snapshot:
        assert self._current is not None
        return self._current


class _Engine(DuckdbEngine):
    """The gateway's engine; all outputs of the probe are named, so that none need be asked for."""

    def output_names(
        self, sql: str, catalog: Catalog, domain: str | None, parameters: Sequence[object]
    ) -> tuple[str, ...] | None:
        """No names but those in the statement."""
        return None

    def _put(
        self, place: tuple[str, ...], connection: duckdb.DuckDBPyConnection, healthy: bool
    ) -> None:
        """A database whose statement failed is emptied like any other; the probe fails often."""
        self._give(place, connection)


class Reference:
    """Plain DuckDB with what insiders may see, under the addresses of the mesh.

    Opening a database costs more than a triple: there is one for each number of an insider, filled
    anew for each arena.
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[Arena | None, duckdb.DuckDBPyConnection]] = {}

    def of(self, arena: Arena, who: int) -> duckdb.DuckDBPyConnection:
        """A database that holds exactly what one insider may see."""
        held, connection = self._held.get(who) or (None, _empty())
        if held is not arena:
            if held is not None:
                for domain in _domains(held):
                    connection.execute(f"DETACH {domain}")
            _fill(connection, arena, who)
            self._held[who] = (arena, connection)
        return connection

    def close(self) -> None:
        """Forget everything."""
        for _, connection in self._held.values():
            connection.close()
        self._held.clear()


def _empty() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET threads = 1")
    return connection


def _domains(arena: Arena) -> Iterable[str]:
    return dict.fromkeys(one.shape.domain for one in arena.tables)


def _fill(connection: duckdb.DuckDBPyConnection, arena: Arena, who: int) -> None:
    for domain in _domains(arena):
        connection.execute(f"ATTACH ':memory:' AS {domain}")
    for one in arena.tables:
        view = one.seen[who]
        if not view.fields:
            continue
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {one.shape.domain}.{one.shape.product}")
        fill(connection, one.shape.address, view.fields, [row for row in view.rows if row])


def _opened(folder: Path) -> OpenGateway:
    """A gateway over a mesh of nothing, for what is the same over all meshes."""
    home = folder / "home"
    (home / "domains").mkdir(parents=True)
    (home / "gateway.toml").write_text("[state]\ndurable = false\n", encoding="utf-8")
    return open_gateway(load_config(home, {"SQLUICE_DATA": str(home)}))


def _key_of(join_group: str, epoch: int) -> bytes:
    return KEY


def _nowhere(source: Source) -> Mapping[str, str]:
    raise AssertionError(f"preparing a statement reached for {source.identity}")
