"""How stores of objects are reached: S3 and what speaks like it, GCS, Azure.

Takes: a source's settings with its secrets. Gives: a filesystem of pyarrow's. Never uses what the
machine knows of accounts, roles and addresses, and no plaintext beyond it unless told so.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from types import MappingProxyType

import pyarrow as pa
from pyarrow import fs

from connectors.base import ConnectorError, ConnectorUnavailable

_CONNECT_SECONDS, _REQUEST_SECONDS, _ATTEMPTS = 5, 20, 3
# The library opens none while one that it has waits for an answer: nobody else waits as long.
_OPEN_SECONDS = 5.0


def opened_store(settings: Mapping[str, str]) -> fs.FileSystem:
    """The store of `store`; ConnectorUnavailable where it takes too long, the library's errors."""
    answers: SimpleQueue[tuple[fs.FileSystem | None, Exception | None]] = SimpleQueue()

    def run() -> None:
        try:
            answers.put((OPENERS[settings["store"]](settings), None))
        except (OSError, ValueError, TypeError, pa.ArrowException, ConnectorError) as error:
            answers.put((None, error))

    threading.Thread(target=run, name="object-store", daemon=True).start()
    try:
        store, error = answers.get(timeout=_OPEN_SECONDS)
    except Empty:
        raise ConnectorUnavailable("the store does not answer") from None
    if error is not None:
        raise error
    return store


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


OPENERS: Mapping[str, Callable[[Mapping[str, str]], fs.FileSystem]] = MappingProxyType(
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
