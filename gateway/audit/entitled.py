"""What entitlement tables gave for decisions, kept beside the audit.

Takes: the values that a decision used. Gives: the reference that its record holds, and the values
back. Equal sets are kept once; they go with the last record that names them. Never lets a request
go on whose values could not be kept: its decision could not be computed again.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from gateway.errors import InternalError
from gateway.state.audit import canonical
from gateway.state.engine import moment_text, reading, writing
from gateway.state.entitled import drop_orphans, keep_values, values_of

Values = Mapping[str, tuple[str, ...]]
_KEPT = 4096
# A gateway says again that it uses a set after the first time, long before it could be removed
# after the second.
_AGAIN = timedelta(hours=1)
_YOUNG = timedelta(days=1)


class KeptValues:
    """Keeps sets of values. Every method may be called from any thread."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        """Keep them in that state."""
        self._engine = engine
        self._clock = clock
        self._lock = Lock()
        self._known: OrderedDict[object, tuple[str, datetime]] = OrderedDict()

    def keep(self, values: Values) -> str:
        """The reference of a set, once it is committed; '' for the empty one."""
        if not values:
            return ""
        key, now = tuple(sorted(values.items())), self._clock()
        with self._lock:
            known = self._known.get(key)
        if known is not None and now - known[1] < _AGAIN:
            return known[0]
        content = canonical({name: list(texts) for name, texts in values.items()})
        try:
            reference = self._kept(content, moment_text(now))
        except SQLAlchemyError as error:
            raise InternalError(
                "What the decision rests on could not be kept, so the request was not served.",
                private=str(error),
            ) from error
        with self._lock:
            self._known[key] = (reference, now)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return reference

    def _kept(self, content: str, used_at: str) -> str:
        for last in (False, True):
            try:
                with writing(self._engine) as connection:
                    return keep_values(connection, content, used_at)
            except IntegrityError:
                # Another gateway kept the same set at the same moment: now it is known.
                if last:
                    raise
        raise AssertionError


def kept_values(engine: Engine, reference: str) -> Values | None:
    """The values of a reference; None where they are gone or were changed."""
    with reading(engine) as connection:
        content = values_of(connection, reference)
    if content is None:
        return None
    return {name: tuple(texts) for name, texts in json.loads(content).items()}


def drop_unnamed(engine: Engine, now: datetime) -> int:
    """Remove what no record names any more; gives the number of sets."""
    with writing(engine) as connection:
        return drop_orphans(connection, moment_text(now - _YOUNG))
