"""What may stand beside a policy, and what a source may compare.

Takes: conditions as text over a few columns. Gives: whether they are safe (they can fail on no
row and read clear columns only), and why a source may not evaluate them. Nothing runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import sqlglot
from sqlglot import exp

from connectors.base import load_abilities
from gateway.pushable import Checker
from gateway.safe_predicates import is_safe

TYPES = {"id": "INTEGER", "big": "BIGINT", "name": "VARCHAR", "born": "DATE", "hidden": "VARCHAR"}
CLEAR = TYPES.keys() - {"hidden"}

SAFE = (
    "id = 7", "id <> 7", "7 > id", "id BETWEEN 1 AND 3", "id IN (1, 2)", "name IS NULL",
    "name = 'a'", "NOT name = 'a'", "id = 1 OR name = 'b'", "id IS NOT DISTINCT FROM 3",
    "born >= DATE '2024-01-01'", "name NOT IN ('a', 'b')",
)  # fmt: skip
NOT_SAFE = (
    "hidden = 'a'", "hidden IS NULL", "hidden IN ('a')", "hidden BETWEEN 'a' AND 'b'",
    "id = 1 OR hidden = 'a'", "name LIKE 'a%'", "name ILIKE 'a'", "id = big", "name = 7",
    "id = 'x'", "id + 1 = 2", "CAST(name AS INTEGER) = 1", "lower(name) = 'a'", "id = 99999999999",
    "born = '2024-02-30'", "id IN (1, big)", "name IN (7)", "10 // id = 1", "name SIMILAR TO 'a'",
    "name GLOB 'a*'",
)  # fmt: skip


def parsed(text: str) -> exp.Expression:
    return cast("exp.Expression", sqlglot.parse_one(text, dialect="duckdb"))


def checker(kind: str) -> Checker:
    return Checker(load_abilities(kind), lambda column: TYPES.get(column.name), (), "UTC")


def _is_safe(text: str, kind: str) -> bool:
    return is_safe(parsed(text), lambda column: column.name in CLEAR, checker(kind))


@pytest.mark.parametrize("kind", ["duckdb", "postgres", "sqlite"])
def test_safe(kind: str) -> None:
    assert [one for one in SAFE if not _is_safe(one, kind)] == []


@pytest.mark.parametrize("kind", ["duckdb", "postgres", "sqlite"])
def test_not_safe(kind: str) -> None:
    assert [one for one in NOT_SAFE if _is_safe(one, kind)] == []


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_a_source_compares_one_type_with_itself(kind: str) -> None:
    made = {one: checker(kind).refusal(parsed(one)) for one in ("id = name", "born < name")}
    assert set(made.values()) == {"type_mismatch"}
    assert checker(kind).refusal(parsed("id = big")) is None


MAY_FAIL = (
    "year(born) = 2000", "date_trunc('year', born) < DATE '2000-01-01'", "id + 1 > 5",
    "CAST(big AS INTEGER) = 5", "CAST(extract(month FROM born) AS INTEGER) = 5",
)  # fmt: skip


@pytest.mark.parametrize("text", MAY_FAIL)
def test_a_policy_at_a_source_fails_on_no_value(text: str) -> None:
    """Also on one that the contract's type has not; what a caller writes may fail loudly."""
    plain = checker("postgres")
    assert plain.refusal(parsed(text)) is None
    assert replace(plain, is_policy=True).refusal(parsed(text)) == "may_fail"
