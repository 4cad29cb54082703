"""`sqluice serve`: all endpoints of one gateway in one process.

Takes: a mesh folder and ports. Gives: a gateway that runs until it is told to stop. Never changes
a file of the mesh.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gateway.cli.output import EXIT_CODES, conf_option, shows_errors
from gateway.config import ServeOptions, load_config
from gateway.serve.app import run

_PORT = click.IntRange(0, 65_535)


@click.command(epilog=f"Example: sqluice serve --conf conf --watch. {EXIT_CODES}")
@conf_option
@click.option("--watch", is_flag=True, help="Publish changed files within a second.")
@click.option("--host", help="Address to listen on; loopback unless told otherwise.")
@click.option("--http-port", type=_PORT, help="Port of HTTP; 0 takes a free one.")
@click.option("--flight-port", type=_PORT, help="Port of Flight SQL; 0 takes a free one.")
@click.option("--pgwire-port", type=_PORT, help="Port of the PostgreSQL wire; 0 takes a free one.")
@shows_errors
def serve(conf: str | None, **chosen: Any) -> None:  # noqa: ANN401 - options by their names
    """Serve a mesh over HTTP, Flight SQL and the PostgreSQL wire."""
    config = load_config(Path(conf) if conf else None)
    run(config, ServeOptions(**chosen))
