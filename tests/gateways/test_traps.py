"""The semantic traps of push-down over another gateway, which has the rows.

Takes: the statements of the traps that hold where DuckDB has the rows, a near gateway whose one
source is a far one. Gives: plain DuckDB's answers for whoever sees everything, whoever a filter of
the near gateway narrows and whoever meets its masks, pushed and pulled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from gateway.certify.rows import reference
from tests.differential.compare import assert_same, is_ordered
from tests.differential.test_traps import CASES, MANY, WAYS, Way
from tests.differential.traps_mesh import Place, TrapsMesh, open_places

# Not those that join another product, which this mesh has not.
CHOSEN = [
    (one, sql) for one, sql in CASES
    if (one.get("over", "text") == "text" or "duckdb" in one["over"]) and "traps." not in sql
]  # fmt: skip
# Each goes through two gateways: the short run asks one in seven, in one way each.
QUICK = [(WAYS[number // 7 % len(WAYS)], *CHOSEN[number]) for number in range(0, len(CHOSEN), 7)]


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory, far: str) -> Iterator[TrapsMesh]:
    """The near gateway, with the rows as a product `flightsql`."""
    settings = {"user": "gate", "identity": "service"}
    source = {"connector": "flightsql", "settings": settings}
    secrets = {"url": far, "password": "gate-demo"}
    place = Place(source, secrets, "lab.probe", reference())
    made = open_places(tmp_path_factory.mktemp("near"), {"flightsql": place})
    with closing(made):
        yield made


def test_all_traps_are_among_them() -> None:
    """But those of which nothing is asked at all, or only of two sources at once."""
    asked = {one["trap"] for one, _ in CASES}
    assert asked - {one["trap"] for one, _ in CHOSEN} <= {24, 45}


def _check(way: Way, case: dict[str, Any], sql: str, traps: TrapsMesh) -> None:
    user, push_down = way
    zone = case.get("timezone", "UTC")
    text = sql.format(t="traps.flightsql.probe", **MANY)
    connection = traps.reference[user]
    connection.execute(f"SET TimeZone = '{zone}'")
    want = connection.sql(text).to_arrow_table()
    got = traps.ask(user, text, push_down=push_down, timezone=zone)
    assert_same(got, want, is_ordered(text))


@pytest.mark.parametrize(
    ("way", "case", "sql"), QUICK, ids=[f"{one['trap']}-{sql[:60]}" for _, one, sql in QUICK]
)
def test_one_answer(way: Way, case: dict[str, Any], sql: str, traps: TrapsMesh) -> None:
    _check(way, case, sql, traps)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_one_answer_every_way(way: Way, traps: TrapsMesh) -> None:
    for case, sql in CHOSEN:
        _check(way, case, sql, traps)


def test_what_is_exact_is_asked_there(traps: TrapsMesh) -> None:
    """The comparison is no comparison of the near gateway with itself."""
    text = "SELECT count(*) AS n FROM traps.flightsql.probe WHERE upper(s) = 'A' AND f > 0"
    shown = traps.ask("open", f"explain {text}").to_pylist()
    assert any(one["step"] == "merge" and one["what"] == "none" for one in shown)
