"""The commands of the server, for the `sqluice` command of the client.

Takes: nothing. Gives: one light stand-in for each command, which loads the command's file when it
is called: `sqluice query` in a notebook image must not pay for Flask, Alembic and the rest. Never
imports a command here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import click

_COMMANDS = (
    ("serve", "Serve a mesh over HTTP, Flight SQL and PostgreSQL's protocol.", "serve"),
    ("demo", "Build the sample mesh and show one question answered for three people.", "demo"),
    ("init", "Make a mesh folder with an example product.", "init"),
    ("check", "Check the files of a mesh, and its sources with --live.", "check"),
    ("certify", "Ask live sources what they really mean by SQL, and plan by it.", "certify"),
    ("apply", "Bring a mesh folder into force, or say why not.", "apply"),
    ("policy", "Test policies, and see what a change of them would do.", "policy"),
    ("access", "Revoke grants, approve grants and exceptions.", "access"),
    ("keys", "Rotate and list the keys of pseudonyms.", "keys"),
    ("probe", "Attack copies of a mesh as an insider would.", "probe"),
    ("audit", "Verify and read the audit.", "audit"),
    ("explain-past", "Compute a past decision again.", "explain_past"),
    ("queries", "List the queries of a running gateway.", "queries"),
    ("cancel", "Cancel a query of a running gateway.", "cancel"),
    ("token", "Make, list, rotate and revoke API tokens.", "token"),
    ("user", "Make password verifiers for identities.yaml.", "user"),
)


# `sqluice explain` calls these.
_HIDDEN = frozenset({"explain-past"})


class Deferred(click.Command):
    """Stands for a command until it is called. The file has the command's name."""

    def __init__(self, name: str, short_help: str, module: str) -> None:
        """Remember where the command is."""
        hidden = name in _HIDDEN
        super().__init__(name, short_help=short_help, help=short_help, hidden=hidden)
        self.module = module

    def load(self) -> click.Command:
        """The command itself. The import is late on purpose: see the module."""
        found = getattr(import_module(f"gateway.cli.{self.module}"), self.module)
        assert isinstance(found, click.Command)
        return found

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """The context of the command itself, which then runs in our place."""
        return self.load().make_context(info_name, args, parent, **extra)


def commands() -> Sequence[click.Command]:
    """Every command of the server."""
    return tuple(Deferred(name, text, module) for name, text, module in _COMMANDS)
