"""A cancel that meets a statement just before it starts is not lost, whoever runs it.

Takes: the sample mesh. Gives: endless statements of the merge and of sources, cancelled in the
moment in which an interrupt has no effect yet.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow as pa
import pytest

from connectors.arrow import StreamingConnection
from connectors.base import Fragment
from gateway import execute
from gateway.engines import duckdb as engine
from gateway.errors import SqluiceError
from gateway.request import Request
from tests.sample import SampleMesh
from tests.served import within

Hold = Callable[["Moment", pytest.MonkeyPatch], None]
NORA = "nora"
MERGED = (
    "select count(*) from range(3000000) a(i), range(3000000) b(i) where (a.i * b.i) % 7 = b.i % 5"
)
AT_A_SOURCE = (
    "select count(*) from weather.observations.hourly a, weather.observations.hourly b, "
    "weather.observations.hourly c, weather.observations.hourly d where a.temp + b.temp < c.temp"
)


class Moment:
    """The last moment before a statement begins: told when it is there, and held in it."""

    def __init__(self) -> None:
        self.is_there, self.goes_on = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Be there, and stay until it may go on."""
        self.is_there.set()
        assert self.goes_on.wait(60)


def before_merge(moment: Moment, patched: pytest.MonkeyPatch) -> None:
    """Held after the cursor was made: running a statement forgets an earlier interrupt."""
    plain = engine._readable

    def held(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        moment.wait()
        return plain(relation)

    patched.setattr(engine, "_readable", held)


def before_source(moment: Moment, patched: pytest.MonkeyPatch) -> None:
    """Held after the connection is within reach, before anything runs on it."""
    plain = StreamingConnection.stream

    def held(self: StreamingConnection, fragment: Fragment) -> Iterator[pa.RecordBatch]:
        moment.wait()
        return plain(self, fragment)

    patched.setattr(StreamingConnection, "stream", held)


def outcome(sample: SampleMesh, request: Request) -> str:
    """The code of an answer."""
    try:
        list(sample.opened.gateway.answer(request).batches())
    except SqluiceError as error:
        return error.code
    return ""


CASES = pytest.mark.parametrize(
    ("hold", "sql"), [(before_merge, MERGED), (before_source, AT_A_SOURCE)]
)


@CASES
def test_it_is_said_again(
    hold: Hold, sql: str, sample: SampleMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment, request = Moment(), sample.request(NORA, sql)
    gateway, queries = sample.opened.gateway, sample.opened.gateway.services.queries
    hold(moment, monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(outcome, sample, request)
        assert moment.is_there.wait(60)
        assert gateway.cancel(request.query_id, request.principal)
        moment.goes_on.set()
        assert answer.result(60) == "cancelled"
    assert queries.count == 0


@CASES
def test_once_is_not_enough(
    hold: Hold, sql: str, sample: SampleMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the statement is endless, and the first cancel comes to nothing."""
    moment, request = Moment(), sample.request(NORA, sql)
    gateway = sample.opened.gateway
    hold(moment, monkeypatch)
    running: list[execute._Running] = []

    def noted(one: execute._Running) -> None:
        running.append(one)

    monkeypatch.setattr(execute._Running, "_insist", noted)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(outcome, sample, request)
        assert moment.is_there.wait(60)
        assert gateway.cancel(request.query_id, request.principal)
        moment.goes_on.set()
        try:
            assert within(60, lambda: bool(running))
            assert not within(1.0, answer.done)
        finally:
            monkeypatch.undo()
            running[0]._insist()
        assert answer.result(60) == "cancelled"
