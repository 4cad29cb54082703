"""A DuckDB file, opened read-only.

Takes: `path`. Gives: connections to one locked-down instance: no file but this one, no
extensions, no settings to change. Never runs anything but one SELECT, never answers from a file
that was written over, nor from one in whose place another lies when a statement begins.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from connectors.base import ConnectorError, ConnectorUnavailable, Fragment
from connectors.embedded import LOCKED, EmbeddedConnection, lock, quoted
from connectors.file_reading import literal
from connectors.file_states import HeldFile

_RESERVED = frozenset({"main", "memory", "system", "temp"})
_opening = threading.Lock()


@dataclass(slots=True)
class _Instance:
    """A file as it was, opened once for all connections to it. `users`: how many there are."""

    file: HeldFile
    root: duckdb.DuckDBPyConnection
    users: int = 0


# The newest instance of each file; older ones end with their last connection.
_instances: dict[Path, _Instance] = {}


class DuckdbConnection(EmbeddedConnection):
    """One connection to an instance."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, instance: _Instance) -> None:
        """Take over an open, locked connection."""
        super().__init__(connection)
        self._instance = instance
        self._closed = False

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        if not self._instance.file.is_named():
            self._broken = True
            raise ConnectorUnavailable(f"{self._instance.file.path} is another file by now")
        for batch in super()._batches(fragment):
            self._see_to_file()
            yield batch
        self._see_to_file()

    def _see_to_file(self) -> None:
        if self._instance.file.is_written():
            self._broken = True
            raise ConnectorError(f"{self._instance.file.path} was written while it was read")

    def _probe(self) -> None:
        super()._probe()
        if not self._instance.file.is_named():
            raise FileNotFoundError(self._instance.file.path)

    def close(self) -> None:
        """Give everything back; idempotent."""
        super().close()
        with _opening:
            if self._closed:
                return
            self._closed = True
            self._instance.users -= 1
            if self._instance.users == 0:
                _end(self._instance)


class DuckdbConnector:
    """Opens files."""

    def connect(self, settings: Mapping[str, str]) -> DuckdbConnection:
        """Open the file at `path`."""
        if set(settings) != {"path"}:
            raise ConnectorError("duckdb takes path")
        path = Path(settings["path"]).absolute()
        if not path.is_file():
            raise ConnectorUnavailable(f"there is no file {path}")
        try:
            with _opening:
                instance = _instance_of(path)
                connection = instance.root.cursor()
                connection.execute(f"USE {quoted(_name_of(path))}")
                instance.users += 1
        except (duckdb.IOException, OSError) as error:
            raise ConnectorUnavailable(str(error)) from error
        except duckdb.Error as error:
            raise ConnectorError(str(error)) from error
        return DuckdbConnection(connection, instance)


CONNECTOR = DuckdbConnector()


def _instance_of(path: Path) -> _Instance:
    """The instance of the file that lies there now."""
    known = _instances.get(path)
    if known is not None and known.file.is_named() and _is_well(known.root):
        return known
    file = HeldFile(path)
    try:
        root = _opened(path)
    except BaseException:
        file.close()
        raise
    made = _instances[path] = _Instance(file, root)
    return made


def _opened(path: Path) -> duckdb.DuckDBPyConnection:
    """An instance of its own: by its path DuckDB would find one that holds an older file."""
    root = duckdb.connect(config=dict(LOCKED))
    try:
        name = quoted(_name_of(path))
        root.execute(f"ATTACH {literal(str(path))} AS {name} (READ_ONLY, TYPE duckdb)")
        root.execute("SET enable_external_access = false")
        lock(root)
    except BaseException:
        root.close()
        raise
    return root


def _name_of(path: Path) -> str:
    """What DuckDB itself calls a database that it opens."""
    name = path.name.lstrip(".").partition(".")[0]
    return f"{name}_db" if name.casefold() in _RESERVED else name


def _is_well(root: duckdb.DuckDBPyConnection) -> bool:
    """Whether no error has ended the whole instance."""
    try:
        root.execute("SELECT 1").fetchall()
    except duckdb.Error:
        return False
    return True


def _end(instance: _Instance) -> None:
    if _instances.get(instance.file.path) is instance:
        del _instances[instance.file.path]
    instance.root.close()
    instance.file.close()
