"""Which abilities each source has at this moment.

Takes: the declared rows and what state holds of the live sources: certificates, and abilities that
were switched off. Gives: `Abilities` by the identity of a source, and an edition that changes
whenever any of them does. Never gives more than the declared row says.

What is in force of a source without a certificate is its declared row. With one: the row less what
the probe disproved, and what the row says `if_certified`. Where a connection shows another version
or other settings than the certificate's, nothing is given that holds only if certified, until it
is certified again. What was switched off stays off until then.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from catalog.model import Source
from connectors.base import Abilities, Connection, ConnectorUnavailable
from gateway.ability_names import ability_names, without
from gateway.certify.certificate import Certificate, certificate_of, certified, fingerprint_of
from gateway.certify.rows import can_certify, dialect_of
from gateway.certify.run import settings_of
from gateway.errors import SourceUnavailable
from gateway.state.abilities import AbilityEvent, ability_events, append_ability_event
from gateway.state.engine import moment_text, reading, writing

__all__ = ["AbilitiesInForce", "AbilityEvent"]

log = logging.getLogger("gateway.abilities")
# How long another gateway's finding may go unnoticed.
FOLLOW_SECONDS = 1.0
# How long a plan may have waited for its connections when news of its source came.
_PLANNED_SECONDS = 1.0


# The kind of a source, and its settings: what its declared row rests upon.
_Declared = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class _Standing:
    """What is known of one source. `live` is the fingerprint that its newest connection showed."""

    certificate: Certificate | None = None
    off: tuple[AbilityEvent, ...] = ()
    live: str = ""
    changed_at: float = float("-inf")
    made: dict[_Declared, Abilities] = field(default_factory=dict)


class AbilitiesInForce:
    """The abilities of all sources over one state. Every method may be called from any thread."""

    def __init__(self, state: Engine, declared_of: Callable[[Source], Abilities]) -> None:
        """`declared_of` gives the declared row of a source."""
        self._state = state
        self._declared_of = declared_of
        self._lock = threading.Lock()
        self._standings: dict[str, _Standing] = {}
        self._number = 0
        self._read_at = float("-inf")
        self._edition = 0
        # Called with a source that is not what its certificate says any more.
        self.changed: Callable[[Source], None] = lambda _: None

    def of(self, source: Source) -> Abilities:
        """The abilities of a source."""
        self._follow()
        with self._lock:
            standing = self._standings.get(source.identity)
            if standing is None:
                return self._declared_of(source)
            key = source.kind, tuple(sorted(source.settings.items()))
            if key not in standing.made:
                standing.made[key] = _in_force(standing, self._declared_of(source))
            return standing.made[key]

    def edition(self) -> int:
        """A number that changes with any source's abilities: plans of another one are stale."""
        self._follow()
        return self._edition

    def record(self, certificate: Certificate, actor: str = "") -> int:
        """Keep a certificate; it is in force from the next statement of every gateway."""
        content = json.dumps(certificate.as_json(), ensure_ascii=False, default=str)
        return self._tell(
            AbilityEvent(
                "certified", certificate.source, certificate.fingerprint, actor=actor,
                content=content,
            )
        )  # fmt: skip

    def switch_off(
        self, source: str, ability: str, evidence: Mapping[str, Any], query_id: str
    ) -> int:
        """Use an ability no more until the source is certified again."""
        with self._lock:
            standing = self._standings.get(source)
            live = standing.live if standing is not None else ""
        content = json.dumps(evidence, ensure_ascii=False, default=str)
        return self._tell(
            AbilityEvent("off", source, live, ability, "self-check", query_id, content)
        )

    def events(self, source: str = "") -> tuple[AbilityEvent, ...]:
        """All that was found, oldest first."""
        try:
            with reading(self._state) as connection:
                return ability_events(connection, source=source)
        except SQLAlchemyError as error:
            raise _unreadable(error) from error

    def certificate(self, source: str) -> Certificate | None:
        """The newest certificate of a source."""
        self._follow()
        with self._lock:
            standing = self._standings.get(source)
            return standing.certificate if standing is not None else None

    def off(self, source: str) -> tuple[AbilityEvent, ...]:
        """What is switched off of a source."""
        self._follow()
        with self._lock:
            standing = self._standings.get(source)
            return standing.off if standing is not None else ()

    def seen(self, source: Source, connection: Connection) -> None:
        """A new connection was opened: see whether the certificate still speaks of its source.

        Raises ConnectorUnavailable, for a moment, where a plan may have been made by what does not
        hold any more: an error is better than an answer by another collation.
        """
        certificate = self.certificate(source.identity)
        if certificate is None:
            return
        dialect = self._declared_of(source).dialect
        if not can_certify(source.kind, dialect):
            return
        live = fingerprint_of(settings_of(connection, dialect_of(source.kind, dialect)))
        with self._lock:
            standing = self._standings[source.identity]
            if standing.live != live:
                standing.live, standing.changed_at = live, time.monotonic()
                standing.made.clear()
                self._edition += 1
            is_stale = _is_stale(standing)
            is_news = time.monotonic() - standing.changed_at < _PLANNED_SECONDS
        if is_stale:
            log.warning(
                "version or settings changed since the certificate",
                extra={"source": source.identity},
            )
            self.changed(source)
            if is_news and certificate.bytewise:
                raise ConnectorUnavailable("it changed since it was certified: ask again")

    def _tell(self, event: AbilityEvent) -> int:
        made = replace(event, at=moment_text(datetime.now(UTC)))
        try:
            with writing(self._state) as connection:
                number = append_ability_event(connection, made)
        except SQLAlchemyError as error:
            raise _unreadable(error) from error
        self._read_at = float("-inf")
        self._follow()
        return number

    def _follow(self) -> None:
        """Read what is new, at most once in a while; one thread does, the others go on."""
        now = time.monotonic()
        if now - self._read_at < FOLLOW_SECONDS:
            return
        self._read_at = now
        try:
            with reading(self._state) as connection:
                found = ability_events(connection, self._number)
        except SQLAlchemyError as error:
            # What is known stays in force: it never gives more than the declared row.
            log.warning("abilities could not be read from state: %s", type(error).__name__)
            return
        with self._lock:
            for event in found:
                if event.number > self._number:
                    self._take(event)
                    self._number = event.number
                    self._edition += 1

    def _take(self, event: AbilityEvent) -> None:
        standing = self._standings.setdefault(event.source, _Standing())
        standing.made.clear()
        if event.kind == "certified":
            standing.certificate = certificate_of(json.loads(event.content))
            standing.off, standing.live = (), event.fingerprint
        else:
            standing.off = (*standing.off, event)


def _is_stale(standing: _Standing) -> bool:
    certificate = standing.certificate
    return certificate is not None and bool(standing.live) and (
        standing.live != certificate.fingerprint
    )


def _in_force(standing: _Standing, declared: Abilities) -> Abilities:
    made = declared
    if standing.certificate is not None:
        made = certified(declared, standing.certificate, not _is_stale(standing))
    made = without(made, (one.ability for one in standing.off))
    if not can_certify(declared.kind, declared.dialect):
        return made
    return replace(made, taken=frozenset(ability_names(declared)) - frozenset(ability_names(made)))


def _unreadable(error: SQLAlchemyError) -> SourceUnavailable:
    return SourceUnavailable(
        "What was found of the sources could not be read from state.",
        hint="Check SQLUICE_STATE and that its database runs and may be written.",
        private=str(error),
    )

