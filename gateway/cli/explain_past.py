"""`sqluice explain --at TIME` and `--query-id ID`: a past decision, computed again.

Takes: a mesh folder, whose state it opens; a time, a name and a statement, or an audited query.
Gives: the decision as EXPLAIN POLICY shows it, its revision, and whether the audit recorded the
same. Never asks a source; whoever reads the files of a mesh and its state is trusted.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.audit import state_of
from gateway.cli.output import (
    EXIT_CODES,
    PROBLEMS,
    UNAVAILABLE,
    conf_option,
    json_option,
    print_json,
    shows_errors,
)
from gateway.config import load_config
from gateway.explain import policy_table
from gateway.past import DIFFERS, UNKNOWN, Asked, Past, Recomputed
from gateway.past_lines import lines_of
from sqluice import explained

_EXITS = {DIFFERS: PROBLEMS, UNKNOWN: UNAVAILABLE}


@click.command(
    "explain-past", hidden=True,
    epilog=f'Example: sqluice explain --at 2026-03-01T12:00 --as nora "SELECT ...". {EXIT_CODES}',
)
@click.argument("sql", required=False)
@click.option("--at", metavar="TIME", help="When, or now; without a zone it is UTC.")
@click.option("--query-id", metavar="ID", help="The audited query instead.")
@click.option("--as", "user", metavar="NAME", help="Who asked.")
@click.option("--purpose", help="Why he asked.")
@click.option("--domain", help="Domain in which short names are looked up first.")
@click.option("--dialect", default="duckdb", help="SQL dialect of the statement.")
@click.option("--client", default="", help="What his application called itself.")
@click.option("--address", default="", help="Where his connection came from.")
@conf_option
@json_option
@shows_errors
def explain_past(  # noqa: PLR0913 - options of a command
    *, sql: str | None, at: str | None, query_id: str | None, user: str | None,
    purpose: str | None, domain: str | None, dialect: str, client: str, address: str,
    conf: str | None, as_json: bool,
) -> None:
    """Compute a past decision again."""
    if (at is None) == (query_id is None):
        raise click.UsageError("--at TIME or --query-id ID, one of them.")
    if query_id is not None and (sql or user):
        raise click.UsageError("--query-id names the statement and who asked it.")
    config = load_config(Path(conf) if conf else None)
    state = state_of(config)
    try:
        if query_id is not None:
            found = Past(state).explain_query(query_id)
        else:
            asked = _asked(sql, at or "", user)
            found = Past(state).explain(replace(
                asked, purpose=purpose, domain=domain, dialect=dialect, client=client,
                address=address,
            ))  # fmt: skip
    finally:
        state.dispose()
    print_json(_document(found)) if as_json else _print(found)
    if found.comparison in _EXITS:
        raise SystemExit(_EXITS[found.comparison])


def _asked(sql: str | None, at: str, user: str | None) -> Asked:
    if not sql or not sql.strip():
        raise click.UsageError("There is no statement.")
    if not user:
        raise click.UsageError("--at needs --as NAME: who asked?")
    return Asked(user, sql, _moment(at))


def _moment(text: str) -> datetime:
    if text == "now":
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError("--at is now, or a time such as 2026-03-01T12:00 (UTC).") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _rows(found: Recomputed) -> list[dict[str, str]]:
    """The rows of EXPLAIN POLICY, by name."""
    return [
        {name: str(value) for name, value in row.items()}
        for row in policy_table(lines_of(found), found.revision).to_pylist()
    ]


def _document(found: Recomputed) -> dict[str, object]:
    decision, audited = found.replayed.decision, found.audited
    return {
        "user": found.user,
        "at": found.at,
        "revision": found.revision,
        "published_at": found.published_at or None,
        "verdict": found.replayed.verdict,
        "message": found.replayed.message,
        "purpose": decision.purpose if decision is not None else None,
        "decision": decision.fingerprint if decision is not None else None,
        "explained": explained.document(_rows(found)),
        "entitlements_recorded_at": found.entitled_at or None,
        "entitlements_missing": list(found.replayed.missing),
        "audited": None if audited is None else {
            "query_id": audited.query_id, "at": audited.at, "revision": audited.revision,
            "decision": audited.decision, "outcome": audited.outcome, "code": audited.code,
        },
        "comparison": found.comparison or None,
        "why": found.why,
    }  # fmt: skip


def _print(found: Recomputed) -> None:
    published = f", published {found.published_at[:19]}" if found.published_at else ""
    click.echo(f"{found.user} at {found.at[:19]}: revision {found.revision[:12]}{published}")
    if found.entitled_at:
        click.echo(f"values of entitlement tables as recorded {found.entitled_at[:19]}")
    elif found.replayed.missing:
        names = ", ".join(found.replayed.missing)
        click.echo(f"values of {names} were not recorded: conditions on them are left empty")
    click.echo("\n".join(explained.text(_rows(found))))
    click.echo(_told(found))


def _told(found: Recomputed) -> str:
    if found.audited is None:
        return "the audit holds no such statement of his up to then"
    of = f"query {found.audited.query_id} of {found.audited.at[:19]}"
    match found.comparison:
        case "equal":
            return f"equal to what the audit recorded of {of}"
        case "differs":
            return f"differs from what the audit recorded of {of}: {found.why}"
        case _:
            return f"cannot be compared with {of}: {found.why}"
