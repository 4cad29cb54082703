"""docs/reference.md, written from the lists in code.

Takes: error codes, commands, settings, abilities. Gives: one page. Never edited by hand: a test
compares the page with what this writes.

    python -m tests.reference
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path

import click

from connectors.base import Abilities, load_abilities
from gateway.cli import Deferred
from gateway.hints import remedy
from gateway.reasons import REASONS, told
from gateway.sessions import SETTINGS
from sqluice.codes import CODES
from sqluice.command import main

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"


def page() -> str:
    """The whole page."""
    parts = (
        "# Reference\n\nWritten from the lists in code: `python -m tests.reference`.\n",
        "## Errors\n\nEvery endpoint answers with these codes. A retryable one may succeed when "
        "the same request is sent later.\n",
        *_errors(),
        "\n## Commands\n",
        *_commands(),
        "\n## Session settings\n\n`SET name = 'value'`, a header, a field or a connection "
        "property.\n",
        *_table(("setting", "meaning"), ((f"`{one.name}`", one.description)
                                         for one in SETTINGS.values())),
        "\n## Reasons\n\nWhy a part of a query stayed with the gateway, as `EXPLAIN` tells it, and "
        "what the owner of the source could do ([sql](sql.md#explain)).\n",
        *_table(("reason", "why", "for the owner"), _reasons()),
        "\n## Abilities of sources\n\nWhat a kind of source does with a meaning identical to "
        "DuckDB's; whatever is not declared stays with the gateway. The lists stand in the files "
        "beside the connectors, what each means in `connectors/base.py`. A reference source is "
        "DuckDB itself and needs no lists.\n",
        *_abilities(),
    )  # fmt: skip
    return "\n".join(parts) + "\n"


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and sub-command with its full name."""
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        if command.hidden:
            continue
        if isinstance(command, Deferred):
            command = command.load()
        yield f"sqluice {name}", command
        if isinstance(command, click.Group):
            for sub, one in sorted(command.commands.items()):
                yield f"sqluice {name} {sub}", one


def kinds() -> tuple[str, ...]:
    """Every kind of source that is registered."""
    return tuple(sorted(one.name for one in entry_points(group="sqluice.connectors")))


def _reasons() -> Iterator[tuple[str, ...]]:
    for name in sorted(REASONS):
        yield f"`{name}`", told(name).partition(": ")[2], _remedies(name)


def _remedies(reason: str) -> str:
    """What the owner could do, of the kinds for which it is the same."""
    kinds_of: dict[str, list[str]] = {}
    for kind in kinds():
        abilities = load_abilities(kind)
        if one := remedy(reason, abilities)[0]:
            kinds_of.setdefault(one, []).append(kind)
    if len(kinds_of) == 1 and (len(*kinds_of.values()) == len(kinds())):
        return next(iter(kinds_of))
    return "; ".join(f"*{', '.join(names)}*: {one}" for one, names in kinds_of.items())


def _errors() -> Iterator[str]:
    rows = (
        (
            f"`{one.name}`", str(one.http), one.grpc, one.sqlstate, one.pep249,
            "yes" if one.retryable else "", one.remedy,
        )
        for one in CODES.values()
    )  # fmt: skip
    heads = ("code", "HTTP", "gRPC", "SQLSTATE", "PEP 249", "retryable", "what to do next")
    return _table(heads, rows)


def _commands() -> Iterator[str]:
    for name, command in commands():
        yield f"### `{name}`\n\n{' '.join((command.help or '').split())}\n"
        rows = list(_options(command))
        if rows:
            yield from _table(("option", "meaning"), rows)
            yield ""


def _options(command: click.Command) -> Iterator[tuple[str, str]]:
    for one in command.params:
        if isinstance(one, click.Option) and not one.hidden:
            names = ", ".join(f"`{text}`" for text in one.opts)
            yield names, one.help or ""
        elif isinstance(one, click.Argument):
            yield f"`{one.human_readable_name}`", ""


def _abilities() -> Iterator[str]:
    declared = {kind: load_abilities(kind) for kind in kinds()}
    rows = (
        (f"`{one.name}`", *(_shown(getattr(held, one.name)) for held in declared.values()))
        for one in fields(Abilities)
        if one.name != "kind"
    )
    return _table(("ability", *declared), rows)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, frozenset | Mapping):
        return "listed" if value else ""
    return "" if value is None else f"`{value}`"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(one.replace("|", "\\|") for one in row) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
