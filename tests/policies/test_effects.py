"""Each effect, for each way to say whom, at both levels: cases written by hand.

Takes: effects.yaml and refused.yaml. Gives: rows, columns, limits or the error; for meshes that
must not load the problem with its file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.errors import InvalidConfig, SqluiceError
from gateway.guard import render
from tests.policies.mesh import decide, index_of, rows_of

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE / "effects.yaml").read_text(encoding="utf-8"))
REFUSED = yaml.safe_load((HERE / "refused.yaml").read_text(encoding="utf-8"))


def _asked(case: dict[str, Any]) -> list[dict[str, Any]]:
    """One mesh may be asked several times."""
    return [{**case, **one} for one in case.get("asks", [{}])]


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["name"])
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    index = index_of(tmp_path, case)
    for asked in _asked(case):
        try:
            decision, guarded = decide(index, asked)
        except SqluiceError as error:
            assert error.code == asked.get("error"), error.message
            assert asked.get("says", "") in error.message
            continue
        assert "error" not in asked, asked
        if "rows" in asked:
            assert rows_of(guarded, asked.get("timezone", "UTC")) == asked["rows"], asked
        if "guarded" in asked:
            assert render(guarded) == asked["guarded"].strip()
        if "columns" in asked:
            table = next(iter(decision.tables.values()))
            assert [one.name for one in table.columns] == asked["columns"].split()
        if "limits" in asked:
            assert dict(decision.limits) == asked["limits"]
        if "quotas" in asked:
            held = [[q.policy, q.per, q.requests, q.rows, q.bytes] for q in decision.quotas]
            assert held == asked["quotas"]
        if "until" in asked:
            assert decision.valid_until is not None
            assert decision.valid_until.isoformat() == asked["until"]


@pytest.mark.parametrize("case", REFUSED, ids=lambda one: one["name"])
def test_refused(case: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig) as caught:
        index_of(tmp_path, case)
    assert case["problem"] in caught.value.message
    assert case.get("file", "case.yaml") in caught.value.message
