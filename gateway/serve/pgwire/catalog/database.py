"""One catalog as a locked-down DuckDB of its own, in memory.

Takes: a `Content`. Gives: rows of statements that `translate` wrote. Never reaches files, the
network or the settings; holds nothing that the caller of this content may not know.
"""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling

from gateway.errors import Cancelled, LimitExceeded, SqluiceError, TimedOut, TypeMismatch
from gateway.serve.pgwire.catalog.content import Content
from gateway.serve.pgwire.catalog.formats import functions
from gateway.serve.pgwire.catalog.names import Names, Value
from gateway.serve.pgwire.catalog.relations import Relation, listed, relations
from gateway.serve.pgwire.catalog.rows import Row, fill
from gateway.serve.pgwire.faults import WireError

SCHEMAS = {"pg_catalog": "pg", "information_schema": "info"}
_MEMORY = "256MB"
_MOST_BYTES = 64 * 1024 * 1024
_BATCH_ROWS = 2_048
_AGAIN_SECONDS = 0.05
_VIEWS = Path(__file__).with_name("data") / "views.sql"
_RAISED = re.compile(r"WireError: ([0-9A-Z]{5})\|(.*)", re.DOTALL)
# What DuckDB says of a statement that is wrong, and PostgreSQL's code for it.
_STATES = (
    ("syntax error", "42601"), ("does not have a column", "42703"), ("not found", "42703"),
    ("Ambiguous reference", "42702"), ("No function matches", "42883"),
)  # fmt: skip
# What a reader meets half way is told by Arrow, as an error of input.
_FAILURES = (duckdb.Error, pa.ArrowException, OSError, UnicodeDecodeError)


class Database:
    """The catalog of one content. Several threads may ask at once, each on its own cursor."""

    def __init__(self, content: Content) -> None:
        rows = fill(content)
        self.names = Names(rows)
        self.schemas = tuple(one.name for one in content.schemas)
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        self._open(content, rows)

    def close(self) -> None:
        """Free its memory; what still runs ends by itself."""
        self._connection.close()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A session of its own."""
        return self._connection.cursor()

    def _open(self, content: Content, rows: Mapping[str, Sequence[Row]]) -> None:
        connection = self._connection
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute("SET temp_directory = ''")
        connection.execute("CREATE SCHEMA pg; CREATE SCHEMA info")
        called = {**self.names.functions(), **functions()}
        for name, (call, arguments, kind) in called.items():
            connection.create_function(
                f"udf_{name}", _told(call), [*arguments], kind,
                null_handling=FunctionNullHandling.SPECIAL,
            )  # fmt: skip
        views = _VIEWS.read_text(encoding="utf-8")
        made = set(re.findall(r"CREATE VIEW (\w+\.\w+)", views))
        held = {f"{SCHEMAS[schema]}.{name}": one for (schema, name), one in relations().items()}
        tables = {place: one for place, one in held.items() if place not in made}
        # All of them in one go: most are empty, and a statement has its price.
        connection.execute("BEGIN; " + "; ".join(map(_made, tables, tables.values())) + "; COMMIT")
        for place, one in tables.items():
            _load(connection, place, one, rows.get(one.name, ()))
        connection.execute("CREATE TABLE pg.this (database VARCHAR, username VARCHAR)")
        connection.execute("INSERT INTO pg.this VALUES (?, ?)", [content.database, content.user])
        _load_keywords(connection)
        connection.execute(views)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")


def _made(place: str, relation: Relation) -> str:
    columns = ", ".join(f'"{one.name}" {one.duckdb_type}' for one in relation.attributes)
    return f"CREATE TABLE {place} ({columns})"


def _load(
    connection: duckdb.DuckDBPyConnection, place: str, relation: Relation, rows: Sequence[Row]
) -> None:
    if rows:
        held = pa.table({
            one.name: pa.array([row[at] for row in rows])
            for at, one in enumerate(relation.attributes)
        })  # fmt: skip
        connection.register("held", held)
        connection.execute(f"INSERT INTO {place} SELECT * FROM held")
        connection.unregister("held")


def _load_keywords(connection: duckdb.DuckDBPyConnection) -> None:
    held = pa.Table.from_pylist([dict(one) for one in listed("keywords")])
    connection.register("held", held)
    connection.execute("CREATE TABLE pg.pg_get_keywords AS SELECT * FROM held")
    connection.unregister("held")


def _told(call: Callable[..., Value]) -> Callable[..., Value]:
    """The function as SQL calls it: NULL of NULL; its errors travel as text."""

    @functools.wraps(call)
    def made(*arguments: object) -> Value:
        if None in arguments:
            return None
        try:
            return call(*arguments)
        except WireError as error:
            error.args = (f"{error.sqlstate}|{error.message}",)
            raise

    return made


class Asking:
    """One statement over a catalog, which another thread may stop."""

    def __init__(self, database: Database, seconds: float | None) -> None:
        self._cursor = database.cursor()
        self._seconds = seconds
        self._stopped: SqluiceError | None = None
        self._stopping, self._over = threading.Event(), threading.Event()

    def stop(self, reason: SqluiceError | None = None) -> None:
        """Stop it."""
        self._stopped = self._stopped or reason or Cancelled("The query was cancelled.")
        self._stopping.set()

    def _watch(self) -> None:
        """Until it is over; once is not enough, since what is to stop may begin a moment later."""
        if not self._stopping.wait(self._seconds):
            self.stop(TimedOut("The query took longer than it may."))
        while not self._over.is_set():
            with contextlib.suppress(duckdb.Error):  # it may be over already
                self._cursor.interrupt()
            self._over.wait(_AGAIN_SECONDS)

    def read(self, sql: str, parameters: Mapping[str, object]) -> pa.Table:
        """All rows; they are few, else LimitExceeded says so."""
        threading.Thread(target=self._watch, name="pgwire-catalog", daemon=True).start()
        try:
            reader = self._cursor.sql(sql, params=dict(parameters)).to_arrow_reader(_BATCH_ROWS)
            batches, size = [], 0
            for batch in reader:
                size += batch.nbytes
                if size > _MOST_BYTES:
                    raise LimitExceeded(
                        "The answer of the catalog is too large.", hint="Narrow it."
                    )
                batches.append(batch)
            return pa.Table.from_batches(batches, reader.schema)
        except _FAILURES as error:
            raise self._translated(error) from None
        finally:
            self._over.set()
            self._stopping.set()
            self._cursor.close()

    def _translated(self, error: Exception) -> Exception:
        if self._stopped is not None:
            return self._stopped
        text = str(error)
        raised = _RAISED.search(text)
        if raised is not None:
            return WireError(raised[1], raised[2].strip().split("\n")[0])
        if isinstance(error, duckdb.OutOfMemoryException):
            return LimitExceeded("The question to the catalog needs too much memory.")
        if isinstance(error, duckdb.ConversionException | duckdb.OutOfRangeException):
            return TypeMismatch("A value does not fit its type.", private=text)
        first = _first(text)
        for pattern, sqlstate in _STATES:
            if pattern in first:
                return WireError(sqlstate, f"The catalog cannot answer this: {first}")
        return unknown(first)


def _first(text: str) -> str:
    return text.partition("\n")[0].partition("Error: ")[2][:300]


def unknown(what: str) -> WireError:
    """A question that this catalog does not answer."""
    return WireError(
        "0A000", f"The catalog does not answer this: {what}",
        "SHOW TABLES lists what you may query, DESCRIBE its columns.",
    )  # fmt: skip


class Databases:
    """Catalogs by content: connections to which the same may be shown share one."""

    def __init__(self, most: int = 16) -> None:
        self._kept: OrderedDict[Content, Database] = OrderedDict()
        self._most = most
        self._lock = threading.Lock()

    def of(self, content: Content) -> Database:
        """The catalog of a content."""
        with self._lock:
            found = self._kept.get(content)
            if found is not None:
                self._kept.move_to_end(content)
                return found
        made = Database(content)
        with self._lock:
            found = self._kept.setdefault(content, made)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found
