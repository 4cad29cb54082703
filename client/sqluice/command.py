"""`sqluice`: the command of the client, which the server extends.

Takes: arguments, the environment, a profile of `sqluice login`. Gives: answers on standard output,
everything else on standard error, an exit code. Never takes a password as an argument: other users
of the machine could read it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import wraps
from importlib.metadata import entry_points
from itertools import chain, islice
from json import dumps, loads
from typing import Any, cast

import click

from sqluice import __version__, explained
from sqluice.address import Remote, read_address
from sqluice.connection import Connection, connect
from sqluice.cursor import Cursor, Row
from sqluice.display import MASKED, NULL, csv_lines, json_document, plan, table
from sqluice.endings import EXIT_CODES, fail
from sqluice.errors import DatabaseError, Error, InterfaceError
from sqluice.reaching import (
    CERTIFICATES,
    DEFAULT_URL,
    OAUTH,
    PROFILE,
    USER,
    Option,
    Reaching,
    Way,
    sign_in_of,
    told_again,
    way_of,
)
from sqluice.signing import login, logout
from sqluice.transport import Encryption

GROUP = "sqluice.commands"
DEFAULT_ROWS = 1000
PLAN_COLUMNS = ("step", "where", "what", "detail", "why")
_REINSTALL = "See that nothing on the path of Python is named gateway, or install the server again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking(Reaching):
    """The options of every command that asks a statement."""

    conf: str | None
    as_name: str | None
    domain: str | None
    purpose: str | None
    dialect: str | None
    timeout: float | None
    plaintext: bool


@dataclass(frozen=True, slots=True)
class Printing:
    """The options that say how an answer is printed."""

    as_json: bool
    as_csv: bool
    limit: int | None


_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--url", show_default=DEFAULT_URL, envvar="SQLUICE_URL",
        help="Address of the gateway; without a scheme, or off this machine: TLS.",
    ),
    USER,
    PROFILE,
    click.option("--conf", metavar="DIR", help="Open this mesh folder in process instead."),
    click.option(
        "--as", "as_name", metavar="NAME",
        help="For whom to ask, where you may act for him; with --conf: as whom.",
    ),
    click.option("--domain", help="Domain in which short names are looked up first."),
    click.option("--purpose", help="Why you ask."),
    click.option("--dialect", help="SQL dialect that you write; duckdb unless told otherwise."),
    click.option("--timeout", type=float, metavar="SECONDS", help="Stop after that long."),
    click.option("--plaintext", is_flag=True, help="Send the password in clear to another host."),
    *CERTIFICATES,
    *OAUTH,
)  # fmt: skip
_PRINTING: tuple[Option, ...] = (
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    click.option("--csv", "as_csv", is_flag=True, help="Print CSV."),
    click.option(
        "--limit", type=click.IntRange(min=0), metavar="ROWS",
        help=f"Print at most that many rows; {DEFAULT_ROWS} in a table unless told otherwise.",
    ),
)


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose options arrive as one `Asking` and one `Printing`."""

    @wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401  # click's own types
        asking = Asking(**{one.name: given.pop(one.name) for one in fields(Asking)})
        printing = Printing(**{one.name: given.pop(one.name) for one in fields(Printing)})
        if printing.as_json and printing.as_csv:
            raise click.UsageError("--json and --csv exclude each other.")
        try:
            command(asking=asking, printing=printing, **given)
        except Error as error:
            fail(error, printing.as_json)

    made: Callable[..., None] = run
    for option in reversed(_OPTIONS + _PRINTING):
        made = option(made)
    return made


class Commands(click.Group):
    """The client's commands and those that other distributions bring along."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command by name."""
        return sorted({*super().list_commands(ctx), *self._others()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The client's own command, else another's."""
        return super().get_command(ctx, cmd_name) or self._others().get(cmd_name)

    def _others(self) -> dict[str, click.Command]:
        try:
            return {
                str(command.name): command
                for entry in entry_points(group=GROUP)
                for command in cast("Callable[[], Sequence[click.Command]]", entry.load())()
            }
        except ImportError as error:
            remedy = getattr(error, "remedy", _REINSTALL)
            raise click.ClickException(
                f"invalid_config: The server's commands do not load. {error}\n{remedy}"
            ) from None


@click.group(cls=Commands)
@click.version_option(__version__, prog_name="sqluice")
def main() -> None:
    """One governed SQL address for all data products of an organisation."""


@main.command(epilog=f'Example: sqluice query --user nora "SHOW TABLES". {EXIT_CODES}')
@click.argument("sql")
@_with_options
def query(sql: str, asking: Asking, printing: Printing) -> None:
    """Ask a statement; - reads it from standard input."""
    with _opened(asking) as connection:
        _print(connection.execute(_statement(sql)), printing)


@main.command(epilog=f'Example: sqluice explain --user nora "SELECT ...". {EXIT_CODES}')
@click.argument("sql", required=False)
@click.option("--policy", is_flag=True, help="Show what policy decided instead of the plan.")
@click.option("--analyze", is_flag=True, help="Run it, and tell what that took.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "mermaid"]), default="text",
    help="How to print the plan: for people, for programs, or as a flowchart.",
)
@click.option("--requests", is_flag=True, help="With --policy: only what would change a denial.")
@click.option("--at", metavar="TIME", help="With --conf: what policy decided then (UTC).")
@click.option(
    "--query-id", metavar="ID", help="With --conf: what policy decided for an audited query."
)
@click.option("--client", metavar="TEXT", help="With --at: what his application called itself.")
@click.option("--address", metavar="IP", help="With --at: where his connection came from.")
@_with_options
def explain(  # noqa: PLR0913 - options of a command
    sql: str | None, *, policy: bool, analyze: bool, form: str, requests: bool, asking: Asking,
    printing: Printing, **then: str | None,
) -> None:
    """Show who would do what for a statement, and why; only --analyze runs it."""
    if then["at"] is not None or then["query_id"] is not None:
        _explain_past(sql, asking, printing, then)
        return
    if requests and not policy:
        raise click.UsageError("--requests goes with --policy.")
    if any(then.values()):
        raise click.UsageError("--client and --address go with --at.")
    if sql is None:
        raise click.UsageError("There is no statement.")
    if policy and (analyze or form == "mermaid"):
        raise click.UsageError("--policy decides and runs nothing: without --analyze or a picture.")
    if form != "text" and (printing.as_csv or (printing.as_json and form != "json")):
        raise click.UsageError(f"--format {form} is a form of its own.")
    as_json = printing.as_json or form == "json"
    printing = replace(printing, as_json=as_json)
    what = "EXPLAIN POLICY" if policy else _options(analyze, "json" if as_json else form)
    with _opened(asking) as connection:
        cursor = connection.execute(f"{what} {_statement(sql)}")
        names = tuple(one[0] for one in cursor.description or ())
        if names == explained.COLUMNS and not printing.as_csv:
            _print_reasons(cursor, printing, requests)
        elif names == ("plan",) and not printing.as_csv:
            _print_document(cursor, as_json)
        elif names == PLAN_COLUMNS and not printing.as_csv:
            click.echo("\n".join(plan(cursor)))
        else:
            _print(cursor, printing)


def _options(analyze: bool, form: str) -> str:
    """EXPLAIN with its options, where there are any: an older gateway knows none."""
    words = ["ANALYZE"] if analyze else []
    if form == "text":
        return " ".join(["EXPLAIN", *words])
    return f"EXPLAIN ({', '.join((*words, f'FORMAT {form}'))})"


def _print_document(cursor: Cursor, as_json: bool) -> None:
    """A plan that came as one text: JSON with the query's id beside it, or a flowchart."""
    text = "".join(str(row[0]) for row in cursor)
    if as_json:
        text = dumps({"query_id": cursor.query_id, **loads(text)}, ensure_ascii=False, indent=2)
    click.echo(text.rstrip())


def _explain_past(
    sql: str | None, asking: Asking, printing: Printing, then: Mapping[str, str | None]
) -> None:
    """The server's own command does it: it opens the state of a mesh."""
    context = click.get_current_context()
    command = main.get_command(context, "explain-past")
    if command is None:
        raise click.UsageError("--at and --query-id need the server: install sqluice[gateway].")
    if asking.user is not None or printing.as_csv:
        raise click.UsageError("The past is read in process: --conf and --as, as text or --json.")
    words = {
        **then, "conf": asking.conf, "as": asking.as_name, "purpose": asking.purpose,
        "domain": asking.domain, "dialect": asking.dialect,
    }  # fmt: skip
    given = [
        f"--{name.replace('_', '-')}={value}" for name, value in words.items() if value is not None
    ]
    given += ["--json"] if printing.as_json else []
    given += [] if sql is None else ["--", _statement(sql)]
    with command.make_context("explain", given, parent=context.parent) as inner:
        inner.command.invoke(inner)


def _print_reasons(cursor: Cursor, printing: Printing, requests: bool) -> None:
    rows = [dict(zip(explained.COLUMNS, map(str, row), strict=True)) for row in cursor]
    if requests:
        click.echo("\n".join(explained.requests(rows)))
    elif printing.as_json:
        document = {"query_id": cursor.query_id, **explained.document(rows)}
        click.echo(dumps(document, ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(explained.text(rows)))


def _statement(sql: str) -> str:
    text = sys.stdin.read() if sql == "-" else sql
    if not text.strip():
        raise click.UsageError("There is no statement.")
    return text


@contextmanager
def _opened(asking: Asking) -> Iterator[Connection]:
    """A connection; what goes wrong over it tells what helps."""
    connection, told = _connected(asking)
    try:
        with connection:
            yield connection
    except DatabaseError as error:
        raise told(error) from None


def _connected(asking: Asking) -> tuple[Connection, Callable[[DatabaseError], DatabaseError]]:
    settings = {
        "domain": asking.domain, "purpose": asking.purpose, "dialect": asking.dialect,
        "query_timeout": asking.timeout,
    }  # fmt: skip
    if asking.conf is not None:
        if asking.as_name is None:
            raise click.UsageError("--conf needs --as: as whom shall it ask?")
        if asking.profile is not None and _is_said("profile"):
            raise click.UsageError("--conf opens a folder, --profile a gateway: say one of them.")
        folder = os.path.join(asking.conf, "")
        opened = connect(folder, user=asking.as_name, **settings)  # type: ignore[arg-type]  # by name
        return opened, lambda error: error
    settings["acting_as"] = asking.as_name
    try:
        way = way_of(asking)
        url, tls = _address(asking, way)
        sign_in = sign_in_of(asking, way)
    except InterfaceError as error:
        raise click.UsageError(error.message) from None
    files = way.encryption
    opened = connect(
        url, user=sign_in.user, password=sign_in.password, token=sign_in.token,
        oauth=sign_in.oauth, tls=tls, certificate=files.certificate, key=files.key,
        **settings,  # type: ignore[arg-type]  # by name
    )  # fmt: skip
    return opened, lambda error: told_again(error, sign_in, way)


def _address(asking: Asking, way: Way) -> tuple[str, bool | str | None]:
    """Where to, settled before a password is asked for."""
    url = way.profile.url if way.profile is not None else asking.url or DEFAULT_URL
    is_plain = asking.plaintext or (way.profile is not None and way.profile.plaintext)
    tls = way.encryption.authorities or (False if is_plain else None)
    is_encrypted = True if way.encryption != Encryption() else tls
    found = read_address(url, is_encrypted if not isinstance(is_encrypted, str) else True)
    if not isinstance(found, Remote):
        raise click.UsageError(f"--url is grpc://host:port; a folder is --conf {url}")
    return url, tls


def _is_said(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _print(cursor: Cursor, printing: Printing) -> None:
    limit = printing.limit
    if limit is None and not (printing.as_json or printing.as_csv):
        limit = DEFAULT_ROWS
    rows, is_more = _cut(cursor, limit)
    if printing.as_json:
        click.echo(json_document(cursor, rows, is_more[0] if is_more else False))
        return
    if printing.as_csv:
        for line in csv_lines(cursor, rows):
            click.echo(line)
    else:
        held = list(rows)
        for line in table(cursor, held) if cursor.description else ():
            click.echo(line)
        _notes(cursor, held)
    if any(is_more):
        click.echo(f"Cut after {limit} rows; there are more (--limit).", err=True)


def _cut(cursor: Cursor, limit: int | None) -> tuple[list[Row] | Iterator[Row], list[bool]]:
    """The rows to print, and whether there are more; only an unlimited answer streams."""
    if limit is None:
        return iter(cursor), []
    rows = list(islice(cursor, limit))
    return rows, [cursor.fetchone() is not None]


def _notes(cursor: Cursor, rows: list[Row]) -> None:
    if not cursor.description:
        return
    notes = [f"{len(rows)} row{'' if len(rows) == 1 else 's'}"]
    if any(value is None for value in chain.from_iterable(rows)):
        notes.append(f"{NULL} is NULL")
    if cursor.masked:
        notes.append(f"{MASKED} masked for you: {', '.join(cursor.masked)}")
    if cursor.query_id:
        notes.append(cursor.query_id)
    click.echo(" · ".join(notes), err=True)


main.add_command(login)
main.add_command(logout)
