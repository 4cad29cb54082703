"""`sqluice cancel ID`: stop a query of a running gateway.

Takes: a query id, a gateway's address and a sign-in. Gives: whether it is being stopped. Never
tells whether another's query exists.
"""

from __future__ import annotations

from urllib.parse import quote

import click

from gateway.cli.output import EXIT_CODES, json_option, print_json, shows_errors
from gateway.cli.remote import connect, remote_options
from sqluice.reaching import Reaching


@click.command(epilog=f"Example: sqluice cancel --user nora q_0123456789ab. {EXIT_CODES}")
@click.argument("query_id")
@remote_options
@json_option
@shows_errors
def cancel(query_id: str, reaching: Reaching, as_json: bool) -> None:
    """Cancel a query: your own, or as an operator anybody's."""
    connect(reaching).ask("DELETE", f"/v1/queries/{quote(query_id, safe='')}")
    if as_json:
        print_json({"query_id": query_id, "cancelled": True})
    else:
        click.echo(f"{query_id} is being cancelled.")
