"""`sqluice probe`: attack a mesh as an insider would.

Takes: a mesh folder, the users who attack, where to plant. Gives: a report of what they learned
of rows and cells that none of them may see, exit code 1 where they learned anything. Works on
copies of the mesh: its contracts and policies over made-up rows, in sources of the same kinds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from catalog.model import User
from gateway.cli.output import (
    EXIT_CODES,
    PROBLEMS,
    conf_option,
    json_option,
    print_json,
    print_table,
    shows_errors,
)
from gateway.config import load_config
from gateway.demo.postgres import Server, find_server
from gateway.errors import Unauthenticated
from gateway.identity import principal_of
from gateway.probe import coverage
from gateway.probe.plant import Ground
from gateway.probe.run import WORLDS, Report, attack
from gateway.publish import build_snapshot


@click.command(epilog=f"Example: sqluice probe --conf conf --of carl --of mara. {EXIT_CODES}")
@conf_option
@click.option("--of", "users", multiple=True, metavar="USER", help="Who attacks; else everybody.")
@click.option("-n", "count", type=click.IntRange(1, 1_000_000), default=400, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Equal seeds, equal attacks.")
@click.option(
    "--report", type=click.Path(dir_okay=False), metavar="FILE", help="Also write it as JSON."
)
@json_option
@shows_errors
def probe(  # noqa: PLR0913, PLR0917 - one parameter an option
    conf: str | None,
    users: tuple[str, ...],
    count: int,
    seed: int,
    report: str | None,
    as_json: bool,
) -> None:
    """Attack copies of a mesh as an insider would, and report what was learned."""
    config = load_config(Path(conf) if conf else None)
    snapshot = build_snapshot(config.folder)
    principals = [principal_of(one) for one in _chosen(snapshot.mesh.users, users)]
    with _grounds() as grounds:
        made = attack(snapshot, principals, grounds, count, seed)
    if report:
        _write(Path(report), made)
    if as_json:
        print_json(made.as_json())
    else:
        _print(made)
    if not made.holds:
        raise SystemExit(PROBLEMS)


def _chosen(known: tuple[User, ...], names: tuple[str, ...]) -> list[User]:
    missing = sorted(set(names) - {one.name for one in known})
    if missing:
        raise Unauthenticated(
            f"There is no user {missing[0]!r} in this mesh.",
            hint="identities.yaml lists the users.",
        )
    return [one for one in known if not names or one.name in names]


@contextmanager
def _grounds() -> Iterator[dict[str, Ground]]:
    """A folder and a throwaway PostgreSQL server for as long as the attack lasts."""
    with tempfile.TemporaryDirectory(prefix="sqluice-probe-") as folder:
        server = find_server(Path(folder, "postgres"))
        server.start()
        try:
            yield {world: _ground(Path(folder, world), server, world) for world in WORLDS}
        finally:
            server.stop()


def _ground(folder: Path, server: Server, world: str) -> Ground:
    folder.mkdir()
    database = f"sqluice_probe_{world}"
    server.run("postgres", f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    server.run("postgres", f"CREATE DATABASE {database}")
    return Ground(folder, server.url(database))


def _write(path: Path, made: Report) -> None:
    path.write_text(json.dumps(made.as_json(), indent=2, default=str) + "\n", encoding="utf-8")


def _print(made: Report) -> None:
    for one in made.tally.findings:
        click.echo(str(one), err=True)
    print_table(["", "what", *coverage.places(made.tally)], coverage.rows(made.tally))
    verdict = "nothing was learned" if made.holds else f"{len(made.tally.findings)} findings"
    click.echo(f"{verdict} as {', '.join(made.principals)} on copies of {made.revision[:12]}")
    click.echo(str(made.tally))
