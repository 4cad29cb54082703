"""SQLite, over ADBC, in a process of its own for each connection.

Takes: `path`. Gives: read-only connections. SQLite stores any value in any column, so each is
checked where it is read. Only the end of its process interrupts a statement of the driver's.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from connectors.arrow import StreamingConnection, decimals, parameters_of
from connectors.base import (
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    SourceColumn,
    SourceSize,
)
from connectors.key_texts import as_json
from connectors.sqlite_sizes import size_of
from connectors.sqlite_values import PART, TABLES, columns_of, statement, typed, with_part

_COLUMNS = 'SELECT name, type, "notnull" FROM pragma_table_xinfo(?) WHERE hidden <> 1'


class SqliteConnection(StreamingConnection):
    """One file, read by one process, which is started when it is needed."""

    errors = (OSError, subprocess.TimeoutExpired)

    def __init__(self, path: Path) -> None:
        """Nothing is started yet."""
        super().__init__()
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The live table's columns; an empty sequence where there is no such table."""
        name = pa.record_batch([[physical_name]], names=["1"])
        with self.asking():
            batches = self._read([{"sql": _COLUMNS, "types": None}], name)
            found = [row for _, batch in batches for row in batch.to_pylist()]
        return tuple(
            SourceColumn(row["name"], row["type"], not row["notnull"], _contract_types(row["type"]))
            for row in found
        )

    def sizes(self, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        """Rows, and what indices and ANALYZE tell of columns."""
        with self.asking():
            return {name: size_of(self._answer, name) for name in tables}

    def _answer(self, sql: str) -> Sequence[Mapping[str, object]]:
        asked = [{"sql": sql, "types": None}]
        return [row for _, batch in self._read(asked) for row in batch.to_pylist()]

    def close(self) -> None:
        """Give everything back; idempotent."""
        self._broken = True
        self._end()

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        made = [statement(fragment.sql, fragment.columns, one) for one in (False, True)]
        asked: list[dict[str, object]] = [{"sql": one.sql, "types": one.types} for one in made]
        table, parted = fragment.tables[0] if fragment.tables else "", with_part(fragment)
        for each, is_careful in zip(asked, (False, True), strict=True) if parted else ():
            each["parted"] = statement(parted, fragment.columns, is_careful).sql.split(PART)
        values = parameters_of(fragment, as_json)
        with contextlib.closing(self._read(asked, values, table if parted else "")) as batches:
            for place, batch in batches:
                yield columns_of(batch, made[place])

    def _fit(self, array: pa.Array, source: pa.Field, target: pa.Field) -> pa.Array:
        """A value as the contract's type has it; raises where it is none."""
        return typed(array, target.type)

    def _read(
        self,
        statements: Sequence[Mapping[str, object]],
        values: pa.RecordBatch | None = None,
        table: str = "",
    ) -> Generator[tuple[int, pa.RecordBatch], None, None]:
        """Batches, each with the place of the statement that made it."""
        whole = False
        try:
            process = self._process or self._start()
            assert process.stdin is not None and process.stdout is not None
            sent = _as_stream(values)
            request = {"statements": statements, "size": len(sent), "table": table}
            process.stdin.write(json.dumps(request).encode() + b"\n" + sent)
            process.stdin.flush()
            for place in range(len(statements)):
                with pa.ipc.open_stream(process.stdout) as batches:
                    yield from ((place, batch) for batch in batches)
                line = process.stdout.readline()
                if not line:
                    raise ConnectionError("the process that reads the file ended")
                end = json.loads(line)
                if not end["goes_on"]:
                    break
            whole = True
        finally:
            if not whole:
                self._end()
        if end["error"]:
            raise OSError(end["error"])

    def _start(self) -> subprocess.Popen[bytes]:
        program = Path(__file__).with_name("sqlite_reader.py")
        self._process = subprocess.Popen(
            # Isolated: nothing of the working folder may shadow what the reader imports.
            [sys.executable, "-I", str(program), str(self._path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _interrupt(self) -> None:
        # The reading thread meets the end of the stream and cleans up.
        if self._process is not None:
            self._process.kill()
            self._process.wait(1)

    def _probe(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if not self._path.is_file():
            raise FileNotFoundError(self._path)


class SqliteConnector:
    """Opens files."""

    def connect(self, settings: Mapping[str, str]) -> SqliteConnection:
        """Open the file at `path`."""
        if set(settings) != {"path"}:
            raise ConnectorError("sqlite takes path")
        path = Path(settings["path"]).absolute()
        if not path.is_file():
            raise ConnectorUnavailable(f"there is no file {path}")
        opened = SqliteConnection(path)
        try:
            opened.columns("sqlite_schema")  # a file that is no database is found here
        except ConnectorError:
            opened.close()
            raise
        return opened


CONNECTOR = SqliteConnector()


def _contract_types(declared: str) -> frozenset[str]:
    """By SQLite's own rules of affinity, and by the words DATE, TIME and BOOL."""
    upper = declared.upper()
    names = next((names for mark, names in TABLES["affinity"].items() if mark in upper), "")
    found = frozenset(names.split(", ")) - {""}
    return found | decimals(0, 0) if "DECIMAL" in found else found


def _as_stream(values: pa.RecordBatch | None) -> bytes:
    if values is None:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, values.schema) as writer:
        writer.write_batch(values)
    return bytes(sink.getvalue())
