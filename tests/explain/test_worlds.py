"""EXPLAIN POLICY says the same of what is hidden and of what is not there.

Takes: pairs of meshes that differ in what the caller may not know. Gives: a failure where one byte
of an explanation differs. The controls differ in what he may know, and their explanations too.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import SqluiceError
from tests.policies.mesh import NOW
from tests.policies.running import Running, running

CONTRACT = "domains/shop/contracts/orders.odcs.yaml"
STATEMENTS = (
    "SELECT * FROM shop.orders",
    "SELECT id, phone FROM shop.orders",
    "SELECT id FROM shop.orders WHERE phone LIKE '%1'",
    "SELECT o.phone AS p, count(*) FROM shop.orders AS o GROUP BY p ORDER BY o.PHONE",
    "SELECT id FROM shop.orders WHERE EXISTS (SELECT 1 FROM shop.orders AS i WHERE i.id = phone)",
    "WITH phone AS (SELECT * FROM shop.orders) SELECT id, phone FROM phone",
    "SELECT orders.id, a.size FROM shop.orders JOIN staff.people.areas AS a USING (region)",
    "SELECT orders.id, size, phone FROM shop.orders JOIN staff.people AS a ON person = email",
    "SELECT * FROM staff.people",
    "SELECT count(*) FROM staff.people.areas",
    "SELECT size FROM staff.people.areas",
    "SELECT size FROM staff.people.Areas AS a, staff.\"people@1\".areas AS b",
    "SELECT size FROM people",
    "SELECT size FROM people.areas",
    "SELECT * FROM (SELECT size, * FROM staff.people) AS s JOIN shop.orders ON orders.id = s.size",
)
HIDDEN = {"id": "h", "match": {"columns": ["phone"]}, "effect": {"hide": True}}
COVERED = {
    "id": "all", "product": "orders", "subjects": [{"all": True}],
    "columns": ["id", "region", "email", "born", "placed", "amount"],
}  # fmt: skip
DENIED = {"id": "d", "match": {"product": "staff.people"}, "effect": {"deny": True}}
OPEN = "{kind: Grant, id: p, product: people, subjects: [{all: true}]}\n"
ENDED = OPEN.replace("subjects", "from: '2020-01-01', until: '2020-02-01', subjects")
PEOPLE = "domains/staff/grants/people.yaml"


def told(gateway: Running) -> list[object]:
    """What each statement's explanation and its own error say, revisions aside."""
    found: list[object] = []
    for sql in STATEMENTS:
        for asked in (f"EXPLAIN POLICY {sql}", sql):
            for domain in (None, "staff"):
                try:
                    rows = gateway.ask(asked, now=NOW, domain=domain, purpose="billing")
                except SqluiceError as error:
                    found.append((asked, domain, error.code, error.message, error.remedy))
                    continue
                if asked != sql:
                    found.append([(asked, domain), *({**row, "revision": ""} for row in rows)])
    return found


def world(folder: Path, case: dict[str, Any], without: str = "") -> list[object]:
    """What is told in one mesh; `without` a column, or the whole domain of the people."""
    with running(folder, case) as gateway:
        contract = folder / CONTRACT
        if without == "staff":
            shutil.rmtree(folder / "domains" / "staff")
        elif without:
            contract.write_text(re.sub(rf".*name: {without},.*\n", "", contract.read_text()))
        assert gateway.opened.publisher.reload(), gateway.opened.publisher.failure
        return told(gateway)


def same(one: Sequence[object], other: Sequence[object]) -> bool:
    """Byte for byte."""
    return json.dumps(one, default=str) == json.dumps(other, default=str)


@pytest.mark.parametrize(
    ("case", "without"),
    [
        pytest.param({"governance": [HIDDEN]}, "phone", id="hidden by a policy"),
        pytest.param({"grants": [COVERED]}, "phone", id="in no grant"),
        pytest.param({}, "staff", id="no grant"),
        pytest.param({"governance": [DENIED], "files": {PEOPLE: OPEN}}, "staff", id="denied"),
        pytest.param({"files": {PEOPLE: ENDED}}, "staff", id="ended"),
    ],
)
def test_hidden_and_absent_are_told_alike(
    case: dict[str, Any], without: str, tmp_path: Path
) -> None:
    absent = {key: value for key, value in case.items() if key not in ("governance", "files")}
    there = world(tmp_path / "there", case)
    assert same(there, world(tmp_path / "absent", absent, without))
    assert len(there) > len(STATEMENTS) * 2


@pytest.mark.parametrize("without", ["phone", "staff"])
def test_control_what_he_may_know_is_told(without: str, tmp_path: Path) -> None:
    case = {"files": {PEOPLE: OPEN}} if without == "staff" else {}
    assert not same(world(tmp_path / "there", case), world(tmp_path / "absent", {}, without))


def _policies(policy: dict[str, Any], *effects: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"governance": [{"match": {"domain": "shop"}, **policy, "effect": one}]}
            for one in effects]  # fmt: skip


LITERALS = (
    _policies({"id": "f"}, {"filter": "region = 'EU' AND email <> 'a'"},
              {"filter": "region = 'SECRET' AND\n email <> 'b%'"}),
    _policies({"id": "m", "match": {"columns": ["email"]}},
              {"mask": {"kind": "constant", "value": "a"}},
              {"mask": {"kind": "constant", "value": "another\nand longer"}}),
    _policies({"id": "e", "match": {"columns": ["email"]}},
              {"mask": {"kind": "expression", "sql": "concat(region, 'a')"}},
              {"mask": {"kind": "expression", "sql": "concat('b', phone)"}}),
    _policies({"id": "l"}, {"limit": {"rows": 100}}, {"limit": {"rows": 200}}),
    [{"grants": [{"id": "all", "product": "orders", "scope": one, "subjects": [{"all": True}]}]}
     for one in ("region = 'EU'", "region IN ('XX', 'YY') OR id > 4711")],
)  # fmt: skip


@pytest.mark.parametrize(("one", "other"), LITERALS)
def test_literals_of_policies_have_no_say(
    one: dict[str, Any], other: dict[str, Any], tmp_path: Path
) -> None:
    with running(tmp_path / "one", one) as gateway:
        first = [line for line in told(gateway) if isinstance(line, list)]
    with running(tmp_path / "other", other) as gateway:
        second = [line for line in told(gateway) if isinstance(line, list)]
    assert first and same(first, second)
