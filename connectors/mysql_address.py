"""The address that a MariaDB source is asked at.

Takes: a source's settings. Gives: what the driver takes, with what makes it safe to use. Never
opens anything.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from connectors.base import ConnectorError
from connectors.mysql_wire import COLLATION

_CONNECT_SECONDS, _READ_SECONDS = 5, "300"


def address_of(settings: Mapping[str, str]) -> dict[str, Any]:
    """What the driver takes: times to give up, and TLS to any machine but this one."""
    parts = urlsplit(settings["url"])
    given, seconds = dict(parse_qsl(parts.query)), settings.get("timeout", _READ_SECONDS)
    if parts.scheme not in ("mysql", "mariadb") or not parts.hostname or set(given) - {"ssl_ca"}:
        raise ConnectorError("url is no mysql://user:password@host/database?ssl_ca=file")
    if not seconds.isdigit() or not int(seconds):
        raise ConnectorError("timeout is a number of seconds")
    address: dict[str, Any] = {
        "host": parts.hostname, "port": parts.port or 3306,
        "user": unquote(parts.username or ""), "password": unquote(parts.password or ""),
        "database": unquote(parts.path.strip("/")) or None,
        "charset": "utf8mb4", "collation": COLLATION, "autocommit": True,
        "connect_timeout": _CONNECT_SECONDS, "read_timeout": int(seconds),
        "write_timeout": int(seconds),
    }  # fmt: skip
    if "ssl_ca" in given:
        address["ssl"] = ssl.create_default_context(cafile=given["ssl_ca"])
    elif settings.get("tls", "true") != "false" and not _is_here(parts.hostname):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        address["ssl"] = context
    return address


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
