"""Answers of PostgreSQL's catalogs to one connection.

Takes: statements over the catalogs. Gives: tables with PostgreSQL's types, of what the principal
may know at that moment. Never shows what `gateway.catalog` does not list for him; asks for that
anew with each statement, so that a grant that ended has ended here too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa

from gateway.browsing import Outcome, browsing, refuse
from gateway.errors import InternalError, SqluiceError
from gateway.metadata import VisibleTable
from gateway.normalise import normalise
from gateway.opening import OpenGateway
from gateway.request import Request
from gateway.serve.pgwire.catalog.activity import Speakers
from gateway.serve.pgwire.catalog.calling import SessionValues
from gateway.serve.pgwire.catalog.content import PUBLIC, content_of
from gateway.serve.pgwire.catalog.database import Asking, Database, Databases
from gateway.serve.pgwire.catalog.translate import Translated, number_of_type, translate
from gateway.serve.pgwire.commands import Setting
from gateway.serve.pgwire.faults import WireError
from gateway.serve.pgwire.settings import SERVER_VERSION
from gateway.serve.pgwire.state import State

log = logging.getLogger("gateway.pgwire")
_MOST_LOGGED = 10_000
_DIALECT = "postgres"
_NOT_SERVED = frozenset({"0A000", "42883"})
_ARROW: Mapping[str, pa.DataType] = {
    "oid": pa.int32(), "xid": pa.int32(), "name": pa.string(), "char": pa.string(),
    "text": pa.string(), "varchar": pa.string(), "bpchar": pa.string(), "int2": pa.int16(),
    "int4": pa.int32(), "int8": pa.int64(), "bool": pa.bool_(), "float4": pa.float32(),
    "float8": pa.float64(), "json": pa.string(), "pg_node_tree": pa.string(),
}  # fmt: skip


class CatalogSession:
    """The catalog as one connection meets it. Used by one thread at a time; `stop` by any."""

    def __init__(
        self, opened: OpenGateway, databases: Databases, state: State, speakers: Speakers
    ) -> None:
        self._opened = opened
        self._databases = databases
        self._state = state
        self._speakers = speakers
        self._last: tuple[tuple[object, ...], Database] | None = None
        self._asking: Asking | None = None

    def stop(self, reason: SqluiceError | None = None) -> None:
        """Stop what runs."""
        asking = self._asking
        if asking is not None:
            asking.stop(reason)

    def answer(self, sql: str, parameters: Sequence[object], query_id: str) -> pa.Table:
        """The rows of a statement, which is counted and recorded as every other."""
        request = replace(self._state.request(sql, tuple(parameters)), query_id=query_id)
        with self._counted(request) as outcome:
            table = self._answered(request)
            outcome.rows, outcome.bytes = table.num_rows, table.nbytes
        return table

    @contextmanager
    def _counted(self, request: Request) -> Iterator[Outcome]:
        asked = replace(request, dialect=_DIALECT)
        services, snapshot = self._opened.gateway.services, self._opened.publisher.current()
        with browsing(services, snapshot, asked, self.stop) as outcome:
            try:
                yield outcome
            except WireError as error:
                outcome.code, error.is_audited = error.code, True
                raise

    def refused(self, sql: str, error: Exception) -> None:
        """Record that a statement was refused before it ran."""
        if getattr(error, "is_audited", False):
            return
        request = self._state.settings.session.request(sql, datetime.now(UTC))
        code = error.code if isinstance(error, SqluiceError | WireError) else InternalError.code
        services, snapshot = self._opened.gateway.services, self._opened.publisher.current()
        refuse(services, snapshot, replace(request, dialect=_DIALECT), code)

    def describe(
        self, sql: str, query_id: str, is_counted: bool
    ) -> tuple[pa.Schema, tuple[int, ...]]:
        """The columns of an answer, the types of the parameters; nothing is set by it.

        Counted and recorded as an answer is, but where it is a part of one.
        """
        request = replace(self._state.request(sql), query_id=query_id)
        with self._counted(request) if is_counted else nullcontext():
            return self._described(request)

    def _described(self, request: Request) -> tuple[pa.Schema, tuple[int, ...]]:
        sql = request.sql
        database, session = self._opened_for(request)
        session = replace(session, change=lambda name, value, _: value)
        translated = self._translated(sql, session)
        limited = replace(translated, sql=f"SELECT * FROM ({translated.sql}) LIMIT 0")
        table = self._read(sql, database, limited, (), request.query_id)
        return table.schema, tuple(number_of_type(one) for one in translated.parameters)

    def _answered(self, request: Request) -> pa.Table:
        database, session = self._opened_for(request)
        session = replace(session, values=request.parameters)
        translated = self._translated(request.sql, session)
        return self._read(request.sql, database, translated, request.parameters, request.query_id)

    def _translated(self, sql: str, session: SessionValues) -> Translated:
        try:
            return translate(sql, session)
        except (SqluiceError, WireError) as error:
            _note(sql, error)
            raise

    def _read(
        self,
        sql: str,
        database: Database,
        translated: Translated,
        values: Sequence[object],
        query_id: str,
    ) -> pa.Table:
        self._asking = Asking(database, self._seconds())
        try:
            if self._opened.gateway.services.queries.is_cancelled(query_id):
                self._asking.stop()
            table = self._asking.read(translated.sql, translated.bound(values))
        except WireError as error:
            _note(sql, error)
            raise
        finally:
            self._asking = None
        return _typed(table, translated.outputs)

    def _seconds(self) -> float:
        chosen = self._state.settings.session.settings.query_timeout
        return min(chosen or self._opened.limits.seconds, self._opened.limits.seconds)

    def _opened_for(self, request: Request) -> tuple[Database, SessionValues]:
        tables = self._opened.gateway.catalog(request.principal, request.now, request.purpose)
        settings = self._state.settings
        known = (tables, settings.database, request.domain, settings.user)
        if self._last is None or self._last[0] != known:
            self._last = (known, self._database(tables, request.domain))
        database = self._last[1]
        return database, self._session(database)

    def _database(self, tables: tuple[VisibleTable, ...], domain: str | None) -> Database:
        settings = self._state.settings
        domains = {
            one.name: one.description for one in self._opened.publisher.current().mesh.domains
        }
        content = content_of(tables, settings.database, domain, settings.user, domains)
        return self._databases.of(content)

    def _session(self, database: Database) -> SessionValues:
        settings, state = self._state.settings, self._state
        path = (PUBLIC, *(one for one in database.schemas if one != PUBLIC))
        chosen = settings.values.get("search_path")
        if chosen is not None:
            named = [one.strip().strip('"') for one in chosen.split(",")]
            path = tuple(one for one in named if one in path)

        def change(name: str, value: str, is_local: bool) -> str:
            state.run(Setting(name.casefold(), value or None, is_local))
            return settings.show(name)

        return SessionValues(
            settings.database, settings.user, state.pid, f"PostgreSQL {SERVER_VERSION}", path,
            settings.show, lambda: {name: value for name, value, _ in settings.all()}, change,
            lambda: tuple(self._speakers.rows(state.principal)),
        )  # fmt: skip


def _note(sql: str, error: SqluiceError | WireError) -> None:
    """An operator reads what a client asked for in vain, without the values in it."""
    if isinstance(error, WireError) and error.sqlstate not in _NOT_SERVED:
        return
    text = normalise(sql, _DIALECT) if len(sql) <= _MOST_LOGGED else "a long text"
    log.warning("the catalog did not answer: %s In: %s", error.message, text)


def _typed(table: pa.Table, outputs: Sequence[tuple[str, str | None]]) -> pa.Table:
    """The rows with PostgreSQL's types and names."""
    fields, columns = [], []
    for at, column in enumerate(table.columns):
        name, kind = outputs[at] if len(outputs) == len(table.columns) else ("", None)
        made = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if not kind and pa.types.is_uint32(made.type):
            kind = "oid"
        # The wire has no arrays of them but as texts.
        held = "_text" if kind == "_varchar" else kind or ""
        element = held[1:] if held.startswith("_") else None
        target = _ARROW.get(held)
        if element in ("oid", "regclass", "regtype"):
            held, target = "_oid", pa.list_(pa.int32())
        elif held == "oidvector":
            target = pa.list_(pa.int32())
        elif element is not None and not pa.types.is_list(made.type):
            held = ""
        if target is None and pa.types.is_null(made.type):
            target = pa.string()
        if target is not None and made.type != target:
            made = made.cast(target)
        columns.append(made)
        fields.append(
            pa.field(name or table.schema.names[at], made.type, True, {"type": f"pg.{held}"})
        )
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))
