"""The same question to the gateway and to plain DuckDB over the same permitted rows.

Takes: the corpus, the sample mesh over real databases. Gives: equality of names, types and rows,
with push-down and without.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping

import duckdb
import pyarrow as pa
import pytest

from gateway.errors import UnknownTable
from tests.differential.compare import assert_same, is_ordered, rows_of
from tests.differential.corpus import CASES, PURPOSES, Case
from tests.sample import SampleMesh

Wanted = Callable[[Case, str], pa.Table]
Reference = Mapping[str, duckdb.DuckDBPyConnection]


NAMED = {
    "joins across sources", "outer joins", "common table expressions", "windows",
    "correlated sub-queries", "set operations", "dates and zones", "null order", "like and case",
    "decimals", "empty results", "aggregates", "stars and names", "parameters",
    "unread columns",
}  # fmt: skip


@pytest.fixture(scope="session")
def wanted(reference: Reference) -> Callable[[Case, str], pa.Table]:
    """DuckDB's answer to a case over a user's rows, computed once."""
    known: dict[tuple[int, str], pa.Table] = {}

    def ask(case: Case, user: str) -> pa.Table:
        if (case.number, user) not in known:
            found = reference[user].sql(case.sql, params=list(case.values) or None)
            known[case.number, user] = found.to_arrow_table()
        return known[case.number, user]

    return ask


@pytest.mark.parametrize("case", CASES, ids=lambda one: f"{one.number}-{one.kind}")
@pytest.mark.parametrize("push_down", [True, False], ids=["pushed", "pulled"])
def test_same_answer(case: Case, push_down: bool, sample: SampleMesh, wanted: Wanted) -> None:
    """Each principal gets what DuckDB gives over his rows; pulled up, one of them in turn."""
    in_turn = case.users[case.number % len(case.users)]
    for user in case.users if push_down else (in_turn,):
        _ask(case, user, push_down, sample, wanted)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_same_answer_pulled_for_everybody(sample: SampleMesh, wanted: Wanted) -> None:
    for case in CASES:
        for user in case.users:
            _ask(case, user, False, sample, wanted)


def _ask(case: Case, user: str, push_down: bool, sample: SampleMesh, wanted: Wanted) -> None:
    """One statement of one principal, beside DuckDB's answer."""
    got = sample.ask(
        user,
        case.sql,
        purpose=PURPOSES.get(user),
        push_down=push_down,
        parameters=case.values,
    )
    assert_same(got, wanted(case, user), ordered=is_ordered(case.sql))


@pytest.mark.parametrize("push_down", [True, False], ids=["pushed", "pulled"])
@pytest.mark.parametrize(
    "sql",
    [
        "select min(time_hour) m from weather.observations "
        "where cast(time_hour as date) = '2013-02-02'",
        "select hour(time_hour) h, count(*) n from weather.observations group by 1",
        "select cast(time_hour as varchar) t from weather.observations where month = 2 and day < 3",
        "select count(*) n from weather.observations where time_hour >= '2013-02-02 00:00:00'",
        "select count(*) n from weather.observations where make_timestamptz(2013, 1, 1, 0, 0, 0.0) "
        "< to_timestamp(1356990000 + month)",
        "select count(*) n from operations.departures where cast(time_hour as date) = '2013-01-02'",
        "select day(time_hour) d, max(time_hour) t from operations.departures group by 1",
    ],
)
def test_same_answer_in_another_time_zone(
    sql: str, push_down: bool, sample: SampleMesh, reference: Reference
) -> None:
    """Sources keep to UTC; what depends on the caller's zone is not left to them."""
    plain = reference["nora"].cursor()
    plain.execute("SET TimeZone = 'Asia/Kathmandu'")
    want = plain.sql(sql).to_arrow_table()
    utc = reference["nora"].sql(sql).to_arrow_table()
    got = sample.ask("nora", sql, timezone="Asia/Kathmandu", push_down=push_down)
    assert_same(got, want, ordered=False)
    assert rows_of(got) != rows_of(utc), "the statement does not depend on the zone"


def test_the_corpus_is_wide_enough(wanted: Wanted) -> None:
    """At least 150 cases, ten a class, 120 with rows for two, 40 that differ between principals."""
    assert len(CASES) >= 150
    sizes = Counter(case.kind for case in CASES)
    assert set(sizes) == NAMED
    assert all(size >= 10 for size in sizes.values()), sizes
    joined = Counter(len(_sources(case.sql)) for case in CASES if case.kind == next(iter(sizes)))
    assert all(joined[count] for count in (2, 3, 4, 5)), joined
    filled = differing = 0
    for case in CASES:
        answers = [rows_of(wanted(case, user)) for user in case.users]
        filled += sum(bool(one) for one in answers) >= 2
        differing += len({repr(sorted(map(repr, one))) for one in answers}) > 1
    assert filled >= 120, filled
    assert differing >= 40, differing


def _sources(sql: str) -> set[str]:
    return set(re.findall(r"\b(operations|fleet|weather|network|loyalty)\.", sql))


def test_the_comparison_bites(sample: SampleMesh, reference: Reference) -> None:
    """A wrong row, a wrong type and a wrong name are found."""
    sql = "select carrier, name from network.reference.airlines"
    got = sample.ask("nora", sql)
    want = reference["nora"].sql(sql).to_arrow_table()
    for broken in (
        want.slice(1),
        want.rename_columns(["carrier", "label"]),
        want.set_column(0, "carrier", want.column(0).cast(pa.large_string())),
        want.set_column(1, "name", pa.array(["x"] * want.num_rows)),
    ):
        with pytest.raises(AssertionError):
            assert_same(got, broken, ordered=False)


def test_who_may_not_know_meets_an_unknown_table(sample: SampleMesh) -> None:
    """Without a grant a product does not exist."""
    with pytest.raises(UnknownTable):
        sample.ask("nora", "select count(*) from loyalty.members")
