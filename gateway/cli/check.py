"""`sqluice check`: everything that is wrong with a mesh, in one go.

Takes: a mesh folder. Gives: each problem with file, line, path and remedy; what it widens against
the revision in force, where one is; with `--live` also where contracts and sources differ. Never
changes anything, never shows a secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sized
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

from catalog.mesh import MeshError, load_mesh
from catalog.model import Mesh, Place, Source
from connectors.base import Connection, load_connector
from gateway.advance import Advance
from gateway.audit import state_if_there
from gateway.cli.output import (
    EXIT_CODES,
    PROBLEMS,
    conf_option,
    json_option,
    print_json,
    shows_errors,
)
from gateway.config import Config, load_config
from gateway.errors import InvalidConfig
from gateway.opening import check_settings
from gateway.policies.compile import compile_policies
from gateway.publish import build_snapshot, unknown_kinds
from gateway.secrets import Secrets
from gateway.source_check import OpenConnection, SourceProblem, check_sources

_PLACE = re.compile(r"(?P<file>[^:\s]+):(?P<line>\d+)(?: (?P<path>\S+))?: ")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    severity: str
    code: str
    file: str
    line: int | None
    path: str
    message: str
    remedy: str


@click.command(epilog=f"Example: sqluice check --conf conf --live --json. {EXIT_CODES}")
@conf_option
@click.option("--live", is_flag=True, help="Also compare each contract with its live source.")
@json_option
@shows_errors
def check(conf: str | None, live: bool, as_json: bool) -> None:
    """Check the files of a mesh, and its sources with --live."""
    config = load_config(Path(conf) if conf else None)
    mesh, findings = _check_files(config.folder)
    if live and mesh is not None:
        findings += [_of_source(one) for one in check_sources(mesh, _opener(config, mesh))]
    if mesh is not None:
        findings += _widenings(config, mesh)
    errors = [one for one in findings if one.severity == "error"]
    if as_json:
        shown = {"revision": mesh.revision if mesh else None, "live": live}
        print_json({"ok": not errors, **shown, "problems": [asdict(one) for one in findings]})
    else:
        _print(mesh, findings, live)
    if errors:
        raise SystemExit(PROBLEMS)


def _check_files(folder: Path) -> tuple[Mesh | None, list[Finding]]:
    try:
        mesh = load_mesh(folder)
    except MeshError as error:
        return None, [_of_file(one.place, one.message, one.remedy) for one in error.problems]
    remedy = "Correct it, or install the connector."
    findings = [_of_line(one, remedy) for one in unknown_kinds(mesh)]
    try:
        compile_policies(mesh)
    except InvalidConfig as error:
        findings += [_of_line(line, error.remedy) for line in error.message.splitlines()]
    return (None if findings else mesh), findings


def _widenings(config: Config, mesh: Mesh) -> list[Finding]:
    """What nobody approved of what the files widen, where a revision is in force."""
    state = state_if_there(config)
    if state is None:
        return []
    refused = Advance(state, build_snapshot).step(mesh).refused
    state.dispose()
    remedy = "Take it back, or let the governance group approve it: sqluice policy approve ID."
    found = []
    for one in refused:
        made = _of_line(str(one), remedy)
        found.append(replace(made, code="conflict"))
    return found


def _of_line(line: str, remedy: str) -> Finding:
    """A problem that comes as one line of text, its place before the first colon and space."""
    match = _PLACE.match(line)
    if match is None:
        return _of_file(Place("."), line, remedy)
    place = Place(match["file"], match["path"] or "", int(match["line"]))
    return _of_file(place, line[match.end() :], remedy)


def _of_file(place: Place, message: str, remedy: str) -> Finding:
    return Finding(
        "error", "invalid_config", place.file, place.line, place.path, message, remedy
    )


def _of_source(problem: SourceProblem) -> Finding:
    place = problem.place
    return Finding(
        severity="warning" if problem.is_warning else "error",
        code=problem.code,
        file=place.file,
        line=place.line,
        path=place.path,
        message=problem.message,
        remedy=problem.remedy,
    )


def _opener(config: Config, mesh: Mesh) -> OpenConnection:
    secrets = Secrets(config.secrets, os.environ, [one.name for one in mesh.domains])

    def open_source(source: Source) -> Connection:
        check_settings(source)
        return load_connector(source.kind).connect(secrets.settings(source, config.data))

    return open_source


def _print(mesh: Mesh | None, findings: list[Finding], live: bool) -> None:
    for one in findings:
        place = Place(one.file, one.path, one.line)
        mark = "" if one.severity == "error" else "warning: "
        click.echo(f"{place}: {mark}{one.message}\n    {one.remedy}", err=True)
    errors = sum(one.severity == "error" for one in findings)
    if errors:
        click.echo(_count(range(errors), "problem"), err=True)
    elif mesh is not None:
        checked = "files and sources" if live else "files"
        click.echo(
            f"{checked} are fine: {_count(mesh.domains, 'domain')}, "
            f"{_count(mesh.products, 'product')}, {_count(mesh.policies, 'policy')}, "
            f"revision {mesh.revision[:12]}"
        )


def _count(held: Sized, word: str) -> str:
    """A number with its noun."""
    many = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{len(held)} {word if len(held) == 1 else many}"
