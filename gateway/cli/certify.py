"""`sqluice certify`: ask live sources what they really mean, and keep the answer.

Takes: a mesh folder, whose sources it connects to and whose state it opens. Gives: the ability
file of each source, kept in state, where every gateway over it reads it, and a report of what
differs from the declared row; with --evidence what the self-check switched off and why, with
--prices by what the planner chooses. Never writes to a source, never reads a row of it.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from catalog.model import Mesh, Source
from connectors.base import ConnectorError, ConnectorUnavailable, load_connector
from gateway.abilities import AbilitiesInForce, AbilityEvent
from gateway.audit import state_of
from gateway.certify.certificate import Certificate
from gateway.certify.rows import can_certify
from gateway.certify.run import certify as ask
from gateway.certify.run import subject_of
from gateway.cli.certify_prices import show_prices
from gateway.cli.output import (
    EXIT_CODES,
    PROBLEMS,
    UNAVAILABLE,
    conf_option,
    json_option,
    print_json,
    print_table,
    shows_errors,
)
from gateway.config import Config, load_config
from gateway.errors import InvalidConfig, SourceFailed, SourceUnavailable, SqluiceError
from gateway.opening import declared_of, settings_of
from gateway.pools import as_itself
from gateway.prices import LearnedPrices
from gateway.publish import build_snapshot

_CODES = f"{EXIT_CODES} Fine is: as declared; a problem: something declared does not hold."


@click.command(epilog=f"Example: sqluice certify loyalty.crm --conf conf. {_CODES}")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option(
    "--all", "every", is_flag=True, help="Every source of the mesh that can be certified."
)
@click.option(
    "--output", type=click.Path(dir_okay=False), metavar="FILE", help="Also write ability files."
)
@click.option(
    "--evidence", is_flag=True, help="Ask nothing: show what was switched off, and the evidence."
)
@click.option(
    "--prices", is_flag=True, help="Ask nothing: show the prices by which the planner chooses."
)
@click.option("--forget", is_flag=True, help="With --prices: what runs taught, as after a move.")
@click.option(
    "--as", "actor", metavar="NAME", default=getpass.getuser, help="Who asks; else your login."
)
@conf_option
@json_option
@shows_errors
def certify(  # noqa: PLR0913 - options of a command
    *, sources: Sequence[str], every: bool, output: str | None, evidence: bool, prices: bool,
    forget: bool, actor: str, conf: str | None, as_json: bool,
) -> None:
    """Ask live sources what they really mean by SQL, and plan by it from then on."""
    config = load_config(Path(conf) if conf else None)
    mesh = build_snapshot(config.folder).mesh
    chosen = _chosen(mesh, sources, every or evidence or (prices and not forget))
    if prices or forget:
        with _prices_of(config) as learned:
            show_prices(learned, chosen, forget, as_json)
        return
    # What is named and cannot be certified is an error; among all of them it is left out.
    left = [one.identity for one in chosen if every and not sources and not _can_be_asked(one)]
    with _in_force(config) as abilities:
        if evidence:
            _show_evidence(abilities, chosen, as_json)
            return
        asked = [one for one in chosen if one.identity not in left]
        found, failed = _certify_all(abilities, asked, mesh, config, actor)
    if output:
        _write(Path(output), [made for made, _ in found])
    _show(found, failed, left, as_json)
    if failed:
        is_down = any(one.code == SourceUnavailable.code for one in failed.values())
        raise SystemExit(UNAVAILABLE if is_down else PROBLEMS)
    if any(made.differs for made, _ in found):
        raise SystemExit(PROBLEMS)


def _can_be_asked(source: Source) -> bool:
    return can_certify(source.kind, declared_of(source).dialect)


def _show(
    found: Sequence[tuple[Certificate, Sequence[AbilityEvent]]],
    failed: Mapping[str, SqluiceError], left: Sequence[str], as_json: bool,
) -> None:  # fmt: skip
    """What was found of each source, what failed, and what was left out."""
    for made, lifted in () if as_json else found:
        _print(made, lifted)
    if as_json:
        errors = {name: {"code": one.code, "message": one.message} for name, one in failed.items()}
        sources = [made.as_json() for made, _ in found]
        print_json({"sources": sources, "errors": errors, "not_certifiable": list(left)})
    for name in () if as_json else left:
        click.echo(f"{name}: not certifiable")
    for name, error in failed.items():
        click.echo(f"{name}: {error.code}: {error.message} {error.remedy}", err=True)


def _certify_all(
    abilities: AbilitiesInForce, chosen: Sequence[Source], mesh: Mesh, config: Config, actor: str
) -> tuple[list[tuple[Certificate, Sequence[AbilityEvent]]], dict[str, SqluiceError]]:
    """Certificates with what each switched on again; one source that fails does not end it."""
    found: list[tuple[Certificate, Sequence[AbilityEvent]]] = []
    failed: dict[str, SqluiceError] = {}
    for source in chosen:
        try:
            made = _certified(source, mesh, config)
        except SqluiceError as error:
            failed[source.identity] = error
            continue
        lifted = abilities.off(source.identity)
        abilities.record(made, actor)
        found.append((made, lifted))
    return found, failed


def _chosen(mesh: Mesh, names: Sequence[str], every: bool) -> list[Source]:
    """The sources that are named, or all; those of the gateway itself are not asked."""
    known = {
        name: one for name, one in mesh.sources.items() if one.domain != "mesh"
    }
    missing = [one for one in names if one not in known]
    if missing or not (names or every):
        what = f"There is no source {missing[0]!r} in this mesh." if missing else "None is named."
        raise InvalidConfig(
            what,
            hint=f"Name one, or say --all. There are: {', '.join(sorted(known)) or 'none'}.",
        )
    return [known[one] for one in names or sorted(known)]


@contextmanager
def _in_force(config: Config) -> Iterator[AbilitiesInForce]:
    state = state_of(config)
    try:
        yield AbilitiesInForce(state, declared_of)
    finally:
        state.dispose()


@contextmanager
def _prices_of(config: Config) -> Iterator[LearnedPrices]:
    state = state_of(config)
    try:
        abilities = AbilitiesInForce(state, declared_of)
        yield LearnedPrices(state, abilities.of, abilities.certificate)
    finally:
        state.dispose()


def _certified(source: Source, mesh: Mesh, config: Config) -> Certificate:
    subject = subject_of(source, mesh, declared_of(source))
    try:
        settings = settings_of(config, lambda: mesh)(as_itself(source))
        with closing(load_connector(source.kind).connect(settings)) as connection:
            return ask(subject, connection)
    except ConnectorUnavailable as error:
        raise SourceUnavailable(
            f"Source {source.identity} cannot be reached.",
            hint="Start it, or correct its settings and secrets.",
            private=str(error),
        ) from None
    except ConnectorError as error:
        raise SourceFailed(
            f"Source {source.identity} cannot be asked.",
            hint="Correct its settings in domain.yaml, and the rights of its user.",
            private=str(error),
        ) from None


def _write(path: Path, found: list[Certificate]) -> None:
    made = [one.as_json() for one in found]
    text = json.dumps(made[0] if len(made) == 1 else made, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _print(one: Certificate, lifted: Sequence[AbilityEvent]) -> None:
    verdict = "differs from what is declared" if one.differs else "as declared"
    click.echo(
        f"{one.source}: {one.kind} {one.version}, {one.at}: {verdict}; "
        f"{len(one.proved)} abilities and {sum(each.is_asked for each in one.facts)} traps asked"
    )
    for line in one.differs:
        click.echo(f"  not so: {line}", err=True)
    for event in lifted:
        click.echo(f"  switched on again: {event.ability}")
    print_table(
        ["trap", "", "the source", "DuckDB"],
        [[fact.trap, fact.name, fact.source, fact.duckdb] for fact in one.facts
         if not fact.is_same],
    )  # fmt: skip
    for line in _remarks(one):
        click.echo(f"  {line}")


def _remarks(one: Certificate) -> Iterator[str]:
    verdict = one.barrier
    if verdict is not None:
        control = "without it some get through" if verdict.bites else "none bites without it here"
        held = f"broken by {verdict.broken}" if verdict.broken else "holds"
        yield f"barrier: {held}, {verdict.attacks} attacks; {control}"
    if one.collations:
        counts = {kind: sum(each.compares == kind for each in one.collations)
                  for kind in ("bytes", "equality", "other")}  # fmt: skip
        shown = ", ".join(f"{count} by {kind}" for kind, count in counts.items() if count)
        yield f"columns of text compare: {shown}; {len(one.bytewise)} are sent as they are"
    if one.can_stage is not None:
        yield f"temporary tables: {'allowed' if one.can_stage else 'not allowed'}"
    shown = ", ".join(f"{name} {value:.6g}" for name, value in one.prices.items())
    yield f"prices in ms: {shown}"


def _show_evidence(
    abilities: AbilitiesInForce, chosen: Sequence[Source], as_json: bool
) -> None:
    """What was switched off, the newest last; what a later certificate lifted is told as such."""
    names = {one.identity for one in chosen}
    standing = {event.number for name in names for event in abilities.off(name)}
    found = [one for one in abilities.events() if one.kind == "off" and one.source in names]
    shown: list[dict[str, Any]] = [
        {
            "number": one.number, "at": one.at, "source": one.source, "ability": one.ability,
            "in_force": one.number in standing, "query_id": one.query_id,
            "evidence": json.loads(one.content),
        }
        for one in found
    ]  # fmt: skip
    if as_json:
        print_json({"evidence": shown})
        return
    for one in shown:
        state = "off" if one["in_force"] else "lifted"
        click.echo(f"{one['source']}: {one['ability']} {state} since {one['at']}")
        for name, value in one["evidence"].items():
            click.echo(f"  {name}: {value}")
    if not shown:
        click.echo("nothing was switched off")
