"""What docs/policies.md shows of a refused widening is what a reader would get."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import yaml

from catalog.mesh import load_mesh
from gateway.policies.tighten import compare
from tests.policies.test_page import PAGE
from tests.sample import CONF

CONTRACT = "domains/loyalty/contracts/members.odcs.yaml"


def test_the_page_shows_what_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    shutil.copytree(CONF, folder)
    path = folder / CONTRACT
    text = path.read_text(encoding="utf-8")
    assert text.count("tags: [pii.email]") == 1
    path.write_text(text.replace("tags: [pii.email]", "tags: []"), encoding="utf-8")
    found = compare(load_mesh(CONF), load_mesh(folder), datetime.now(UTC)).widenings
    told = [str(one) for one in found if one.policy == "governance.pii-email"]
    shown = re.search(r"```text widening\nREFUSED: (.*?)```", PAGE.read_text(), re.S)
    assert shown is not None
    assert [one.split(" Widening ")[0] for one in told] == [" ".join(shown[1].split())]
    # Without its tag the column is under no ceiling either.
    assert {one.policy for one in found} == {"governance.pii-email", "governance.personal-data"}


def test_the_page_shows_the_ceiling_of_the_sample() -> None:
    page = PAGE.read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(kind: Ceiling\n.*?)```", page, re.S)
    assert block is not None
    real = yaml.safe_load((CONF / "governance" / "ceilings.yaml").read_text(encoding="utf-8"))
    del real["description"]
    assert yaml.safe_load(block[1]) == real
