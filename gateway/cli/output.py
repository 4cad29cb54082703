"""What the commands print, and how they end.

Takes: values and errors. Gives: text for people, JSON for programs, exit codes. Never prints a
secret or the private text of an error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import NoReturn, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.table import Table

from gateway.errors import InvalidConfig, SqluiceError

PROBLEMS, USAGE, UNAVAILABLE, REFUSED = 1, 2, 3, 4
EXIT_CODES = (
    "Exit codes: 0 fine, 1 problems found, 2 wrong usage, 3 something cannot be reached, "
    "4 refused."
)
_WIDE = 160
_REMEDY = "Name what exists and may be read and written, and see that the disk has room."
_EXIT_OF = {
    "source_unavailable": UNAVAILABLE, "timeout": UNAVAILABLE,
    "unauthenticated": REFUSED, "access_denied": REFUSED, "purpose_required": REFUSED,
    "rate_limited": REFUSED, "limit_exceeded": REFUSED,
}

P = ParamSpec("P")
T = TypeVar("T")

conf_option = click.option(
    "--conf", type=click.Path(), metavar="DIR", help="Mesh folder; else SQLUICE_CONF, ./conf."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: object) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table that fits a terminal, and keeps whole values where the output is no terminal."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*("" if one is None else str(one) for one in row))
    console = Console(file=sys.stdout, markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, markup=False, highlight=False, width=_WIDE)
    console.print(table)


def fail(error: SqluiceError, as_json: bool) -> NoReturn:
    """Print an error and end with its exit code."""
    if as_json:
        shown: dict[str, object] = {"code": error.code, "message": error.message}
        shown |= {"remedy": error.remedy, "query_id": error.query_id}
        print_json({"error": shown})
    else:
        click.echo(f"{error.code}: {error.message}", err=True)
        click.echo(error.remedy, err=True)
    sys.exit(_EXIT_OF.get(error.code, PROBLEMS))


def shows_errors(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose errors, and the system's, end it in the one form that all commands share."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except SqluiceError as error:
            fail(error, bool(kwargs.get("as_json")))
        except OSError as error:
            what = f"{error.filename} cannot be used" if error.filename else "The system refuses"
            found = InvalidConfig(f"{what}: {error.strerror or error}.", hint=_REMEDY)
            fail(found, bool(kwargs.get("as_json")))

    return run
