"""`sqluice probe`: a report of an attack, and its exit code.

Takes: the sample mesh's files. Gives: what the command prints and writes. The control is a
gateway whose filters do nothing: the command must find that, and say so by its exit code.
"""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from gateway.cli.probe import probe
from tests.mutants.mutate import Mutant, mutated

CONF = Path(__file__).resolve().parents[2] / "conf"
GATE = Mutant(
    "gateway/guard.py",
    "_relation",
    "(*decided.filters, *_row_scope(decided.scopes))",
    "_row_scope(decided.scopes)",
    "filters hide no row",
)


def _attack(report: Path) -> tuple[int, dict[str, object]]:
    command = ["--conf", str(CONF), "--of", "carl", "-n", "16", "--report", str(report), "--json"]
    result = CliRunner().invoke(probe, command)
    shown = json.loads(result.stdout)
    assert json.loads(report.read_text(encoding="utf-8")) == shown
    return result.exit_code, shown


def test_nothing_is_learned(tmp_path: Path) -> None:
    code, shown = _attack(tmp_path / "report.json")
    assert (code, shown["holds"], shown["findings"]) == (0, True, [])
    assert (shown["tried"], shown["ran"]) == (16, 16)


def test_a_gateway_that_does_not_filter_is_found_out(tmp_path: Path) -> None:
    with mutated(GATE):
        code, shown = _attack(tmp_path / "report.json")
    assert (code, shown["holds"]) == (1, False)
    findings = shown["findings"]
    assert isinstance(findings, list)
    assert all(one["principal"] == "carl" and one["sql"] and one["learned"] for one in findings)


def test_who_is_no_user_cannot_attack() -> None:
    result = CliRunner().invoke(probe, ["--conf", str(CONF), "--of", "nobody"])
    assert result.exit_code == 4
