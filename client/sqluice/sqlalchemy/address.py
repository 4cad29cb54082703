"""What a URL of SQLAlchemy says.

    sqluice://user:password@host:7051/domain?purpose=planning&tls=/etc/ssl/own-ca.pem
    sqluice:///path/of/mesh?user=nora&domain=operations        in this process

Takes: a URL. Gives: the arguments of `connect`. Never repeats a secret in an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import ArgumentError

from sqluice.transport import ClientCredentials

_SETTINGS = ("purpose", "domain", "dialect", "timezone", "acting_as", "token", "certificate", "key")
_OAUTH = ("oauth_token_url", "oauth_client_id", "oauth_client_secret", "oauth_scope")
_KNOWN = frozenset({*_SETTINGS, *_OAUTH, "query_timeout", "tls", "user"})
_SWITCHES = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def arguments_of(url: Any) -> tuple[str, dict[str, Any]]:
    """The target and the named arguments."""
    query: Mapping[str, Any] = url.query
    unknown = set(query) - _KNOWN
    if unknown or any(not isinstance(one, str) for one in query.values()):
        what = ", ".join(sorted(unknown)) or "an option given twice"
        raise ArgumentError(
            f"sqluice:// does not take {what}; it takes {', '.join(sorted(_KNOWN))}"
        )
    named: dict[str, Any] = {one: query[one] for one in _SETTINGS if one in query}
    if "query_timeout" in query:
        named["query_timeout"] = _seconds(query["query_timeout"])
    if url.username is not None or "user" in query:
        named["user"] = url.username if url.username is not None else query["user"]
    if url.password is not None:
        named["password"] = str(url.password)
    if "oauth_token_url" in query:
        given = {one.removeprefix("oauth_"): query[one] for one in _OAUTH if one in query}
        try:
            named["oauth"] = ClientCredentials(**given)
        except TypeError:
            raise ArgumentError(f"sqluice:// takes these together: {', '.join(_OAUTH)}") from None
    if not url.host:
        if not url.database:
            raise ArgumentError("sqluice:// needs a host, or sqluice:/// the folder of a mesh.")
        return f"{url.database}/", named
    if url.database:
        named["domain"] = url.database
    if "tls" in query:
        named["tls"] = _SWITCHES.get(query["tls"].lower(), query["tls"])
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = f":{url.port}" if url.port else ""
    return f"grpc://{host}{port}", named


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError("query_timeout is a number of seconds.") from None
