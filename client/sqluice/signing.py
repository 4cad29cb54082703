"""`sqluice login` and `sqluice logout`.

Takes: an address, a user, his password. Gives: a profile with an API token that the gateway made
for it, else with the address and the user alone; takes both away again. Never keeps a password.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import wraps
from json import dumps
from pathlib import Path
from typing import Any

import click

from sqluice import profiles
from sqluice.address import Remote, read_address
from sqluice.connection import connect
from sqluice.endings import EXIT_CODES, exit_code_of, fail, shown
from sqluice.errors import Error, InterfaceError, rebuilt
from sqluice.profiles import DEFAULT, Profile
from sqluice.reaching import CERTIFICATES, DEFAULT_URL, USER, Option, password_of
from sqluice.transport import Encryption, SignIn

HTTP_PORT = 7080
# What the token of a profile is for; a psql has a sign-in of its own.
_ENDPOINTS = ["flight", "http"]
_UNPRINTABLE = re.compile(r"[^ -~]")
_NAME: Option = click.option(
    "--profile", "name", metavar="NAME", envvar="SQLUICE_PROFILE", default=DEFAULT,
    show_default=True, help="Under which name.",
)  # fmt: skip
_AS_JSON: Option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@dataclass(frozen=True, slots=True)
class Way:
    """Where somebody signs in, and how: what a profile begins with."""

    profile: Profile
    sign_in: SignIn
    encryption: Encryption


@dataclass(frozen=True, slots=True)
class Kept:
    """A profile that was written; `why` there is no token in it."""

    file: Path
    profile: Profile
    why: Error | None


def _ends(command: Any) -> Any:  # noqa: ANN401  # click's own types
    """A command whose errors end it as those of all commands do."""

    @wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401  # click's own types
        try:
            command(**given)
        except InterfaceError as error:
            raise click.UsageError(error.message) from None
        except Error as error:
            fail(error, bool(given["as_json"]))

    return run


def _certificates(command: Any) -> Any:  # noqa: ANN401  # click's own types
    for option in reversed(CERTIFICATES):
        command = option(command)
    return command


@click.command(
    epilog=f"Example: sqluice login --user nora --url grpc://127.0.0.1:7051. {EXIT_CODES}"
)
@click.option(
    "--url", envvar="SQLUICE_URL", show_default=DEFAULT_URL,
    help="Address of the gateway; without a scheme, or off this machine: TLS.",
)
@click.option(
    "--http-url", envvar="SQLUICE_HTTP_URL",
    help=f"Its HTTP address, which makes the token; else port {HTTP_PORT} of the same host.",
)
@USER
@_NAME
@click.option("--days", type=float, help="How long the token lasts; else as the gateway says.")
@click.option("--plaintext", is_flag=True, help="Send the password in clear to another host.")
@_certificates
@_AS_JSON
@_ends
def login(*, name: str, days: float | None, as_json: bool, **given: Any) -> None:  # noqa: ANN401  # click's
    """Sign in once: later commands use the token that the gateway makes for it.

    Where the gateway makes none, the profile holds the address and the user, and each command asks
    for the password. What is not said is as the profile has it already.
    """
    profiles.file_of(name)
    before = profiles.read_profile(name)
    way = _way(before, given)
    _check(way)
    token, why = _token(way, days)
    kept = _keep(name, replace(way.profile, **token), why)
    if before is not None and before.token:
        # The new token stands; that the old one lives on until its end is no failure.
        _end(before)
    _tell(name, kept, as_json)


@click.command(epilog=f"Example: sqluice logout --profile work. {EXIT_CODES}")
@_NAME
@_AS_JSON
@_ends
def logout(name: str, as_json: bool) -> None:
    """End the token of a profile at its gateway, and remove the profile."""
    try:
        before, failure = profiles.read_profile(name), None
    except Error as error:
        # What cannot be read is removed all the same.
        before, failure = None, error
    if before is not None and before.token:
        failure = _end(before)
    if not profiles.forget(name):
        raise rebuilt({
            "code": "invalid_config", "message": f"There is no profile {name!r}.",
            "remedy": f"Profiles lie in {profiles.file_of(name).parent}; --profile names one.",
        })  # fmt: skip
    if as_json:
        done = {"profile": name, "ended": failure is None}
        click.echo(dumps({**done, "why": failure and shown(failure)}, indent=2))
    else:
        click.echo(f"The profile {name} is removed.")
    if failure is not None:
        if not as_json:
            click.echo(f"Its token was not ended. {failure}", err=True)
            click.echo("An operator ends it with `sqluice token revoke`.", err=True)
        click.get_current_context().exit(exit_code_of(failure))


def _way(before: Profile | None, given: Mapping[str, Any]) -> Way:
    """What the options say, and for the same gateway what the profile said before."""
    url = given["url"] or (before.url if before else DEFAULT_URL)
    old = before if before is not None and before.url == url else Profile(url)
    files = {one: given[one] for one in ("certificates", "certificate", "key")}
    files = {one: os.path.abspath(path) for one, path in files.items() if path is not None}
    user = given["user"] or old.user
    is_plain = given["plaintext"] or old.plaintext
    made = replace(
        old, user=user, token="", token_id="", expires_at="", plaintext=is_plain, **files
    )
    remote = read_address(url, _tls(made))
    if not isinstance(remote, Remote):
        raise click.UsageError(f"--url is grpc://host:port; a folder is opened with --conf {url}")
    made = replace(made, http_url=_http_url(given["http_url"] or old.http_url, remote))
    encryption = Encryption(
        made.certificates or None, made.certificate or None, made.key or None
    )
    if user:
        return Way(made, SignIn(user, password_of(user)), encryption)
    if encryption.certificate is None:
        raise click.UsageError("Say who signs in with --user.")
    return Way(made, SignIn(), encryption)


def _tls(profile: Profile) -> bool | None:
    if profile.certificates or profile.certificate:
        return True
    return False if profile.plaintext else None


def _http_url(said: str, remote: Remote) -> str:
    from sqluice.http_api import read_url  # noqa: PLC0415  # `query` needs no HTTP

    if said:
        return read_url(said)
    host = f"[{remote.host}]" if ":" in remote.host else remote.host
    return f"http{'s' if remote.is_encrypted else ''}://{host}:{HTTP_PORT}"


def _check(way: Way) -> None:
    """Raise where the gateway does not take this sign-in: nothing is kept then."""
    files = way.encryption
    tls: bool | str | None = files.authorities or (False if way.profile.plaintext else None)
    with connect(
        way.profile.url, user=way.sign_in.user, password=way.sign_in.password, tls=tls,
        certificate=files.certificate, key=files.key,
    ) as connection:  # fmt: skip
        connection.ping()


def _token(way: Way, days: float | None) -> tuple[Mapping[str, Any], Error | None]:
    """What the gateway made, or why it made none."""
    from sqluice.http_api import ask, endpoint  # noqa: PLC0415  # see above

    label = _UNPRINTABLE.sub("?", f"sqluice login on {platform.node()[:100]}")
    wish = {"label": label, "endpoints": _ENDPOINTS, **({} if days is None else {"days": days})}
    if way.sign_in.user is None:
        return {}, rebuilt({
            "code": "access_denied", "message": "The certificate signs in by itself.",
            "remedy": "It is used from where it lies.",
        })  # fmt: skip
    try:
        there = endpoint(way.profile.http_url, way.sign_in, way.encryption)
        made = ask(there, "POST", "/v1/tokens", wish)
    except Error as error:
        if error.code == "type_error":
            raise
        return {}, error
    known = {"token": made.get("token"), "token_id": made.get("id")}
    known["expires_at"] = made.get("expires_at")
    if not all(isinstance(one, str) and one for one in known.values()):
        return {}, rebuilt({"message": "What the gateway answered holds no token."})
    return {name: str(one) for name, one in known.items()}, None


def _keep(name: str, profile: Profile, why: Error | None) -> Kept:
    try:
        return Kept(profiles.keep(name, profile), profile, why)
    except Error:
        if profile.token:
            # Nobody would know it.
            _end(profile)
        raise


def _end(profile: Profile) -> Error | None:
    """End the token of a profile, by itself; why it did not work."""
    from sqluice.http_api import ask, endpoint  # noqa: PLC0415  # see above

    files = Encryption(
        profile.certificates or None, profile.certificate or None, profile.key or None
    )
    try:
        there = endpoint(profile.http_url, SignIn(token=profile.token), files)
        ask(there, "DELETE", f"/v1/tokens/{profile.token_id}")
    except Error as error:
        # What signs in no more has ended.
        return None if error.code == "unauthenticated" else error
    return None


def _tell(name: str, kept: Kept, as_json: bool) -> None:
    profile = kept.profile
    if as_json:
        click.echo(dumps({
            "profile": name, "file": str(kept.file), "url": profile.url,
            "http_url": profile.http_url, "user": profile.user or None,
            "token_id": profile.token_id or None, "expires_at": profile.expires_at or None,
            "why": kept.why and shown(kept.why),
        }, ensure_ascii=False, indent=2))  # fmt: skip
        return
    who = profile.user or "Your certificate"
    click.echo(f"{who} is signed in at {profile.url} as profile {name}, kept in {kept.file}.")
    if kept.why is None:
        click.echo(f"Token {profile.token_id} holds until {profile.expires_at}.")
    elif profile.user:
        click.echo("No token was made: each command asks for the password.", err=True)
        click.echo(str(kept.why), err=True)
