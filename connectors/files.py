"""Parquet, CSV and JSON files below one folder.

Takes: `path`, `format` (parquet, csv, json), `tables` (JSON: the contracts' types of the columns of
each physical name), and optionally `types`, such as `code VARCHAR, day DATE`, where a file holds
another type: columns of CSV and JSON, partitions of Parquet.
Gives: connections that can read below `path` and nowhere else; a physical name is a glob relative
to it. Never follows a link out of it, never ends an answer well whose files were written or removed
while it was read; one that comes meanwhile is part of the answer or not.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import duckdb
import pyarrow as pa

from connectors.base import (
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    InPlace,
    SourceSize,
)
from connectors.file_reading import (
    SETTINGS,
    Reading,
    ReadingConnection,
    opened_below,
    pattern_of,
    reading_of,
)
from connectors.file_states import State, changed, settled
from connectors.parquet_sizes import size_of


class FilesConnection(ReadingConnection):
    """The files below one folder."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, root: Path, reading: Reading
    ) -> None:
        """Take over an open, locked connection."""
        super().__init__(connection, reading)
        self._root = root

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        states = self._states(fragment.tables)
        for number, batch in enumerate(super()._batches(fragment)):
            if number == 0:
                _see_to(states)
            yield batch
        # What has left is told to be of no use where a file changed meanwhile.
        _see_to(states)

    def in_place(self, tables: Sequence[str]) -> InPlace:
        """Views of the tables' files; the folder that they lie below."""
        views = []
        states = self._states(tables)
        for name in tables:
            files = self._matching(name)
            if not files:
                raise ConnectorUnavailable(f"no file matches {name}")
            views.append((name, self._view(name, files, self._reading.guessed())))
        return InPlace(f"{self._root}/", tuple(views), states)

    def _states(self, tables: Sequence[str]) -> tuple[tuple[str, State], ...]:
        """The states of all files of the tables, before anybody opens them."""
        return settled(self._root / file for name in tables for file in self._matching(name))

    def sizes(self, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        """What the footers of Parquet files say; nothing of files that have none."""
        named = [one for one in tables if self._reading.form == "parquet" and self._matching(one)]
        with self.asking():
            return {one: size_of(self._connection, str(self._root / one)) for one in named}

    def _matching(self, name: str) -> list[PurePosixPath]:
        """The files of a name, each of them really below the root."""
        found = [one for one in self._root.glob(str(pattern_of(name))) if one.is_file()]
        for one in found:
            if not one.resolve().is_relative_to(self._root):
                raise ConnectorError(f"{one} leads out of the folder")
        return [PurePosixPath(one.relative_to(self._root).as_posix()) for one in found]

    def _place(self, file: PurePosixPath) -> str:
        return str(self._root / file)


class FilesConnector:
    """Opens folders. `takes_tables`: it wants the contracts' types among its settings."""

    takes_tables = True

    def connect(self, settings: Mapping[str, str]) -> FilesConnection:
        """Open the folder at `path` for files of one `format`."""
        if set(settings) - SETTINGS != {"path"}:
            raise ConnectorError("files takes path, format (parquet, csv, json) and types")
        root = Path(settings["path"]).resolve()
        reading = reading_of(settings)
        if not root.is_dir():
            raise ConnectorUnavailable(f"there is no folder {root}")
        return FilesConnection(opened_below(f"{root}/"), root, reading)


CONNECTOR = FilesConnector()


def _see_to(states: Sequence[tuple[str, State]]) -> None:
    problem = changed(states)
    if problem is not None:
        raise ConnectorError(problem)
