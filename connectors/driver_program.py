"""The process in which one driver runs one connection, so that whatever it does can be stopped.

Takes: on standard input a JSON line for each request, with `size` bytes of bound values after it.
Gives: for each a number of frames (a JSON line with a `size`, and an Arrow stream of that many
bytes) and a JSON line with an `error`, '' where there is none.
Ends when it is told to cancel, once the driver knows, and when its input ends. Never writes.
"""

from __future__ import annotations

import datetime
import importlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, BinaryIO, Protocol

# Arrow can do without it, and to load it is half of what it takes to start. Rows of ADBC's come as
# Arrow; what a driver of a dialect's gives may be numpy's.
_WITHOUT = {"numpy": None} if sys.argv[1:] == ["adbc"] else {}
sys.modules |= _WITHOUT  # type: ignore[arg-type]  # it cannot be imported

import pyarrow as pa  # noqa: E402

for _name in _WITHOUT:
    del sys.modules[_name]  # a driver's package may want it

BATCH_ROWS = 65_536
FETCH_ROWS = 8_192


class Reading(Protocol):
    """A driver's connection. `errors` are what it raises."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What it raises."""

    def run(self, sql: str, values: pa.RecordBatch | None) -> Iterator[pa.RecordBatch]:
        """The rows of a statement."""

    def columns(
        self, catalog: str | None, schema: str | None, table: str
    ) -> pa.RecordBatch:
        """What is known of a table's columns."""

    def cancel(self) -> None:
        """Stop the statement at its source, from another thread."""


class Adbc:
    """A driver of ADBC's."""

    def __init__(self, opening: dict[str, Any]) -> None:
        self._manager: Any = importlib.import_module("adbc_driver_manager")
        self.errors: tuple[type[Exception], ...] = (
            self._manager.Error, pa.ArrowException, OSError,
        )  # fmt: skip
        options = {"driver": _driver(opening["driver"]), **opening["options"]}
        if opening["entrypoint"]:
            options["entrypoint"] = opening["entrypoint"]
        self._database = self._manager.AdbcDatabase(**options)
        self._connection = self._manager.AdbcConnection(self._database)
        self._statement: Any = None
        for name, value in opening["session"].items():
            self._connection.set_options(**{name: value})

    def run(self, sql: str, values: pa.RecordBatch | None) -> Iterator[pa.RecordBatch]:
        """The rows of a statement."""
        with self._manager.AdbcStatement(self._connection) as statement:
            self._statement = statement
            statement.set_sql_query(sql)
            if values is not None:
                statement.prepare()
                table = pa.Table.from_batches([values])
                statement.bind_stream(table.to_reader())
            handle, _ = statement.execute_query()
            with pa.RecordBatchReader.from_stream(handle) as reader:
                yield from reader
            self._statement = None

    def columns(
        self, catalog: str | None, schema: str | None, table: str
    ) -> pa.RecordBatch:
        """What is known of a table's columns."""
        handle = self._connection.get_table_schema(catalog, schema, table)
        found = pa.schema(handle)
        return pa.RecordBatch.from_arrays([pa.nulls(0, one.type) for one in found], schema=found)

    def cancel(self) -> None:
        """Stop the statement at its source."""
        statement = self._statement
        if statement is not None:
            statement.cancel()


def _driver(name: str) -> str:
    """The library of an installed package, else the name: of a manifest."""
    try:
        package: Any = importlib.import_module(f"adbc_driver_{name}")
    except ImportError:
        return name
    path = getattr(package, "_driver_path", None) or package.driver_path
    return str(path())


class Sqlalchemy:
    """A dialect of SQLAlchemy's."""

    def __init__(self, opening: dict[str, Any]) -> None:
        self._sqlalchemy: Any = importlib.import_module("sqlalchemy")
        pool: Any = importlib.import_module("sqlalchemy.pool")
        self.errors: tuple[type[Exception], ...] = (
            self._sqlalchemy.exc.SQLAlchemyError, pa.ArrowException, OSError, OverflowError,
            TypeError, ValueError,
        )  # fmt: skip
        engine = self._sqlalchemy.create_engine(opening["url"], poolclass=pool.StaticPool)
        self._connection = engine.connect()
        for statement in opening["session"]:
            self._connection.exec_driver_sql(statement)
        self._connection.commit()  # what is set in a transaction ends with it
        self._connection.execution_options(stream_results=True, max_row_buffer=FETCH_ROWS)
        self._driver = self._connection.connection.driver_connection

    def _see_to_session(self) -> None:
        """SQLAlchemy would connect anew by itself, and nothing of the session's would be set."""
        if self._connection.invalidated:
            raise ConnectionError("the session has ended")

    def run(self, sql: str, values: pa.RecordBatch | None) -> Iterator[pa.RecordBatch]:
        """The rows of a statement."""
        self._see_to_session()
        given = values.to_pylist()[0] if values is not None else {}
        bound = {f"p{name}": value for name, value in given.items()}
        try:
            with self._connection.execute(self._sqlalchemy.text(sql), bound) as result:
                names = [str(place) for place in range(len(result.keys()))]
                while rows := result.fetchmany(FETCH_ROWS):
                    columns = zip(*rows, strict=True)
                    yield pa.RecordBatch.from_arrays([_array(one) for one in columns], names)
        finally:
            self._connection.rollback()

    def columns(
        self, catalog: str | None, schema: str | None, table: str
    ) -> pa.RecordBatch:
        """What is known of a table's columns."""
        self._see_to_session()
        inspector = self._sqlalchemy.inspect(self._connection)
        found = inspector.get_columns(table, schema) if inspector.has_table(table, schema) else []
        self._connection.rollback()
        shown = ("name", "type", "nullable", "kind", "precision", "scale", "timezone")
        columns = list(zip(*map(_described, found), strict=True)) or [()] * len(shown)
        return pa.RecordBatch.from_arrays([pa.array(one) for one in columns], shown)

    def cancel(self) -> None:
        """Stop the statement at its source."""
        for name in ("cancel_safe", "cancel", "interrupt"):
            stop = getattr(self._driver, name, None)
            if stop is not None:
                stop()
                return


def _described(column: dict[str, Any]) -> tuple[object, ...]:
    kind = column["type"]
    more = (getattr(kind, name, None) for name in ("precision", "scale"))
    zoned = bool(getattr(kind, "timezone", False))
    name = kind.__visit_name__.upper()
    return (column["name"], str(kind), column["nullable"], name, *more, zoned)


def _array(values: tuple[Any, ...]) -> pa.Array:
    """A column as it came; what it must be, the gateway's side says."""
    if any(isinstance(one, dict) for one in values):
        return pa.array([None if one is None else json.dumps(one) for one in values])
    if any(isinstance(one, datetime.datetime) and one.tzinfo for one in values):
        return pa.array(values, pa.timestamp("us", "UTC"))
    return pa.array(values)


def main() -> None:
    """Read requests until the input ends or says cancel."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a driver prints is no answer
    requests: SimpleQueue[tuple[dict[str, Any], bytes]] = SimpleQueue()
    opened: list[Reading] = []
    threading.Thread(target=_answer_all, args=(requests, opened, out), daemon=True).start()
    source = sys.stdin.buffer
    for line in source:
        request = json.loads(line)
        if request["do"] == "cancel":
            _cancel(opened)
            break
        requests.put((request, source.read(request["size"])))
    os._exit(0)


def _cancel(opened: list[Reading]) -> None:
    for one in opened:
        try:
            one.cancel()
        except one.errors:
            return  # a driver that cannot: the end of the process is all there is


def _answer_all(
    requests: SimpleQueue[tuple[dict[str, Any], bytes]], opened: list[Reading], out: BinaryIO
) -> None:
    try:
        while True:
            request, values = requests.get()
            _answer(request, values, opened, out)
    except Exception as failure:  # noqa: BLE001 - a driver may raise anything: it is told, and the end
        _tell(f"the driver's process ends: {type(failure).__name__}: {failure}", out)
    finally:
        os._exit(1)


def _answer(
    request: dict[str, Any], values: bytes, opened: list[Reading], out: BinaryIO
) -> None:
    error = ""
    try:
        if request["do"] == "open":
            opened.append(_opened(request))
        else:
            for batch in _batches(request, values, opened[0]):
                _write(batch, out)
    except _errors(opened) as failure:
        error = str(failure) or type(failure).__name__
    _tell(error, out)


def _tell(error: str, out: BinaryIO) -> None:
    out.write(json.dumps({"error": error}).encode() + b"\n")
    out.flush()


def _errors(opened: list[Reading]) -> tuple[type[Exception], ...]:
    # Whatever an opening raises is told: there is nothing yet that knows its own.
    return opened[0].errors if opened else (Exception,)


def _opened(request: dict[str, Any]) -> Reading:
    return Adbc(request) if request["kind"] == "adbc" else Sqlalchemy(request)


def _batches(
    request: dict[str, Any], values: bytes, reading: Reading
) -> Iterator[pa.RecordBatch]:
    if request["do"] == "columns":
        yield reading.columns(request["catalog"], request["schema"], request["table"])
        return
    bound = pa.ipc.open_stream(values).read_next_batch() if values else None
    for batch in reading.run(request["sql"], bound):
        yield from (batch.slice(at, BATCH_ROWS) for at in range(0, batch.num_rows, BATCH_ROWS))


def _write(batch: pa.RecordBatch, out: BinaryIO) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    held = sink.getvalue()
    out.write(json.dumps({"size": held.size}).encode() + b"\n")
    out.write(held)
    out.flush()


if __name__ == "__main__":
    main()
