"""Who may see what of the sample mesh, against cases that were written by hand.

Takes: sample.yaml and the files of the sample mesh. Gives: verdict, filters, masks, columns.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.authorize import authorize_tables
from gateway.decision import PolicyIndex
from gateway.errors import SqluiceError
from gateway.identity import principal_of
from gateway.publish import build_snapshot
from gateway.resolve import Address
from gateway.snapshot import Snapshot

CASES = yaml.safe_load(Path(__file__).with_name("sample.yaml").read_text(encoding="utf-8"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    return build_snapshot(Path(__file__).resolve().parents[2] / "conf")


def _index(snapshot: Snapshot) -> PolicyIndex:
    return snapshot.index


def test_there_are_enough() -> None:
    assert len(CASES) >= 150
    assert {one["verdict"] for one in CASES} == {"ok", "unknown_table", "purpose_required"}


@pytest.mark.parametrize(
    "case", CASES, ids=lambda one: f"{one['user']}-{one['table']}-{one.get('purpose')}"
)
def test_case(case: dict[str, Any], snapshot: Snapshot) -> None:
    user = next(one for one in snapshot.mesh.users if one.name == case["user"])
    address = Address(*case["table"].split("."))
    purpose = case.get("purpose")
    try:
        decision = authorize_tables((address,), principal_of(user), purpose, NOW, _index(snapshot))
    except SqluiceError as error:
        assert error.code == case["verdict"]
        for name in case.get("purposes", ()):
            assert name in error.message
        return
    assert case["verdict"] == "ok"
    table = decision.tables[address]
    assert [one.policy for one in table.filters] == case.get("filters", [])
    masks = {one.name: one.kind for one in table.columns if one.kind != "clear"}
    assert masks == {name: kind or "null" for name, kind in case.get("masks", {}).items()}
    assert len(table.columns) == case["columns"]
    if "default" in case:
        assert (decision.purpose, decision.purpose_was_default) == (case["default"], True)
