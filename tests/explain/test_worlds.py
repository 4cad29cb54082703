"""EXPLAIN POLICY says the same of what is hidden and of what is not there.

Takes: pairs of meshes that differ in what the caller may not know. Gives: a failure where one byte
of an explanation differs. The controls differ in what he may know, and their explanations too.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
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
EMPTY = {"id": "e", "match": {"domain": "staff"}, "effect": {"hide": True}}
OPEN = "{kind: Grant, id: p, product: people, subjects: [{all: true}]}\n"
ENDED = OPEN.replace("subjects", "from: '2020-01-01', until: '2020-02-01', subjects")
PEOPLE = "domains/staff/grants/people.yaml"


def told(gateway: Running) -> list[object]:
    """What each statement's explanation and its own error say, revisions aside."""
    found: list[object] = []
    for sql in STATEMENTS:
        for domain in ("staff", None) if "people" in sql else (None,):
            asked: dict[str, Any] = {"now": NOW, "domain": domain, "purpose": "billing"}
            try:
                rows = gateway.ask(f"EXPLAIN POLICY {sql}", **asked)
                found.append([(sql, domain), *({**row, "revision": ""} for row in rows)])
                gateway.opened.gateway.describe(gateway.request(sql, **asked))
            except SqluiceError as error:
                found.append((sql, domain, error.code, error.message, error.remedy))
    return found


World = Callable[..., list[object]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """What is told in one mesh; `without` a column, or the whole domain of the people."""
    kept: dict[str, list[object]] = {}

    def made(case: dict[str, Any], without: str = "") -> list[object]:
        key = json.dumps([case, without])
        if key not in kept:
            folder = tmp_path_factory.mktemp("world")
            with running(folder, case) as gateway:
                _remove(folder, without)
                assert gateway.opened.publisher.reload(), gateway.opened.publisher.failure
                kept[key] = told(gateway)
        return kept[key]

    return made


def _remove(folder: Path, without: str) -> None:
    contract = folder / CONTRACT
    if without == "staff":
        shutil.rmtree(folder / "domains" / "staff")
    elif without:
        contract.write_text(re.sub(rf".*name: {without},.*\n", "", contract.read_text()))


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
        pytest.param({"governance": [EMPTY], "files": {PEOPLE: OPEN}}, "staff", id="no column"),
    ],
)
def test_hidden_and_absent_are_told_alike(
    case: dict[str, Any], without: str, world: World
) -> None:
    absent = {key: value for key, value in case.items() if key not in ("governance", "files")}
    there = world(case)
    assert same(there, world(absent, without))
    assert len(there) > len(STATEMENTS) * 1.5


@pytest.mark.parametrize("without", ["phone", "staff"])
def test_control_what_he_may_know_is_told(without: str, world: World) -> None:
    case = {"files": {PEOPLE: OPEN}} if without == "staff" else {}
    assert not same(world(case), world({}, without))


def _with_literals(*values: str) -> dict[str, Any]:
    """One mesh with a policy of each kind, and the constants of one world in it."""
    region, email, mask, suffix, rows = values
    effects: dict[str, dict[str, Any]] = {
        "f": {"effect": {"filter": f"region = '{region}' AND email <> '{email}'"}},
        "m": {"match": {"columns": ["email"]},
              "effect": {"mask": {"kind": "constant", "value": mask}}},
        "e": {"match": {"columns": ["region"]},
              "effect": {"mask": {"kind": "expression", "sql": f"concat(region, '{suffix}')"}}},
        "l": {"effect": {"limit": {"rows": int(rows)}}},
    }  # fmt: skip
    grant = {"id": "all", "product": "orders", "scope": f"region <> '{suffix}' OR id > {rows}"}
    return {
        "governance": [{"id": name, "match": {"domain": "shop"}, **one}
                       for name, one in effects.items()],
        "grants": [{**grant, "subjects": [{"all": True}]}],
    }  # fmt: skip


def test_literals_of_policies_have_no_say(world: World) -> None:
    one = world(_with_literals("EU", "a", "a", "b", "100"))
    assert same(one, world(_with_literals("SECRET", "b%", "another\nand longer", "YY", "4711")))
