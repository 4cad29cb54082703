"""A source that changed is certified again, beside the queries.

Takes: sources that are not what their certificates say any more. Gives: new certificates in state.
Never holds up a query, never certifies a source twice at once; what fails is tried again with the
next new connection.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from catalog.model import Mesh, Source
from connectors.base import Abilities, ConnectorError
from gateway.abilities import AbilitiesInForce
from gateway.certify.run import certify, subject_of
from gateway.errors import SqluiceError
from gateway.pools import Pools, as_itself

log = logging.getLogger("gateway.recertify")


class Recertifier:
    """Certifies in threads of its own, one a source. `begin` may be called from any thread."""

    def __init__(
        self,
        pools: Pools,
        mesh: Callable[[], Mesh],
        abilities: AbilitiesInForce,
        declared_of: Callable[[Source], Abilities],
    ) -> None:
        """Over the connections of a gateway."""
        self._pools = pools
        self._mesh = mesh
        self._abilities = abilities
        self._declared_of = declared_of
        self._running: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def begin(self, source: Source) -> None:
        """Certify a source, unless that is under way."""
        with self._lock:
            if self._is_closed or source.identity in self._running:
                return
            thread = threading.Thread(
                target=self._certify, args=(source,), name="certify", daemon=True
            )
            self._running[source.identity] = thread
            thread.start()

    def close(self, seconds: float = 10.0) -> None:
        """Begin no more, and wait a moment for what runs."""
        with self._lock:
            self._is_closed = True
            running = list(self._running.values())
        for one in running:
            one.join(seconds)

    def _certify(self, source: Source) -> None:
        try:
            subject = subject_of(source, self._mesh(), self._declared_of(source))
            with self._pools.lease(as_itself(source)) as connection:
                self._abilities.record(certify(subject, connection), "gateway")
            log.info("a source was certified again", extra={"source": source.identity})
        except (ConnectorError, SqluiceError) as error:
            log.warning(
                "a source could not be certified again: %s", type(error).__name__,
                extra={"source": source.identity},
            )  # fmt: skip
        finally:
            with self._lock:
                self._running.pop(source.identity, None)
