"""`sqluice policy simulate`: a changed mesh tried on what was asked lately.

Takes: a mesh folder, whose state it opens, and a changed one. Gives: for whom something changes,
and what; with `--rows` also how many rows each would see. Without `--rows` no source is asked.
Never publishes the changed mesh.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from sqlalchemy import Engine

from gateway.access import Access, standing_of
from gateway.audit import AuditedQuery, kept_values, requests, state_of
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
from gateway.counting import RowCount, by_role, counting
from gateway.opening import open_gateway
from gateway.past import record_tried
from gateway.policies.effects import CHANGES, GAINS, LOSES, MASKED, Effect
from gateway.policies.replay import Values
from gateway.policies.simulate import (
    Asked,
    Change,
    Meshes,
    Simulation,
    distinct,
    simulate,
    totals,
)
from gateway.publish import build_snapshot
from gateway.restore import changed_snapshot
from gateway.snapshot import Snapshot

_KINDS = (GAINS, LOSES, MASKED, CHANGES)
_COLUMNS = ("user", "purpose", "times", "effect", "what", "before", "after", "by", "statement")
_COUNTS = ("user", "groups", "purpose", "table", "rows before", "rows after")
_ROLES = ("group or role", "table", "people", "most rows before", "most rows after")


@dataclass(frozen=True, slots=True)
class Tried:
    """A simulation and, where they were asked for, its row counts."""

    meshes: Meshes
    simulation: Simulation
    rows: tuple[RowCount, ...] | None = None


@click.command(
    "simulate",
    epilog=f"Example: sqluice policy simulate --change changed --days 30 --rows. {EXIT_CODES}"
)
@conf_option
@click.option(
    "--change", type=click.Path(file_okay=False, exists=True), metavar="DIR", required=True,
    help="The changed mesh; a folder without gateway.toml is laid over the present one.",
)
@click.option(
    "--days", type=click.IntRange(1, 3660), default=30, show_default=True,
    help="Try what was asked in so many days.",
)
@click.option("--rows", is_flag=True, help="Also count the rows that each sees, at the sources.")
@json_option
@shows_errors
def simulate_change(conf: str | None, change: str, days: int, rows: bool, as_json: bool) -> None:
    """Try a changed mesh on what was asked: exit 1 where something changes for somebody."""
    config = load_config(Path(conf) if conf else None)
    found = tried(config, Path(change), datetime.now(UTC), days, with_rows=rows)
    print_json(document(found)) if as_json else _print(found, days)
    if found.simulation.is_change:
        raise SystemExit(PROBLEMS)


def tried(
    config: Config, change: Path, now: datetime, days: int, *, with_rows: bool = False
) -> Tried:
    """The simulation over the state of a mesh."""
    with ExitStack() as stack:
        state = state_of(config)
        stack.callback(state.dispose)
        changed, files = changed_snapshot(config.folder, change)
        meshes = Meshes(_under(build_snapshot(config.folder), state), _under(changed, state))
        asked = distinct(requests(state, now - timedelta(days=days), now))
        simulation = simulate(asked, meshes, now, lambda one: _values(state, one))
        if not with_rows:
            return Tried(meshes, simulation)
        record_tried(state, changed, files)
        opened = open_gateway(config)
        stack.callback(opened.close)
        counts = stack.enter_context(counting(opened, meshes, getpass.getuser(), now))
        return Tried(meshes, simulation, tuple(counts.rows(simulation.changes)))


def _under(snapshot: Snapshot, state: Engine) -> Snapshot:
    """A mesh under what state says about access now."""
    standing = standing_of(Access(state).events())
    return Snapshot(snapshot.mesh, snapshot.index.under(standing))


def _values(state: Engine, one: AuditedQuery) -> Values:
    return (kept_values(state, one.entitled) or {}) if one.entitled else {}


def document(found: Tried) -> dict[str, object]:
    """A simulation as JSON."""
    simulation = found.simulation
    shown: dict[str, object] = {
        "revision": found.meshes.present.mesh.revision,
        "changed_revision": found.meshes.changed.mesh.revision,
        "statements": simulation.statements,
        "requests": simulation.requests,
        "totals": {
            what: {name: dict(kinds) for name, kinds in sorted(names.items())}
            for what, names in totals(simulation).items()
        },
        "people": [asdict(one) for one in simulation.people],
        "changes": [_change(one) for one in simulation.changes],
        "untried": [_asked(one) for one in simulation.untried],
    }
    if found.rows is not None:
        shown["rows"] = [_row(one) for one in found.rows]
        shown["rows_by_role"] = [asdict(one) for one in by_role(found.rows)]
    return shown


def _asked(one: Asked) -> dict[str, object]:
    newest = one.newest
    return {
        "user": newest.user, "purpose": newest.purpose, "times": one.count,
        "newest": newest.query_id, "statement": one.shown,
    }  # fmt: skip


def _change(one: Change) -> dict[str, object]:
    return {
        **_asked(one.asked),
        "groups": sorted(one.principal.groups),
        "roles": sorted(one.principal.roles),
        "products": list(one.products),
        "before": one.before.verdict,
        "after": one.after.verdict,
        "message": one.after.message,
        "masked_before": list(one.before.masked),
        "masked_after": list(one.after.masked),
        "unknown_entitlements": sorted({*one.before.missing, *one.after.missing}),
        "effects": [asdict(effect) for effect in one.effects],
    }


def _row(one: RowCount) -> dict[str, object]:
    return {
        "user": one.principal.user, "groups": sorted(one.principal.groups),
        "roles": sorted(one.principal.roles), "purpose": one.purpose, "table": str(one.table),
        "before": one.before, "after": one.after,
    }  # fmt: skip


def _print(found: Tried, days: int) -> None:
    simulation = found.simulation
    click.echo(
        f"{simulation.statements} statements, asked {simulation.requests} times in {days} days; "
        f"something changes for {len(simulation.changes)} of them"
    )
    if simulation.changes:
        click.echo()
        _print_totals(totals(simulation))
        click.echo()
        print_table(
            _COLUMNS, (_line(one, effect) for one in simulation.changes for effect in one.effects)
        )
    for person in simulation.people:
        word = "comes and gains" if person.kind == GAINS else "goes and loses"
        click.echo(f"{person.user} {word} {', '.join(person.tables)}")
    for one in simulation.untried:
        click.echo(f"not tried, a literal was redacted: {one.shown} ({one.newest.query_id})")
    if found.rows:
        click.echo()
        print_table(_COUNTS, (_counted(one) for one in found.rows))
        click.echo()
        print_table(
            _ROLES,
            ((one.role, one.table, one.people, one.before, one.after)
             for one in by_role(found.rows)),
        )  # fmt: skip


def _print_totals(found: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    print_table(
        ("", "name", *_KINDS),
        (
            (what, name, *(kinds.get(one) for one in _KINDS))
            for what, names in found.items()
            for name, kinds in sorted(names.items())
        ),
    )


def _line(one: Change, effect: Effect) -> Sequence[object]:
    return (
        one.asked.newest.user, one.asked.newest.purpose, one.asked.count, effect.kind, effect.what,
        effect.before, effect.after, ", ".join(effect.by), one.asked.shown,
    )  # fmt: skip


def _counted(one: RowCount) -> Sequence[object]:
    groups = ", ".join(sorted({*one.principal.groups, *one.principal.roles}))
    return (one.principal.user, groups, one.purpose, one.table, one.before, one.after)
