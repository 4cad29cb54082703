"""The semantic traps of push-down, over every kind and flavour of source.

Takes: traps.yaml and traps_more.yaml, the mesh of `traps_mesh`. Gives: equality with plain DuckDB
for whoever sees everything, whoever a filter narrows and whoever meets masks, pushed and pulled. A
kind of source that the mesh has gets all statements, without a word here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from tests.differential.compare import assert_same, is_ordered
from tests.differential.traps_mesh import EMBEDDED, TrapsMesh, open_traps
from tests.mysql import mysql_or_none, no_mysql
from tests.sample import SampleMesh
from tests.settled import settled

TRAPS: list[dict[str, Any]] = [
    one
    for name in ("traps.yaml", "traps_more.yaml")
    for one in yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))
]
MANY = {
    "many": ", ".join(str(number) for number in range(-300, 800)),
    "texts": ", ".join(f"'x{number}'" for number in range(600)) + ", 'a', 'É'",
}
Way = tuple[str, bool]
# Who asks, and whether push-down is on. The quick tests ask two in turn, the first of them always.
WAYS: tuple[Way, ...] = (("open", True), ("open", False), ("narrow", True), ("masked", True))
CASES = [(one, sql) for one in TRAPS for sql in one.get("sql", ())]
NUMBERED = [(number, *one) for number, one in enumerate(CASES)]


@pytest.fixture(scope="session")
def traps(sample: SampleMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrapsMesh]:
    """The mesh, on the server that the sample mesh has started."""
    with mysql_or_none() as mariadb:
        made = open_traps(tmp_path_factory.mktemp("traps"), sample.server, mariadb)
        yield made
        made.close()


def test_mariadb_is_among_them(traps: TrapsMesh) -> None:
    """Else the traps are not asked of it: said aloud, and a failure where it must be there."""
    if "mariadb_no_case" not in traps.products:
        no_mysql()
    assert "mariadb_no_case" in traps.products


def test_every_trap_has_its_place() -> None:
    """All 45 are here, each with statements or with the reason why it has none."""
    assert sorted({one["trap"] for one in TRAPS}) == list(range(1, 46))
    assert len(CASES) >= 300
    assert all(one.get("sql") or one.get("not_here") for one in TRAPS)


def _products(case: dict[str, Any], traps: TrapsMesh) -> list[str]:
    over = case.get("over", [*EMBEDDED, "bytes", "mariadb_no_case"])
    return [one for one in traps.products if over == "text" or one in over]


def check(case: dict[str, Any], sql: str, way: Way, product: str, traps: TrapsMesh) -> None:
    """One statement, asked by one user one way, against plain DuckDB."""
    user, push_down = way
    zone = case.get("timezone", "UTC")
    text = sql.format(t=f"traps.{product}.probe", **MANY)
    connection = traps.reference[user]
    connection.execute(f"SET TimeZone = '{zone}'")
    want = connection.sql(text).to_arrow_table()
    got = traps.ask(user, text, push_down=push_down, timezone=zone)
    try:
        assert_same(got, want, is_ordered(text))
    except AssertionError as error:
        error.add_note(f"{user}, {'pushed' if push_down else 'pulled'}: {text}")
        raise


@pytest.mark.parametrize(
    ("number", "case", "sql"),
    NUMBERED,
    ids=[f"{case['trap']}-{sql[:60]}" for _, case, sql in NUMBERED],
)
def test_one_answer(number: int, case: dict[str, Any], sql: str, traps: TrapsMesh) -> None:
    """Pushed and, in turn, pulled or under a policy: plain DuckDB's answer, of products in turn."""
    products = _products(case, traps)
    check(case, sql, WAYS[0], products[number % len(products)], traps)
    check(case, sql, WAYS[1 + number % 3], products[(number // 3) % len(products)], traps)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_one_answer_everywhere(way: Way, traps: TrapsMesh) -> None:
    """The same for all flavours of text, each way.

    One after the other: DuckDB is asked for the names of outputs over one set of tables at a time.
    """
    with settled():
        for one in traps.products:
            for case, sql in CASES:
                if one in _products(case, traps):
                    check(case, sql, way, one, traps)


@pytest.mark.parametrize(
    ("case", "sql"),
    [(one, sql) for one, sql in CASES if "whole" in one or "stays" in one],
    ids=[f"{one['trap']}-{sql[:60]}" for one, sql in CASES if "whole" in one or "stays" in one],
)
def test_what_goes_down(case: dict[str, Any], sql: str, traps: TrapsMesh) -> None:
    """The comparison is no comparison of the gateway with itself."""
    for product in _products(case, traps):
        text = sql.format(t=f"traps.{product}.probe", **MANY)
        if product in (*case.get("whole", ()), *case.get("stays", ())):
            assert is_whole(traps.ask("open", f"explain {text}")) == (
                product in case.get("whole", ())
            ), text


def is_whole(plan: pa.Table) -> bool:
    """Whether one fragment is all of a plan that EXPLAIN shows."""
    return any(
        row["step"] == "merge" and row["what"] == "none" for row in plan.to_pylist()
    )
