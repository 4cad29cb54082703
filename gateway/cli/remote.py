"""A running gateway, over its HTTP API.

Takes: its address, a user and a password (`SQLUICE_PASSWORD` or a prompt), a token
(`SQLUICE_TOKEN`), a certificate, or a profile of `sqluice login`. Gives: JSON. Never sends a
password or a token in clear off the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any

import click

from gateway.errors import InternalError, RateLimited, SqluiceError
from sqluice import http_api
from sqluice.errors import DatabaseError, InterfaceError
from sqluice.http_api import Endpoint
from sqluice.reaching import (
    CERTIFICATES,
    PROFILE,
    USER,
    Option,
    Reaching,
    Way,
    sign_in_of,
    told_again,
    way_of,
)
from sqluice.transport import SignIn

DEFAULT_URL = f"http://127.0.0.1:{http_api.DEFAULT_PORT}"
_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--url", show_default=DEFAULT_URL, envvar="SQLUICE_HTTP_URL",
        help="The gateway's HTTP address; without a scheme: https.",
    ),
    USER,
    PROFILE,
    *CERTIFICATES,
)  # fmt: skip
_OAUTH = frozenset({"oauth_url", "oauth_client", "oauth_scope"})


class Remote:
    """A gateway that is asked with one sign-in."""

    def __init__(self, there: Endpoint, sign_in: SignIn, way: Way) -> None:
        """Ask nothing yet."""
        self._there, self._sign_in, self._way = there, sign_in, way

    def ask(self, method: str, path: str) -> dict[str, object]:
        """The JSON that the gateway answers; its errors come back as ours."""
        try:
            return http_api.ask(self._there, method, path)
        except InterfaceError as error:
            raise click.UsageError(error.message) from None
        except DatabaseError as error:
            raise _ours(told_again(error, self._sign_in, self._way)) from None


def remote_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that asks a running gateway, as one `Reaching`."""

    @wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401  # click's own types
        names = [one.name for one in fields(Reaching) if one.name not in _OAUTH]
        command(reaching=Reaching(**{name: given.pop(name) for name in names}), **given)

    made: Callable[..., None] = run
    for option in reversed(_OPTIONS):
        made = option(made)
    return made


def connect(reaching: Reaching) -> Remote:
    """Prepare to ask: settle the address and what signs in."""
    try:
        way = way_of(reaching)
        url = http_api.read_url(_url(reaching, way))
        is_said = reaching.certificates is not None or reaching.certificate is not None
        if is_said and url.startswith("http:"):
            raise click.UsageError(f"Certificates go with https://, and this is {url}.")
        sign_in = sign_in_of(reaching, way)
        return Remote(http_api.endpoint(url, sign_in, way.encryption), sign_in, way)
    except InterfaceError as error:
        raise click.UsageError(error.message) from None
    except DatabaseError as error:
        raise _ours(error) from None


def _url(reaching: Reaching, way: Way) -> str:
    if way.profile is None:
        return reaching.url or DEFAULT_URL
    if not way.profile.http_url:
        raise click.UsageError(
            f"The profile {way.name} knows no HTTP address: sqluice login --http-url names one."
        )
    return way.profile.http_url


def _ours(error: DatabaseError) -> SqluiceError:
    """An error of the client as one of ours, by its code."""
    if error.code == "rate_limited":
        return RateLimited(error.message, retry_after=error.retry_after or 1)
    kinds = {one.code: one for one in SqluiceError.__subclasses__()}
    made = kinds.get(error.code, InternalError)(error.message, hint=error.remedy or None)
    made.query_id = error.query_id
    return made
