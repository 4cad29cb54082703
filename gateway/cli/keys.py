"""`sqluice keys`: keys of pseudonyms, rotated and listed where state lives.

Takes: a mesh folder, whose state it opens, and `SQLUICE_STATE_KEY`. Gives: epochs. Never prints a
key, sealed or not.
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import click

from gateway.audit import state_of
from gateway.cli.output import (
    EXIT_CODES,
    conf_option,
    json_option,
    print_json,
    print_table,
    shows_errors,
)
from gateway.config import load_config
from gateway.errors import InvalidConfig
from gateway.keys import Vault
from gateway.publish import build_snapshot

_COLUMNS = ("join group", "epoch", "created", "by", "in force")


@click.group()
def keys() -> None:
    """Rotate and list the keys of pseudonyms."""


@keys.command(epilog=f"Example: sqluice keys rotate customer --reason yearly. {EXIT_CODES}")
@click.argument("join_group")
@click.option("--reason", default="", help="Why; it is kept with the event.")
@click.option(
    "--as", "actor", metavar="NAME", default=getpass.getuser, help="Who does it; else your login."
)
@conf_option
@json_option
@shows_errors
def rotate(join_group: str, reason: str, actor: str, conf: str | None, as_json: bool) -> None:
    """Give a join group a new key: all its pseudonyms change from the next statement on."""
    config = load_config(Path(conf) if conf else None)
    known = build_snapshot(config.folder).mesh.join_groups
    if join_group not in known:
        raise InvalidConfig(
            f"The taxonomy has no join group {join_group!r}.",
            hint=f"There are: {', '.join(known) or 'none'}.",
        )
    epoch = Vault(state_of(config), os.environ).rotate(join_group, actor, reason)
    if as_json:
        print_json({"join_group": join_group, "epoch": epoch})
    else:
        click.echo(f"{join_group}: epoch {epoch}")


@keys.command("list", epilog=f"Example: sqluice keys list --json. {EXIT_CODES}")
@conf_option
@json_option
@shows_errors
def listed(conf: str | None, as_json: bool) -> None:
    """Print every join group with its epochs; epoch 0 is the governance group's secret."""
    config = load_config(Path(conf) if conf else None)
    rows = Vault(state_of(config), os.environ).rows()
    newest = {one.join_group: one.epoch for one in rows}
    shown = [
        {"join_group": name, "epoch": 0, "created_at": "", "created_by": "",
         "in_force": name not in newest}
        for name in build_snapshot(config.folder).mesh.join_groups
    ]  # fmt: skip
    shown += [
        {"join_group": one.join_group, "epoch": one.epoch, "created_at": one.created_at,
         "created_by": one.created_by, "in_force": newest[one.join_group] == one.epoch}
        for one in rows
    ]  # fmt: skip
    shown.sort(key=lambda one: (str(one["join_group"]), int(str(one["epoch"]))))
    if as_json:
        print_json({"keys": shown})
    else:
        print_table(_COLUMNS, (tuple(one.values()) for one in shown))
