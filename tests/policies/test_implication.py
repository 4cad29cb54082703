"""Whatever is called implied holds for every row and subject, as DuckDB evaluates it.

Random pairs of small filters; a grid of rows and subjects is the oracle. The controls break the
logic of NULL and of bounds: the same grid must find that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import pytest
from sqlglot import exp

from catalog.model import Column, Table
from gateway.decision import CompiledCondition
from gateway.policies import implication
from gateway.policies.conditions import compile_condition
from gateway.policies.counterexample import counter_example
from gateway.policies.implication import implies
from gateway.request import Principal
from gateway.subjects import SubjectValues

TABLE = Table("t", "t", tuple(
    Column(name, kind, name) for name, kind in (
        ("n", "INTEGER"), ("t", "VARCHAR"), ("d", "DECIMAL(6,1)"), ("b", "BOOLEAN"), ("day", "DATE")
    )
))  # fmt: skip
ATOMS = (
    "n = 1", "n <> 1", "n < 2", "n <= 1", "n > 0", "n >= 1", "n IN (0, 2)", "n NOT IN (1, 2)",
    "n BETWEEN 0 AND 1", "n IS NULL", "n IS NOT NULL", "n IS DISTINCT FROM 1", "2 > n",
    "t = 'a'", "t <> 'a'", "t < 'b'", "t LIKE 'a%'", "t LIKE 'ab%'", "t LIKE 'a'", "t LIKE '%b'",
    "t NOT LIKE 'a%'", "t IN (subject.x)", "t IN (subject.x, 'a')", "t NOT IN (subject.x)",
    "t NOT IN (subject.x, 'b')", "t = subject.user", "starts_with(t, 'a')", "lower(t) = 'a'",
    "t IS NULL", "d < 1.5", "d >= 1.5", "d > 1.4", "d = -0.5", "b", "b IS TRUE", "b IS NOT FALSE",
    "b = TRUE", "b IS NULL", "day < '2026-01-02'", "day <= '2026-01-01'", "(n = 1) IS TRUE",
    "(t = 'a') IS NOT TRUE", "(n < 1) IS NULL", "coalesce(n = 1, FALSE)", "TRUE", "FALSE", "NULL",
    "subject.x = 'a'", "request.purpose = 'p'", "t NOT ILIKE 'A%'",
)  # fmt: skip
GRID = {
    "n": ("NULL", "0", "1", "2", "3"), "t": ("NULL", "''", "'A'", "'a'", "'ab'", "'b'", "'ca'"),
    "d": ("NULL", "-0.5", "1.4", "1.5"), "b": ("NULL", "TRUE", "FALSE"),
    "day": ("NULL", "DATE '2026-01-01'", "DATE '2026-01-02'"),
}  # fmt: skip
SUBJECTS = [
    (Principal(user, attributes={"x": x}), purpose)
    for user, x, purpose in (
        ("a", (), None), ("ab", ("a",), "p"), ("q", ("b", "ab"), "q"), ("b", ("A", "a", "b"), None),
    )
]  # fmt: skip
NOW = datetime(2026, 3, 4, tzinfo=UTC)
SEED, PAIRS = 20261125, 600


@pytest.fixture(scope="module")
def grid() -> Iterator[duckdb.DuckDBPyConnection]:
    """Every row of the grid, in DuckDB."""
    with duckdb.connect() as connection:
        lists = ", ".join(
            f"(SELECT unnest([{', '.join(values)}]) AS {name})" for name, values in GRID.items()
        )
        connection.execute(f"CREATE TABLE grid AS SELECT * FROM {lists}")
        yield connection


def _text(chance: random.Random, depth: int) -> str:
    if depth == 0 or chance.random() < 0.3:
        return chance.choice(ATOMS)
    if chance.random() < 0.25:
        return f"NOT ({_text(chance, depth - 1)})"
    word = chance.choice(("AND", "OR"))
    return f"({_text(chance, depth - 1)} {word} {_text(chance, depth - 1)})"


def pairs() -> Iterator[tuple[CompiledCondition, CompiledCondition]]:
    """Pairs of filters, half of them akin: those that imply another are few otherwise."""
    chance = random.Random(SEED)
    for number in range(PAIRS):
        old = _text(chance, 2)
        new = _text(chance, 2)
        if number % 2:
            new = chance.choice((f"({old}) AND ({new})", f"({new}) OR ({old})", f"NOT NOT ({old})"))
        yield compile_condition("p", new, TABLE), compile_condition("p", old, TABLE)


def _let_through(
    grid: duckdb.DuckDBPyConnection, new: CompiledCondition, old: CompiledCondition
) -> bool:
    """Whether some row of the grid passes the newer filter and not the older one."""
    asked = any(one.expression.find(exp.Placeholder) for one in (new, old))
    for principal, purpose in SUBJECTS if asked else SUBJECTS[:1]:
        values = SubjectValues(principal, purpose, NOW)
        ours, theirs = values.fill(new).sql, values.fill(old).sql
        found = grid.execute(
            f"SELECT 1 FROM grid WHERE ({ours}) IS TRUE AND (({theirs}) IS TRUE) IS FALSE LIMIT 1"
        ).fetchone()
        if found is not None:
            return True
    return False


def _wrong(grid: duckdb.DuckDBPyConnection) -> Iterator[str]:
    called = [(new, old) for new, old in pairs() if implies(new, old)]
    assert len(called) > PAIRS / 6, "too few are called implied for this to say anything"
    for new, old in called:
        if _let_through(grid, new, old):
            yield f"{new.sql} => {old.sql}"


def test_what_is_called_implied_holds_on_every_row(grid: duckdb.DuckDBPyConnection) -> None:
    assert list(_wrong(grid)) == []


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("_known", lambda whole: whole),
        ("_MIRRORED", {}),
        ("_opaque", lambda node, wanted: implication._ALWAYS),
    ],
)
def test_a_broken_proof_is_found(
    grid: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, name: str,
    broken: object,
) -> None:
    monkeypatch.setattr(implication, name, broken)
    assert next(_wrong(grid), None) is not None


def test_a_counter_example_is_one(grid: duckdb.DuckDBPyConnection) -> None:
    """A row that is shown passes the newer filter and not the older one; most are found."""
    sought = found = 0
    for number, (new, old) in enumerate(pairs()):
        if number % 5 or implies(new, old):
            continue
        example = counter_example(new, old, TABLE)
        sought += _let_through(grid, new, old)
        if example is None:
            continue
        found += 1
        row = ", ".join(
            f"CAST({'NULL' if (v := example.row.get(one.name)) is None else repr(v)} AS {one.type})"
            f" AS {one.name}" for one in TABLE.columns
        )  # fmt: skip
        subject = {name.removeprefix("subject."): v for name, v in example.subject.items()}
        principal = Principal(subject.get("user", ("u",))[0], attributes=subject)
        purpose = example.subject.get("request.purpose", (None,))[0]
        values = SubjectValues(principal, purpose, NOW)
        told = grid.execute(
            f"SELECT ({values.fill(new).sql}) IS TRUE, ({values.fill(old).sql}) IS TRUE "
            f"FROM (SELECT {row})"
        ).fetchone()
        assert told == (True, False), (new.sql, old.sql, str(example))
    assert found >= 0.9 * sought > 20


def test_formulas_that_grow_too_large_are_not_proven() -> None:
    many = " AND ".join(f"(t LIKE '%{one}' OR t LIKE '{one}_')" for one in range(12))
    new = compile_condition("p", f"{many} AND d > 1", TABLE)
    assert not implies(new, compile_condition("p", many, TABLE))
