"""Which inputs could be narrowed by keys of which others.

Takes: statements over the sample mesh. Gives: the slots of their fragments.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.golden.forms import Mesh, forms_of

CASES = yaml.safe_load(Path(__file__).with_name("keys.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """The sample mesh's files."""
    made = Mesh()
    yield made
    made.engine.close()


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["sql"][:60])
def test_what_could_narrow_what(case: dict[str, Any], mesh: Mesh) -> None:
    stay = frozenset(case.get("keys_stay", ()))
    planned = forms_of(mesh, case["user"], case["sql"], keys=True, keys_stay=stay)["planned"]
    found = [line.strip()[5:] for line in planned.splitlines() if line.startswith("  keys ")]
    assert sorted(found) == sorted(case["keys"])
