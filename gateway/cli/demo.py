"""`sqluice demo`: the sample mesh, built, served and asked.

Takes: a folder for its databases. Gives: questions and answers on the terminal. Never touches a
database that it did not make, and leaves nothing running.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gateway.cli.output import EXIT_CODES, json_option, shows_errors
from gateway.demo.showcase import run
from gateway.demo.showcase import serve as keep_serving


@click.command(epilog=f"Example: sqluice demo. {EXIT_CODES}")
@click.option(
    "--data", type=click.Path(file_okay=False), metavar="DIR", default=".state/demo",
    show_default=True, help="Where the sample's databases are built, once.",
)
@click.option("--serve", is_flag=True, help="Keep the gateway up instead of asking it.")
@json_option
@shows_errors
def demo(data: str, serve: bool, as_json: bool) -> None:
    """Build the sample mesh and show one question answered for three people."""
    if serve and as_json:
        raise click.UsageError("--serve asks nothing, so there is no JSON to print.")
    folder = Path(data).resolve()
    sys.exit(keep_serving(folder) if serve else run(folder, as_json))
