"""The merge engine: DuckDB in process, locked down, from a pool.

Takes: merge SQL over named inputs. Gives: Arrow batches. Never reaches files, the network or the
settings: external access is off and the configuration locked before any text of a user's
arrives (DESIGN 5, barrier rule 7). Never shows DuckDB's text of an error that data may shape.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import date

import duckdb
import pyarrow as pa

from connectors.arrow import batch_rows
from connectors.base import ConnectorError
from gateway.answer_types import answer_type
from gateway.engines.arriving import Held, give, names_of, take_back
from gateway.engines.base import Catalog, Shapes
from gateway.engines.describing import Describer, Lending, quoted
from gateway.errors import Cancelled, InternalError, LimitExceeded, SqluiceError, TypeMismatch

# An error whose text quotes bytes that are no text arrives as one of decoding.
_FAILURES = (duckdb.Error, OSError, pa.ArrowException, UnicodeDecodeError)
# What it takes to open a database.
_NEW_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Bounds of one merge. `spill` is the folder that a merge over its memory may fill."""

    memory: str = "1GB"
    threads: int = 2
    spill: str = ".spill"
    kept: int = 16


class DuckdbEngine:
    """A pool of locked-down in-memory databases, one a query."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._idle: dict[tuple[str, ...], queue.SimpleQueue[duckdb.DuckDBPyConnection]] = {}
        self._lock = threading.Lock()
        self._closed = False
        # Nobody has to wait until his database is fit for the next query.
        self._resetting = ThreadPoolExecutor(1, "engine-reset")
        self._awaited: dict[tuple[str, ...], list[Future[None]]] = {}
        self._describer = Describer(Lending(self._take, self._keep, self._give))

    def describe(
        self, sql: str, shapes: Shapes, parameters: Sequence[object], timezone: str
    ) -> pa.Schema:
        """The schema of a query over empty tables, cached."""
        return self._describer.describe(sql, shapes, parameters, timezone)

    def output_names(
        self,
        sql: str,
        catalog: Catalog,
        domain: str | None,
        parameters: Sequence[object],
    ) -> tuple[str, ...] | None:
        """What DuckDB calls the outputs of the caller's own text; None where it cannot tell."""
        return self._describer.output_names(sql, catalog, domain, parameters)

    def open(self, timezone: str, folders: tuple[str, ...] = ()) -> DuckdbSession:
        """A private database; `close` resets it for the next query."""
        place = (timezone, *folders)
        connection = self._take(*place)

        def give_back(is_healthy: bool, is_empty: bool) -> None:
            if is_healthy and is_empty:
                self._keep(place, connection)
            else:
                self._put(place, connection, is_healthy)

        return DuckdbSession(connection, give_back)

    def close(self) -> None:
        """Close every idle database."""
        self._describer.close()
        self._resetting.shutdown()
        with self._lock:
            self._closed = True
            idle, self._idle = list(self._idle.values()), {}
        for one in idle:
            while not one.empty():
                one.get_nowait().close()

    def _take(self, timezone: str, *folders: str) -> duckdb.DuckDBPyConnection:
        place = (timezone, *folders)
        with self._lock:
            idle = self._idle.setdefault(place, queue.SimpleQueue())
        with contextlib.suppress(queue.Empty):
            return idle.get_nowait()
        with self._lock:
            awaited = self._awaited.pop(place, [])
        # To make a new one takes many times as long as most resets.
        if awaited:
            wait(awaited, _NEW_SECONDS)
            with contextlib.suppress(queue.Empty):
                return idle.get_nowait()
        return self._new(timezone, folders)

    def _new(self, timezone: str, folders: tuple[str, ...]) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(":memory:")
        # Cursors are sessions of their own: only a global setting reaches them.
        connection.execute(f"SET GLOBAL TimeZone = {_text(timezone)}")
        connection.execute(f"SET threads = {self._settings.threads}")
        connection.execute(f"SET memory_limit = {_text(self._settings.memory)}")
        connection.execute(f"SET temp_directory = {_text(self._settings.spill)}")
        # It groups before a join what the join would have left out: a merge took twice as long.
        # The planner aggregates early where that pays (passes/aggregate_early.py).
        connection.execute("SET GLOBAL disabled_optimizers = 'partial_aggregate_pushdown'")
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET autoload_known_extensions = false")
        if folders:
            shown = ", ".join(_text(one) for one in folders)
            connection.execute(f"SET allowed_directories = [{shown}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return connection

    def _put(
        self, place: tuple[str, ...], connection: duckdb.DuckDBPyConnection, healthy: bool
    ) -> None:
        if not healthy:
            connection.close()
            return
        try:
            task = self._resetting.submit(self._give, place, connection)
        except RuntimeError:  # the engine was closed meanwhile
            connection.close()
            return
        with self._lock:
            others = [one for one in self._awaited.get(place, ()) if not one.done()]
            self._awaited[place] = [*others, task]

    def _give(self, place: tuple[str, ...], connection: duckdb.DuckDBPyConnection) -> None:
        """Reset a database: what a query made is dropped before the next one gets it."""
        try:
            made = connection.execute(
                "SELECT 'VIEW', view_name FROM duckdb_views() WHERE NOT internal "
                "UNION ALL SELECT 'TABLE', table_name FROM duckdb_tables() WHERE NOT internal"
            ).fetchall()
            for kind, name in made:
                connection.execute(f"DROP {kind} {quoted(name)}")
        except duckdb.Error:
            connection.close()
        else:
            self._keep(place, connection)

    def _keep(self, place: tuple[str, ...], connection: duckdb.DuckDBPyConnection) -> None:
        """Lay an empty database ready for the next query; close it where enough lie ready."""
        with self._lock:
            idle = self._idle.get(place)
            keep = not self._closed and idle is not None and idle.qsize() < self._settings.kept
        if keep and idle is not None:
            idle.put(connection)
        else:
            connection.close()


class DuckdbSession:
    """One query's database. Each use has its own cursor, since one cursor holds one result."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, give_back: Callable[[bool, bool], None]
    ) -> None:
        self._connection = connection
        self._give_back = give_back
        self._lock = threading.Lock()
        self._naming = threading.Lock()
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._healthy = True
        self._closed = False
        self._cancelled = False
        self._reads_files = False
        self._has_made = False
        # What a table holds is told when it is made.
        self._rows: dict[str, int] = {}

    def load(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        """Make the table `name` of the batches."""
        self._create(name, "SELECT * FROM raw", schema, batches)

    def load_gated(
        self, name: str, gate: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> int:
        """Make the table `name` by the gate's statement, which holds no text of the user's."""
        self._create(name, gate, schema, batches)
        cursor, table = self._cursor(), quoted(name)
        try:
            told = quoted(cursor.execute(f"SELECT * FROM {table} LIMIT 0").description[-1][0])
            found = cursor.execute(f"SELECT count(*) FROM {table} WHERE {told}").fetchone()
            cursor.execute(f"ALTER TABLE {table} DROP COLUMN {told}")
        except duckdb.Error as error:
            raise self._translated(error) from None
        return int(found[0]) if found else 0

    def _create(
        self, name: str, query: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> None:
        cursor = self._cursor()
        held, given = Held(batches), names_of("raw", schema)
        self._has_made = True
        try:
            give("raw", schema, held, cursor)
            made = cursor.execute(f"CREATE TABLE {quoted(name)} AS {query}").fetchone()
        except _FAILURES as error:
            raise self._translated(error, held) from None
        finally:
            take_back(given, cursor)
        if made is not None:
            self._rows[name] = int(made[0])

    def read_in_place(
        self,
        name: str,
        sql: str,
        views: Sequence[tuple[str, str]],
        columns: Sequence[tuple[str, str]],
        is_view: bool,
    ) -> bool:
        """Make the view or table `name` over files; False where its types are others."""
        cursor = self._cursor()
        self._has_made = True
        try:
            # Two threads that made one view would conflict.
            with self._naming:
                for view, query in views:
                    cursor.execute(f"CREATE VIEW IF NOT EXISTS {quoted(view)} AS {query}")
            shown = cursor.execute(f"DESCRIBE {sql}").fetchall()
            if [(row[0], row[1]) for row in shown] != list(columns):
                return False
            kind = "VIEW" if is_view else "TABLE"
            made = cursor.execute(f"CREATE {kind} {quoted(name)} AS {sql}").fetchone()
        except _FAILURES as error:
            raise self._unreadable(error) from None
        with self._lock:
            self._reads_files = True
        if made is not None and not is_view:
            self._rows[name] = int(made[0])
        return True

    def count(self, name: str) -> int:
        """The rows of a table."""
        if name in self._rows:
            return self._rows[name]
        cursor = self._cursor()
        try:
            found = cursor.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()
        except _FAILURES as error:
            raise self._translated(error) from None
        return int(found[0]) if found else 0

    def keys(self, name: str, column: str, kind: str, most: int) -> pa.Array | None:
        """The distinct values of a column but NULL; None where there are more than `most`."""
        cursor, value = self._cursor(), quoted(column)
        sql = (
            f"SELECT DISTINCT {value}::{kind} AS key FROM {quoted(name)} "
            f"WHERE {value} IS NOT NULL LIMIT {most + 1}"
        )
        try:
            table = cursor.sql(sql).to_arrow_table()
        except _FAILURES as error:
            raise self._translated(error) from None
        if table.num_rows > most:
            return None
        return table.column(0).combine_chunks()

    def span(
        self, name: str, column: str, kind: str | None
    ) -> tuple[int, int | date | None, int | date | None]:
        """About how many distinct values a column has, and its lowest and highest as `kind`."""
        cursor, value = self._cursor(), quoted(column)
        ends = [f"TRY_CAST({end}({value}) AS {kind})" if kind else "NULL" for end in ("min", "max")]
        # Other dates have no form in Python.
        years = "BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"
        shown = ", ".join(
            f"CASE WHEN {one} {years} THEN {one} END" if kind == "DATE" else one for one in ends
        )
        sql = f"SELECT approx_count_distinct({value}), {shown} FROM {quoted(name)}"
        try:
            found = cursor.execute(sql).fetchone()
        except _FAILURES as error:
            raise self._translated(error) from None
        return found or (0, None, None)

    def stream(
        self,
        sql: str,
        parameters: Sequence[object],
        inputs: Mapping[str, tuple[pa.Schema, Iterator[pa.RecordBatch]]],
    ) -> Iterator[pa.RecordBatch]:
        """Run the merge and stream its batches; closing the iterator stops it."""
        cursor = self._cursor()
        held = {name: Held(batches) for name, (_, batches) in inputs.items()}
        self._has_made |= bool(inputs)
        try:
            for name, (schema, _) in inputs.items():
                give(name, schema, held[name], cursor)
            relation = _readable(cursor.sql(sql, params=list(parameters) or None))
            reader = relation.to_arrow_reader(batch_rows(len(relation.columns)))
            try:
                while True:
                    batch = _next(reader)
                    if batch is None:
                        return
                    yield batch
            finally:
                cursor.interrupt()
                reader.close()
        except _FAILURES as error:
            raise self._translated(error, *held.values()) from None
        finally:
            for name, (schema, _) in inputs.items():
                take_back(names_of(name, schema), cursor)

    def cancel(self) -> None:
        """Interrupt every cursor."""
        with self._lock:
            self._cancelled = True
            for one in self._cursors:
                one.interrupt()

    def close(self) -> None:
        """Close the cursors and give the database back."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            cursors, self._cursors = self._cursors, []
        for one in cursors:
            with contextlib.suppress(duckdb.Error):
                one.close()
        # A statement of a user makes nothing: where nothing was loaded nothing is to be dropped.
        self._give_back(self._healthy and not self._cancelled, not self._has_made)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._cancelled or self._closed:
                raise Cancelled("The query was cancelled.")
            cursor = self._connection.cursor()
            self._cursors.append(cursor)
            return cursor

    def _unreadable(self, error: Exception) -> Exception:
        """What happened to files that the session reads itself, by whose name the caller knows."""
        self._healthy = False
        if self._cancelled:
            return Cancelled("The query was cancelled.")
        return ConnectorError(_text_of(error))

    def _translated(self, error: Exception, *held: Held) -> Exception:
        self._healthy = False
        for one in held:
            if one.error is not None:
                return one.error
        if self._cancelled:
            return Cancelled("The query was cancelled.")
        if self._reads_files and isinstance(error, duckdb.IOException):
            return ConnectorError(_text_of(error))
        return run_error(error)


def _readable(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The same rows, with text for what Arrow would lose."""
    kinds = [str(one) for one in relation.types]
    told = [answer_type(one) for one in kinds]
    if told == kinds:
        return relation
    items = (
        f"#{place}" if kind == other else f"CAST(#{place} AS {other})"
        for place, (kind, other) in enumerate(zip(kinds, told, strict=True), 1)
    )
    return relation.project(", ".join(items))


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None


def run_error(error: Exception) -> SqluiceError:
    """DuckDB's error at run time as ours: a stable code, and no word that data may shape."""
    private = _text_of(error)
    if isinstance(error, duckdb.InterruptException) or "INTERRUPT" in private:
        return Cancelled("The query was cancelled.")
    if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory" in private:
        return LimitExceeded("The query needs more memory than it may use.", private=private)
    kinds = (
        UnicodeDecodeError,
        duckdb.ConversionException,
        duckdb.OutOfRangeException,
        duckdb.InvalidInputException,
        duckdb.TypeMismatchException,
        duckdb.BinderException,
    )
    if isinstance(error, kinds) or any(
        mark in private for mark in ("Conversion Error", "Out of Range", "Invalid Input")
    ):
        return TypeMismatch(
            "A value of the answer does not fit an operation of the query (a cast, a division, a "
            "pattern or a range).",
            hint="Use TRY_CAST, NULLIF or a narrower filter where a value may not fit.",
            private=private,
        )
    return InternalError("The merge failed.", private=private)


def _text_of(error: Exception) -> str:
    """What an error says, also where it quotes bytes that are no text."""
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode("utf-8", "replace")
    return str(error)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
