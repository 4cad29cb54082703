"""`sqluice token`: API tokens of people and services, made and ended where state lives.

Takes: a mesh folder, whose state it opens. Gives: a token, once; lists without it. Every gateway
over that state follows within a second. Never takes a token as an argument, which other users of
the machine could read: tokens are named by their ids.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import click

from catalog.model import Mesh, User
from gateway.api_tokens import ENDPOINTS, ApiTokens, Made, Wish
from gateway.audit import Audit, state_of
from gateway.cli.output import (
    EXIT_CODES,
    conf_option,
    json_option,
    print_json,
    print_table,
    shows_errors,
)
from gateway.config import load_config
from gateway.errors import Conflict, InvalidConfig
from gateway.own_tokens import TokenBook
from gateway.publish import build_snapshot
from gateway.request import TokenScope

_COLUMNS = ("id", "user", "label", "state", "expires", "last used", "bounded to")
_as_option = click.option(
    "--as", "actor", metavar="NAME", default=getpass.getuser, help="Who does it; else your login."
)


@dataclass(frozen=True, slots=True)
class _Opened:
    mesh: Mesh
    book: TokenBook

    @property
    def tokens(self) -> ApiTokens:
        """Those of the state."""
        return self.book.tokens

    def owner(self, name: str) -> User:
        """A user of the mesh."""
        found = next((one for one in self.mesh.users if one.name == name), None)
        if found is None:
            raise InvalidConfig(
                f"There is no user {name!r} in identities.yaml.",
                hint="Name one of its users; a program is a user with `kind: service`.",
            )
        return found


@click.group()
def token() -> None:
    """Make, list, rotate and revoke API tokens of people and services."""


@token.command(
    epilog="Example: sqluice token create 'nightly report' --for reports --domain network "
    f"--purpose planning --days 30. {EXIT_CODES}"
)
@click.argument("label")
@click.option("--for", "owner", required=True, metavar="NAME", help="Whose token it is.")
@click.option("--purpose", multiple=True, help="Good for this purpose only; may be repeated.")
@click.option("--domain", multiple=True, help="Good for this domain's products only.")
@click.option(
    "--product", multiple=True, metavar="DOMAIN.PRODUCT", help="Good for this product only."
)
@click.option("--endpoint", multiple=True, type=click.Choice(ENDPOINTS), help="Signs in here only.")
@click.option("--days", type=float, help="How long it lasts; else [sign_in] api_token_days.")
@_as_option
@conf_option
@json_option
@shows_errors
def create(  # noqa: PLR0913 - options of a command
    *,
    label: str,
    owner: str,
    purpose: tuple[str, ...],
    domain: tuple[str, ...],
    product: tuple[str, ...],
    endpoint: tuple[str, ...],
    days: float | None,
    actor: str,
    conf: str | None,
    as_json: bool,
) -> None:
    """Make a token and print it, this once."""
    with _opened(conf) as opened:
        _check_names(opened.mesh, purpose, (*domain, *product))
        scope = TokenScope(frozenset(purpose), frozenset((*domain, *product)), frozenset(endpoint))
        made = opened.book.create(opened.owner(owner), Wish(label, scope, days), actor)
        _print_made(made, opened, as_json)


@token.command("list", epilog=f"Example: sqluice token list --for reports. {EXIT_CODES}")
@click.option("--for", "owner", metavar="NAME", help="Of this user only.")
@click.option("--all", "with_ended", is_flag=True, help="Revoked and expired ones too.")
@conf_option
@json_option
@shows_errors
def listed(owner: str | None, with_ended: bool, conf: str | None, as_json: bool) -> None:
    """Print tokens: whose, what they are bounded to, until when, when used last."""
    with _opened(conf) as opened:
        now = opened.tokens.now
        found = [
            one for one in opened.tokens.of(owner) if with_ended or one.state(now) == "active"
        ]  # fmt: skip
    if as_json:
        print_json({"tokens": [one.shown(now) for one in found]})
        return
    print_table(
        _COLUMNS,
        ((one.id, one.user, one.label, one.state(now), one.expires_at[:16],
          one.used_at[:16] or "never", _bounds(one.scope)) for one in found),
    )  # fmt: skip


@token.command(epilog=f"Example: sqluice token revoke 4f7Kq02LmN. {EXIT_CODES}")
@click.argument("token_id", metavar="ID")
@_as_option
@conf_option
@json_option
@shows_errors
def revoke(token_id: str, actor: str, conf: str | None, as_json: bool) -> None:
    """End a token: every gateway refuses it within a second."""
    with _opened(conf) as opened:
        found = opened.tokens.get(token_id)
        if not opened.book.revoke(found, actor):
            raise Conflict(
                f"The token {token_id} has ended already.", hint="sqluice token list --all"
            )
    if as_json:
        print_json({"id": token_id, "revoked": True})
    else:
        click.echo(f"revoked {token_id} of {found.user}")


@token.command(epilog=f"Example: sqluice token rotate 4f7Kq02LmN --grace 24. {EXIT_CODES}")
@click.argument("token_id", metavar="ID")
@click.option(
    "--grace",
    type=click.FloatRange(0, 24 * 30),
    default=0.0,
    metavar="HOURS",
    help="Leave the old one good for that long.",
)
@_as_option
@conf_option
@json_option
@shows_errors
def rotate(token_id: str, grace: float, actor: str, conf: str | None, as_json: bool) -> None:
    """Make a token with the bounds and the length of life of another, and end that one."""
    with _opened(conf) as opened:
        found = opened.tokens.get(token_id)
        if found.state(opened.tokens.now) != "active":
            raise Conflict(
                f"The token {token_id} has ended.", hint="Make a new one: sqluice token create."
            )
        owner = opened.owner(found.user)
        made = opened.book.rotate(found, owner, actor, timedelta(hours=grace))
        _print_made(made, opened, as_json)


@contextmanager
def _opened(conf: str | None) -> Iterator[_Opened]:
    config = load_config(Path(conf) if conf else None)
    mesh = build_snapshot(config.folder).mesh
    state = state_of(config)
    audit = Audit(state)
    settings = config.sign_in
    try:
        tokens = ApiTokens(state, settings.longest_api_token_days, settings.api_token_days)
        yield _Opened(mesh, TokenBook(tokens, audit))
        audit.export_head(config.heads_target)
    finally:
        audit.close()
        state.dispose()


def _check_names(mesh: Mesh, purposes: tuple[str, ...], products: tuple[str, ...]) -> None:
    """A bound that is misspelt would leave the token good for nothing."""
    known = {one.name for one in mesh.purposes}
    wrong = next((one for one in purposes if one not in known), None)
    if wrong is not None:
        raise InvalidConfig(
            f"There is no purpose {wrong!r}.", hint=f"There are: {', '.join(sorted(known))}."
        )
    names = {one.name.casefold() for one in mesh.domains} | {"mesh"}
    names |= {f"{one.domain}.{one.name}".casefold() for one in mesh.products}
    lacking = next((one for one in products if one.casefold() not in names), None)
    if lacking is not None:
        raise InvalidConfig(
            f"There is no domain and no product {lacking!r}.",
            hint="Write --domain sales, or --product sales.orders.",
        )


def _print_made(made: Made, opened: _Opened, as_json: bool) -> None:
    if as_json:
        print_json({"token": made.value, **made.token.shown(opened.tokens.now)})
        return
    click.echo(made.value)
    click.echo(
        f"Token {made.token.id} of {made.token.user}, good until {made.token.expires_at[:16]}Z "
        f"for {_bounds(made.token.scope)}. It is shown only now; keep it as a secret.",
        err=True,
    )


def _bounds(scope: TokenScope) -> str:
    parts = (*sorted(scope.products), *sorted(scope.purposes), *sorted(scope.endpoints))
    return ", ".join(parts) or "all that its owner may"
