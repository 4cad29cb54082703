"""The lines of EXPLAIN POLICY, and what none of them may say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from sqlglot import exp

from gateway.authorize import authorize_tables
from gateway.decision import Condition, Scope, TableDecision
from gateway.errors import UnknownColumn, UnsupportedSql
from gateway.matching import Asking
from gateway.request import Principal
from gateway.resolve import Address
from gateway.why import Why
from sqluice import explained
from tests.policies.mesh import NOW
from tests.policies.running import Running, running

CASES = yaml.safe_load(Path(__file__).with_name("lines.yaml").read_text(encoding="utf-8"))
_KEYS = ("what", "object", "outcome", "policy", "file", "detail")


def _told(gateway: Running, case: dict[str, Any]) -> list[dict[str, str]]:
    more: dict[str, Any] = {"purpose": case.get("purpose")}
    if "as" in case:
        more["principal"] = Principal("ada", **case["as"])
    return gateway.ask(f"EXPLAIN POLICY {case['sql']}", **more)


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["name"])
def test_lines(case: dict[str, Any], tmp_path: Path) -> None:
    with running(tmp_path, case) as gateway:
        told = _told(gateway, case)
        assert [[one[key] for key in _KEYS] for one in told] == case["lines"]
        revision = gateway.opened.publisher.current().mesh.revision[:12]
        for one in told:
            assert tuple(one) == explained.COLUMNS
            assert one["revision"] == (revision if one["file"] else "")
        shown = json.dumps(told)
        for literal in ("EU", "4711", "4712", "hidden-value", "subject", "phone"):
            assert literal not in shown or literal in case["sql"]


def test_what_is_no_matter_of_policy_stays_an_error(tmp_path: Path) -> None:
    with running(tmp_path, {}) as gateway:
        with pytest.raises(UnknownColumn):
            gateway.ask("EXPLAIN POLICY WITH c AS (SELECT id FROM shop.orders) SELECT nope FROM c")
        with pytest.raises(UnsupportedSql):
            gateway.ask("EXPLAIN POLICY PIVOT shop.orders ON region USING count(*)")


def test_the_document_and_the_text_are_of_the_same_lines(tmp_path: Path) -> None:
    case = next(one for one in CASES if one["name"].startswith("masks of three"))
    with running(tmp_path, case) as gateway:
        told = _told(gateway, case)
        refused = gateway.ask("EXPLAIN POLICY SELECT email, nope FROM shop.orders")
    document = explained.document(told)
    assert document["verdict"] == "allowed"
    assert document["purpose"] == {"purpose": "billing", "outcome": "as declared", "detail": ""}
    (table,) = cast("list[dict[str, list[dict[str, str]]]]", document["tables"])
    assert [one["policy"] for one in table["rules"]] == ["all"]
    assert [(one["column"], one["policy"]) for one in table["columns"]] == [("email", "n")]
    assert document["requests"] == []
    lines = list(explained.text(told))
    assert lines[:3] == [
        "statement: allowed", "purpose billing: as declared", f"revision {told[-1]['revision']}"
    ]
    assert "  email  masked: null  n  governance/policies/case.yaml" in lines
    asked = list(explained.text(refused))
    assert asked[asked.index("---") + 1].startswith("# It holds once")
    assert "columns: [nope]" in asked
    assert explained.document(refused)["requests"] == [refused[-1]["request"]]


def test_rules_that_stand_in_no_file_are_named_too(tmp_path: Path) -> None:
    """A decision may be made elsewhere; here one is made by hand."""
    case = {"grants": [{"id": "g", "product": "orders", "subjects": [{"all": True}]}]}
    with running(tmp_path, case) as gateway:
        snapshot = gateway.opened.publisher.current()
        address = Address("shop", "orders", "orders")
        asker = Principal("ada")
        decision = authorize_tables((address,), asker, None, NOW, snapshot.index)
        true = Condition("outer-filter", exp.true(), "TRUE")
        column = replace(decision.tables[address].columns[0], kind="null", policy="outer-mask")
        table = TableDecision(address, (Scope("outer", None, None),), (true,), (column,))
        made = replace(decision, tables={address: table})
        asking = Asking(asker, None, NOW)
        why = Why(made, snapshot.index, asking, {address: ("id",)}, {})
    assert [(one.what, one.outcome, one.policy, one.file) for one in why.lines()] == [
        ("table", "granted, all rows", "outer", ""),
        ("rows", "rows filtered", "outer-filter", ""),
        ("column", "masked: null", "outer-mask", ""),
    ]


def test_control_characters_do_not_reach_the_terminal() -> None:
    rows = [dict.fromkeys(explained.COLUMNS, "\x1b[2J")]
    assert "\x1b" not in "".join(explained.text([{**rows[0], "what": "table"}]))
