"""What EXPLAIN tells the owner of a source: only what can work at a source of that kind.

Takes: every kind and every reason. Gives: each hint, with what shows that it can help: the checker
takes what it refused. That an index serves is shown in `tests/connectors/test_index_hints.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlglot
from sqlglot import exp

from connectors.base import Abilities, declared_abilities, load_abilities
from gateway.ability_names import without
from gateway.certify.rows import can_certify
from gateway.hints import hint_for, index_hint
from gateway.pushable import Checker
from gateway.reasons import REASONS
from tests.reference import kinds

# What a source may declare so that a part for whose reason it is told goes down.
DECLARED = {
    "aggregate": "can_group = true\naggregates = {Sum = ['INTEGER']}",
    "collation": "comparable = ['VARCHAR']\ntext_collation = 'C'",
    "cte": "can_cte = true",
    "distinct": "can_distinct = true\ngroupable = ['INTEGER']",
    "function_not_identical": "functions = {Abs = ['INTEGER']}",
    "group": "can_group = true\ngroupable = ['INTEGER']",
    "join": "can_join = true\ncan_outer_join = true\ncan_full_join = true",
    "set_operation": "can_set_operation = true\ngroupable = ['INTEGER']",
    "sort": "can_sort = true\nsortable = ['INTEGER']",
    "source_cannot_filter": "can_filter = true",
    "subquery": "can_subquery = true",
    "type_not_comparable": "comparable = ['INTEGER']",
    "window": "can_window = true",
}
ASKED = {
    "collation": "s = 'a'",
    "function_not_identical": "abs(n)",
    "type_not_comparable": "n = 1",
    "aggregate": "sum(n)",
}
LISTS = {
    "type_not_comparable": "comparable", "sort": "sortable", "group": "groupable",
    "distinct": "groupable",
}  # fmt: skip


def refusal(
    abilities: Abilities, sql: str, kind: str = "INTEGER", is_policy: bool = False
) -> str | None:
    """Why the source must not evaluate an expression over `n` and `s`."""

    def type_of(column: exp.Column) -> str:
        return "VARCHAR" if column.name == "s" else kind

    tree = sqlglot.parse_one(sql, read="duckdb")
    assert isinstance(tree, exp.Expression)
    return Checker(abilities, type_of, (), "UTC", is_policy).refusal(tree)


def hints() -> Iterator[tuple[str, str]]:
    for kind in kinds():
        for reason in sorted(REASONS):
            if hint_for(reason, "stayed", load_abilities(kind)):
                yield kind, reason


@pytest.mark.parametrize(("kind", "reason"), list(hints()))
def test_a_hint_can_work_at_its_kind(kind: str, reason: str) -> None:
    declared = load_abilities(kind)
    hint = hint_for(reason, "stayed", declared)
    assert "certify" not in hint, "certifying adds nothing to what a kind declares"
    if "among the source's abilities" in hint:
        assert declared.is_unproven
        answers_it_when_declared(kind, reason)
    elif reason in LISTS:
        named = hint.partition(": ")[2].split(", ")
        assert set(named) == getattr(declared, LISTS[reason]) and named
        if reason == "type_not_comparable":
            assert {refusal(declared, "n = n", one) for one in named} == {None}
    elif reason == "list_too_long":
        most = declared.maximum_list
        assert refusal(declared, f"n IN ({', '.join(map(str, range(most)))}, -1)") == reason
        assert refusal(declared, "n BETWEEN 0 AND 10000") is None
        assert refusal(declared, "n IN (1, 2)") is None
    elif reason == "too_many_keys":
        assert declared.keys and str(declared.maximum_keys) in hint
    elif reason == "policy_not_exact":
        takes = declared.can_filter and not declared.is_unproven
        assert takes == hint.startswith("write the policy with comparisons")
        assert not takes or refusal(declared, "n = 1", is_policy=True) is None
    elif hint.endswith("its kind of source declares no such ability; a newer version may"):
        assert not (declared.is_unproven or declared.is_reference)
    else:
        assert {hint_for(reason, "stayed", load_abilities(one)) for one in kinds()} <= {hint, ""}


def answers_it_when_declared(kind: str, reason: str) -> None:
    """What stayed goes down once it is declared, and it may be declared."""
    if reason == "list_too_long":
        few, more = (
            declared_abilities(kind, "oracle", f"comparable = ['INTEGER']\nmaximum_list = {most}")
            for most in (2, 3)
        )
        assert refusal(few, "n IN (1, 2, 3)") == reason and refusal(more, "n IN (1, 2, 3)") is None
        return
    made = declared_abilities(kind, "oracle", DECLARED[reason])
    asked = ASKED.get(reason)
    if asked is not None:
        assert refusal(load_abilities(kind), asked) is not None and refusal(made, asked) is None


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("postgres", "comparable.UUID", "type_not_comparable"),
        ("sqlite", "groupable.DATE", "group"),
        ("mysql", "functions.Abs.INTEGER", "function_not_identical"),
        ("sqlalchemy", "can_sort", "sort"),
        ("duckdb", "is_reference", "sort"),
    ],
)
def test_what_was_taken_away_is_given_back_by_certifying(
    kind: str, name: str, reason: str
) -> None:
    """There, and only there, certifying helps what stayed; and the kind can be certified."""
    declared = load_abilities(kind)
    if declared.is_unproven:
        declared = declared_abilities(kind, "sqlite", "can_sort = true")
    assert "certify" not in hint_for(reason, "stayed", declared)
    less = replace(without(declared, [name]), taken=frozenset({name, "can_sort"}))
    assert "certify gives it back" in hint_for(reason, "stayed", less)
    assert can_certify(kind, declared.dialect)


def test_there_are_hints_for_what_stayed_only() -> None:
    held = load_abilities("postgres")
    assert hint_for("masked", "pushed", held) == "" == hint_for("derived", "stayed", held)
    assert "publish" in hint_for("masked", "stayed", held)


def test_an_index_is_named_where_it_serves() -> None:
    hints = {kind: index_hint("t", "s", "VARCHAR", load_abilities(kind)) for kind in kinds()}
    assert {kind for kind, one in hints.items() if one} == {"mysql", "postgres", "sqlite"}
    assert {kind for kind, one in hints.items() if "certify" in one} == {"postgres"}
    known = replace(load_abilities("postgres"), bytewise_columns=frozenset({("t", "s")}))
    for kind in ("mysql", "postgres", "sqlite"):
        assert "(n) lets" in index_hint("t", "n", "BIGINT", load_abilities(kind))
    assert "(s) lets" in index_hint("t", "s", "VARCHAR", known)
