"""Predicates on dimensions go down, and what could fail on a row is refused: the reviewed plans.

Takes: dimensions.yaml. Gives: a failure where a plan is another. That answers are those of DuckDB
is shown in `test_groups.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.aggregate.dimensions import load, planned
from tests.aggregate.mesh import Money, open_money


@pytest.fixture(scope="module")
def money(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Money]:
    made = open_money(tmp_path_factory.mktemp("money"))
    yield made
    made.opened.close()


@pytest.mark.parametrize("one", load(), ids=lambda one: f"{one['kind']} {one['sql'][-40:]}")
def test_planned(money: Money, one: dict[str, Any]) -> None:
    assert planned(money, one) == one["planned"]
