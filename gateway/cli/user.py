"""`sqluice user password`: what identities.yaml keeps of a password.

Takes: a password, from a prompt or `SQLUICE_PASSWORD`. Gives: its SCRAM-SHA-256 verifier. Never
takes a password as an argument, which other users of the machine could read, and never prints it.
"""

from __future__ import annotations

import os

import click

from gateway.cli.output import EXIT_CODES, json_option, print_json
from gateway.scram import DEFAULT_ITERATIONS, LONGEST_PASSWORD, make_verifier

_FEWEST, _MOST = 4096, 1_000_000


@click.group()
def user() -> None:
    """Make password verifiers for identities.yaml."""


@user.command(epilog=f"Example: sqluice user password. {EXIT_CODES}")
@click.option(
    "--iterations", type=click.IntRange(_FEWEST, _MOST), default=DEFAULT_ITERATIONS,
    show_default=True, help="More makes guessing, and each sign-in, more expensive.",
)
@json_option
def password(iterations: int, as_json: bool) -> None:
    """Print the verifier of a password, for the key `verifier` of a user."""
    given = os.environ.get("SQLUICE_PASSWORD")
    if given is None:
        given = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if not given:
        raise click.UsageError("The password is empty.")
    if len(given) > LONGEST_PASSWORD:
        raise click.UsageError(f"A password has {LONGEST_PASSWORD} characters at most.")
    verifier = str(make_verifier(given, iterations))
    if as_json:
        print_json({"verifier": verifier})
    else:
        click.echo(verifier)
