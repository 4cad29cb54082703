"""`sqluice queries`: what a running gateway runs.

Takes: a gateway's address and a sign-in. Gives: one's own queries, or everybody's for operators.
Never shows the literals of another's statement: the gateway does not send them.
"""

from __future__ import annotations

import click

from gateway.cli.output import EXIT_CODES, json_option, print_json, print_table, shows_errors
from gateway.cli.remote import connect, remote_options
from sqluice.reaching import Reaching

_COLUMNS = ("query_id", "user", "state", "rows", "seconds", "started", "statement")


@click.command(epilog=f"Example: sqluice queries --user ola --all. {EXIT_CODES}")
@remote_options
@click.option("--all", "with_ended", is_flag=True, help="Also those that ended lately.")
@json_option
@shows_errors
def queries(reaching: Reaching, with_ended: bool, as_json: bool) -> None:
    """List the queries of a running gateway."""
    answer = connect(reaching).ask("GET", "/v1/queries" + ("?all=true" if with_ended else ""))
    found = answer.get("queries")
    assert isinstance(found, list)
    if as_json:
        print_json({"queries": found})
    elif found:
        print_table(_COLUMNS, ([_cell(one, name) for name in _COLUMNS] for one in found))
    else:
        click.echo("Nothing runs.")


def _cell(query: dict[str, object], name: str) -> object:
    value = query.get(name)
    if isinstance(value, float):
        return f"{value:.1f}"
    return " ".join(str(value).split()) if name == "statement" else value
