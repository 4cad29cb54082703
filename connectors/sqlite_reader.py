"""The process that reads one SQLite file for the connector, so that a statement can be stopped.

Takes: a path, and requests on standard input: a JSON line (`statements`, `size`) and `size` bytes
of bound values as an Arrow stream. A statement has `sql` and `types`: those of its columns, which
its first row, that is none of the answer, makes the driver take; or null. Gives: an Arrow stream
and a JSON line (`error`, `goes_on`). Where a statement fails, another Arrow stream follows: what
the next one says after the rows that came, over the same state of the file. Ends when its input
ends, in the middle of a statement too. Never writes to the file.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, BinaryIO
from urllib.parse import quote

# Arrow can do without it, and to load it is half of what it takes to start.
sys.modules["numpy"] = None  # type: ignore[assignment]  # it cannot be imported

import adbc_driver_manager  # noqa: E402
import adbc_driver_sqlite  # noqa: E402
import pyarrow as pa  # noqa: E402

BATCH_ROWS = 16_384
# The header's byte that says which versions may read the file: 2 is a write-ahead log.
_LOGGED_AT, _LOGGED = 19, b"\x02"
# Which file it is, when it was written, how large it is.
State = tuple[tuple[int, int], int, int]
_FAILURES = (adbc_driver_manager.Error, pa.ArrowException, OSError)


def main() -> None:
    """Read requests until the input ends."""
    requests: SimpleQueue[tuple[list[dict[str, Any]], bytes]] = SimpleQueue()
    answering = threading.Thread(target=_answer_all, args=(sys.argv[1], requests), daemon=True)
    answering.start()
    source = sys.stdin.buffer
    for line in source:
        request = json.loads(line)
        requests.put((request["statements"], source.read(request["size"])))
    # The driver cannot interrupt a statement: the end of the process does.
    os._exit(0)


def _answer_all(path: str, requests: SimpleQueue[tuple[list[dict[str, Any]], bytes]]) -> None:
    database = adbc_driver_sqlite.connect(f"file:{quote(path)}?mode=ro")
    with database, adbc_driver_manager.AdbcConnection(database) as connection:
        for setting in ("PRAGMA query_only = on", "PRAGMA trusted_schema = off"):
            with adbc_driver_manager.AdbcStatement(connection) as statement:
                statement.set_sql_query(setting)
                statement.execute_update()
        # The statements of a request see one state of the file, which is let go after it.
        connection.set_autocommit(False)
        writing = ThreadPoolExecutor(1)
        while True:
            statements, values = requests.get()
            _Answer(connection, values, sys.stdout.buffer, writing, path).give(statements)
            connection.rollback()


class _Answer:
    """What is written for one request; `_count`: how many rows came so far."""

    def __init__(
        self,
        connection: adbc_driver_manager.AdbcConnection,
        values: bytes,
        out: BinaryIO,
        writing: ThreadPoolExecutor,
        path: str,
    ) -> None:
        self._connection = connection
        self._values = values
        self._out = out
        self._writing = writing
        self._path = path
        self._count = 0
        self._writer: pa.RecordBatchStreamWriter | None = None

    def give(self, statements: Sequence[dict[str, Any]]) -> None:
        """What the first statement says; where it fails, the next one goes on."""
        before: State | None = None
        for place, one in enumerate(statements):
            self._writer, error = None, ""
            try:
                before = before if place else self._locked()
                if self._count:
                    self._see_to_order(statements[place - 1]["sql"], one["sql"])
                self._write(one["sql"], one["types"])
                if _is_written(before, _state(self._path)):
                    raise OSError("the file was written over while it was read")
            except _FAILURES as failure:
                error = str(failure) or type(failure).__name__
            (self._writer or pa.ipc.new_stream(self._out, pa.schema([]))).close()
            goes_on = bool(error) and place + 1 < len(statements)
            self._out.write(json.dumps({"error": error, "goes_on": goes_on}).encode() + b"\n")
            self._out.flush()
            if not goes_on:
                return

    def _locked(self) -> State | None:
        """The file's state under the lock of a reader, where whoever respects it cannot write."""
        with self._reading("SELECT count(*) FROM sqlite_schema", b"") as reader:
            reader.read_all()
        return _state(self._path)

    def _write(self, sql: str, types: list[str] | None) -> None:
        """Write each batch while SQLite makes the next one."""
        written: Future[None] | None = None
        with self._reading(sql) as reader:
            if types is not None and [str(one) for one in reader.schema.types] != types:
                raise OSError("a column holds values of several classes")
            self._writer = pa.ipc.new_stream(self._out, reader.schema)
            skipped = self._count + (types is not None)
            try:
                for batch in reader:
                    rows = batch.slice(skipped)
                    skipped -= batch.num_rows - rows.num_rows
                    if written is not None:
                        written.result()
                    self._count += rows.num_rows
                    if batch.num_rows == BATCH_ROWS:
                        written = self._writing.submit(self._writer.write_batch, rows)
                    else:
                        self._writer.write_batch(rows)  # the last one
            finally:
                if written is not None:
                    written.result()

    @contextmanager
    def _reading(
        self, sql: str, values: bytes | None = None
    ) -> Iterator[pa.RecordBatchReader]:
        bound = self._values if values is None else values
        with adbc_driver_manager.AdbcStatement(self._connection) as statement:
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
            statement.set_sql_query(sql)
            if bound:
                statement.bind_stream(pa.ipc.open_stream(bound))
            handle, _ = statement.execute_query()
            with pa.RecordBatchReader.from_stream(handle) as reader:
                yield reader

    def _see_to_order(self, before: str, now: str) -> None:
        """Two statements over the same rows, found in the same way, give them in one order."""
        if self._plan(before) != self._plan(now):
            raise OSError("the rows that follow cannot be told from those that came")

    def _plan(self, sql: str) -> list[str]:
        with self._reading(f"EXPLAIN QUERY PLAN {sql}") as reader:
            return [row["detail"] for row in reader.read_all().to_pylist()]


def _state(path: str) -> State | None:
    """What tells whether a file was written; None for one with a write-ahead log, and for none.

    With such a log those who respect the locks write the file while others read.
    """
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            file.seek(_LOGGED_AT)
            is_logged = file.read(1) == _LOGGED
    except FileNotFoundError:
        return None
    return None if is_logged else ((found.st_dev, found.st_ino), found.st_mtime_ns, found.st_size)


def _is_written(before: State | None, after: State | None) -> bool:
    """Whether it is the same file in another state; one that took its place is another file."""
    if before is None or after is None:
        return False
    return before[0] == after[0] and before != after


if __name__ == "__main__":
    main()
