"""How many rows are expected of aggregates, whatever the parser knows of them.

Takes: statements over a DuckDB file, whose blocks go down whole. Gives: the rows that are expected,
and whether what came is remembered as the size of the table.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from gateway.draft import PlannedFragment
from gateway.opening import OpenGateway
from gateway.parse import parse
from gateway.prepare import prepare
from tests.small_mesh import SmallMesh, opened_mesh, request

ROWS = 4_000


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenGateway]:
    folder = tmp_path_factory.mktemp("estimates")
    (folder / "data").mkdir()
    with duckdb.connect(str(folder / "data/held.db")) as held:
        held.execute(f"CREATE TABLE held AS SELECT n AS id, n % 7 AS x FROM range({ROWS}) r(n)")
    mesh = SmallMesh(
        "d", {"connector": "duckdb", "settings": {"path": "held.db"}},
        {"held": ("held", {"id": "BIGINT", "x": "BIGINT"})}, {"ada": {"groups": ["all"]}},
        ({"product": "held", "subjects": [{"groups": ["all"]}]},),
    )  # fmt: skip
    made = opened_mesh(folder, mesh)
    yield made
    made.close()


def _fragment(opened: OpenGateway, sql: str) -> PlannedFragment:
    made = request(opened, "ada", sql)
    plan = prepare(made, parse(made), opened.publisher.current(), opened.gateway.services).plan
    (one,) = plan.fragments
    return one


@pytest.mark.parametrize("call", ["sum(x)", "fsum(x)", "mean(x)", "count_star()", "product(x)"])
def test_an_aggregate_gives_one_row_and_no_size_of_its_table(
    opened: OpenGateway, call: str
) -> None:
    whole = _fragment(opened, "select x, id from d.held")
    assert whole.rows == ROWS
    assert whole.shape == _fragment(opened, "select id from d.held").shape
    one = _fragment(opened, f"select {call} as c from d.held")
    assert one.rows == 1.0
    assert one.shape != whole.shape
    grouped = _fragment(opened, f"select x, {call} as c from d.held group by x")
    assert grouped.rows < ROWS and grouped.shape != whole.shape


def test_a_function_of_each_row_gives_as_many(opened: OpenGateway) -> None:
    """The control: the parser has no class for this one either."""
    one = _fragment(opened, "select fdiv(x, 2) as c from d.held")
    assert one.rows == ROWS and one.shape == _fragment(opened, "select id from d.held").shape
