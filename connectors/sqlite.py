"""SQLite, over ADBC, in a process of its own for each connection.

Takes: `path`. Gives: read-only connections. SQLite stores any value in any column, so each is
checked where it is read. Only the end of its process interrupts a statement of the driver's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from connectors.arrow import StreamingConnection, as_json, cast_exactly, parameters_of
from connectors.base import (
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    FragmentColumn,
    SourceColumn,
    SourceSize,
    decimals,
    load_tables,
)

TABLES = load_tables("sqlite")
_COLUMNS = 'SELECT name, type, "notnull" FROM pragma_table_xinfo(?) WHERE hidden <> 1'
_MISSING, _WRONG = 1, 2
_LARGE = 10**15 - 1  # by comparison: abs() of the smallest integer is an error


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
            found = [row for batch in self._read(_COLUMNS, name) for row in batch.to_pylist()]
        return tuple(
            SourceColumn(row["name"], row["type"], not row["notnull"], _contract_types(row["type"]))
            for row in found
        )

    def sizes(self, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        """The rows of tables, counted."""
        found = {}
        for name in tables:
            quoted = name.replace('"', '""')
            with self.asking():
                (batch,) = self._read(f'SELECT count(*) AS n FROM "{quoted}"')
            found[name] = SourceSize(float(batch.column(0)[0].as_py()))
        return found

    def close(self) -> None:
        """Give everything back; idempotent."""
        self._broken = True
        self._end()

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        sql = _checked(fragment.sql, fragment.columns)
        for batch in self._read(sql, parameters_of(fragment, as_json)):
            pairs = zip(batch.columns[::2], batch.columns[1::2], strict=True)
            arrays = [pa.StructArray.from_arrays(pair, ["value", "flag"]) for pair in pairs]
            yield pa.RecordBatch.from_arrays(arrays, [one.name for one in fragment.columns])

    def _fit(self, array: pa.Array, source: pa.Field, target: pa.Field) -> pa.Array:
        """A value and whether it is of the class that its type needs."""
        value, flag = array.flatten()
        if pc.max(flag).as_py() == _WRONG:
            raise ConnectorError(f"what is no {target.type}")
        missing = pa.scalar(None, value.type)
        return _typed(pc.if_else(pc.equal(flag, _MISSING), missing, value), target.type)

    def _read(
        self, sql: str, values: pa.RecordBatch | None = None
    ) -> Generator[pa.RecordBatch, None, None]:
        whole = False
        try:
            process = self._process or self._start()
            assert process.stdin is not None and process.stdout is not None
            sent = _as_stream(values)
            request = json.dumps({"sql": sql, "size": len(sent)}).encode() + b"\n"
            process.stdin.write(request + sent)
            process.stdin.flush()
            with pa.ipc.open_stream(process.stdout) as batches:
                yield from batches
            end = process.stdout.readline()
            if not end:
                raise ConnectionError("the process that reads the file ended")
            whole = True
        finally:
            if not whole:
                self._end()
        if error := json.loads(end)["error"]:
            raise OSError(error)

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


def _checked(sql: str, columns: Sequence[FragmentColumn]) -> str:
    """The statement with two columns for each: a value of one storage class, and whether it is.

    The driver takes a column's type from its first values; NULLs would make it guess.
    """
    shown = []
    for place, column in enumerate(columns):
        name, kind = f'"c{place}"', TABLES["classes"].get(column.type.partition("(")[0].strip(), "")
        if not kind:
            raise ConnectorError(f"SQLite has no values of type {column.type}")
        large = "1" if column.type.endswith(",0)") else f"{name} BETWEEN -{_LARGE} AND {_LARGE}"
        fits = TABLES["fits"][kind].format(c=name, large=large)
        value = TABLES["values"].get(kind, "{c}").format(c=name)
        missing = f"CASE WHEN {name} IS NULL"
        shown.append(f"{missing} OR NOT ({fits}) THEN {TABLES['defaults'][kind]} ELSE {value} END")
        shown.append(f"{missing} THEN {_MISSING} WHEN {fits} THEN 0 ELSE {_WRONG} END")
    names = ", ".join(f'"c{place}"' for place in range(len(columns)))
    return f"WITH fragment({names}) AS ({sql}) SELECT {', '.join(shown)} FROM fragment"


def _typed(array: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_string(array.type):
        array.validate(full=True)  # SQLite does not look whether text is UTF-8
    if pa.types.is_boolean(target):
        return pc.equal(array, 1)
    if pa.types.is_time(target):
        moment = pc.binary_join_element_wise("1970-01-01", array, " ")
        return pc.cast(pc.cast(moment, pa.timestamp("us")), target)
    if pa.types.is_date(target) or pa.types.is_timestamp(target):
        return pc.cast(array, target)
    return cast_exactly(array, target)


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
