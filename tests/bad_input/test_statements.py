"""Statements that cannot be answered: a stable code, a remedy, and the gateway lives on.

Takes: the cases of statements.yaml. Gives: each one's error through the whole pipeline. Never
compares whole messages: only the words that somebody needs to go on.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml

from gateway.errors import SqluiceError
from gateway.request import Limits
from sqluice.codes import CODES
from tests.sample import SampleMesh

DATA = yaml.safe_load(Path(__file__).with_name("statements.yaml").read_text(encoding="utf-8"))
HEAVY = (
    "select count(*) from operations.departures a, operations.departures b, "
    "operations.departures c, operations.departures d where a.dep_delay + b.dep_delay + "
    "c.dep_delay + d.dep_delay > 10"
)
MERGED = (
    "select count(*) from operations.departures a, weather.observations b, fleet.aircraft c, "
    "operations.departures d where a.dep_delay + b.temp + c.seats + d.dep_delay > 10"
)
# What no message may hold: a path, a traceback, a source's address.
PRIVATE = re.compile(
    r"Traceback|(?<!\w)/(?!v1/)\w+/|\.py\b|localhost|127\.0\.0\.1|postgresql://|line \d+, in "
)


def refused(sample: SampleMesh, user: str, sql: str, **fields: object) -> SqluiceError:
    """The error of a statement; the gateway answers the next one."""
    with pytest.raises(SqluiceError) as caught:
        sample.ask(user, sql, **fields)
    error = caught.value
    assert error.code in CODES
    assert error.remedy
    assert error.query_id
    assert not PRIVATE.search(f"{error.message} {error.remedy}")
    assert sample.ask("nora", "select 42 as x").to_pydict() == {"x": [42]}
    return error


@pytest.mark.parametrize("case", DATA["cases"], ids=[str(one[2]) for one in DATA["cases"]])
def test_refused(sample: SampleMesh, case: tuple[str, str | None, str, str, list[str]]) -> None:
    user, purpose, sql, code, words = case
    error = refused(sample, user, sql, purpose=purpose)
    assert error.code == code
    for word in words:
        assert word.casefold() in error.message.casefold()
    if code == "parse_error" and re.search("[a-z]", sql.partition("--")[0]):
        assert error.line is not None
        assert error.column is not None
    if code == "purpose_required":
        assert "SET purpose" in error.remedy


@pytest.mark.parametrize(("sql", "values"), DATA["parameters"])
def test_number_of_parameters(sample: SampleMesh, sql: str, values: list[object]) -> None:
    error = refused(sample, "nora", sql, parameters=tuple(values))
    assert error.code == "unsupported_sql"
    assert f"{len(values)} values" in error.message


def test_a_parameter_may_not_be_a_dangling_pattern(sample: SampleMesh) -> None:
    sql = "select count(*) from fleet.aircraft where model like ? escape '!'"
    error = refused(sample, "nora", sql, parameters=("A!",))
    assert error.code == "type_error"
    assert "LIKE" in error.message


def test_a_table_that_is_denied_looks_like_one_that_is_not_there(sample: SampleMesh) -> None:
    denied = refused(sample, "nora", "select * from loyalty.members")
    absent = refused(sample, "nora", "select * from loyalty.numbers")
    assert (denied.code, denied.remedy) == (absent.code, absent.remedy)
    assert denied.message == absent.message.replace("numbers", "members")


def test_more_rows_than_permitted(sample: SampleMesh) -> None:
    error = refused(sample, "nora", "select * from fleet.aircraft", limits=Limits(rows=10))
    assert error.code == "limit_exceeded"
    assert "10" in error.message
    few = sample.ask("nora", "select * from fleet.aircraft limit 10", limits=Limits(rows=10))
    assert few.num_rows == 10


def test_more_bytes_than_permitted(sample: SampleMesh) -> None:
    error = refused(sample, "nora", "select * from fleet.aircraft", limits=Limits(bytes=100))
    assert error.code == "limit_exceeded"


@pytest.mark.parametrize(
    "sql", ["select * from fleet.aircraft", "select * from operations.departures"]
)
def test_first_rows(sample: SampleMesh, sql: str) -> None:
    request = sample.request("nora", sql, limits=Limits(seconds=60, first=7))
    result = sample.opened.gateway.answer(request)
    assert sum(batch.num_rows for batch in result.batches()) == 7
    assert result.truncated
    whole = sample.request("nora", f"{sql} limit 5", limits=Limits(seconds=60, first=7))
    result = sample.opened.gateway.answer(whole)
    assert sum(batch.num_rows for batch in result.batches()) == 5
    assert not result.truncated


@pytest.mark.parametrize("sql", [HEAVY, MERGED], ids=["in the source", "in the merge"])
def test_longer_than_permitted(sample: SampleMesh, sql: str) -> None:
    began = time.monotonic()
    with pytest.raises(SqluiceError) as caught:
        sample.ask("nora", sql, limits=Limits(seconds=0.5))
    assert time.monotonic() - began < 60
    assert caught.value.code == "timeout"
    assert "0.5" in caught.value.message
    assert caught.value.remedy
    assert sample.ask("nora", "select 42 as x").to_pydict() == {"x": [42]}
