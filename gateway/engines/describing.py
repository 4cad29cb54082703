"""What DuckDB's own binder says of a query before anything runs: types and names of outputs.

Takes: texts, shapes of inputs, databases that a pool lends. Gives: schemas and names, remembered.
Never makes a table for a schema, never reads a row: types come from queries over nothing.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import duckdb
import pyarrow as pa

from gateway.answer_types import answer_type
from gateway.engines.base import Catalog, Shapes
from gateway.errors import InternalError, SqluiceError, TypeMismatch

_KEPT = 2048
# Databases that hold the empty tables of one set of visible tables each.
_KEPT_CATALOGS = 4
_NAMES_ZONE = "UTC"
# What the type of a bare NULL is called.
_UNTYPED = '"NULL"'
_WITH = re.compile(r"\s*WITH\s+(RECURSIVE\s)?", re.IGNORECASE)
Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Lending:
    """How databases are had: `take` one of a time zone; `keep` lays it back as it is, `give`
    empties it first.
    """

    take: Callable[[str], Connection]
    keep: Callable[[tuple[str, ...], Connection], None]
    give: Callable[[tuple[str, ...], Connection], None]


class Describer:
    """Asks the binder, each question once. Thread-safe."""

    def __init__(self, lending: Lending) -> None:
        self._lending = lending
        self._described: Callable[..., pa.Schema] = lru_cache(maxsize=_KEPT)(self._describe)
        self._named: Callable[..., tuple[str, ...] | None] = lru_cache(maxsize=_KEPT)(self._names)
        self._arrow_types: dict[tuple[str, str], pa.DataType] = {}
        self._catalogs: OrderedDict[Catalog, Connection] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def describe(
        self, sql: str, shapes: Shapes, parameters: Sequence[object], timezone: str
    ) -> pa.Schema:
        """The schema of a query over inputs without a row."""
        key = tuple((name, tuple(shapes[name])) for name in sorted(shapes))
        return self._described(sql, key, _Values(parameters), timezone)

    def output_names(
        self, sql: str, catalog: Catalog, domain: str | None, parameters: Sequence[object]
    ) -> tuple[str, ...] | None:
        """What DuckDB calls the outputs of the caller's own text; None where it cannot tell.

        Its binder sees empty tables under the addresses of the visible ones; nothing runs.
        """
        return self._named(sql, catalog, domain, _Values(parameters))

    def close(self) -> None:
        """Lay back what was kept."""
        with self._lock:
            self._closed = True
            held, self._catalogs = self._catalogs, OrderedDict()
        for catalog, connection in held.items():
            self._empty(catalog, connection)

    def _describe(
        self,
        sql: str,
        shapes: tuple[tuple[str, tuple[tuple[str, str], ...]], ...],
        parameters: _Values,
        timezone: str,
    ) -> pa.Schema:
        connection = self._lending.take(timezone)
        try:
            relation = connection.sql(over_nothing(sql, shapes), params=parameters.given or None)
            if relation is None:
                raise InternalError("the statement gives no rows")
            fields = []
            for name, kind in zip(relation.columns, map(str, relation.types), strict=True):
                arrow_type = self._arrow_type(connection, timezone, kind)
                fields.append(pa.field(name, arrow_type, True, {b"type": kind.encode()}))
        except duckdb.Error as error:
            raise _binding_error(error) from None
        finally:
            self._lending.keep((timezone,), connection)
        return pa.schema(fields)

    def _arrow_type(self, connection: Connection, timezone: str, kind: str) -> pa.DataType:
        """What a DuckDB type arrives as; a moment's type names the zone of its session."""
        found = self._arrow_types.get((timezone, kind))
        if found is None:
            value = "NULL" if kind == _UNTYPED else f"CAST(NULL AS {answer_type(kind)})"
            reader = connection.sql(f"SELECT {value} LIMIT 0").to_arrow_reader()
            found = reader.schema.field(0).type
            reader.close()
            if len(self._arrow_types) >= _KEPT:
                self._arrow_types.clear()
            self._arrow_types[timezone, kind] = found
        return found

    def _names(
        self, sql: str, catalog: Catalog, domain: str | None, parameters: _Values
    ) -> tuple[str, ...] | None:
        try:
            connection = self._filled(catalog)
        except duckdb.Error:
            return None
        try:
            is_domain = any(domain == path[0] for path, _ in catalog)
            connection.execute(f"USE {quoted(domain or '') if is_domain else 'memory'}")
            # One SELECT and nothing else, also in the eyes of this parser.
            read = connection.extract_statements(sql)
            if [one.type for one in read] != [duckdb.StatementType.SELECT]:
                return None
            relation = connection.sql(read[0], params=parameters.given or None)
            return tuple(relation.columns) if relation is not None else None
        except duckdb.Error:
            return None
        finally:
            self._lay_ready(catalog, connection)

    def _filled(self, catalog: Catalog) -> Connection:
        """A database that holds exactly these tables."""
        with self._lock:
            kept = self._catalogs.pop(catalog, None)
        if kept is not None:
            return kept
        connection = self._lending.take(_NAMES_ZONE)
        try:
            _fill(connection, catalog)
        except duckdb.Error:
            self._empty(catalog, connection)
            raise
        return connection

    def _lay_ready(self, catalog: Catalog, connection: Connection) -> None:
        """Keep the latest databases with their tables: who asks once asks of the same again."""
        surplus: list[tuple[Catalog, Connection]] = []
        with self._lock:
            if self._closed or catalog in self._catalogs:
                surplus.append((catalog, connection))
            else:
                self._catalogs[catalog] = connection
            while len(self._catalogs) > _KEPT_CATALOGS:
                surplus.append(self._catalogs.popitem(last=False))
        for one, held in surplus:
            self._empty(one, held)

    def _empty(self, catalog: Catalog, connection: Connection) -> None:
        with contextlib.suppress(duckdb.Error):
            connection.execute("USE memory")
            for name in _domains(catalog):
                connection.execute(f"DETACH DATABASE IF EXISTS {quoted(name)}")
        self._lending.give((_NAMES_ZONE,), connection)


def _fill(connection: Connection, catalog: Catalog) -> None:
    for name in _domains(catalog):
        connection.execute(f"ATTACH ':memory:' AS {quoted(name)}")
    for path, columns in catalog:
        body = ", ".join(f"{quoted(column)} {kind}" for column, kind in columns)
        schema = ".".join(quoted(part) for part in path[:2])
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        connection.execute(f"CREATE TABLE {schema}.{quoted(path[2])} ({body})")


def _domains(catalog: Catalog) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path[0] for path, _ in catalog))


def over_nothing(
    sql: str, shapes: Sequence[tuple[str, Sequence[tuple[str, str]]]]
) -> str:
    """The query over inputs of these shapes without a row: no table has to be made for it."""
    if not shapes:
        return sql
    inputs = ", ".join(
        f"{quoted(name)} AS (SELECT "
        + ", ".join(f"CAST(NULL AS {kind}) AS {quoted(column)}" for column, kind in columns)
        + " WHERE FALSE)"
        for name, columns in shapes
    )
    own = _WITH.match(sql)
    if own is None:
        return f"WITH {inputs} {sql}"
    return f"WITH {own.group(1) or ''}{inputs}, {sql[own.end() :]}"


class _Values:
    """Parameters as part of a key: 1, 1.0 and TRUE are equal to Python and of three types here."""

    def __init__(self, given: Sequence[object]) -> None:
        self.given = list(given)
        self._form = tuple(f"{type(one).__name__} {one!r}" for one in given)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Values) and self._form == other._form

    def __hash__(self) -> int:
        return hash(self._form)


def _binding_error(error: duckdb.Error) -> SqluiceError:
    """Binding sees empty tables and visible names only, so its first line may be shown."""
    private = str(error)
    if "INTERNAL" in private or isinstance(error, duckdb.InternalException):
        return InternalError("The statement could not be bound.", private=private)
    first = private.splitlines()[0]
    return TypeMismatch(first.split(": ", 1)[-1], private=private)


def quoted(name: str) -> str:
    """A name as DuckDB reads it, whatever stands in it."""
    return '"' + name.replace('"', '""') + '"'
