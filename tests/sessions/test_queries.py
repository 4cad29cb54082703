"""The registry of queries: who sees and stops what."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest

from gateway.errors import Conflict, SourceUnavailable, SqluiceError, Unauthenticated
from gateway.queries import Queries, is_query_key, keyed_query_id
from gateway.request import Principal, Request

NORA, CARL = Principal("nora"), Principal("carl")
OLA = Principal("ola", roles=frozenset({"operator"}))
NOW = datetime(2026, 5, 4, tzinfo=UTC)


def _request(query_id: str, principal: Principal = NORA) -> Request:
    return Request("SELECT 'secret', 7 -- note", principal, NOW, query_id, endpoint="http")


def test_everybody_sees_his_own_and_operators_everybodys() -> None:
    queries = Queries()
    queries.started(_request("a"))
    queries.started(_request("b", CARL))
    assert [one.query_id for one in queries.list(NORA)] == ["a"]
    assert [one.query_id for one in queries.list(OLA)] == ["a", "b"]
    assert queries.get("b", NORA) is None
    assert queries.count == 2


def test_an_operator_does_not_see_the_literals_of_others() -> None:
    queries = Queries()
    queries.started(_request("a"))
    assert queries.list(NORA)[0].statement == "SELECT 'secret', 7 -- note"
    assert queries.list(OLA)[0].statement == "SELECT ? , ?"


def _keep(names: list[str], name: str, _: SqluiceError | None) -> None:
    names.append(name)


def test_cancel_stops_ones_own_and_for_operators_any() -> None:
    queries = Queries()
    stopped: list[str] = []
    for name in ("a", "b"):
        queries.started(_request(name), partial(_keep, stopped, name))
    assert not queries.cancel("a", CARL)
    assert not queries.cancel("unknown", OLA)
    assert queries.cancel("a", NORA) and queries.cancel("b", OLA)
    assert stopped == ["a", "b"]
    assert queries.is_cancelled("a")
    assert [one.state for one in queries.list(NORA)] == ["cancelling", "cancelling"]


def test_what_has_ended_is_stopped_until_it_has_left() -> None:
    token = replace(NORA, credential="token:t")
    stops: dict[str, Callable[[Queries], object]] = {
        "cancelled": lambda one: one.cancel("a", NORA),
        "access_denied": lambda one: one.end("sales.grant", "nora"),
        "unauthenticated": lambda one: one.end_of("token:t"),
    }
    for code, stop in stops.items():
        queries = Queries()
        told: list[SqluiceError] = []
        sending, other = queries.sending("a"), queries.sending("b")
        sending.cut = told.append
        queries.started(_request("a", token))
        queries.lives_by("a", frozenset({"sales.grant"}))
        queries.started(_request("b", CARL))
        for name in ("a", "b"):
            queries.finished(name)
        assert queries.credentials() >= {"token:t"}
        assert not queries.cancel("a", CARL) and not queries.end("sales.grant", "carl")
        assert stop(queries) and sending.reason is not None and other.reason is None
        assert [one.code for one in told] == [code] == [sending.reason.code]
        # The first reason stays, and what has left is nobody's any more.
        queries.cancel("a", OLA)
        assert len(told) == 1
        queries.sent(sending)
        queries.sent(sending)
        assert not stop(queries) and "token:t" not in queries.credentials()
        queries.sent(other)
        assert not queries._sending


def test_a_cancel_that_comes_early_is_not_lost() -> None:
    queries = Queries()
    queries.started(_request("a"))
    assert queries.cancel("a", NORA)
    stopped = threading.Event()
    queries.attach("a", lambda _: stopped.set())
    assert stopped.is_set()
    queries.attach("unknown", lambda _: None)


def test_what_ended_is_kept_for_a_while() -> None:
    now = [0.0]
    queries = Queries(lambda: now[0], kept=2)
    for number in range(4):
        queries.started(_request(f"q{number}"))
        queries.progress(f"q{number}", number)
    now[0] = 2.5
    assert queries.list(NORA)[0].seconds == 2.5
    for number in range(3):
        queries.finished(f"q{number}", "failed" if number else "ok", "timeout")
    queries.finished("q2")
    queries.progress("q2", 99)
    now[0] = 9.0
    assert [one.query_id for one in queries.list(NORA, ended=True)] == ["q1", "q2", "q3"]
    ended = queries.get("q2", NORA)
    assert ended is not None
    assert (ended.state, ended.code, ended.rows, ended.seconds) == ("failed", "timeout", 2, 2.5)
    assert not queries.cancel("q2", NORA)


def test_everything_stops_when_the_gateway_goes_down() -> None:
    queries = Queries()
    stopped: list[str] = []
    queries.started(_request("a"), lambda _: stopped.append("a"))
    queries.started(_request("b"))
    assert queries.cancel_all() == 2
    assert stopped == ["a"]


def test_many_threads_may_use_it() -> None:
    queries = Queries(kept=50)

    def work(name: int) -> None:
        for number in range(100):
            query_id = f"{name}-{number}"
            queries.started(_request(query_id), lambda _: None)
            queries.cancel(query_id, NORA)
            queries.list(OLA, ended=True)
            queries.finished(query_id)

    threads = [threading.Thread(target=work, args=(one,)) for one in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=60)
    assert queries.count == 0
    assert len(queries.list(NORA, ended=True)) == 50


def test_a_query_that_runs_is_not_replaced() -> None:
    queries = Queries()
    queries.started(_request("a"))
    with pytest.raises(Conflict):
        queries.started(_request("a", CARL))
    assert queries.list(OLA)[0].user == "nora"
    queries.finished("a")
    queries.started(_request("a"))


def test_a_key_makes_another_id_for_everybody() -> None:
    key = f"k_{'0' * 32}"
    assert is_query_key(key) and not is_query_key("k_1") and not is_query_key("q_" + "0" * 24)
    assert keyed_query_id("nora", key) == keyed_query_id("nora", key)
    assert keyed_query_id("nora", key) != keyed_query_id("carl", key)


def test_a_gateway_that_goes_down_waits_for_what_runs_and_begins_nothing() -> None:
    queries = Queries()
    queries.started(_request("q_1"))
    assert not queries.drain(0.05)
    with pytest.raises(SourceUnavailable):
        queries.started(_request("q_2"))
    with pytest.raises(SourceUnavailable):
        queries.require_open()
    ended = threading.Timer(0.1, queries.finished, ("q_1",))
    ended.start()
    assert queries.drain(20) and queries.count == 0
    ended.join()


def test_a_revoked_token_ends_what_runs_by_it_alone() -> None:
    queries, told = Queries(), list[object]()
    for name, credential in (("q_1", "token a"), ("q_2", "token b"), ("q_3", "password")):
        queries.started(_request(name, replace(NORA, credential=credential)), told.append)
    assert queries.credentials() == {"token a", "token b", "password"}
    assert queries.end_of("token a") == 1 and queries.end_of("token c") == 0
    assert [type(one) for one in told] == [Unauthenticated]
