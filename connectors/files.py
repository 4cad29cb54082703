"""Parquet, CSV and JSON files below one folder.

Takes: `path`, `format` (parquet, csv, json), and optionally `types`, such as `code VARCHAR, day
DATE`, where DuckDB would guess wrong: columns of CSV and JSON, partitions of Parquet. CSV is
RFC 4180 with a line of names, whatever its rows look like. Gives: connections that can read below
`path` and nowhere else; a physical name is a glob relative to it. Never follows a link out of it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import duckdb
import pyarrow as pa

from connectors.base import ConnectorError, ConnectorUnavailable, Fragment, SourceColumn
from connectors.embedded import LOCKED, EmbeddedConnection, lock, quoted

TYPE_OPTIONS = {"parquet": "hive_types", "csv": "types", "json": "columns"}
# A dialect that is guessed from rows lets those that a policy hides decide how others are read.
DIALECT = {"csv": """, delim = ',', quote = '"', escape = '"', header = true"""}
READERS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}


class FilesConnection(EmbeddedConnection):
    """A locked in-memory DuckDB with one view for each physical name that was asked for."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, root: Path, reader: str, options: str
    ) -> None:
        """Take over an open, locked connection."""
        super().__init__(connection)
        self._root = root
        self._reader = reader
        self._options = options

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The columns of the files that match; an empty sequence where none does."""
        if not self._matching(physical_name):
            return ()
        self._make_view(physical_name)
        return self.columns_of(quoted(physical_name))

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        for name in fragment.tables:
            self._matching(name)
            self._make_view(name)
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

    def _make_view(self, name: str) -> None:
        """Made anew each time: files come and go, and with them their columns."""
        pattern = _literal(str(self._root / name))
        try:
            self._connection.execute(
                f"CREATE OR REPLACE VIEW {quoted(name)} AS SELECT * FROM "
                f"{self._reader}({pattern}, hive_partitioning = true{self._options})"
            )
        except duckdb.IOException as error:
            raise ConnectorUnavailable(str(error)) from error


class FilesConnector:
    """Opens folders."""

    def connect(self, settings: Mapping[str, str]) -> FilesConnection:
        """Open the folder at `path` for files of one `format`."""
        unknown = sorted(set(settings) - {"path", "format", "types"})
        reader = READERS.get(settings.get("format", ""))
        if unknown or reader is None or "path" not in settings:
            raise ConnectorError("files takes path, format (parquet, csv, json) and types")
        root = Path(settings["path"]).resolve()
        if not root.is_dir():
            raise ConnectorUnavailable(f"there is no folder {root}")
        options = DIALECT.get(settings["format"], "")
        options += _types(settings.get("types", ""), settings["format"])
        connection = duckdb.connect(config={**LOCKED})
        try:
            connection.execute(f"SET allowed_directories = [{_literal(f'{root}/')}]")
            connection.execute("SET enable_external_access = false")
            lock(connection)
        except duckdb.Error as error:
            connection.close()
            raise ConnectorError(str(error)) from error
        return FilesConnection(connection, root, reader, options)


CONNECTOR = FilesConnector()


def _types(text: str, form: str) -> str:
    """The reader's option for `name TYPE, name TYPE`."""
    if not text.strip():
        return ""
    pairs = [part.strip().partition(" ") for part in text.split(",")]
    if not all(name and kind.strip() for name, _, kind in pairs):
        raise ConnectorError("types is `name TYPE, name TYPE`")
    shown = ", ".join(f"{quoted(name)}: {_literal(kind.strip())}" for name, _, kind in pairs)
    return f", {TYPE_OPTIONS[form]} = {{{shown}}}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
