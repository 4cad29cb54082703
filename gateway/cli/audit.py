"""`sqluice audit`: the audit verified, read, exported, sealed and redacted where state lives.

Takes: a mesh folder, whose state it opens. Gives: the proof of the chains, requests, heads,
files. What it changes (a redaction, a seal, a drop) it records in a chain of its own, by the name
of the system's user. Never shows a literal that was redacted.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import click
from sqlalchemy import Engine

from gateway.audit import (
    Audit,
    AuditedQuery,
    Head,
    Redaction,
    Verification,
    check_file,
    drop_old,
    head_line,
    heads_of,
    history,
    read_heads,
    requests,
    seal_all,
    sink_of,
    state_of,
)
from gateway.audit import redact as redact_records
from gateway.audit import verify as verify_chains
from gateway.cli.output import (
    EXIT_CODES,
    PROBLEMS,
    conf_option,
    json_option,
    print_json,
    print_table,
    shows_errors,
)
from gateway.config import Config, load_config
from gateway.errors import InvalidConfig

_FOLLOW_SECONDS = 0.5
_FOLLOW_COUNT = 200
_SHOWN_FLAWS = 20
_COLUMNS = ("at", "user", "purpose", "outcome", "code", "rows", "seconds", "query", "statement")
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


@click.group()
def audit() -> None:
    """Verify, read, export, seal and redact the audit."""


@audit.command(
    epilog=f"Example: sqluice audit verify --conf conf --heads heads.jsonl. {EXIT_CODES}"
)
@conf_option
@click.option(
    "--heads", type=click.Path(dir_okay=False), metavar="FILE",
    help="Exported heads to compare with; else the gateway's own export, where there is one.",
)
@click.option(
    "--file", "files", type=click.Path(dir_okay=False, exists=True), multiple=True, metavar="FILE",
    help="Also check this exported segment against its seal; may be repeated.",
)
@json_option
@shows_errors
def verify(conf: str | None, heads: str | None, files: tuple[str, ...], as_json: bool) -> None:
    """Recompute every chain: names the first changed, removed or re-ordered record of each, a
    chain rewritten since an exported head, and a tail cut before one.
    """
    config = load_config(Path(conf) if conf else None)
    state = state_of(config)
    found = verify_chains(state, _heads(config, heads))
    of_files = {one: [asdict(flaw) for flaw in check_file(state, Path(one))] for one in files}
    if as_json:
        print_json({"holds": found.holds, **asdict(found), "files": of_files})
    else:
        _print_verification(found)
        for name, flaws in of_files.items():
            click.echo(f"{name}: {flaws[0]['what'] if flaws else 'it holds'}", err=bool(flaws))
    if not found.holds or any(of_files.values()):
        raise SystemExit(PROBLEMS)


@audit.command(epilog=f"Example: sqluice audit tail --conf conf -n 5 --of nora. {EXIT_CODES}")
@conf_option
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--of", "user", metavar="USER", help="Only requests of this user.")
@click.option("--follow", is_flag=True, help="Go on as new requests come.")
@json_option
@shows_errors
def tail(conf: str | None, count: int, user: str | None, follow: bool, as_json: bool) -> None:
    """Print the newest requests; unknown: no end was recorded (it runs still, or died)."""
    engine = state_of(load_config(Path(conf) if conf else None))
    known = history(engine, max(count, _FOLLOW_COUNT), user)
    _print_history(known[-count:], as_json)
    while follow:
        time.sleep(_FOLLOW_SECONDS)
        newest = history(engine, _FOLLOW_COUNT, user)
        _print_history(tuple(one for one in newest if one not in known), as_json)
        known = newest


@audit.command(
    epilog="Example: sqluice audit export --since 2026-11-01 --form openlineage -o events.jsonl. "
    + EXIT_CODES
)
@conf_option
@click.option("--since", type=_TIME, help="Requests from this time on (UTC).")
@click.option("--until", type=_TIME, help="Requests before this time (UTC).")
@click.option(
    "--form", type=click.Choice(["json", "openlineage"]), default="json", show_default=True,
    help="One request a line, or OpenLineage run events with column lineage.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="FILE")
@json_option
@shows_errors
def export(  # noqa: PLR0913, PLR0917 - one parameter an option
    conf: str | None,
    since: datetime | None,
    until: datetime | None,
    form: str,
    output: str | None,
    as_json: bool,
) -> None:
    """Write requests as JSON lines."""
    state = state_of(load_config(Path(conf) if conf else None))
    found = requests(state, _aware(since), _aware(until))
    count = 0
    with _writing_to(output) as file:
        for line in _lines(found, form):
            file.write(line + "\n")
            count += 1
    if output is not None:
        told = {"lines": count, "file": output}
        print_json(told) if as_json else click.echo(f"{count} lines in {output}")


@audit.command(epilog=f"Example: sqluice audit heads --conf conf --to heads.jsonl. {EXIT_CODES}")
@conf_option
@click.option("--to", metavar="FILE|URL", help="Append to this file, or post to this https URL.")
@json_option
@shows_errors
def heads(conf: str | None, to: str | None, as_json: bool) -> None:
    """Print the newest record of every chain, or export it to where nobody can change it."""
    found = heads_of(state_of(load_config(Path(conf) if conf else None)))
    if to is not None:
        sink = sink_of(to if "://" in to else Path(to))
        try:
            for one in found:
                sink(head_line(one, datetime.now(UTC)))
        except OSError as error:
            raise InvalidConfig(
                "The heads could not be exported there.",
                hint="Check the file or the URL, and try again.", private=str(error),
            ) from None
    if as_json:
        print_json([asdict(one) for one in found])
    elif to is None:
        print_table(("chain", "record", "hash"), ((o.chain, o.sequence, o.hash) for o in found))
    else:
        click.echo(f"{len(found)} heads exported")


@audit.command(
    epilog="Example: sqluice audit seal --idle-hours 24 --drop-before 2025-01-01 "
    f"--drop-to /archive/audit. {EXIT_CODES}"
)
@conf_option
@click.option(
    "--idle-hours", type=click.FloatRange(0), default=24.0, show_default=True,
    help="Seal the open end of chains whose newest record is older than this.",
)
@click.option("--drop-before", type=_TIME, help="Move segments that ended before this to files.")
@click.option("--drop-to", type=click.Path(file_okay=False), metavar="DIR")
@json_option
@shows_errors
def seal(
    conf: str | None,
    idle_hours: float,
    drop_before: datetime | None,
    drop_to: str | None,
    as_json: bool,
) -> None:
    """Seal chains that ended; with --drop-before and --drop-to move old segments to files."""
    before = _aware(drop_before)
    if (before is None) != (drop_to is None):
        raise click.UsageError("--drop-before and --drop-to come together")
    with _upkeep(conf) as (recorder, state):
        sealed = seal_all(recorder, state, timedelta(hours=idle_hours), datetime.now(UTC))
        moved = (
            drop_old(recorder, state, before, Path(drop_to))
            if before is not None and drop_to is not None
            else ()
        )
    if as_json:
        dropped = [{**asdict(one), "file": str(path)} for one, path in moved]
        print_json({"sealed": [asdict(one) for one in sealed], "dropped": dropped})
        return
    click.echo(f"{len(sealed)} segments sealed, {len(moved)} moved to files")
    for one, path in moved:
        click.echo(f"records {one.first} to {one.last} of chain {one.chain}: {path}")


@audit.command(
    epilog="Example: echo -n ada@example.org | sqluice audit redact --holding -. " + EXIT_CODES
)
@conf_option
@click.argument("query_id", required=False)
@click.option("--of", "user", metavar="USER", help="The literals of every request of this user.")
@click.option(
    "--holding", metavar="TEXT", help="Every literal that holds this text; - reads it from input."
)
@json_option
@shows_errors
def redact(
    conf: str | None, query_id: str | None, user: str | None, holding: str | None, as_json: bool
) -> None:
    """Forget literals for good: of one query, of one user, or those that hold a text.

    Statements keep `?` in their place, the chains still hold, and nothing brings them back.
    """
    if [query_id, user, holding].count(None) != 2:
        raise click.UsageError("name a query id, --of USER or --holding TEXT, one of them")
    wanted = sys.stdin.read().rstrip("\n") if holding == "-" else holding
    if wanted == "":
        raise click.UsageError("the text to redact is empty")
    with _upkeep(conf) as (recorder, state):
        count = redact_records(recorder, state, Redaction(query_id, user, wanted), _who())
    told = {"redacted": count}
    print_json(told) if as_json else click.echo(f"{count} records redacted")


@contextmanager
def _upkeep(conf: str | None) -> Iterator[tuple[Audit, Engine]]:
    """An audit with a chain of its own, whose head is exported when the work is done."""
    config = load_config(Path(conf) if conf else None)
    state = state_of(config)
    recorder = Audit(state)
    try:
        yield recorder, state
        recorder.export_head(config.heads_target)
    finally:
        recorder.close()
        state.dispose()


@contextmanager
def _writing_to(output: str | None) -> Iterator[IO[str]]:
    with click.open_file(output or "-", "w", encoding="utf-8") as file:
        yield file


def _lines(found: Iterator[AuditedQuery], form: str) -> Iterator[str]:
    if form == "json":
        for one in found:
            yield json.dumps(asdict(one), ensure_ascii=False, default=str)
        return
    # Late: it loads a package that only this form needs.
    from gateway.audit.openlineage import events  # noqa: PLC0415

    yield from events(found)


def _who() -> str:
    """The name of the system's user; his number where he has no name."""
    try:
        return f"system user {getpass.getuser()}"
    except (OSError, KeyError):
        return f"system user {os.getuid()}"


def _aware(moment: datetime | None) -> datetime | None:
    """A time without a zone is UTC."""
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=UTC)


def _heads(config: Config, given: str | None) -> tuple[Head, ...]:
    path = Path(given) if given else config.heads
    if not path.is_file():
        if given:
            raise InvalidConfig(
                f"There is no file {path.name!r} of exported heads.",
                hint="Name an existing file, or leave --heads away.",
            )
        return ()
    return read_heads(path)


def _print_verification(found: Verification) -> None:
    for flaw in found.flaws[:_SHOWN_FLAWS]:
        place = f"record {flaw.sequence}" if flaw.sequence else "chain"
        click.echo(f"{place} of chain {flaw.chain}: {flaw.what}", err=True)
    if len(found.flaws) > _SHOWN_FLAWS:
        click.echo(f"and {len(found.flaws) - _SHOWN_FLAWS} more", err=True)
    verdict = "the audit holds" if found.holds else f"{len(found.flaws)} flaws"
    click.echo(
        f"{verdict}: {found.records} records in {found.chains} chains, {found.heads} exported "
        f"heads, {found.segments} segments of which {found.dropped} are in files, "
        f"{found.redacted} redacted, {found.unknown} without an end"
    )
    if not found.heads:
        click.echo("no exported heads were given: a cut tail could not be found")


def _print_history(found: tuple[AuditedQuery, ...], as_json: bool) -> None:
    if as_json:
        for one in found:
            print_json(asdict(one))
    elif found:
        print_table(_COLUMNS, (_row(one) for one in found))


def _row(one: AuditedQuery) -> tuple[object, ...]:
    seconds = None if one.seconds is None else f"{one.seconds:.3f}"
    user = f"{one.user} (by {one.actor})" if one.actor else one.user
    return (
        one.at[:19], user, one.purpose, one.outcome, one.code, one.rows, seconds, one.query_id,
        " ".join(one.statement.split()),
    )
