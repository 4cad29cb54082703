"""The address that a PostgreSQL source is asked at.

Takes: a source's URL. Gives: the URL with what makes it safe to use. Never opens anything.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

from connectors.base import ConnectorError


def address_of(url: str, tls: bool) -> str:
    """The URL with a time to give up, and TLS to any machine but this one."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ConnectorError("url is no postgresql://user:password@host/database")
    given = parse_qs(parts.query)
    extra = [] if "connect_timeout" in given else ["connect_timeout=5"]
    if tls and not _is_here(parts.hostname) and "sslmode" not in given:
        extra.append("sslmode=require")
    query = "&".join([*filter(None, [parts.query]), *extra])
    return parts._replace(query=query).geturl()


def _is_here(host: str | None) -> bool:
    if not host or host == "localhost" or host.startswith(("/", "%2F", "%2f")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
