"""Answers compared as multisets, and which queries have one right answer."""

from __future__ import annotations

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from gateway.self_check.compare import Difference, difference
from gateway.self_check.determinate import is_determinate

NAN = float("nan")


def table(*rows: tuple[object, ...]) -> pa.Table:
    columns = list(zip(*rows, strict=True))
    return pa.table({str(place): list(column) for place, column in enumerate(columns)})


SAME = [
    ([(1, "a"), (2, "b")], [(2, "b"), (1, "a")]),
    ([(1, 0.1 + 0.2), (1, 5.0)], [(1, 5.0), (1, 0.3)]),
    ([(NAN, 1), (None, 2)], [(None, 2), (NAN, 1)]),
    ([(-0.0,)], [(0.0,)]),
    ([(1e300,), (1.0,)], [(1.0 + 1e-12,), (1e300 * (1 + 1e-12),)]),
    ([([1.0, 2.0],)], [([1.0, 2.0 + 1e-12],)]),
]
DIFFERENT = [
    ([(1,), (1,)], [(1,)], Difference(1, 0)),
    ([(1, "a")], [(1, "A")], Difference(1, 1)),
    ([(1.0,), (1.0,)], [(1.0,), (1.1,)], Difference(1, 1)),
    ([(NAN,)], [(1.0,)], Difference(1, 1)),
    ([(None, 1)], [(0, 1)], Difference(1, 1)),
    ([(1e-6,)], [(2e-6,)], Difference(1, 1)),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_multiset(one: list[tuple[object]], other: list[tuple[object]]) -> None:
    assert difference(table(*one), table(*other)) is None


@pytest.mark.parametrize(("one", "other", "wanted"), DIFFERENT)
def test_another_multiset(
    one: list[tuple[object]], other: list[tuple[object]], wanted: Difference
) -> None:
    assert difference(table(*one), table(*other)) == wanted


def test_days_beyond_the_calendar_of_python_are_compared() -> None:
    far = pa.table({"d": pa.array([3_000_000, None], pa.int32()).cast(pa.date32())})
    near = pa.table({"d": pa.array([3_000_001, None], pa.int32()).cast(pa.date32())})
    assert difference(far, far) is None
    assert difference(far, near) == Difference(1, 1)


ONE_ANSWER = (
    "select a from t",
    "select a, b from t order by b, a limit 3",
    "select a as x, b from t order by x, 2 limit 3 offset 1",
    "select distinct a from t order by a limit 1",
    "select a, sum(b) over (partition by a) from t",
    "select a, rank() over (order by b) from t",
    "select a from t union select b from t order by a limit 2",
)
SEVERAL = (
    "select a from t limit 3",
    "select a, b from t order by b limit 3",
    "select x.a from (select a from t limit 3) as x",
    "select a from t where b in (select b from t offset 1)",
    "select distinct on (a) a, b from t",
    "select first(a) from t",
    "select list(a) from t",
    "select json_group_array(a) from t",
    "select arg_max(a, b) from t",
    "select string_agg(a, ',') from t",
    "select approx_count_distinct(a) from t",
    "select a, row_number() over (order by b) from t",
    "select a, lag(a) over (order by b) from t",
    "select a, sum(b) over (order by b rows between 1 preceding and current row) from t",
    "select t.a from t asof join u on t.a >= u.a",
    "select random() from t",
    "select current_date as d from t",
)


def parsed(sql: str) -> exp.Expression:
    tree = sqlglot.parse_one(sql, read="duckdb")
    assert isinstance(tree, exp.Expression)
    return tree


@pytest.mark.parametrize("sql", ONE_ANSWER)
def test_has_one_answer(sql: str) -> None:
    assert is_determinate(parsed(sql))


@pytest.mark.parametrize("sql", SEVERAL)
def test_has_several_answers(sql: str) -> None:
    assert not is_determinate(parsed(sql))
