"""A DuckDB file, opened read-only.

Takes: `path`. Gives: connections to one locked-down instance: no file but this one, no
extensions, no settings to change. Never runs anything but one SELECT.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import duckdb

from connectors.base import ConnectorError, ConnectorUnavailable
from connectors.embedded import LOCKED, EmbeddedConnection, lock

_opening = threading.Lock()


class DuckdbConnector:
    """Opens files."""

    def connect(self, settings: Mapping[str, str]) -> EmbeddedConnection:
        """Open the file at `path`."""
        if set(settings) != {"path"}:
            raise ConnectorError("duckdb takes path")
        path = Path(settings["path"])
        if not path.is_file():
            raise ConnectorUnavailable(f"there is no file {path}")
        try:
            # One instance a file and process: who comes first locks it.
            with _opening:
                connection = duckdb.connect(
                    path, read_only=True, config={**LOCKED, "enable_external_access": "false"}
                )
                lock(connection)
        except duckdb.IOException as error:
            raise ConnectorUnavailable(str(error)) from error
        except duckdb.Error as error:
            raise ConnectorError(str(error)) from error
        return EmbeddedConnection(connection)


CONNECTOR = DuckdbConnector()
