"""Everything that one gateway process holds, opened and closed together.

Takes: a `Config`. Gives: an `OpenGateway`: mesh, state, audit, sign-in, sources, engine and the
pipeline over them. Never listens: endpoints and in-process use are built upon it.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import Engine

from catalog.model import Mesh, Source
from connectors.base import (
    Abilities,
    ConnectorError,
    ConnectorUnavailable,
    load_abilities,
    load_connector,
)
from gateway.abilities import AbilitiesInForce
from gateway.access import AccessEvent
from gateway.audit import Audit, WriterSettings, export_on_schedule, sink_of
from gateway.audit.source import OWN_SOURCE, StateConnector
from gateway.config import Config
from gateway.decision_point.client import Client
from gateway.decision_point.point import DecisionPoint
from gateway.engines.duckdb import DuckdbEngine, EngineSettings
from gateway.entitlements import Entitlements
from gateway.errors import InvalidConfig
from gateway.identity import Failed, Identity
from gateway.keys import DOMAIN as GOVERNANCE
from gateway.keys import PseudonymKeys, Vault
from gateway.learning import Learning
from gateway.limits import Limiter, statement_limits
from gateway.logs import OwnerLogs
from gateway.metrics import Metrics
from gateway.observed import ObservedCounts
from gateway.openid import OpenId
from gateway.own_reading import Reader
from gateway.own_tokens import OwnTokens, TokenBook
from gateway.pipeline import Gateway
from gateway.pools import CALLER, Pools
from gateway.prepare import Services
from gateway.prices import LearnedPrices
from gateway.provider_keys import ProviderKeys
from gateway.publish import Publisher
from gateway.queries import Queries
from gateway.recertify import Recertifier
from gateway.request import Limits
from gateway.revocations import follow_tokens
from gateway.secrets import Secrets
from gateway.self_check.check import SelfCheck
from gateway.self_check.replay import Bounds
from gateway.shared_limits import SharedRate
from gateway.state.answers import Answers
from gateway.state.engine import open_state
from gateway.statistics import Statistics
from gateway.telemetry import Telemetry, open_telemetry
from gateway.usage import Usage
from gateway.visible_rows import VisibleRows

_KEPT_TABLES = 256
# New objects between two looks at the newest of them.
_COLLECTED_AFTER = 10_000


@dataclass(slots=True)
class OpenGateway:
    """An open gateway. `close` gives everything back, newest first."""

    config: Config
    state: Engine
    publisher: Publisher
    audit: Audit
    identity: Identity
    own_tokens: OwnTokens
    queries: Queries
    pools: Pools
    gateway: Gateway
    services: Services
    limits: Limits
    metrics: Metrics
    abilities: AbilitiesInForce
    decision_point: DecisionPoint | None = None
    _closers: list[Callable[[], None]] = field(default_factory=list)

    def close(self) -> None:
        """Stop running queries, then close in reverse order of opening."""
        self.queries.cancel_all()
        while self._closers:
            self._closers.pop()()


def open_gateway(config: Config, watch: bool = False) -> OpenGateway:
    """Open a gateway; raises InvalidConfig where mesh or settings are wrong."""
    state = open_state(config.state, durable=config.state_settings.durable)
    closers: list[Callable[[], None]] = [state.dispose]
    publisher = Publisher(config.folder, state)
    audit = _audit(config, state)
    # The last head is exported behind the last record.
    closers += [_export_heads(config, audit), audit.close]
    mesh = functools.partial(_mesh_of, publisher)
    abilities, pools = _sources(config, state, mesh, closers)
    statistics, learning = Statistics(pools), _learning(config, state, abilities)
    engine = _engine(config)
    closers += [statistics.close, learning.close, engine.close]
    closers += [publisher.watch()] if watch else []
    limits, queries = statement_limits(config.limits), Queries()
    metrics, telemetry = _watching(config, queries, closers)
    owner_logs = OwnerLogs(config.logs)
    closers.append(owner_logs.close)
    point = _decision_point(config, closers)
    services = Services(
        engine=engine,
        pools=pools,
        audit=audit,
        queries=queries,
        key_of=_keys(config, state).key_of,
        abilities_of=abilities.of,
        edition=abilities.edition,
        link_cost=config.planning.link_cost,
        limits=limits,
        limiter=_limiter(config),
        owner_logs=owner_logs,
        metrics=metrics,
        ledgers=Answers(state),
        usage=Usage(state),
        entitlements=Entitlements(reader := Reader(engine, pools, abilities.of)),
        decision_point=point,
        statistics=statistics,
        learning=learning,
        visible_rows=_visible_rows(config, reader, learning, closers),
        telemetry=telemetry,
    )
    services = replace(services, self_check=_self_check(config, services, abilities, closers))
    identity = _identity(config, state, mesh, _FailedSignIns(audit, metrics))
    publisher.on_access(functools.partial(_end_revoked, queries))
    closers += [publisher.follow(), follow_tokens(queries, identity.api_tokens)]
    return OpenGateway(
        config=config,
        state=state,
        publisher=publisher,
        audit=audit,
        identity=identity,
        own_tokens=OwnTokens(TokenBook(identity.api_tokens, audit), identity),
        queries=queries,
        pools=pools,
        gateway=Gateway(publisher.current, services),
        services=services,
        limits=limits,
        metrics=metrics,
        abilities=abilities,
        decision_point=point,
        _closers=closers,
    )


def settle() -> None:
    """Tell the collector of cycles that what is loaded by now stays, for a process that serves.

    A tree of a statement is hundreds of objects that know each other: by its own measure the
    collector looks through everything that is loaded every few statements.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER, 10, 10)
def _sources(
    config: Config,
    state: Engine,
    mesh: Callable[[], Mesh],
    closers: list[Callable[[], None]],
) -> tuple[AbilitiesInForce, Pools]:
    """The connections to the sources, and what those can do."""
    abilities = AbilitiesInForce(state, declared_of)
    pools = Pools(
        settings_of(config, mesh), own={OWN_SOURCE: StateConnector(state)}, opened=abilities.seen
    )
    closers.append(pools.close)
    recertifier = Recertifier(pools, mesh, abilities, declared_of)
    abilities.changed = recertifier.begin
    closers.append(recertifier.close)
    return abilities, pools


def _learning(config: Config, state: Engine, abilities: AbilitiesInForce) -> Learning:
    """What runs teach the planner."""
    prices = LearnedPrices(state, abilities.of, abilities.certificate)
    return Learning(prices, ObservedCounts(state), config.planning.learn_seconds)


def _visible_rows(
    config: Config, reader: Reader, learning: Learning, closers: list[Callable[[], None]]
) -> VisibleRows | None:
    """Who counts what is visible of restricted tables."""
    if not config.planning.count_rows:
        return None
    made = VisibleRows(reader, learning.counts)
    closers.append(made.close)
    return made


def _self_check(
    config: Config,
    services: Services,
    abilities: AbilitiesInForce,
    closers: list[Callable[[], None]],
) -> SelfCheck | None:
    settings = config.self_check
    if not settings.sample:
        return None
    bounds = Bounds(settings.check_rows, settings.fetched_rows, settings.check_seconds)
    made = SelfCheck(services, abilities, settings.sample, bounds)
    closers.append(made.close)
    return made


def _audit(config: Config, state: Engine) -> Audit:
    settings = config.audit
    return Audit(
        state,
        settings=WriterSettings(
            settings.segment_records, settings.segment_hours, settings.wait_seconds
        ),
    )


def _export_heads(config: Config, audit: Audit) -> Callable[[], None]:
    target = config.heads_target
    sink_of(target)  # a target that will not do is found before anything is served
    return export_on_schedule(
        lambda: audit.head, lambda _: audit.export_head(target), config.audit.heads_seconds
    )


def _end_revoked(queries: Queries, events: tuple[AccessEvent, ...]) -> None:
    """Stop what runs by a grant that was revoked with that wish."""
    for one in events:
        if one.kind == "revoke" and one.ends_running:
            queries.end(one.subject, one.user)


def _engine(config: Config) -> DuckdbEngine:
    settings = config.engine
    return DuckdbEngine(
        EngineSettings(
            memory=settings.memory,
            threads=settings.threads,
            spill=str(config.data / settings.spill),
            kept=settings.databases,
        )
    )


def _mesh_of(publisher: Publisher) -> Mesh:
    return publisher.current().mesh


def _keys(config: Config, state: Engine) -> PseudonymKeys:
    secrets = Secrets(config.secrets, os.environ)
    return PseudonymKeys(secrets, config.secrets, Vault(state, os.environ))


def _decision_point(
    config: Config, closers: list[Callable[[], None]]
) -> DecisionPoint | None:
    settings = config.decision_point
    if not settings.url:
        return None
    secrets = Secrets(config.secrets, os.environ)

    def token_of() -> str:
        return secrets.get(GOVERNANCE, settings.token) if settings.token else ""

    token_of()  # a secret that is missing is found before anything is served
    tls = _tls(config, "decision_point", settings.authorities)
    made = DecisionPoint(Client(settings, token_of, tls), frozenset(settings.urls))
    closers.append(made.close)
    return made


def _watching(
    config: Config, queries: Queries, closers: list[Callable[[], None]]
) -> tuple[Metrics, Telemetry]:
    metrics = Metrics()
    metrics.count_running(lambda: queries.count)
    telemetry = open_telemetry(config.telemetry)
    closers.append(telemetry.close)
    return metrics, telemetry


def _limiter(config: Config) -> Limiter:
    settings = config.limits
    if not settings.storage or not settings.requests_per_second:
        return Limiter(settings)
    shared = SharedRate(settings.storage, settings.requests_per_second)
    return Limiter(settings, shared=shared)


@dataclass(frozen=True, slots=True)
class _FailedSignIns:
    """Tells the audit and the metrics of each."""

    audit: Audit
    metrics: Metrics

    def __call__(
        self, user: str, code: str, endpoint: str, is_known: bool, address: str
    ) -> None:
        self.metrics.sign_in_failed(endpoint, code)
        self.audit.sign_in_failed(user, code, endpoint, is_known, address)


def _identity(
    config: Config, state: Engine, mesh: Callable[[], Mesh], failed: Failed
) -> Identity:
    made = Identity(mesh, state, config.sign_in)
    made.openid = _openid(config)
    made.failed = failed
    return made


def _openid(config: Config) -> OpenId | None:
    settings = config.openid
    if not settings.issuer:
        return None
    tls = _tls(config, "sign_in.openid", settings.authorities)
    return OpenId(settings, ProviderKeys(settings, tls))


def _tls(config: Config, section: str, file: str) -> ssl.SSLContext:
    if not file:
        return _system_authorities()
    try:
        return ssl.create_default_context(cafile=str(config.folder / file))
    except (OSError, ssl.SSLError) as error:
        raise InvalidConfig(
            f"The file of certificates that [{section}] authorities names cannot be read.",
            hint="Name a file of PEM certificates, relative to the mesh folder.",
            private=str(error),
        ) from None


@functools.cache
def _system_authorities() -> ssl.SSLContext:
    return ssl.create_default_context()


def settings_of(
    config: Config, mesh: Callable[[], Mesh]
) -> Callable[[Source], Mapping[str, str]]:
    """How the settings of a source are found, secrets in the namespaces of the mesh's domains."""
    known: dict[tuple[str, str], Mapping[str, str]] = {}
    latest: dict[str, Secrets] = {}

    def tables(source: Source, present: Mesh) -> Mapping[str, str]:
        key = (source.identity, present.revision)
        if key not in known:
            if len(known) >= _KEPT_TABLES:
                known.clear()
            check_settings(source)
            known[key] = _tables(source, present)
        return known[key]

    def looking(present: Mesh) -> Secrets:
        kept = latest.get(present.revision)
        if kept is None:
            latest.clear()
            names = [one.name for one in present.domains]
            kept = latest[present.revision] = Secrets(config.secrets, os.environ, names)
        return kept

    def found(source: Source) -> Mapping[str, str]:
        present = mesh()
        secrets = looking(present)
        try:
            told = tables(source, present)
            return {**secrets.settings(source, config.data), **told}
        except InvalidConfig as error:
            # To a caller a source without its secret is a source that is down.
            raise ConnectorUnavailable(f"{source.identity}: {error.message}") from None

    return found


def check_settings(source: Source) -> None:
    """InvalidConfig where a secret stands in a domain's file, or who asks does."""
    if source.identity == OWN_SOURCE:
        return
    connector = load_connector(source.kind)
    if CALLER in {*source.settings, *source.secrets}:
        raise InvalidConfig(
            f"The source {source.identity} says who asks.",
            hint=f"Remove `{CALLER}`: the gateway tells that itself, where `identity` is `caller`.",
        )
    secret: frozenset[str] = getattr(connector, "secret_settings", frozenset())
    if written := sorted(secret & set(source.settings)):
        raise InvalidConfig(
            f"The source {source.identity} has {', '.join(written)} in its settings.",
            hint="Write the value to a secret of the domain and name that under `secrets`.",
        )


def _tables(source: Source, mesh: Mesh) -> Mapping[str, str]:
    """The contracts' types of a source's tables, for a connector that would else guess from rows.

    Where contracts of one file differ in a type, the column is text.
    """
    if source.identity == OWN_SOURCE or not _takes_tables(source):
        return {}
    found: dict[str, dict[str, str]] = {}
    for product in mesh.products:
        for table in product.tables if product.source == source.identity else ():
            held = found.setdefault(table.physical_name, {})
            for one in table.columns:
                known = held.setdefault(one.physical_name, one.type)
                held[one.physical_name] = one.type if known == one.type else "VARCHAR"
    return {"tables": json.dumps(found, sort_keys=True)}


def _takes_tables(source: Source) -> bool:
    return getattr(load_connector(source.kind), "takes_tables", False)


def declared_of(source: Source) -> Abilities:
    """The declared row of a source: that of its kind, with what its own settings say."""
    try:
        return load_abilities(source.kind).under(source.settings)
    except (OSError, ConnectorError) as error:
        raise InvalidConfig(
            f"There are no abilities for sources of kind {source.kind!r}.", private=str(error)
        ) from None
