"""A statement that reads the clock has the request's time, at every source and in the merge.

Takes: the sample mesh, readings of the clock. Gives: equality with DuckDB over the same statement
with the reading written into it, pushed and pulled, for plans made anew and for those used again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import duckdb
import pytest

from gateway.parse import parse
from gateway.prepare import prepare
from tests.differential.compare import assert_same, rows_of
from tests.sample import SampleMesh

NOWS = (datetime(2013, 2, 10, 3, 30, 0, 123456, UTC), datetime(2013, 1, 20, 20, 15, tzinfo=UTC))
STATEMENTS = (
    "select count(*) n, min(time_hour) t from operations.departures where time_hour >= {now}",
    "select count(*) n from operations.departures where time_hour between {now} - interval 7 days "
    "and {now}",
    "select faa, {today} d, {now} t, {local} l from network.reference where alt > 6000",
    "select count(*) n from weather.observations where time_hour >= date_trunc('month', {now})",
    "select count(*) n from weather.observations w join operations.departures f "
    "on w.origin = f.origin and w.time_hour = f.time_hour where f.time_hour < {today} - 3",
    "select origin, max(time_hour) t from operations.departures "
    "where time_hour < {local} group by origin having max(time_hour) < {now}",
    "select count(*) n from operations.departures where make_date(year, month, day) = {today} "
    "or time_hour > {today} + interval 1 week",
    "select date_trunc('month', {now}) m, carrier, count(*) n from operations.departures "
    "group by date_trunc('month', {now}), carrier",
    "select case when time_hour < {now} then 'past' else 'future' end k, count(*) n "
    "from weather.observations group by 1",
    "select case when time_hour < {now} then 'past' else 'future' end k, count(*) n "
    "from operations.departures group by all",
    "select count(*) n, min({now} - time_hour) d from operations.departures "
    "where {now} - time_hour < interval 3 days",
    "select x.d, count(*) n from (select {today} - day d from operations.departures) x "
    "group by x.d",
    "select g.d::date d from generate_series({today}::timestamp - interval 2 days, "
    "{today}::timestamp, interval 1 day) as g(d)",
)
CALLS = {"now": "now()", "today": "current_date", "local": "localtimestamp"}


def written(now: datetime, zone: str) -> dict[str, str]:
    """The readings as literals."""
    local = now.astimezone(ZoneInfo(zone))
    return {
        "now": f"timestamptz '{now.isoformat(sep=' ')}'",
        "today": f"date '{local.date().isoformat()}'",
        "local": f"timestamp '{local.replace(tzinfo=None).isoformat(sep=' ')}'",
    }


@pytest.mark.parametrize("push_down", [True, False], ids=["pushed", "pulled"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize("sql", STATEMENTS)
def test_the_clock_is_the_request_s(
    sql: str, zone: str, push_down: bool, sample: SampleMesh,
    reference: Mapping[str, duckdb.DuckDBPyConnection],
) -> None:
    plain = reference["nora"].cursor()
    plain.execute(f"SET TimeZone = '{zone}'")
    answers = []
    for now in (*NOWS, NOWS[0]):
        want = plain.sql(sql.format(**written(now, zone))).to_arrow_table()
        got = sample.ask(
            "nora", sql.format(**CALLS), timezone=zone, push_down=push_down, now=now
        )
        assert_same(got, want, ordered=False)
        answers.append(sorted(map(repr, rows_of(got))))
    assert answers[0] == answers[2] != answers[1], "the statement does not depend on the clock"


def test_a_plan_is_used_again_at_another_time(sample: SampleMesh) -> None:
    """The reading goes to the source as a bound value, and another takes its place."""
    sql = "select dest from operations.departures where time_hour > now() - interval 1 day -- again"
    bound = []
    for now in NOWS:
        request = sample.request("nora", sql, now=now)
        opened = sample.opened
        made = prepare(request, parse(request), opened.publisher.current(), opened.services)
        bound.append(made.plan.fragments[0].fragment.parameters)
        assert made.parameters == (now,)
    assert bound == [
        (datetime(2013, 2, 9, 3, 30, 0, 123456, UTC),), (datetime(2013, 1, 19, 20, 15, tzinfo=UTC),)
    ]  # fmt: skip
    assert "bind" not in made.timings, "the plan was made anew"


def test_parameters_stand_before_the_clock(sample: SampleMesh) -> None:
    sql = "select ?::varchar a, now() t, $2::integer b".replace("?", "$1")
    got = sample.ask("nora", sql, now=NOWS[0], parameters=("x", 7))
    assert rows_of(got) == [("x", NOWS[0], 7)]
    assert got.column_names == ["a", "t", "b"]
    unnamed = "select now(), current_date, today() + 1"
    names = [one[0] for one in duckdb.execute(unnamed).description or ()]
    assert sample.ask("nora", unnamed, now=NOWS[0]).column_names == names
