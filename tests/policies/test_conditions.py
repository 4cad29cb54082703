"""Conditions: what compiles, to what, and what is refused at load.

Takes: conditions.yaml. Gives: compiled text, or the reason of the refusal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from catalog.model import Column, Table
from gateway.policies.conditions import ConditionError, compile_condition
from gateway.request import Principal
from gateway.subjects import SubjectValues

FILE = yaml.safe_load(Path(__file__).with_name("conditions.yaml").read_text(encoding="utf-8"))
TYPES = {
    "id": "INTEGER",
    "name": "VARCHAR",
    "born": "DATE",
    "spend": "DECIMAL(12,2)",
    "at": "TIMESTAMP WITH TIME ZONE",
    "active": "BOOLEAN",
}
PEOPLE = Table("people", "people", tuple(Column(name, kind, name) for name, kind in TYPES.items()))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("text", "wanted"), FILE["accepted"])
def test_accepted(text: str, wanted: str) -> None:
    assert compile_condition("p", text, PEOPLE).sql == wanted


@pytest.mark.parametrize(("text", "reason"), FILE["refused"])
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(ConditionError, match=reason):
        compile_condition("p", text, PEOPLE)


@pytest.mark.parametrize(
    ("text", "attributes", "wanted"),
    [
        ("name IN (subject.team)", {"team": ("a", "b")}, "\"name\" IN ('a', 'b')"),
        ("name IN (subject.team)", {}, "FALSE"),
        ("name IN (subject.team)", {"team": ("o'neil",)}, "\"name\" IN ('o''neil')"),
        (
            "name IN (subject.team)",
            {"team": ("x') OR ('1'='1",)},
            "\"name\" IN ('x'') OR (''1''=''1')",
        ),
        ("id IN (subject.ids)", {"ids": ("1", "2")}, '"id" IN (1, 2)'),
        ("id IN (subject.ids)", {"ids": ("1 OR 1=1", "x")}, "FALSE"),
        ("id IN (subject.ids)", {"ids": ("99999999999",)}, "FALSE"),
        (
            "born IN (subject.days)",
            {"days": ("2000-01-01", "2000-02-30")},
            "\"born\" IN (CAST('2000-01-01' AS DATE))",
        ),
        ("name = subject.team", {"team": ("a", "b")}, "\"name\" IN ('a', 'b')"),
        ("name = subject.user", {}, "\"name\" = 'ada'"),
        ("name IN (subject.groups)", {}, "\"name\" IN ('g', 'h')"),
        ("NOT name IN (subject.team)", {}, "NOT NULL"),
        ("name = request.purpose", {}, "\"name\" = 'audit'"),
    ],
)
def test_subjects_become_literals(
    text: str, attributes: dict[str, tuple[str, ...]], wanted: str
) -> None:
    principal = Principal("ada", frozenset({"g", "h"}), attributes=attributes)
    values = SubjectValues(principal, "audit", NOW)
    assert values.fill(compile_condition("p", text, PEOPLE)).sql == wanted
