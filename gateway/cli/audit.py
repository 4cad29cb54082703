"""`sqluice audit verify` and `sqluice audit tail`: the audit read where state lives.

Takes: a mesh folder, whose state it opens. Gives: the proof of the chains, or the newest
requests. Never writes a record.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import click

from gateway.audit import (
    AuditedQuery,
    Head,
    Verification,
    history,
    read_heads,
    state_of,
)
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
_COLUMNS = ("at", "user", "purpose", "outcome", "code", "rows", "seconds", "query", "statement")


@click.group()
def audit() -> None:
    """Verify and read the audit."""


@audit.command(epilog=f"Example: sqluice audit verify --conf conf --json. {EXIT_CODES}")
@conf_option
@click.option(
    "--heads", type=click.Path(dir_okay=False), metavar="FILE",
    help="Exported heads to compare with; else the gateway's own export, where there is one.",
)
@json_option
@shows_errors
def verify(conf: str | None, heads: str | None, as_json: bool) -> None:
    """Recompute every chain: finds changed and missing records, and cut tails by exported heads."""
    config = load_config(Path(conf) if conf else None)
    found = verify_chains(state_of(config), _heads(config, heads))
    if as_json:
        print_json({"holds": found.holds, **asdict(found)})
    else:
        _print_verification(found)
    if not found.holds:
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
    for flaw in found.flaws:
        place = f"record {flaw.sequence}" if flaw.sequence else "chain"
        click.echo(f"{place} of chain {flaw.chain}: {flaw.what}", err=True)
    verdict = "the audit holds" if found.holds else f"{len(found.flaws)} flaws"
    click.echo(
        f"{verdict}: {found.records} records in {found.chains} chains, {found.heads} exported "
        f"heads, {found.redacted} redacted, {found.unknown} without an end"
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
    return (
        one.at[:19], one.user, one.purpose, one.outcome, one.code, one.rows, seconds,
        one.query_id, " ".join(one.statement.split()),
    )
