"""`sqluice access`: revocations and approvals, said where state lives.

Takes: a mesh folder, whose state it opens. Gives: events that every gateway over that state
follows within a second. Never gives access that no file grants.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import click
import yaml

from catalog.model import Grant, Mesh, PolicyException
from gateway.access import Access, AccessEvent, standing_of
from gateway.audit import state_of
from gateway.cli.output import (
    EXIT_CODES,
    conf_option,
    json_option,
    print_json,
    print_table,
    shows_errors,
)
from gateway.config import Config, load_config
from gateway.errors import AccessDenied, Conflict, InvalidConfig
from gateway.policies.compile import approval_of
from gateway.policies.review import Review, with_request
from gateway.policies.review import review as reviewed
from gateway.publish import build_snapshot, signature_of
from gateway.snapshot import Snapshot

_REQUESTED = "Give it what `sqluice explain --policy --requests` prints."
_COLUMNS = ("number", "at", "kind", "subject", "user", "actor", "reason")
_as_option = click.option(
    "--as", "actor", metavar="NAME", default=getpass.getuser, help="Who says it; else your login."
)
_reason_option = click.option("--reason", default="", help="Why; it is kept with the event.")


@click.group()
def access() -> None:
    """Revoke grants, approve grants and exceptions, list both."""


@access.command(epilog=f"Example: sqluice access revoke shop.orders.staff --user ada. {EXIT_CODES}")
@click.argument("grant")
@click.option("--user", default="", metavar="NAME", help="For this user only; else for everybody.")
@click.option("--end-running", is_flag=True, help="Also stop the queries that live by the grant.")
@_reason_option
@_as_option
@conf_option
@json_option
@shows_errors
def revoke(  # noqa: PLR0913 - options of a command
    *, grant: str, user: str, end_running: bool, reason: str, actor: str, conf: str | None,
    as_json: bool,
) -> None:
    """Take a grant back from the next statement on, whatever its file says."""
    config, mesh = _opened(conf)
    _known(mesh, grant, (Grant,))
    event = AccessEvent("revoke", grant, user, actor, reason, end_running)
    _say(config, event, as_json)


@access.command(epilog=f"Example: sqluice access restore shop.orders.staff. {EXIT_CODES}")
@click.argument("grant")
@click.option("--user", default="", metavar="NAME", help="For this user only; else for everybody.")
@_reason_option
@_as_option
@conf_option
@json_option
@shows_errors
def restore(  # noqa: PLR0913 - options of a command
    *, grant: str, user: str, reason: str, actor: str, conf: str | None, as_json: bool
) -> None:
    """Undo a revocation: the file holds again."""
    config, _ = _opened(conf)
    revoked = standing_of(_access(config).events()).revoked
    if not any(pair[0] == grant and user in ("", pair[1]) for pair in revoked):
        raise Conflict(f"{grant} is not revoked.", hint="sqluice access list shows what is.")
    _say(config, AccessEvent("restore", grant, user, actor, reason), as_json)


@access.command(epilog=f"Example: sqluice access approve case-7 --as petra. {EXIT_CODES}")
@click.argument("name")
@_reason_option
@_as_option
@conf_option
@json_option
@shows_errors
def approve(name: str, reason: str, actor: str, conf: str | None, as_json: bool) -> None:
    """Approve a grant or an exception as its file stands now; a change needs a new approval."""
    config, mesh = _opened(conf)
    found = _known(mesh, name, (Grant, PolicyException))
    if any(actor in one.users for one in found.subjects):
        raise AccessDenied("Nobody approves what is given to himself.", hint="Ask somebody else.")
    _say(config, AccessEvent("approve", approval_of(found), "", actor, reason), as_json)


@access.command(epilog=f"Example: sqluice access refresh. {EXIT_CODES}")
@_as_option
@conf_option
@json_option
@shows_errors
def refresh(actor: str, conf: str | None, as_json: bool) -> None:
    """Let every gateway read its entitlement tables anew."""
    config, _ = _opened(conf)
    _say(config, AccessEvent("refresh", "entitlements", "", actor), as_json)


@access.command("list", epilog=f"Example: sqluice access list --json. {EXIT_CODES}")
@click.option("--history", is_flag=True, help="Every event, not only what holds.")
@conf_option
@json_option
@shows_errors
def listed(history: bool, conf: str | None, as_json: bool) -> None:
    """Print the revocations and approvals that hold."""
    config = load_config(Path(conf) if conf else None)
    events = _access(config).events()
    standing = standing_of(events)
    shown = [
        one for one in events
        if history or (one.kind == "revoke" and (one.subject, one.user) in standing.revoked)
        or (one.kind == "approve" and one.subject in standing.approved)
    ]  # fmt: skip
    if as_json:
        print_json({"events": [asdict(one) for one in shown]})
        return
    print_table(
        _COLUMNS,
        ((one.number, one.at[:19], one.kind, one.subject, one.user or "everybody", one.actor,
          one.reason) for one in shown),
    )  # fmt: skip


@access.command(
    epilog=f"Example: sqluice access review request.yaml --conf conf. {EXIT_CODES}"
)
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--domain", help="Of the product; else what the request's id begins with.")
@conf_option
@json_option
@shows_errors
def review(file: TextIO, domain: str | None, conf: str | None, as_json: bool) -> None:
    """Tell what a request of EXPLAIN POLICY takes: documents for the mesh, then commands."""
    config, before = _snapshot(conf)
    asked = list(yaml.safe_load_all(file.read()))
    if not asked or not all(isinstance(one, dict) and one.get("kind") == "Grant" for one in asked):
        raise InvalidConfig("That is no request for a grant.", hint=_REQUESTED)
    grants = [with_request(before, one if domain is None else {**one, "domain": domain})
              for one in asked]  # fmt: skip
    snapshot = _with_grants(config.folder, grants)
    standing = standing_of(_access(config).events())
    names = {str(one["id"]) for one in grants}
    found = [
        reviewed(snapshot, one, standing, datetime.now(UTC))
        for one in snapshot.mesh.grants if one.id in names
    ]  # fmt: skip
    if as_json:
        print_json({"reviews": [asdict(one) for one in found], "grants": grants})
        return
    for made, content in zip(found, grants, strict=True):
        _print_review(made, content)


def _with_grants(folder: Path, grants: list[dict[str, Any]]) -> Snapshot:
    """The mesh as it would be; its own files are not touched."""
    with TemporaryDirectory() as made:
        copy = Path(made)
        for file in signature_of(folder):
            target = copy / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
        for number, one in enumerate(grants):
            content = {key: value for key, value in one.items() if key != "domain"}
            target = copy / "domains" / str(one["domain"]) / "grants" / f"request-{number}.yaml"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(yaml.safe_dump(content), encoding="utf-8")
        return build_snapshot(copy)


def _print_review(made: Review, content: Mapping[str, Any]) -> None:
    if made.is_needless:
        click.echo(f"# {made.user} may read all of it already.")
        return
    for one in made.steps:
        click.echo(f"# {one.text}" if one.kind != "exception" else f"---\n{one.text}", nl=True)
    if any(one.kind == "restore" for one in made.steps):
        return
    click.echo(f"---\n# For domains/{content['domain']}/grants:")
    shown = {key: value for key, value in content.items() if key != "domain"}
    click.echo(yaml.safe_dump(shown, sort_keys=False, default_flow_style=None))


def _snapshot(conf: str | None) -> tuple[Config, Snapshot]:
    config = load_config(Path(conf) if conf else None)
    return config, build_snapshot(config.folder)


def _opened(conf: str | None) -> tuple[Config, Mesh]:
    config, snapshot = _snapshot(conf)
    return config, snapshot.mesh


def _access(config: Config) -> Access:
    return Access(state_of(config))


def _known(mesh: Mesh, name: str, kinds: tuple[type, ...]) -> Grant | PolicyException:
    known: list[Grant | PolicyException] = [*mesh.grants, *mesh.exceptions]
    found = next((one for one in known if one.id == name and isinstance(one, kinds)), None)
    if found is None:
        raise InvalidConfig(
            f"No file of the mesh has {name!r}.", hint="Name it by the id in its file."
        )
    return found


def _say(config: Config, event: AccessEvent, as_json: bool) -> None:
    number = _access(config).tell(event)
    if as_json:
        print_json({"number": number, "kind": event.kind, "subject": event.subject})
    else:
        click.echo(f"{event.kind} {event.subject}: event {number}")
