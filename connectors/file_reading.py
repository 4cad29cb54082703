"""How Parquet, CSV and JSON files are read, wherever they lie.

Takes: a locked DuckDB, the contracts' types, and from a connector which files a physical name
means. Gives: connections with one view for each name that was asked for. CSV is RFC 4180 with a
line of names. Never guesses how to read a contract's table from its rows: those that a policy hides
would decide how others are read.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import duckdb
import pyarrow as pa

from connectors.base import (
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    SourceColumn,
    SourceSize,
)
from connectors.embedded import LOCKED, EmbeddedConnection, lock, quoted

TYPE_OPTIONS = {"parquet": "hive_types", "csv": "types", "json": "columns"}
DIALECT = {"csv": """, delim = ',', quote = '"', escape = '"', header = true"""}
READERS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}
SETTINGS = frozenset({"format", "types", "tables"})


@dataclass(frozen=True, slots=True)
class Reading:
    """How the files of a source are read: columns of `types`, then those of `tables`."""

    form: str
    types: Mapping[str, str]
    tables: Mapping[str, Mapping[str, str]]

    def guessed(self) -> str:
        """The reader's options where no contract says more than `types`."""
        option = _option(TYPE_OPTIONS[self.form], self.types)
        return f"{DIALECT.get(self.form, '')}{option}"

    def told(self, name: str, held: Sequence[str], partitions: Iterable[str]) -> str:
        """The options for a contract's table whose files hold those columns."""
        types = {**self.tables[name], **self.types}
        apart = set(partitions)
        columns = {one: types.get(one, "VARCHAR") for one in held if one not in apart}
        split = _option("hive_types", {one: types[one] for one in sorted(apart & set(types))})
        off = ", auto_detect = false" if self.form == "csv" else ""
        return f"{DIALECT.get(self.form, '')}{off}{_option('columns', columns)}{split}"


class ReadingConnection(EmbeddedConnection):
    """A locked in-memory DuckDB with one view for each physical name that was asked for.

    A connector gives `_matching`, the files of a name, relative to where all of them lie, and
    `_place`, what DuckDB calls such a file, or a glob.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, reading: Reading) -> None:
        """Take over an open, locked connection."""
        super().__init__(connection)
        self._reading = reading

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The columns of the files that match; an empty sequence where none does."""
        files = self._matching(physical_name)
        if not files:
            return ()
        self._make_view(physical_name, files, self._reading.guessed())
        return self.columns_of(quoted(physical_name))

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        for name in fragment.tables:
            files = self._matching(name)
            self._make_view(name, files, self._options(name, files))
        yield from super()._batches(fragment)

    def sizes(self, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        """Nothing: to count the rows of files may be to read them."""
        return {}

    def _options(self, name: str, files: Sequence[PurePosixPath]) -> str:
        if name not in self._reading.tables or self._reading.form == "parquet" or not files:
            return self._reading.guessed()
        inside = (one.parts[:-1] for one in files)
        split = {part.partition("=")[0] for parts in inside for part in parts if "=" in part}
        held: Sequence[str] = tuple(self._reading.tables[name])
        if self._reading.form == "csv":
            heads = {self._head(one) for one in files}
            if len(heads) > 1:
                raise ConnectorError(f"the files of {name} begin with different lines of names")
            (held,) = heads
        return self._reading.told(name, held, split)

    def _head(self, file: PurePosixPath) -> tuple[str, ...]:
        """The names in a CSV file's first line."""
        reader = f"read_csv({literal(self._place(file))}, all_varchar = true, "
        try:
            found = self._connection.execute(
                f"SELECT * FROM {reader}hive_partitioning = false{DIALECT['csv']}) LIMIT 0"
            )
        except duckdb.IOException as error:
            raise ConnectorUnavailable(str(error)) from error
        return tuple(one[0] for one in found.description or ())

    def _make_view(self, name: str, files: Sequence[PurePosixPath], options: str) -> None:
        """Made anew each time: files come and go, and with them their columns."""
        try:
            self._connection.execute(
                f"CREATE OR REPLACE VIEW {quoted(name)} AS {self._view(name, files, options)}"
            )
        except duckdb.IOException as error:
            raise ConnectorUnavailable(str(error)) from error

    def _view(self, name: str, files: Sequence[PurePosixPath], options: str) -> str:
        reader = READERS[self._reading.form]
        places = self._places(name, files)
        return f"SELECT * FROM {reader}({places}, hive_partitioning = true{options})"

    def _places(self, name: str, files: Sequence[PurePosixPath]) -> str:
        """What a reader is given for a name: a glob, unless a connector names each file."""
        return literal(self._place(PurePosixPath(name)))

    @abstractmethod
    def _matching(self, name: str) -> list[PurePosixPath]: ...

    @abstractmethod
    def _place(self, file: PurePosixPath) -> str: ...


def pattern_of(name: str) -> PurePosixPath:
    """A physical name as a glob that stays below where all files lie."""
    pattern = PurePosixPath(name)
    if pattern.is_absolute() or ".." in pattern.parts or not pattern.parts:
        raise ConnectorError(f"a physical name is a glob below the folder, not {name!r}")
    return pattern


def reading_of(settings: Mapping[str, str]) -> Reading:
    """How to read by a source's settings."""
    form = settings.get("format", "")
    if form not in READERS:
        raise ConnectorError("format is one of parquet, csv, json")
    tables = json.loads(settings.get("tables", "{}"))
    return Reading(form, _types(settings.get("types", "")), tables)


def opened_below(
    place: str, files: object = None, threads: int = 2
) -> duckdb.DuckDBPyConnection:
    """A locked in-memory DuckDB that reads below a place and nowhere else.

    `files` is a filesystem of fsspec's that it is to know.
    """
    connection = duckdb.connect(config={**LOCKED, "threads": str(threads)})
    try:
        if files is not None:
            connection.register_filesystem(files)
        connection.execute(f"SET allowed_directories = [{literal(place)}]")
        connection.execute("SET enable_external_access = false")
        lock(connection)
    except duckdb.Error as error:
        connection.close()
        raise ConnectorError(str(error)) from error
    return connection


def literal(text: str) -> str:
    """A text as DuckDB reads it back."""
    return "'" + text.replace("'", "''") + "'"


def _types(text: str) -> Mapping[str, str]:
    """The types of `name TYPE, name TYPE`."""
    if not text.strip():
        return {}
    pairs = [part.strip().partition(" ") for part in text.split(",")]
    if not all(name and kind.strip() for name, _, kind in pairs):
        raise ConnectorError("types is `name TYPE, name TYPE`")
    return {name: kind.strip() for name, _, kind in pairs}


def _option(name: str, types: Mapping[str, str]) -> str:
    """An option of a reader that says types of columns."""
    shown = ", ".join(f"{quoted(one)}: {literal(kind)}" for one, kind in types.items())
    return f", {name} = {{{shown}}}" if types else ""
