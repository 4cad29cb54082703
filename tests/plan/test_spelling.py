"""The types of sums and products of decimals are those of the merge engine.

Takes: pairs of decimal types, whole numbers and literals. Gives: each type compared with what
DuckDB's binder says, or that none is claimed.
"""

from __future__ import annotations

from itertools import product
from typing import cast

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from connectors.base import load_abilities
from gateway.pushable import Checker, folded

DECIMALS = ("DECIMAL(3,1)", "DECIMAL(9,2)", "DECIMAL(15,2)", "DECIMAL(18,0)", "DECIMAL(18,9)",
            "DECIMAL(19,4)", "DECIMAL(37,2)", "DECIMAL(38,10)")  # fmt: skip
OTHERS = ("SMALLINT", "INTEGER", "BIGINT", "1", "-7", "3000000000", "0.05", "12.5", "0.123456789")


def checker(*types: str) -> Checker:
    known = {f"c{number}": name for number, name in enumerate(types)}
    return Checker(load_abilities("postgres"), lambda one: known.get(one.name), (), "UTC")


def _parsed(text: str) -> exp.Expression:
    return cast("exp.Expression", sqlglot.parse_one(text, read="duckdb"))


def _pairs() -> list[tuple[str, str]]:
    sides = [*product(DECIMALS, DECIMALS), *product(DECIMALS, OTHERS), *product(OTHERS, DECIMALS)]
    return [(one, other) for one, other in sides if "-" not in other]


@pytest.mark.parametrize("mark", ["+", "-", "*"])
def test_types_are_the_engine_s(mark: str) -> None:
    engine = duckdb.connect()
    claimed = 0
    for one, other in _pairs():
        names = [
            f"c{place}" if side[0].isalpha() else side for place, side in enumerate((one, other))
        ]
        text = f"{names[0]} {mark} {names[1]}"
        got = checker(one, other).type_name(_parsed(text))
        if got is None:
            continue
        columns = ", ".join(
            f"CAST(1 AS {side}) AS c{place}"
            for place, side in enumerate((one, other)) if side[0].isalpha()
        )  # fmt: skip
        found = engine.execute(f"SELECT typeof({text}) FROM (SELECT {columns})").fetchone()
        assert found == (got,), f"{one} {mark} {other}"
        claimed += 1
    assert claimed > len(_pairs()) * 0.6


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("c0 * c1", 'CAST("c0" * "c1" AS DECIMAL(18, 4))'),
        (
            "c0 * (1 - c1) * c0",
            'CAST(CAST("c0" * (1 - "c1") AS DECIMAL(18, 4)) * "c0" AS DECIMAL(18, 6))',
        ),
        (
            "c0 + c1 * 2 > 5",
            '"c0" + CAST("c1" * 2 AS DECIMAL(18, 2)) > CAST(5.00 AS DECIMAL(19, 2))',
        ),
        ("c0 - c1", '"c0" - "c1"'),
    ],
)
def test_what_the_engine_bounds_is_bounded_at_the_source(text: str, wanted: str) -> None:
    """Else a source would give a number where the engine says that there is none."""
    tree = _parsed(text).transform(
        lambda node: exp.column(node.name, quoted=True) if isinstance(node, exp.Column) else node
    )
    made = folded(tree, checker("DECIMAL(15,2)", "DECIMAL(15,2)"))
    assert made is not None
    assert made.sql("duckdb") == wanted
