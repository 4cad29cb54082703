"""A gateway inside the caller's own process.

Takes: a mesh folder and a user's name. Gives: a `LocalGateway` that answers statements. Never
checks a password: whoever can read the files of the mesh is trusted (DESIGN 9).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from gateway.config import load_config
from gateway.errors import Unauthenticated
from gateway.identity import principal_of
from gateway.labels import labelled
from gateway.opening import OpenGateway, open_gateway
from gateway.queries import is_query_key, keyed_query_id
from gateway.sessions import Session, new_query_id, setting_of, within


class LocalGateway:
    """An open gateway with one session of one user."""

    def __init__(self, opened: OpenGateway, session: Session) -> None:
        self._opened = opened
        self._session = session

    def new_query_id(self, key: str = "") -> str:
        """An id to give to `execute`, so that `cancel` can name it meanwhile; that of a key."""
        user = self._session.principal.user
        return keyed_query_id(user, key) if is_query_key(key) else new_query_id()

    def execute(
        self, sql: str, parameters: tuple[object, ...] = (), query_id: str | None = None,
        seconds: float | None = None,
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch], Mapping[str, object]]:
        """Schema with labels, batches, and what else is known: query_id and masked columns."""
        request = self._session.request(sql, datetime.now(UTC), parameters, query_id)
        request = within(request, seconds, self._session.limits.seconds)
        statement = setting_of(request)
        if statement is not None:
            self._session.apply(statement)
            return pa.schema([]), iter(()), {"query_id": request.query_id, "masked": ()}
        result = self._opened.gateway.answer(request)
        info = {"query_id": result.query_id, "masked": result.masked}
        return labelled(result), result.batches(), info

    def set(self, name: str, value: str | None) -> None:
        """Change a setting of the session."""
        self._session.set(name, value)

    def cancel(self, query_id: str) -> None:
        """Stop a statement that runs, from another thread."""
        self._opened.gateway.cancel(query_id, self._session.principal)

    def close(self) -> None:
        """Give everything back."""
        self._opened.close()


def open(conf: str, user: str, **settings: str | None) -> LocalGateway:
    """Open the mesh in the folder `conf` as `user`; settings are those of a session."""
    opened = open_gateway(load_config(Path(conf)))
    found = next((one for one in opened.publisher.current().mesh.users if one.name == user), None)
    if found is None:
        opened.close()
        raise Unauthenticated(
            f"There is no user {user!r} in this mesh.", hint="identities.yaml lists the users."
        )
    session = Session(principal_of(found), limits=opened.limits)
    for name, value in settings.items():
        if value is not None:
            session.set(name, value)
    return LocalGateway(opened, session)
