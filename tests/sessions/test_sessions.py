"""Settings of a session: what is taken, what is refused, what a request carries."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import available_timezones

import duckdb
import pytest
import yaml

from gateway.errors import TypeMismatch, UnsupportedSql
from gateway.parse import ParsedStatement
from gateway.request import Limits, Principal
from gateway.sessions import SETTINGS, Session, Settings, dialects, new_query_id, read_setting

NOW = datetime(2026, 5, 4, tzinfo=UTC)
CASES = yaml.safe_load((Path(__file__).parent / "settings.yaml").read_text(encoding="utf-8"))


def _session(**settings: object) -> Session:
    defaults = Settings(**settings)  # type: ignore[arg-type]  # given by the test
    return Session(Principal("nora"), "flight", "adbc", Limits(seconds=60.0), defaults)


def _set(name: str, value: str | None) -> ParsedStatement:
    return ParsedStatement("set", argument=name, value=value)


@pytest.mark.parametrize("case", CASES["accepted"], ids=lambda case: f"{case[0]} {case[1]}")
def test_values_that_are_taken(case: tuple[str, str, object]) -> None:
    name, value, typed = case
    session = _session()
    session.apply(_set(name, value))
    assert getattr(session.settings, name.lower()) == typed


@pytest.mark.parametrize("case", CASES["refused"], ids=lambda case: f"{case[0]} {case[1]!r}")
def test_values_that_are_refused(case: tuple[str, str]) -> None:
    name, value = case
    session = _session()
    with pytest.raises(TypeMismatch) as caught:
        session.apply(_set(name, value))
    assert name in caught.value.message
    assert session.settings == session.defaults


def test_an_unknown_setting_is_refused_with_the_list() -> None:
    session = _session()
    for refused in (_set("search_path", "x"), _set("memory_limit", None)):
        with pytest.raises(UnsupportedSql) as caught:
            session.apply(refused)
        assert all(name in caught.value.remedy for name in SETTINGS)
    with pytest.raises(UnsupportedSql):
        session.show("search_path")
    with pytest.raises(UnsupportedSql):
        session.apply(ParsedStatement("show", argument="tables"))


def test_reset_goes_back_to_what_the_connection_carried() -> None:
    session = _session(purpose="network-planning", domain="operations")
    session.apply(_set("PURPOSE", "fraud-prevention"))
    session.apply(_set("row_limit", "5"))
    assert session.show("purpose") == "fraud-prevention"
    session.apply(_set("purpose", None))
    assert (session.show("Purpose"), session.show("row_limit")) == ("network-planning", "5")
    session.apply(_set("all", None))
    assert session.settings == session.defaults


def test_show_writes_what_set_reads() -> None:
    session = _session()
    for name in SETTINGS:
        shown = session.show(name)
        if shown:
            session.apply(_set(name, shown))
    assert session.settings == session.defaults


def test_a_request_carries_the_session() -> None:
    session = _session(purpose="p", domain="d", dialect="trino", timezone="Europe/Berlin")
    made = session.request("SELECT 1", NOW, (1, "x"))
    assert (made.purpose, made.domain, made.dialect) == ("p", "d", "trino")
    assert (made.timezone, made.parameters, made.now) == ("Europe/Berlin", (1, "x"), NOW)
    assert (made.endpoint, made.client, made.principal.user) == ("flight", "adbc", "nora")
    assert made.query_id != session.request("SELECT 1", NOW).query_id
    assert session.request("SELECT 1", NOW, query_id="mine").query_id == "mine"


@pytest.mark.parametrize(
    ("timeout", "seconds"), [("5", 5.0), ("1h", 60.0), (None, 60.0), ("100ms", 0.1)]
)
def test_a_session_narrows_the_deadline_and_never_widens_it(
    timeout: str | None, seconds: float
) -> None:
    session = _session()
    session.apply(_set("query_timeout", timeout))
    assert session.request("SELECT 1", NOW).limits.seconds == seconds


def test_the_smallest_cut_counts() -> None:
    session = _session()
    assert session.request("SELECT 1", NOW).limits.first is None
    assert session.request("SELECT 1", NOW, first=7).limits.first == 7
    session.apply(_set("row_limit", "3"))
    assert session.request("SELECT 1", NOW, first=7).limits.first == 3
    assert session.request("SELECT 1", NOW, first=2).limits.first == 2


def test_every_zone_that_is_taken_is_known_to_the_engine() -> None:
    with duckdb.connect() as connection:
        found = connection.execute("SELECT name FROM pg_timezone_names()").fetchall()
    taken = {read_setting("timezone", one) for one in available_timezones() - {"localtime"}}
    assert taken - {one for (one,) in found} == set()


def test_dialects_are_those_of_sql() -> None:
    assert {"duckdb", "postgres", "trino", "snowflake", "tsql"} <= set(dialects())
    assert "prql" not in dialects()


def test_query_ids_cannot_be_guessed() -> None:
    assert len({new_query_id() for _ in range(1000)}) == 1000
    assert len(new_query_id()) >= 24
