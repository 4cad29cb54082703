"""How a command of the client ends.

Takes: an error. Gives: its code, message and remedy on standard error, or as JSON on standard
output, and an exit code. Never prints a secret: errors carry none.
"""

from __future__ import annotations

import sys
from json import dumps
from typing import NoReturn

import click

from sqluice.errors import Error

USER_ERROR, USAGE, UNAVAILABLE, REFUSED = 1, 2, 3, 4
EXIT_CODES = (
    "Exit codes: 0 fine, 1 an error in the statement or an answer that broke, 2 wrong usage, "
    "3 something cannot be reached, 4 refused."
)
_EXIT_OF = {
    "source_unavailable": UNAVAILABLE, "timeout": UNAVAILABLE,
    "unauthenticated": REFUSED, "access_denied": REFUSED, "purpose_required": REFUSED,
    "rate_limited": REFUSED, "limit_exceeded": REFUSED,
}  # fmt: skip


def exit_code_of(error: Error) -> int:
    """Whose turn it is."""
    return _EXIT_OF.get(error.code, USER_ERROR)


def shown(error: Error) -> dict[str, object]:
    """An error as JSON has it."""
    return {
        "code": error.code, "message": error.message, "remedy": error.remedy,
        "query_id": error.query_id,
    }  # fmt: skip


def fail(error: Error, as_json: bool) -> NoReturn:
    """Code and message, remedy, query id; then the end."""
    if as_json:
        click.echo(dumps({"error": shown(error)}, ensure_ascii=False, indent=2))
    else:
        start = f"{error.code}: " if error.code else ""
        click.echo(f"{start}{error.message}", err=True)
        for line in (error.remedy, f"Query id: {error.query_id}" if error.query_id else ""):
            if line:
                click.echo(line, err=True)
    sys.exit(exit_code_of(error))
