"""A text that is none of its column's type tells nothing where it is hidden.

Takes: a column that its contract calls JSON, in a source that keeps any text. Gives: equal answers
whether a hidden row or cell holds JSON or not; the control shows that a visible one is an error.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.errors import SqluiceError
from tests.policies.mesh import SHOP
from tests.policies.running import Running, running

GOOD, BROKEN = '{"a": 1}', "{broken"
STATEMENTS = (
    "SELECT region FROM staff.people.areas ORDER BY person",
    "SELECT count(region) AS n FROM staff.people.areas",
    "SELECT person FROM staff.people.areas WHERE region IS NOT NULL ORDER BY 1 LIMIT 1",
    "SELECT a.region FROM staff.people.areas a JOIN shop.orders o ON o.id = a.size ORDER BY 1",
)
EVERYBODY = {"kind": "Grant", "product": "people", "subjects": [{"all": True}]}
# Functions that SQLite does not evaluate, so that rows come to the gateway before the policy.
IS_ADA, IS_BOB = "lower(person) = 'ada'", "lower(person) = 'bob'"
POLICIES: dict[str, Any] = {
    "a filter": {
        "grants": [{"id": "people"}],
        "policies": [{"filter": f"region IS NOT NULL AND {IS_ADA}"}],
    },
    "a mask": {
        "grants": [{"id": "people"}],
        "policies": [
            {"mask": {"kind": "expression", "sql": f"CASE WHEN {IS_ADA} THEN region END"}}
        ],
    },
    "cells": {
        "grants": [
            {"id": "one", "columns": ["person", "size", "region"], "scope": IS_ADA},
            {"id": "other", "columns": ["person", "size"], "scope": IS_BOB},
        ],
        "policies": [],
    },
    "nothing": {"grants": [{"id": "people"}], "policies": []},
}


def _case(name: str) -> dict[str, Any]:
    contract = (SHOP / "domains/staff/contracts/people.odcs.yaml").read_text()
    plain = "{name: region, logicalType: string, physicalType: text}"
    assert plain in contract
    json = "{name: region, logicalType: object, physicalType: json}"
    said = POLICIES[name]
    grants = yaml.safe_dump_all([{**EVERYBODY, **one} for one in said["grants"]])
    return {
        "files": {
            "domains/staff/contracts/people.odcs.yaml": contract.replace(plain, json),
            "domains/staff/grants/case.yaml": grants,
        },
        "governance": [
            {
                "id": f"p{number}",
                "match": {"domain": "staff", **({"columns": ["region"]} if "mask" in one else {})},
                "effect": one,
            }
            for number, one in enumerate(said["policies"])
        ],
    }


def _outcomes(gateway: Running, hidden: str) -> list[object]:
    with sqlite3.connect(gateway.folder / "data" / "staff.sqlite") as areas:
        areas.execute("DELETE FROM areas")
        rows = [("ada", GOOD, 1), *[("bob", hidden, 2)] * 3000]
        areas.executemany("INSERT INTO areas VALUES (?, ?, ?)", rows)
    return [_outcome(gateway, sql) for sql in STATEMENTS]


def _outcome(gateway: Running, sql: str) -> object:
    try:
        return gateway.ask(sql)
    except SqluiceError as error:
        return error.code, error.message, error.remedy


@pytest.mark.parametrize("name", POLICIES)
def test_broken_text_tells_nothing_where_it_is_hidden(name: str, tmp_path: Path) -> None:
    with running(tmp_path, _case(name)) as gateway:
        outcomes = [_outcomes(gateway, hidden) for hidden in (GOOD, BROKEN)]
        # Where nothing hides it, it is told apart.
        assert (outcomes[0] == outcomes[1]) is (name != "nothing")
        assert all(isinstance(one, list) for one in outcomes[0])
