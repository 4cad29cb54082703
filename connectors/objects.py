"""Parquet, CSV and JSON files in a store of objects: S3 and what speaks like it, GCS, Azure.

Takes: `store` (s3, gcs, azure), `bucket`, `prefix`, `format`, `types` as for files; `region` or
`endpoint` (`host:port`), `tls = "false"` for plaintext beyond this machine; secrets `access_key`,
`secret_key`, `session_token` (S3), `access_token` (GCS), `account_key` or `sas_token` (Azure, with
`account`); without any of them nobody is signed in. Gives: connections that read below the prefix
and nowhere else. Never uses what the machine knows of accounts, roles and addresses.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import duckdb
import pyarrow as pa

from connectors.base import (
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    SourceColumn,
    SourceSize,
)  # fmt: skip
from connectors.file_reading import (
    SETTINGS,
    Reading,
    ReadingConnection,
    literal,
    opened_below,
    pattern_of,
    reading_of,
)  # fmt: skip
from connectors.object_opening import OPENERS, opened_store
from connectors.object_sizes import size_of
from connectors.object_store import PROTOCOL, ObjectStore

_SECRETS = frozenset({"access_key", "secret_key", "session_token", "access_token", "account_key",
                      "sas_token"})  # fmt: skip
_KNOWN = SETTINGS | _SECRETS | {"store", "bucket", "prefix", "region", "endpoint", "tls", "account"}


class ObjectsConnection(ReadingConnection):
    """The objects below one prefix."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, objects: ObjectStore, root: str,
        reading: Reading,
    ) -> None:  # fmt: skip
        """Take over an open, locked connection that knows the store."""
        super().__init__(connection, reading)
        self.objects = objects
        self._root = root

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The columns of the objects that match; an empty sequence where none does."""
        self.objects.begin()
        with self.asking():
            return super().columns(physical_name)

    def sizes(self, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        """What footers of Parquet tell, of CSV its bytes; nothing where no object matches."""
        self.objects.begin()
        with self.asking():
            found = {one: self._size(map(self._place, self._matching(one))) for one in tables}
        return {name: size for name, size in found.items() if size is not None}

    def _size(self, places: Iterable[str]) -> SourceSize | None:
        held = {one: self.objects.listed_size(one) for one in places}
        return size_of(self._connection, self._reading.form, held) if held else None

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        self.objects.begin()
        yield from super()._batches(fragment)
        # What has left is told to be of no use where an object changed meanwhile.
        self.objects.check()

    def _matching(self, name: str) -> list[PurePosixPath]:
        return self.objects.matching(pattern_of(name))

    def _place(self, file: PurePosixPath) -> str:
        return f"{PROTOCOL}://{self._root}/{file}"

    def _places(self, name: str, files: Sequence[PurePosixPath]) -> str:
        if not files:
            raise ConnectorUnavailable(f"no object matches {name}")
        return f"[{', '.join(literal(self._place(one)) for one in files)}]"

    def _interrupt(self) -> None:
        self.objects.stop()
        super()._interrupt()

    def _told(self, error: Exception) -> ConnectorError:
        kind = ConnectorUnavailable if self.objects.is_lost else ConnectorError
        self._recover()
        return kind(str(error).strip())

    def ping(self) -> None:
        """Ask the store; ConnectorUnavailable where it does not answer."""
        super().ping()
        self.objects.begin()
        try:
            self.objects.ping()
        except (OSError, pa.ArrowException) as error:
            raise ConnectorUnavailable(str(error)) from error


class ObjectsConnector:
    """Opens stores. `takes_tables`: it wants the contracts' types among its settings.

    `secret_settings` may only come from secrets.
    """

    takes_tables = True
    secret_settings = _SECRETS

    def connect(self, settings: Mapping[str, str]) -> ObjectsConnection:
        """Open what lies below `prefix` in a `bucket`."""
        unknown = sorted(set(settings) - _KNOWN)
        is_known = settings.get("store") in OPENERS
        if unknown or not is_known or not settings.get("bucket"):
            raise ConnectorError(
                "objects takes store (s3, gcs, azure), bucket, prefix, format, types, region, "
                "endpoint, tls, account and the secrets of the store"
            )
        parts = [settings["bucket"], *PurePosixPath(settings.get("prefix", "")).parts]
        if ".." in parts or "/" in parts or "/" in settings["bucket"] or ":" in settings["bucket"]:
            raise ConnectorError("bucket and prefix are names, not ways")
        root = "/".join(parts)
        reading = reading_of(settings)
        try:
            objects = ObjectStore(opened_store(settings), root, reading.form == "parquet")
        except (OSError, ValueError, TypeError, pa.ArrowException) as error:
            raise ConnectorError(str(error)) from error
        # Text is read on from where another thread stopped: by one thread, then.
        threads = 2 if reading.form == "parquet" else 1
        opened = opened_below(f"{PROTOCOL}://{root}/", objects, threads)
        return ObjectsConnection(opened, objects, root, reading)


CONNECTOR = ObjectsConnector()
