"""Which values of sub-queries could bound which inputs.

Takes: statements over the sample mesh. Gives: what EXPLAIN says of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.golden.forms import Mesh, forms_of

CASES = yaml.safe_load(Path(__file__).with_name("values.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """The sample mesh's files."""
    made = Mesh()
    yield made
    made.engine.close()


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["why"][:60])
def test_what_could_bound_what(case: dict[str, Any], mesh: Mesh) -> None:
    stay = frozenset(case.get("keys_stay", ()))
    planned = forms_of(mesh, case["user"], case["sql"], keys_stay=stay)["planned"]
    lines = [one.strip() for one in planned.splitlines()]
    found = [one[7:-6] for one in lines if one.startswith("pushed ") and one.endswith(" value")]
    assert sorted(found) == sorted(case["values"]), planned
    assert any(one.endswith("keys_stay") for one in lines) == bool(stay)
