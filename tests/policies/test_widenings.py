"""What a newer revision lets through: tightenings pass, widenings are found, dodges too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.mesh import load_mesh
from catalog.model import Mesh
from gateway.policies import tighten
from gateway.policies.compile import compile_policies
from gateway.policies.sides import Side
from gateway.policies.tighten import compare
from gateway.policies.widening import Comparison
from tests.policies.mesh import NOW, write_mesh

_FILES = {
    "contract": "domains/shop/contracts/orders.odcs.yaml",
    "product": "domains/shop/orders.odps.yaml",
    "domain": "domains/shop/domain.yaml",
    "staff_domain": "domains/staff/domain.yaml",
    "people": "domains/staff/contracts/people.odcs.yaml",
    "taxonomy": "governance/taxonomy.yaml",
}
CASES: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("widenings.yaml").read_text(encoding="utf-8")
)


def revisions(folder: Path, case: Mapping[str, Any]) -> tuple[Mesh, Mesh]:
    """The older and the newer mesh of a case; both compile."""
    both, common = case.get("both", {}), case.get("both_edit", [])
    earlier = [*common, *case.get("before_edit", [])]
    sides = (("before", earlier), ("after", [*earlier, *case.get("edit", [])]))
    before, after = (_written(folder / name, {**both, **case.get(name, {})}, edits)
                     for name, edits in sides)  # fmt: skip
    return before, after


def _written(folder: Path, case: Mapping[str, Any], edits: list[list[str]]) -> Mesh:
    write_mesh(folder, case)
    for name, old, new in edits:
        path = folder / _FILES.get(name, name)
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, (name, old)
        path.write_text(text.replace(old, new), encoding="utf-8")
    mesh = load_mesh(folder)
    compile_policies(mesh)
    return mesh


def named(found: Comparison) -> list[list[str]]:
    """Policies with what they would hold less."""
    return sorted(
        [one.policy, f"{one.table}.{one.column}" if one.column else one.table]
        for one in found.widenings
    )


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["name"])
def test_case(tmp_path: Path, case: Mapping[str, Any]) -> None:
    before, after = revisions(tmp_path, case)
    found = compare(before, after, NOW)
    told = "\n".join(str(one) for one in found.widenings)
    assert named(found) == case.get("widenings", []), told
    for words in case.get("says", []):
        assert words in told
    if "loosenings" in case or not case.get("widenings"):
        assert [one.policy for one in found.loosenings] == case.get("loosenings", [])
    if "tightenings" in case:
        assert list(found.tightenings) == case["tightenings"]


@pytest.mark.parametrize("case", CASES[::5], ids=lambda one: one["name"])
def test_what_is_skipped_would_have_changed_nothing(
    tmp_path: Path, case: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = revisions(tmp_path, case)
    quick = compare(before, after, NOW)
    monkeypatch.setattr(tighten, "_still", lambda ours, theirs: iter(()))
    monkeypatch.setattr(Side, "unchanged", lambda ours, theirs: frozenset())
    assert compare(before, after, NOW) == quick


def test_there_are_enough_cases_of_both_kinds() -> None:
    refused = [one for one in CASES if one.get("widenings")]
    assert len(refused) >= 40
    assert len(CASES) - len(refused) >= 20


def test_the_same_mesh_again_is_no_change(tmp_path: Path) -> None:
    for number, case in enumerate(CASES[::9]):
        before, _ = revisions(tmp_path / str(number), case)
        assert compare(before, before, NOW) == Comparison()
