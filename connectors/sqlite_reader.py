"""The process that reads one SQLite file for the connector, so that a statement can be stopped.

Takes: a path, and requests on standard input: a JSON line (`statements`, `size`, `table`) and
`size` bytes of bound values as an Arrow stream. A statement has `sql` and `types`: those of its
columns, which its first row, that is none of the answer, makes the driver take; or null. Where it
may be read in parts of a table it has `parted`: its text around the predicate that a row is of a
part. Gives: an Arrow stream and a JSON line (`error`, `goes_on`). Where a statement, or a part of
it, fails, another Arrow stream follows: what the next one says after the rows that came, over the
same state of the file. A request reads the file that lies there when it comes. Ends when its input
ends, in the middle of a statement too. Never writes to the file, never reads two states of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, BinaryIO
from urllib.parse import quote

# Arrow can do without it, and to load it is half of what it takes to start.
sys.modules["numpy"] = None  # type: ignore[assignment]  # it cannot be imported

import adbc_driver_manager  # noqa: E402
import adbc_driver_sqlite  # noqa: E402
import pyarrow as pa  # noqa: E402

BATCH_ROWS = 16_384
# Numbers of rows that a table has to span to be read in parts, and how many: more than there are
# readers, since rows need not be spread evenly. Bound values are read anew for each: with more
# bytes of them there are but two parts, and with many more one.
_WORTH_PARTS, _PARTS, _FEW_VALUES, _MOST_VALUES = 100_000, 8, 8_192, 65_536
_TRIES = 3
# Milliseconds that a reader waits for a writer to be done.
_PATIENCE = 2_000
# Whether it is a table whose rows have numbers, and the names of its columns.
_KIND = """SELECT count(*) AS n, (SELECT group_concat(lower(name), char(0)) FROM
pragma_table_xinfo({0})) AS names FROM pragma_table_list
WHERE schema = 'main' AND lower(name) = lower({0}) AND type = 'table' AND wr = 0"""
# Which file it is, when it was written, how large it is.
State = tuple[tuple[int, int], int, int]
Connection = adbc_driver_manager.AdbcConnection
_FAILURES = (adbc_driver_manager.Error, pa.ArrowException, OSError)


def main() -> None:
    """Read requests until the input ends."""
    requests: SimpleQueue[tuple[dict[str, Any], bytes]] = SimpleQueue()
    threading.excepthook = _failed
    answering = threading.Thread(target=_answer_all, args=(sys.argv[1], requests), daemon=True)
    answering.start()
    source = sys.stdin.buffer
    for line in source:
        request = json.loads(line)
        requests.put((request, source.read(request["size"])))
    # The driver cannot interrupt a statement: the end of the process does.
    os._exit(0)


def _answer_all(path: str, requests: SimpleQueue[tuple[dict[str, Any], bytes]]) -> None:
    held = _Held(path)
    writing = ThreadPoolExecutor(1)
    while True:
        request, values = requests.get()
        answer = _Answer(held, values, sys.stdout.buffer, writing)
        answer.give(request["statements"], request.get("table", ""))


def _failed(told: threading.ExceptHookArgs) -> None:
    """Whoever waits for the rest of an answer must see that none comes."""
    threading.__excepthook__(told)
    os._exit(1)


class _Held:
    """The file, open as long as it stays the same one."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._found: State | None = None
        self._is_logged = False
        self._opened: list[AbstractContextManager[object]] = []
        self.connection: Any = None
        self.second: Any = None

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
        self.connection = self._connected()
        self._is_logged = bool(_rows(self.connection, "PRAGMA journal_mode")[0][0] == "wal")
        # The statements of a request see one state of the file, which is let go after it.
        self.connection.set_autocommit(False)

    def _connected(self, patience: int = _PATIENCE) -> Connection:
        database = adbc_driver_sqlite.connect(f"file:{quote(self.path)}?mode=ro")
        self._opened.append(database)
        connection = adbc_driver_manager.AdbcConnection(database)
        self._opened.append(connection)
        settings = ("query_only = on", "trusted_schema = off", f"busy_timeout = {patience}")
        for setting in (f"PRAGMA {one}" for one in settings):
            with adbc_driver_manager.AdbcStatement(connection) as statement:
                statement.set_sql_query(setting)
                statement.execute_update()
        return connection

    def pair(self, begin: Callable[[], None]) -> bool:
        """Whether a second connection reads the state of the file that the first one reads.

        The lock of the first keeps writers away. With a write-ahead log it does not: then the first
        begins anew between two looks of the second, and by the version that SQLite tells nobody
        committed between them.
        """
        try:
            self.second = self.second or self._another()
        except _FAILURES:
            return False
        self.second.rollback()
        if not self._is_logged:
            try:
                self._version()
            except _FAILURES:
                # A writer waits for the lock of the first, and lets nobody else begin.
                return False
            return True
        for _ in range(_TRIES):
            before = self._version()
            self.rest()
            begin()
            if self._version() == before:
                return True
            self.second.rollback()
        return False

    def _another(self) -> Connection:
        """One to the file that the first connection holds: that lies there before and after."""
        self._see_to_file()
        # Whom a writer waits for does not wait for that writer.
        connection = self._connected(patience=0)
        self._see_to_file()
        connection.set_autocommit(False)
        return connection

    def _see_to_file(self) -> None:
        if self._found is None or _found(self.path)[0] != self._found[0]:
            raise OSError("another file lies there")

    def _version(self) -> int:
        return int(_rows(self.second, "PRAGMA data_version")[0][0])

    def state(self) -> State | None:
        """What tells whether it was written; None of a file with a write-ahead log, and of none.

        With such a log those who respect the locks write the file while others read. The file is
        never opened for this: to close it would let go of SQLite's own locks.
        """
        try:
            return None if self._is_logged else _found(self.path)
        except FileNotFoundError:
            return None

    def rest(self) -> None:
        """A request has its answer: its state of the file is let go."""
        for one in (self.connection, self.second):
            if one is not None:
                one.rollback()

    def let_go(self) -> None:
        """Close what is open."""
        self.connection = self.second = self._found = None
        while self._opened:
            self._opened.pop().__exit__(None, None, None)


@dataclass(slots=True)
class _Part:
    """Rows of a table between two numbers, or of anything: what is read for it in one order.

    count: how many rows came so far. error: why not all of them.
    """

    predicate: str = ""
    count: int = 0
    error: str = ""

    def sql(self, statement: dict[str, Any]) -> str:
        """What a statement asks for this part."""
        if not self.predicate:
            return str(statement["sql"])
        before, after = statement["parted"]
        return f"{before}{self.predicate}{after}"


class _Answer:
    """What is written for one request."""

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
        self._turn = threading.Lock()
        self._writer: pa.RecordBatchStreamWriter | None = None
        self._before: State | None = None

    def give(self, statements: Sequence[dict[str, Any]], table: str) -> None:
        """What the first statement says; where it fails, the next one goes on."""
        # None: nothing was read yet, and no statement may say that this is all.
        left: list[_Part] | None = None
        for place, one in enumerate(statements):
            self._writer, error, is_last = None, "", place + 1 == len(statements)
            try:
                if left is None or self._held.connection is None:
                    left = None
                    self._held.look()
                    self._begin()
                    left = self._parts(one, table)
                self._read(left, one, statements[place - 1] if place else None)
                left = [part for part in left if part.error]
                error = next((part.error for part in left), "")
                if not error and _is_written(self._before, self._held.state()):
                    error, is_last = "the file was written over while it was read", True
            except _FAILURES as failure:
                error = str(failure) or type(failure).__name__
            (self._writer or pa.ipc.new_stream(self._out, pa.schema([]))).close()
            goes_on = bool(error) and not is_last
            if not goes_on:
                self._held.rest()
            self._out.write(json.dumps({"error": error, "goes_on": goes_on}).encode() + b"\n")
            self._out.flush()
            if not goes_on:
                return

    def _begin(self) -> None:
        """Take the lock of a reader, under which whoever respects it cannot write."""
        _rows(self._held.connection, "SELECT count(*) FROM sqlite_schema")
        self._before = self._held.state()

    def _parts(self, statement: dict[str, Any], table: str) -> list[_Part]:
        """The parts of a large table that is read from its first row to its last, else all."""
        if not table or "parted" not in statement or len(self._values) > _MOST_VALUES:
            return [_Part()]
        if len(self._cut(statement, table)) > 1 and self._held.pair(self._begin):
            # By the state that both see.
            return self._cut(statement, table)
        return [_Part()]

    def _cut(self, statement: dict[str, Any], table: str) -> list[_Part]:
        name = '"main"."' + table.replace('"', '""') + '"'
        text = "'" + table.replace("'", "''") + "'"
        connection = self._held.connection
        ((count, names),) = _rows(connection, _KIND.format(text))
        free = {"rowid", "_rowid_", "oid"} - set(str(names).split("\0"))
        if count != 1 or not free:
            return [_Part()]
        number = min(free)
        ends = ", ".join(f"(SELECT {one}({number}) FROM {name}) AS {one}" for one in ("min", "max"))
        ((low, high),) = _rows(connection, f"SELECT {ends}")
        if low is None or high - low < _WORTH_PARTS:
            return [_Part()]
        scans = {f"SCAN {table}", f"SCAN main.{table}"}
        if not scans.intersection(self._plan(connection, statement["sql"])):
            return [_Part()]
        parts = _PARTS if len(self._values) <= _FEW_VALUES else 2
        edges = [low + (high - low) * place // parts for place in range(1, parts)]
        # Open at both ends: no row is left out, wherever the edges are.
        return [
            _Part(f"{number} <= {edges[0]}"),
            *(
                _Part(f"{number} > {one} AND {number} <= {other}")
                for one, other in pairwise(edges)
            ),
            _Part(f"{number} > {edges[-1]}"),
        ]

    def _read(
        self, parts: Sequence[_Part], one: dict[str, Any], before: dict[str, Any] | None
    ) -> None:
        """Read the parts, two at a time; each tells by itself why it failed."""
        left = list(reversed(parts))
        many = len(parts) > 1 or bool(parts and parts[0].predicate)

        def work(connection: Connection) -> None:
            while left:
                with contextlib.suppress(IndexError):  # the other one took it
                    self._read_part(connection, left.pop(), one, before)

        if not many:
            work(self._held.connection)
            return
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, (self._held.connection, self._held.second)))

    def _read_part(
        self,
        connection: Connection,
        part: _Part,
        one: dict[str, Any],
        before: dict[str, Any] | None,
    ) -> None:
        try:
            part.error = ""
            if part.count and before is not None:
                self._see_to_order(connection, part.sql(before), part.sql(one))
            self._write(connection, part, part.sql(one), one["types"])
        except _FAILURES as failure:
            part.error = str(failure) or type(failure).__name__

    def _write(
        self, connection: Connection, part: _Part, sql: str, types: list[str] | None
    ) -> None:
        """Write each batch while SQLite makes the next one."""
        written: Future[None] | None = None
        with _reading(connection, sql, self._values) as reader:
            if types is not None and [str(one) for one in reader.schema.types] != types:
                raise OSError("a column holds values of several classes")
            with self._turn:
                self._writer = self._writer or pa.ipc.new_stream(self._out, reader.schema)
            skipped = part.count + (types is not None)
            try:
                for batch in reader:
                    rows = batch.slice(skipped)
                    skipped -= batch.num_rows - rows.num_rows
                    if written is not None:
                        written.result()
                    part.count += rows.num_rows
                    if batch.num_rows == BATCH_ROWS:
                        written = self._writing.submit(self._put, rows)
                    else:
                        self._put(rows)  # the last one
            finally:
                if written is not None:
                    written.result()

    def _put(self, rows: pa.RecordBatch) -> None:
        assert self._writer is not None
        with self._turn:
            self._writer.write_batch(rows)

    def _see_to_order(self, connection: Connection, before: str, now: str) -> None:
        """Two statements over the same rows, found in the same way, give them in one order."""
        if self._plan(connection, before) != self._plan(connection, now):
            raise OSError("the rows that follow cannot be told from those that came")

    def _plan(self, connection: Connection, sql: str) -> list[str]:
        found = _rows(connection, f"EXPLAIN QUERY PLAN {sql}", self._values)
        return [str(row[-1]) for row in found]


def _rows(connection: Connection, sql: str, values: bytes = b"") -> list[tuple[Any, ...]]:
    """All rows of a small answer."""
    with _reading(connection, sql, values) as reader:
        return [tuple(row.values()) for row in reader.read_all().to_pylist()]


@contextmanager
def _reading(connection: Connection, sql: str, values: bytes) -> Iterator[pa.RecordBatchReader]:
    with adbc_driver_manager.AdbcStatement(connection) as statement:
        statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
        statement.set_sql_query(sql)
        if values:
            statement.bind_stream(pa.ipc.open_stream(values))
        handle, _ = statement.execute_query()
        with pa.RecordBatchReader.from_stream(handle) as reader:
            yield reader


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
