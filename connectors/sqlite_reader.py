"""The process that reads one SQLite file for the connector, so that a statement can be stopped.

Takes: a path, and requests on standard input: a JSON line (`statements`, `size`) and `size` bytes
of bound values as an Arrow stream. A statement has `sql` and `types`: those of its columns, which
its first row, that is none of the answer, makes the driver take; or null. Gives: an Arrow stream
and a JSON line (`error`, `goes_on`). Where a statement fails, another Arrow stream follows: what
the next one says after the rows that came, over the same state of the file. A request reads the
file that lies there when it comes. Ends when its input ends, in the middle of a statement too.
Never writes to the file.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from queue import SimpleQueue
from typing import Any, BinaryIO
from urllib.parse import quote

# Arrow can do without it, and to load it is half of what it takes to start.
sys.modules["numpy"] = None  # type: ignore[assignment]  # it cannot be imported

import adbc_driver_manager  # noqa: E402
import adbc_driver_sqlite  # noqa: E402
import pyarrow as pa  # noqa: E402

BATCH_ROWS = 16_384
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
    held = _Held(path)
    writing = ThreadPoolExecutor(1)
    while True:
        statements, values = requests.get()
        _Answer(held, values, sys.stdout.buffer, writing).give(statements)


class _Held:
    """The file, open as long as it stays the same one."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._found: State | None = None
        self._is_logged = False
        self._opened: list[AbstractContextManager[object]] = []
        self.connection: Any = None

    def look(self) -> None:
        """Open what lies there now; OSError where nothing does.

        SQLite holds on to a file that another was put in the place of, and remembers pages of one
        that somebody wrote over without its locks.
        """
        try:
            found = _found(self.path)
        except OSError:
            self.let_go()
            raise
        held = self._found
        if held is not None and (found[0] == held[0] if self._is_logged else found == held):
            return
        self.let_go()
        try:
            self._open()
        except _FAILURES:
            self.let_go()
            raise
        self._found = found

    def _open(self) -> None:
        database = adbc_driver_sqlite.connect(f"file:{quote(self.path)}?mode=ro")
        self._opened.append(database)
        self.connection = adbc_driver_manager.AdbcConnection(database)
        self._opened.append(self.connection)
        for setting in ("PRAGMA query_only = on", "PRAGMA trusted_schema = off"):
            with adbc_driver_manager.AdbcStatement(self.connection) as statement:
                statement.set_sql_query(setting)
                statement.execute_update()
        self._is_logged = self._journal() == "wal"
        # The statements of a request see one state of the file, which is let go after it.
        self.connection.set_autocommit(False)

    def state(self) -> State | None:
        """What tells whether it was written; None of a file with a write-ahead log, and of none.

        With such a log those who respect the locks write the file while others read. The file is
        never opened for this: to close it would let go of SQLite's own locks.
        """
        try:
            return None if self._is_logged else _found(self.path)
        except FileNotFoundError:
            return None

    def _journal(self) -> str:
        with adbc_driver_manager.AdbcStatement(self.connection) as statement:
            statement.set_sql_query("PRAGMA journal_mode")
            handle, _ = statement.execute_query()
            with pa.RecordBatchReader.from_stream(handle) as reader:
                return str(reader.read_all().column(0)[0])

    def rest(self) -> None:
        """A request has its answer: its state of the file is let go."""
        if self.connection is not None:
            self.connection.rollback()

    def let_go(self) -> None:
        """Close what is open."""
        self.connection = self._found = None
        while self._opened:
            self._opened.pop().__exit__(None, None, None)


class _Answer:
    """What is written for one request; `_count`: how many rows came so far."""

    def __init__(
        self,
        held: _Held,
        values: bytes,
        out: BinaryIO,
        writing: ThreadPoolExecutor,
    ) -> None:
        self._held = held
        self._values = values
        self._out = out
        self._writing = writing
        self._count = 0
        self._writer: pa.RecordBatchStreamWriter | None = None

    def give(self, statements: Sequence[dict[str, Any]]) -> None:
        """What the first statement says; where it fails, the next one goes on."""
        before: State | None = None
        for place, one in enumerate(statements):
            self._writer, error = None, ""
            try:
                if not place or self._held.connection is None:
                    self._held.look()
                    before = self._locked()
                if self._count:
                    self._see_to_order(statements[place - 1]["sql"], one["sql"])
                self._write(one["sql"], one["types"])
                if _is_written(before, self._held.state()):
                    raise OSError("the file was written over while it was read")
            except _FAILURES as failure:
                error = str(failure) or type(failure).__name__
            (self._writer or pa.ipc.new_stream(self._out, pa.schema([]))).close()
            goes_on = bool(error) and place + 1 < len(statements)
            if not goes_on:
                self._held.rest()
            self._out.write(json.dumps({"error": error, "goes_on": goes_on}).encode() + b"\n")
            self._out.flush()
            if not goes_on:
                return

    def _locked(self) -> State | None:
        """The file's state under the lock of a reader, where whoever respects it cannot write."""
        with self._reading("SELECT count(*) FROM sqlite_schema", b"") as reader:
            reader.read_all()
        return self._held.state()

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
        with adbc_driver_manager.AdbcStatement(self._held.connection) as statement:
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


def _found(path: str) -> State:
    """Which file lies there, and its state; FileNotFoundError where none does."""
    found = os.stat(path)
    return (found.st_dev, found.st_ino), found.st_mtime_ns, found.st_size


def _is_written(before: State | None, after: State | None) -> bool:
    """Whether it is the same file in another state; one that took its place is another file."""
    if before is None or after is None:
        return False
    return before[0] == after[0] and before != after


if __name__ == "__main__":
    main()
