"""`sqluice policy test`: the sample's cases hold, and a case that should not hold is a surprise.

Takes: the sample mesh's files and cases written here. Gives: what the command prints and how it
ends. The controls: each case of the sample, with what it expects turned round, is a surprise; and a
mesh without its policies surprises.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from gateway.cli.policy import policy
from gateway.engines.duckdb import DuckdbEngine, EngineSettings
from gateway.policies.cases import Case, read_cases, run_case
from gateway.publish import build_snapshot
from gateway.snapshot import Snapshot

CONF = Path(__file__).resolve().parents[2] / "conf"
CASES = read_cases(CONF)


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return build_snapshot(CONF)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckdbEngine]:
    spill = str(tmp_path_factory.mktemp("spill"))
    made = DuckdbEngine(EngineSettings(memory="256MB", threads=1, spill=spill))
    yield made
    made.close()


def test_the_sample_has_a_full_set() -> None:
    assert len(CASES) >= 25
    assert {one.file.split("/")[0] for one in CASES} == {"governance", "domains"}
    verdicts = {one.content["expect"].get("verdict", "ok") for one in CASES}
    assert {"ok", "unknown_table", "purpose_required", "unknown_column"} <= verdicts


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_sample(case: Case, snapshot: Snapshot, engine: DuckdbEngine) -> None:
    assert run_case(case, snapshot, engine).surprises == ()


def turned(expected: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a case expects, each part of it made wrong."""
    verdict = expected.get("verdict", "ok")
    yield {**expected, "verdict": "type_error" if verdict == "ok" else "ok"}
    for name, kind in expected.get("columns", {}).items():
        yield {"columns": {name: "constant" if kind != "constant" else "clear"}}
    if "policies" in expected:
        yield {"policies": [*expected["policies"], "nobody.knows"]}
        yield {"policies": expected["policies"][1:]}
    rows = expected.get("rows")
    if isinstance(rows, list):
        yield {"rows": len(rows) + 1}
        yield {"rows": [*rows, ["one", "too", "many"]]}
        if rows:
            yield {"rows": rows[1:]}
            yield {"rows": [[*rows[0][:-1], "another"], *rows[1:]]}


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_the_same_turned_round_is_a_surprise(
    case: Case, snapshot: Snapshot, engine: DuckdbEngine
) -> None:
    for expected in turned(case.content["expect"]):
        wrong = Case(case.file, case.name, {**case.content, "expect": expected})
        assert run_case(wrong, snapshot, engine).surprises != (), expected


def run(*arguments: str) -> Result:
    return CliRunner().invoke(policy, ["test", *arguments])


def test_the_command(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    ran = run("--conf", str(CONF), "--junit", str(report))
    assert ran.exit_code == 0, ran.output
    assert f"{len(CASES)} cases as expected, 0 surprises" in ran.output
    suite = ElementTree.parse(report).getroot()
    assert (suite.get("tests"), suite.get("failures")) == (str(len(CASES)), "0")


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The sample without the policy on names."""
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    file = conf / "governance" / "policies" / "personal-data.yaml"
    texts = file.read_text(encoding="utf-8").split("---\n")
    kept = [one for one in texts if "governance.pii-name" not in one]
    assert len(kept) == len(texts) - 1
    file.write_text("---\n".join(kept), encoding="utf-8")
    return conf


def test_a_policy_that_is_gone_is_noticed(changed: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    ran = run("--conf", str(changed), "--json", "--junit", str(report))
    assert ran.exit_code == 1
    found = json.loads(ran.output)
    surprises = {one["name"]: one["surprises"] for one in found["cases"] if one["surprises"]}
    name = "Marketing meets members of its regions under pseudonyms"
    assert "column name: clear, not null" in surprises[name]
    assert found["failed"] == len(surprises)
    failures = ElementTree.parse(report).getroot().findall("testcase/failure")
    assert len(failures) == len(surprises)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("kind: PolicyTests\ntests: [", "YAML"),
        ("kind: PolicyTests\ntests: [{name: a, principal: {user: b}, expect: {}}]", "expect"),
        ("kind: PolicyTests\ntests: [{name: a, principal: {user: b}, expct: {rows: 1}}]", "tests"),
        ("kind: Policy\ntests: []", "kind"),
    ],
)
def test_a_file_of_another_shape_is_told(tmp_path: Path, text: str, word: str) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    (conf / "governance" / "tests" / "odd.yaml").write_text(text, encoding="utf-8")
    ran = run("--conf", str(conf))
    assert ran.exit_code == 1
    assert "governance/tests/odd.yaml" in ran.output
    assert word in ran.output


def test_only_some(tmp_path: Path) -> None:
    ran = run("--conf", str(CONF), "--only", "carriers.yaml", "--json")
    assert json.loads(ran.output)["passed"] == 5
    none = run("--conf", str(CONF), "--only", "nothing is called so")
    assert none.exit_code == 1
    assert "no case" in none.output
