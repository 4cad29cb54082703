"""`sqluice policy approve`: somebody of the governance group lets a widening in.

Takes: the id of a widening of the folder against the revision in force. Gives: an approval in state
and a record in the audit. Never approves what is not there, nor for somebody whom the revision in
force does not call governance, nor for the owner of what is widened.
"""

from __future__ import annotations

import getpass
from dataclasses import asdict
from pathlib import Path

import click

from catalog.model import Mesh
from gateway.access import Access, AccessEvent
from gateway.advance import Advance, Step, approval_subject
from gateway.audit import Audit, state_of
from gateway.cli.output import EXIT_CODES, conf_option, json_option, print_json, shows_errors
from gateway.config import load_config
from gateway.errors import AccessDenied, InvalidConfig
from gateway.policies.widening import Widening
from gateway.publish import build_snapshot

ROLE = "governance"
_SHORTEST = 8


@click.command(
    epilog=f"Example: sqluice policy approve 3f9c2a41 --reason 'agreed in March' --as petra. "
    f"{EXIT_CODES}"
)
@click.argument("widening", metavar="ID")
@click.option("--reason", required=True, help="Why; it is kept with the approval.")
@click.option(
    "--as", "actor", metavar="NAME", default=getpass.getuser, help="Who says it; else your login."
)
@conf_option
@json_option
@shows_errors
def approve(widening: str, reason: str, actor: str, conf: str | None, as_json: bool) -> None:
    """Approve a widening that `apply` or `check` named, exactly as the files stand now."""
    config = load_config(Path(conf) if conf else None)
    mesh = build_snapshot(config.folder).mesh
    state = state_of(config)
    try:
        step = Advance(state, build_snapshot).step(mesh)
        found = _named(step, widening)
        _check(step.base or mesh, found, actor)
        audit = Audit(state)
        try:
            # Said in the audit first: an approval that nobody can find later must not hold.
            audit.approved(actor, {**asdict(found), "reason": reason, "revision": mesh.revision})
            audit.export_head(config.heads_target)
        finally:
            audit.close()
        event = AccessEvent("approve", approval_subject(found.id), "", actor, reason)
        number = Access(state).tell(event)
    finally:
        state.dispose()
    if as_json:
        print_json({"number": number, "widening": asdict(found), "actor": actor})
    else:
        click.echo(f"approved {found.id}: event {number}")


def _named(step: Step, text: str) -> Widening:
    found = [
        one for one in step.comparison.widenings
        if one.id == text or (len(text) >= _SHORTEST and one.id.startswith(text))
    ]  # fmt: skip
    if len(found) != 1:
        raise InvalidConfig(
            f"The files widen nothing that is called {text!r}.",
            hint=f"See sqluice apply --dry-run; write at least {_SHORTEST} characters of an id.",
        )
    return found[0]


def _check(mesh: Mesh, widening: Widening, actor: str) -> None:
    """By the revision in force: the change itself must not say who may approve it."""
    if not any(one.name == actor and ROLE in one.roles for one in mesh.users):
        raise AccessDenied(
            f"{actor} has not the role {ROLE} in the revision in force.",
            hint="Ask somebody of the governance group; identities.yaml says who has the role.",
        )
    owners = {name for one in mesh.domains if one.name == widening.domain for name in one.owners}
    owners |= {
        name for one in mesh.products if one.domain == widening.domain for name in one.owners
    }
    if actor in owners:
        raise AccessDenied(
            f"{actor} owns {widening.domain}, and nobody approves his own widening.",
            hint="Ask somebody else of the governance group.",
        )
