"""How a command reaches a gateway, and as whom.

Takes: options, the environment, a profile. Gives: an address, files of certificates, a sign-in.
Never takes a secret as an argument; never sends what one gateway gave to another.

What is said on the command line comes first, then the environment, then the profile. The profile
`default` counts where no address and no token is named.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import click

from sqluice import profiles
from sqluice.errors import DatabaseError
from sqluice.profiles import Profile
from sqluice.transport import ClientCredentials, Encryption, SignIn

Option = Callable[[Callable[..., None]], Callable[..., None]]

DEFAULT_URL = "grpc://127.0.0.1:7051"
USER = click.option("--user", help="Who signs in; the password is asked for.")
PROFILE = click.option(
    "--profile", metavar="NAME", envvar="SQLUICE_PROFILE",
    help="Where `sqluice login` signed in under that name; else default.",
)  # fmt: skip
CERTIFICATES: tuple[Option, ...] = (
    click.option("--certificates", metavar="FILE", help="Certificates to trust, as PEM."),
    click.option("--certificate", metavar="FILE", help="Your own certificate, as PEM."),
    click.option("--key", metavar="FILE", help="Its key."),
)
OAUTH: tuple[Option, ...] = (
    click.option(
        "--oauth-url", metavar="URL",
        help="Where a client gets its token (SQLUICE_OAUTH_SECRET); instead of --user.",
    ),
    click.option("--oauth-client", metavar="ID", help="With --oauth-url: which client."),
    click.option("--oauth-scope", metavar="TEXT", help="With --oauth-url: for what."),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaching:
    """The options that say how; None is what was not said."""

    url: str | None = None
    user: str | None = None
    profile: str | None = None
    certificates: str | None = None
    certificate: str | None = None
    key: str | None = None
    oauth_url: str | None = None
    oauth_client: str | None = None
    oauth_scope: str | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A profile where one counts, and the files to go with."""

    name: str
    profile: Profile | None
    encryption: Encryption


def way_of(given: Reaching) -> Way:
    """Which profile counts, and whom to trust."""
    name = given.profile or profiles.DEFAULT
    found = _profile(given, name)
    kept = found or Profile("")
    certificate, key = given.certificate, given.key
    if certificate is None and key is None:
        certificate, key = kept.certificate or None, kept.key or None
    encryption = Encryption(given.certificates or kept.certificates or None, certificate, key)
    return Way(name, found, encryption)


def sign_in_of(given: Reaching, way: Way) -> SignIn:
    """Who asks; asks for the password where nothing else signs in."""
    profile = way.profile or Profile("")
    if given.oauth_url is not None:
        return SignIn(given.user, oauth=_client(given, given.oauth_url))
    if given.oauth_client is not None or given.oauth_scope is not None:
        raise click.UsageError("--oauth-client and --oauth-scope go with --oauth-url.")
    named = os.environ.get("SQLUICE_PASSWORD")
    is_own = given.user in (None, profile.user) and bool(profile.token)
    if is_own and (given.user is None or named is None):
        return SignIn(token=profile.token)
    token = os.environ.get("SQLUICE_TOKEN")
    if given.user is None and token and way.profile is None:
        return SignIn(token=token)
    user = given.user or profile.user
    if user:
        return SignIn(user, password_of(user))
    if way.encryption.certificate is not None:
        # The certificate says who this is.
        return SignIn()
    raise click.UsageError(
        "Say who signs in with --user, or set SQLUICE_TOKEN, or sign in once: sqluice login."
    )


def told_again(error: DatabaseError, sign_in: SignIn, way: Way) -> DatabaseError:
    """The error; where a profile's token does not sign in any more, with what helps."""
    profile = way.profile
    if error.code != "unauthenticated" or profile is None or sign_in.token != profile.token:
        return error
    name = "" if way.name == profiles.DEFAULT else f" --profile {way.name}"
    remedy = f"The token of the profile {way.name} has ended: sqluice login{name}"
    return type(error)(replace(error.failure, remedy=remedy))


def password_of(user: str) -> str:
    """Out of the environment, else from the terminal."""
    named = os.environ.get("SQLUICE_PASSWORD")
    if named is not None:
        return named
    asked: str = click.prompt(f"Password of {user}", hide_input=True, err=True)
    return asked


def _profile(given: Reaching, name: str) -> Profile | None:
    if given.profile is None:
        is_elsewhere = given.url is not None or given.oauth_url is not None
        if is_elsewhere or (given.user is None and os.environ.get("SQLUICE_TOKEN")):
            return None
        return profiles.read_profile(name)
    source = click.get_current_context().get_parameter_source("url")
    if source is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--profile names the address already: say it or --url.")
    found = profiles.read_profile(name)
    if found is None:
        raise click.UsageError(
            f"There is no profile {name!r}: sign in with sqluice login --profile {name}."
        )
    return found


def _client(given: Reaching, url: str) -> ClientCredentials:
    if given.oauth_client is None:
        raise click.UsageError("--oauth-url needs --oauth-client: which client asks?")
    secret = os.environ.get("SQLUICE_OAUTH_SECRET")
    if secret is None:
        secret = click.prompt(f"Secret of {given.oauth_client}", hide_input=True, err=True)
    return ClientCredentials(url, given.oauth_client, secret, given.oauth_scope or "")
