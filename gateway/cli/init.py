"""`sqluice init DIR`: a mesh folder to begin with.

Takes: a folder that is empty or does not exist. Gives: a valid mesh with comments, one user and
one example product over a CSV file. Never overwrites a file, and shows the password it made once.
"""

from __future__ import annotations

import re
import secrets
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from gateway.cli.output import EXIT_CODES, json_option, print_json, shows_errors
from gateway.errors import Conflict
from gateway.scram import make_verifier

_USER = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_QUESTION = "SELECT planet, moons FROM example.planets ORDER BY moons DESC LIMIT 3"


@click.command(
    epilog=f"Example: sqluice init mymesh && sqluice check --conf mymesh --live. {EXIT_CODES}"
)
@click.argument("folder", type=click.Path(file_okay=False), metavar="DIR")
@click.option("--user", default="ada", show_default=True, help="The first user of the mesh.")
@json_option
@shows_errors
def init(folder: str, user: str, as_json: bool) -> None:
    """Make a mesh folder with an example product."""
    if not _USER.fullmatch(user):
        raise click.UsageError("--user must be lower-case letters, digits, '-' and '_'.")
    target = Path(folder)
    if target.exists() and any(target.iterdir()):
        raise Conflict(
            f"The folder {target.name!r} is not empty.",
            hint="Name a folder that is empty or does not exist yet.",
        )
    password = secrets.token_urlsafe(12)
    words = {"@USER@": user, "@VERIFIER@": str(make_verifier(password))}
    made = _copy(files("gateway.cli") / "template", target, words)
    if as_json:
        print_json({"folder": folder, "files": made, "user": user, "password": password})
        return
    click.echo(f"{folder} holds a mesh with one example product, example.planets.")
    click.echo(f"User {user}, password {password} (shown this once).")
    click.echo("Go on with:")
    click.echo(f"  sqluice check --conf {folder} --live")
    click.echo(f'  sqluice query --conf {folder} --as {user} "{_QUESTION}"')
    click.echo(f"  sqluice serve --conf {folder} --watch")


def _copy(source: Traversable, target: Path, words: dict[str, str]) -> list[str]:
    """Copy the template with its words filled in; gives the paths of the files made."""
    target.mkdir(parents=True, exist_ok=True)
    made: list[str] = []
    for one in sorted(source.iterdir(), key=lambda item: item.name):
        if one.is_dir():
            inner = _copy(one, target / one.name, words)
            made.extend(f"{one.name}/{path}" for path in inner)
            continue
        text = one.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        # A wheel drops files whose name begins with a dot.
        name = ".gitignore" if one.name == "gitignore" else one.name
        with (target / name).open("x", encoding="utf-8") as file:
            file.write(text)
        made.append(name)
    return made
