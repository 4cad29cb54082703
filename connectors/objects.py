"""Parquet, CSV and JSON files in a store of objects: S3 and what speaks like it, GCS, Azure.

Takes: `store` (s3, gcs, azure), `bucket`, `prefix`, `format`, `types` as for files; `region` or
`endpoint` (`host:port`), `tls = "false"` for plaintext beyond this machine; secrets `access_key`,
`secret_key`, `session_token` (S3), `access_token` (GCS), `account_key` or `sas_token` (Azure, with
`account`); without any of them nobody is signed in. Gives: connections that read below the prefix
and nowhere else. Never uses what the machine knows of accounts, roles and addresses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import PurePosixPath
from types import MappingProxyType

import duckdb
import pyarrow as pa
from pyarrow import fs

from connectors.base import ConnectorError, ConnectorUnavailable, Fragment, SourceColumn
from connectors.file_reading import (
    SETTINGS,
    Reading,
    ReadingConnection,
    literal,
    opened_below,
    pattern_of,
    reading_of,
)
from connectors.object_store import PROTOCOL, ObjectStore

_SECRETS = frozenset({"access_key", "secret_key", "session_token", "access_token", "account_key",
                      "sas_token"})  # fmt: skip
_KNOWN = SETTINGS | _SECRETS | {"store", "bucket", "prefix", "region", "endpoint", "tls", "account"}
_CONNECT_SECONDS, _REQUEST_SECONDS, _ATTEMPTS = 5, 20, 3


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
        opener = _OPENERS.get(settings.get("store", ""))
        if unknown or opener is None or not settings.get("bucket"):
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
            objects = ObjectStore(opener(settings), root, reading.form == "parquet")
        except (OSError, ValueError, TypeError, pa.ArrowException) as error:
            raise ConnectorError(str(error)) from error
        # Text is read on from where another thread stopped: by one thread, then.
        threads = 2 if reading.form == "parquet" else 1
        opened = opened_below(f"{PROTOCOL}://{root}/", objects, threads)
        return ObjectsConnection(opened, objects, root, reading)


CONNECTOR = ObjectsConnector()


def _s3(settings: Mapping[str, str]) -> fs.FileSystem:
    # Else the library asks the machine's cloud who it is, before it looks at anything else.
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    region, endpoint = settings.get("region", ""), settings.get("endpoint", "")
    if not region and not endpoint:
        raise ConnectorError("s3 takes region or endpoint")
    return fs.S3FileSystem(
        access_key=settings.get("access_key"),
        secret_key=settings.get("secret_key"),
        session_token=settings.get("session_token"),
        anonymous="access_key" not in settings,
        region=region or "us-east-1",
        endpoint_override=endpoint or f"s3.{region}.amazonaws.com",
        scheme=_scheme(settings, endpoint),
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )


def _gcs(settings: Mapping[str, str]) -> fs.FileSystem:
    token, endpoint = settings.get("access_token"), settings.get("endpoint", "")
    lasting = {} if token is None else {
        "credential_token_expiration": datetime.now(UTC) + timedelta(hours=1)
    }  # fmt: skip
    return fs.GcsFileSystem(
        anonymous=token is None, access_token=token, endpoint_override=endpoint or None,
        scheme=_scheme(settings, endpoint), retry_time_limit=timedelta(seconds=_REQUEST_SECONDS),
        **lasting,
    )  # fmt: skip


def _azure(settings: Mapping[str, str]) -> fs.FileSystem:
    if ("account_key" in settings) == ("sas_token" in settings) or not settings.get("account"):
        raise ConnectorError("azure takes account, and account_key or sas_token")
    endpoint = settings.get("endpoint", "")
    places = {} if not endpoint else {
        f"{one}_storage_{what}": value
        for one in ("blob", "dfs")
        for what, value in (("authority", endpoint), ("scheme", _scheme(settings, endpoint)))
    }  # fmt: skip
    return fs.AzureFileSystem(
        settings["account"], account_key=settings.get("account_key"),
        sas_token=settings.get("sas_token"), **places,
    )  # fmt: skip


_OPENERS: Mapping[str, Callable[[Mapping[str, str]], fs.FileSystem]] = MappingProxyType(
    {"s3": _s3, "gcs": _gcs, "azure": _azure}
)


def _scheme(settings: Mapping[str, str], endpoint: str) -> str:
    """TLS to any machine but this one, unless the settings say otherwise."""
    if "://" in endpoint:
        raise ConnectorError("endpoint is host:port, without a scheme")
    host = endpoint.rpartition(":")[0].strip("[]") or endpoint
    try:
        is_here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_here = False
    is_plain = is_here if "tls" not in settings else settings["tls"] == "false"
    return "http" if is_plain else "https"
