"""A running gateway, over its HTTP API.

Takes: its address, a user and a password (`SQLUICE_PASSWORD` or a prompt) or a token
(`SQLUICE_TOKEN`). Gives: JSON. Never sends a password or a token in clear off the machine.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from ipaddress import ip_address
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import click

from gateway.errors import (
    AccessDenied,
    InternalError,
    RateLimited,
    SourceUnavailable,
    SqluiceError,
    Unauthenticated,
)

DEFAULT_URL = "http://127.0.0.1:7080"
_SECONDS = 30.0
_BY_STATUS: dict[int, type[SqluiceError]] = {401: Unauthenticated, 403: AccessDenied}


@dataclass(frozen=True, slots=True)
class Remote:
    """Where the gateway is, and what signs us in."""

    url: str
    authorization: str


class _NoRedirect(HTTPRedirectHandler):
    """Credentials go to the address that was named, and to no other."""

    def redirect_request(self, *_: object) -> None:
        """Refuse."""
        return None


def remote_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that asks a running gateway."""
    with_user = click.option("--user", help="Who signs in; the password is asked for.")(command)
    return click.option(
        "--url", default=DEFAULT_URL, show_default=True, envvar="SQLUICE_HTTP_URL",
        help="The gateway's HTTP address; without a scheme: https.",
    )(with_user)


def connect(url: str, user: str | None) -> Remote:
    """Prepare to ask: settle the address and what signs in."""
    if "://" not in url:
        url = f"https://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.UsageError("--url must be an http:// or https:// address.")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise click.UsageError(
            "Passwords and tokens do not travel in clear off the machine: use https://."
        )
    token = os.environ.get("SQLUICE_TOKEN")
    if token and not user:
        return Remote(url.rstrip("/"), f"Bearer {token}")
    if not user:
        raise click.UsageError("Say who signs in with --user, or set SQLUICE_TOKEN.")
    password = os.environ.get("SQLUICE_PASSWORD")
    if password is None:
        password = click.prompt(f"Password of {user}", hide_input=True, err=True)
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Remote(url.rstrip("/"), f"Basic {basic}")


def ask(remote: Remote, method: str, path: str) -> dict[str, object]:
    """The JSON that the gateway answers; its errors come back as ours."""
    request = Request(
        remote.url + path,
        method=method,
        headers={"Authorization": remote.authorization, "Accept": "application/json"},
    )
    try:
        with build_opener(_NoRedirect).open(request, timeout=_SECONDS) as answer:
            body = answer.read()
    except HTTPError as error:
        with error:
            raise _rebuilt(error.code, error.read()) from None
    except (URLError, HTTPException, OSError):
        raise SourceUnavailable(
            f"No gateway answers at {remote.url}.",
            hint="Start it with `sqluice serve`, or name another address with --url.",
        ) from None
    try:
        answer = json.loads(body) if body else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise SourceUnavailable(
            f"What answers at {remote.url} is no gateway.", hint="Name its address with --url."
        )
    return answer


def _rebuilt(status: int, body: bytes) -> SqluiceError:
    """An error of the wire as one of ours, by its code."""
    try:
        answer = json.loads(body)
        shown = answer.get("error", answer)
        code, message = str(shown["code"]), str(shown["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        kind = _BY_STATUS.get(status, SourceUnavailable)
        return kind(f"The gateway answered with HTTP status {status}.")
    if code == "rate_limited":
        return RateLimited(message, retry_after=float(shown.get("retry_after") or 1))
    kinds = {one.code: one for one in SqluiceError.__subclasses__()}
    made = kinds.get(code, InternalError)(message, hint=shown.get("remedy") or shown.get("hint"))
    made.query_id = shown.get("query_id")
    return made


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
