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

BATCH_ROWS = 65_536
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
            _Answer(connection, values, sys.stdout.buffer, writing).give(statements)
            connection.rollback()


class _Answer:
    """What is written for one request; `_count`: how many rows came so far."""

    def __init__(
        self,
        connection: adbc_driver_manager.AdbcConnection,
        values: bytes,
        out: BinaryIO,
        writing: ThreadPoolExecutor,
    ) -> None:
        self._connection = connection
        self._values = values
        self._out = out
        self._writing = writing
        self._count = 0
        self._writer: pa.RecordBatchStreamWriter | None = None

    def give(self, statements: Sequence[dict[str, Any]]) -> None:
        """What the first statement says; where it fails, the next one goes on."""
        for place, one in enumerate(statements):
            self._writer, error = None, ""
            try:
                if self._count:
                    self._see_to_order(statements[place - 1]["sql"], one["sql"])
                self._write(one["sql"], one["types"])
            except _FAILURES as failure:
                error = str(failure) or type(failure).__name__
            (self._writer or pa.ipc.new_stream(self._out, pa.schema([]))).close()
            goes_on = bool(error) and place + 1 < len(statements)
            self._out.write(json.dumps({"error": error, "goes_on": goes_on}).encode() + b"\n")
            self._out.flush()
            if not goes_on:
                return

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
    def _reading(self, sql: str) -> Iterator[pa.RecordBatchReader]:
        with adbc_driver_manager.AdbcStatement(self._connection) as statement:
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
            statement.set_sql_query(sql)
            if self._values:
                statement.bind_stream(pa.ipc.open_stream(self._values))
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


if __name__ == "__main__":
    main()
