"""`sqluice policy`: the cases beside a mesh's policies; `simulate` has a file of its own.

Takes: a mesh folder. Gives: each case that surprises, counts, and JUnit XML where it is asked for.
Never asks a source, never changes a file of the mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import click

from gateway.cli.approve import approve
from gateway.cli.output import (
    EXIT_CODES,
    PROBLEMS,
    conf_option,
    json_option,
    print_json,
    shows_errors,
)
from gateway.cli.simulate import simulate_change
from gateway.config import load_config
from gateway.engines.duckdb import DuckdbEngine, EngineSettings
from gateway.errors import InvalidConfig
from gateway.policies.cases import Outcome, read_cases, run_case
from gateway.publish import build_snapshot


@click.group()
def policy() -> None:
    """Test policies, and see what a change of them would do."""


policy.add_command(simulate_change)
policy.add_command(approve)


@policy.command(
    epilog=f"Example: sqluice policy test --conf conf --junit report.xml. {EXIT_CODES}"
)
@conf_option
@click.option("--only", metavar="TEXT", help="Only cases whose name or file contains this.")
@click.option(
    "--junit", type=click.Path(dir_okay=False), metavar="FILE", help="Write JUnit XML there."
)
@json_option
@shows_errors
def test(conf: str | None, only: str | None, junit: str | None, as_json: bool) -> None:
    """Run the cases of governance/tests and domains/*/tests; exit 1 on a surprise."""
    config = load_config(Path(conf) if conf else None)
    snapshot = build_snapshot(config.folder)
    cases = [
        one for one in read_cases(config.folder)
        if only is None or only in one.name or only in one.file
    ]  # fmt: skip
    if not cases:
        raise InvalidConfig(
            "There is no case to run.",
            hint="Write some below governance/tests or domains/<domain>/tests; docs/policies.md "
            "shows their form.",
        )
    with TemporaryDirectory() as spill:
        engine = DuckdbEngine(EngineSettings(memory="256MB", threads=1, spill=spill))
        outcomes = [run_case(one, snapshot, engine) for one in cases]
        engine.close()
    if junit is not None:
        Path(junit).write_text(_junit(outcomes), encoding="utf-8")
    failed = [one for one in outcomes if one.surprises]
    if as_json:
        print_json(_shown(outcomes))
    else:
        for one in failed:
            click.echo(f"{one.case.file}: {one.case.name}")
            for surprise in one.surprises:
                click.echo(f"    {surprise}")
        click.echo(f"{len(outcomes) - len(failed)} cases as expected, {len(failed)} surprises")
    if failed:
        raise SystemExit(PROBLEMS)


def _shown(outcomes: Sequence[Outcome]) -> dict[str, object]:
    failed = sum(bool(one.surprises) for one in outcomes)
    return {
        "passed": len(outcomes) - failed,
        "failed": failed,
        "cases": [
            {"file": one.case.file, "name": one.case.name, "surprises": list(one.surprises)}
            for one in outcomes
        ],
    }


def _junit(outcomes: Sequence[Outcome]) -> str:
    failed = sum(bool(one.surprises) for one in outcomes)
    suite = ElementTree.Element(
        "testsuite", name="policies", tests=str(len(outcomes)), failures=str(failed)
    )
    for one in outcomes:
        made = ElementTree.SubElement(
            suite, "testcase", classname=one.case.file, name=one.case.name
        )
        if one.surprises:
            failure = ElementTree.SubElement(made, "failure", message=one.surprises[0])
            failure.text = "\n".join(one.surprises)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)
