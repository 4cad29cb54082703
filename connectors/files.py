"""Parquet, CSV and JSON files below one folder.

Takes: `path`, `format` (parquet, csv, json), `tables` (JSON: the contracts' types of the columns of
each physical name), and optionally `types`, such as `code VARCHAR, day DATE`, where a file holds
another type: columns of CSV and JSON, partitions of Parquet. CSV is RFC 4180 with a line of names.
Gives: connections that can read below `path` and nowhere else; a physical name is a glob relative
to it. Never follows a link out of it, never guesses how to read a contract's table from its rows:
those that a policy hides would decide how others are read.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import duckdb
import pyarrow as pa

from connectors.base import (
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    InPlace,
    SourceColumn,
    SourceSize,
)
from connectors.embedded import LOCKED, EmbeddedConnection, lock, quoted
from connectors.parquet_sizes import size_of

TYPE_OPTIONS = {"parquet": "hive_types", "csv": "types", "json": "columns"}
DIALECT = {"csv": """, delim = ',', quote = '"', escape = '"', header = true"""}
READERS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}


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


class FilesConnection(EmbeddedConnection):
    """A locked in-memory DuckDB with one view for each physical name that was asked for."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, root: Path, reading: Reading
    ) -> None:
        """Take over an open, locked connection."""
        super().__init__(connection)
        self._root = root
        self._reading = reading
        self._reader = READERS[reading.form]

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The columns of the files that match; an empty sequence where none does."""
        if not self._matching(physical_name):
            return ()
        self._make_view(physical_name, self._reading.guessed())
        return self.columns_of(quoted(physical_name))

    def in_place(self, tables: Sequence[str]) -> InPlace:
        """Views of the tables' files; the folder that they lie below."""
        views = []
        for name in tables:
            if not self._matching(name):
                raise ConnectorUnavailable(f"no file matches {name}")
            views.append((name, self._view(name, self._reading.guessed())))
        return InPlace(f"{self._root}/", tuple(views))

    def sizes(self, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        """What the footers of Parquet files say; nothing of files that have none."""
        named = [one for one in tables if self._reading.form == "parquet" and self._matching(one)]
        with self.asking():
            return {
                one: size_of(self._connection, _literal(f"{self._root / one}")) for one in named
            }

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        for name in fragment.tables:
            self._make_view(name, self._options(name, self._matching(name)))
        yield from super()._batches(fragment)

    def _matching(self, name: str) -> list[Path]:
        """The files of a name, each of them really below the root."""
        pattern = PurePosixPath(name)
        if pattern.is_absolute() or ".." in pattern.parts or not pattern.parts:
            raise ConnectorError(f"a physical name is a glob below the folder, not {name!r}")
        found = [one for one in self._root.glob(name) if one.is_file()]
        for one in found:
            if not one.resolve().is_relative_to(self._root):
                raise ConnectorError(f"{one} leads out of the folder")
        return found

    def _options(self, name: str, files: Sequence[Path]) -> str:
        if name not in self._reading.tables or self._reading.form == "parquet" or not files:
            return self._reading.guessed()
        inside = (one.relative_to(self._root).parts[:-1] for one in files)
        split = {part.partition("=")[0] for parts in inside for part in parts if "=" in part}
        held: Sequence[str] = tuple(self._reading.tables[name])
        if self._reading.form == "csv":
            heads = {self._head(one) for one in files}
            if len(heads) > 1:
                raise ConnectorError(f"the files of {name} begin with different lines of names")
            (held,) = heads
        return self._reading.told(name, held, split)

    def _head(self, file: Path) -> tuple[str, ...]:
        """The names in a CSV file's first line."""
        reader = f"read_csv({_literal(str(file))}, all_varchar = true, hive_partitioning = false"
        try:
            found = self._connection.execute(f"SELECT * FROM {reader}{DIALECT['csv']}) LIMIT 0")
        except duckdb.IOException as error:
            raise ConnectorUnavailable(str(error)) from error
        return tuple(one[0] for one in found.description or ())

    def _make_view(self, name: str, options: str) -> None:
        """Made anew each time: files come and go, and with them their columns."""
        try:
            self._connection.execute(
                f"CREATE OR REPLACE VIEW {quoted(name)} AS {self._view(name, options)}"
            )
        except duckdb.IOException as error:
            raise ConnectorUnavailable(str(error)) from error

    def _view(self, name: str, options: str) -> str:
        pattern = _literal(str(self._root / name))
        return f"SELECT * FROM {self._reader}({pattern}, hive_partitioning = true{options})"


class FilesConnector:
    """Opens folders. `takes_tables`: it wants the contracts' types among its settings."""

    takes_tables = True

    def connect(self, settings: Mapping[str, str]) -> FilesConnection:
        """Open the folder at `path` for files of one `format`."""
        unknown = sorted(set(settings) - {"path", "format", "types", "tables"})
        form = settings.get("format", "")
        if unknown or form not in READERS or "path" not in settings:
            raise ConnectorError("files takes path, format (parquet, csv, json) and types")
        root = Path(settings["path"]).resolve()
        if not root.is_dir():
            raise ConnectorUnavailable(f"there is no folder {root}")
        types = _types(settings.get("types", ""))
        reading = Reading(form, types, json.loads(settings.get("tables", "{}")))
        connection = duckdb.connect(config={**LOCKED})
        try:
            connection.execute(f"SET allowed_directories = [{_literal(f'{root}/')}]")
            connection.execute("SET enable_external_access = false")
            lock(connection)
        except duckdb.Error as error:
            connection.close()
            raise ConnectorError(str(error)) from error
        return FilesConnection(connection, root, reading)


CONNECTOR = FilesConnector()


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
    shown = ", ".join(f"{quoted(one)}: {_literal(kind)}" for one, kind in types.items())
    return f", {name} = {{{shown}}}" if types else ""


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
