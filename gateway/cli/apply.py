"""`sqluice apply`: the folder of a mesh comes into force, or says why not.

Takes: a mesh folder, and the state that its gateways share. Gives: what changes against the
revision in force and what that lets through; without `--dry-run` the new revision, recorded.
Never lets in what a domain may not widen by itself (DESIGN 5, rule 11).
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click

from catalog.model import Mesh
from gateway.advance import Advance, Step
from gateway.audit import state_if_there, state_of
from gateway.cli.output import (
    EXIT_CODES,
    REFUSED,
    conf_option,
    json_option,
    print_json,
    shows_errors,
)
from gateway.config import load_config
from gateway.policies.changes import Changes, changes
from gateway.policies.widening import Comparison
from gateway.publish import build_snapshot, read_at_rest


@click.command(epilog=f"Example: sqluice apply --dry-run --conf conf. {EXIT_CODES}")
@click.option("--dry-run", is_flag=True, help="Say what would change, and record nothing.")
@click.option(
    "--as", "actor", metavar="NAME", default=getpass.getuser, help="Who says it; else your login."
)
@conf_option
@json_option
@shows_errors
def apply(dry_run: bool, actor: str, conf: str | None, as_json: bool) -> None:
    """Bring the folder into force: shows what changes, refuses widenings that nobody approved."""
    config = load_config(Path(conf) if conf else None)
    snapshot, files = read_at_rest(config.folder)
    state = state_if_there(config) if dry_run else state_of(config)
    if state is None:
        step = Step(None, Comparison(), frozenset())
    else:
        advance = Advance(state, build_snapshot)
        step = advance.step(snapshot.mesh)
        if not (dry_run or step.refused):
            step = advance.take(snapshot, files, actor=actor)
        state.dispose()
    done = not (dry_run or step.refused)
    found = changes(step.base, snapshot.mesh)
    if as_json:
        print_json(_shown(snapshot.mesh, step, found, dry_run, done))
    else:
        _print(snapshot.mesh, step, found, done)
    if step.refused:
        raise SystemExit(REFUSED)


def _shown(
    mesh: Mesh, step: Step, found: Mapping[str, Changes], dry_run: bool, done: bool
) -> dict[str, object]:
    return {
        "ok": not step.refused,
        "revision": mesh.revision,
        "in_force": step.base.revision if step.base is not None else None,
        "dry_run": dry_run,
        "applied": done,
        "changes": {kind: asdict(one) for kind, one in found.items()},
        "widenings": [
            {**asdict(one), "approved": one.id in step.approved}
            for one in step.comparison.widenings
        ],
        "loosenings": [asdict(one) for one in step.comparison.loosenings],
        "tightenings": list(step.comparison.tightenings),
    }


def _print(mesh: Mesh, step: Step, found: Mapping[str, Changes], done: bool) -> None:
    base = f"against {step.base.revision[:12]}" if step.base is not None else "the first revision"
    click.echo(f"revision {mesh.revision[:12]}, {base}")
    for kind, one in found.items():
        for mark, names in (("+", one.added), ("-", one.removed), ("~", one.changed)):
            for name in names:
                click.echo(f"  {mark} {kind}: {name}")
    for name in step.comparison.tightenings:
        click.echo(f"  tightens {name}")
    for loose in step.comparison.loosenings:
        author = loose.author or "the governance group"
        click.echo(f"  {author} loosens {loose.policy}: {loose.message}")
    for wide in step.comparison.widenings:
        word = "approved" if wide.id in step.approved else "REFUSED"
        click.echo(f"  {word}: {wide}")
    if step.refused:
        click.echo(
            "The revision in force stays. Take the change back, or let somebody with the role "
            "governance approve each: sqluice policy approve ID --reason '...'.", err=True,
        )
    else:
        click.echo("it is in force" if done else "nothing was recorded")
