"""Another gateway lets nobody in any more: too many requests, statements, sessions or calls.

Takes: a far gateway with narrow bounds, a near one whose source it is. Gives: a code that may be
retried, in our words and with their patience; that nothing is left open here nor running there;
and that it goes on once there is room.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import duckdb
import grpc
import pytest

from connectors import flightsql
from connectors.base import ConnectorUnavailable, Sizing, load_connector
from gateway.errors import RateLimited, SourceUnavailable, SqluiceError
from gateway.opening import OpenGateway
from gateway.serve.flight import sign_in
from gateway.serve.flight.server import FlightEndpoint
from tests.faults.outcomes import leased
from tests.faults.proxy import Proxy
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain
from tests.served import within
from tests.small_mesh import SmallMesh, opened_mesh, principal

# More than what lies on the way holds.
ROWS = 5_000_000
LARGE, SMALL = "select id, s from far.large", "select count(*) n from far.small"
_TYPES = {"id": "INTEGER", "s": "VARCHAR"}


@contextmanager
def gateways(folder: Path, limits: Mapping[str, int]) -> Iterator[tuple[PlainMesh, OpenGateway]]:
    """The near and the far gateway, which has such limits."""
    mesh = SmallMesh(
        domain="sales", source={"connector": "duckdb", "settings": {"path": "rows.duckdb"}},
        tables={name: (f"main.{name}", _TYPES) for name in ("large", "small")},
        users={"gate": {}},
        grants=tuple({"product": name, "subjects": [{"users": ["gate"]}]}
                     for name in ("large", "small")),
        gateway={"limits": limits},
    )  # fmt: skip
    (folder / "far/data").mkdir(parents=True)
    with duckdb.connect(str(folder / "far/data/rows.duckdb")) as made:
        for name, count in (("large", ROWS), ("small", 9)):
            rows = f"SELECT range::INT AS id, md5(range::VARCHAR) AS s FROM range({count})"
            made.execute(f"CREATE VIEW {name} AS {rows}")
    far = opened_mesh(folder / "far", mesh)
    endpoint = FlightEndpoint(far, "127.0.0.1", 0)
    settings = {"url": f"grpc://127.0.0.1:{endpoint.start()}", "user": "gate",
                "identity": "service"}  # fmt: skip
    source = PlainSource("flightsql", settings, {"password": "gate-demo"})
    tables = [
        PlainTable("far", name, f"sales.{name}", {"id": "integer", "s": "text"})
        for name in ("large", "small")
    ]
    near = open_plain(folder, {"far": source}, tables)
    try:
        yield near, far
    finally:
        near.close()
        endpoint.stop()
        far.close()


def refused(near: PlainMesh) -> SqluiceError:
    """The error of a statement, which may be sent again and tells nothing of the other's."""
    with pytest.raises((RateLimited, SourceUnavailable)) as caught:
        near.ask(SMALL)
    error = caught.value

    assert error.entry.retryable
    assert "far.small" in error.message
    assert "gate" not in error.message.replace("gateway", "") and "127.0" not in error.message
    return error


def answers(near: PlainMesh) -> bool:
    """Whether there is an answer, and not one of those errors."""
    try:
        return bool(near.ask(SMALL)["n"].to_pylist() == [9])
    except (RateLimited, SourceUnavailable):
        return False


def check_nothing_left(near: PlainMesh, far: OpenGateway) -> None:
    assert within(30, lambda: leased(near) == 0), leased(near)
    assert within(30, lambda: not far.queries.list(principal(far, "gate")))


def test_too_many_requests(tmp_path: Path) -> None:
    """Told with how long to wait, and so it is again."""
    with gateways(tmp_path, {"requests_per_second": 4}) as (near, far):
        assert near.ask(SMALL)["n"].to_pylist() == [9]
        codes: list[SqluiceError] = []
        for _ in range(40):
            try:
                near.ask(SMALL)
            except SqluiceError as error:
                codes.append(error)
                break
        assert [one.code for one in codes] == ["rate_limited"]
        assert isinstance(codes[0], RateLimited) and 0 < codes[0].retry_after <= 0.25
        check_nothing_left(near, far)
        time.sleep(1.5)
        assert near.ask(SMALL)["n"].to_pylist() == [9]
        check_nothing_left(near, far)


def test_too_many_statements_at_once(tmp_path: Path) -> None:
    """Who reads slowly here holds the one place there; when he goes the next has it."""
    with gateways(tmp_path, {"concurrency": 1, "requests_per_second": 0}) as (near, far):
        assert near.ask(SMALL)["n"].to_pylist() == [9]
        batches = near.start(LARGE).batches()
        next(batches)
        assert refused(near).code == "rate_limited"
        assert leased(near) == 1
        batches.close()  # type: ignore[attr-defined]  # a generator
        check_nothing_left(near, far)
        assert near.ask(SMALL)["n"].to_pylist() == [9]


def test_too_many_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told that he may read no more: it is the sign-in that has to be sent again."""
    with gateways(tmp_path, {"requests_per_second": 0}) as (near, far):
        monkeypatch.setattr(sign_in, "_MOST_SESSIONS", 0)
        assert refused(near).code == "rate_limited"
        check_nothing_left(near, far)
        monkeypatch.undo()
        assert near.ask(SMALL)["n"].to_pylist() == [9]


def test_too_many_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gRPC itself refuses has no word of the other gateway with it."""
    bounded = partial(grpc.server, maximum_concurrent_rpcs=1)
    monkeypatch.setattr(grpc, "server", bounded)
    with gateways(tmp_path, {"requests_per_second": 0}) as (near, far):
        monkeypatch.undo()
        assert within(30, lambda: answers(near))
        batches = near.start(LARGE).batches()
        next(batches)
        assert refused(near).code == "rate_limited"
        batches.close()  # type: ignore[attr-defined]  # a generator
        check_nothing_left(near, far)
        # A call is over there a moment after its last answer.
        assert within(30, lambda: answers(near))


def test_one_that_falls_silent_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is asked for sizes, too: nobody has a deadline there who could stop it."""
    monkeypatch.setattr(flightsql, "SECONDS", 0.5)
    with gateways(tmp_path, {"requests_per_second": 0}) as (near, _):
        source = near.opened.publisher.current().mesh.sources["far.rows"]
        proxy = Proxy(urlsplit(source.settings["url"]).port or 0)
        settings = {**source.settings, "password": "gate-demo",
                    "url": f"grpc://127.0.0.1:{proxy.port}"}  # fmt: skip
        connection = cast(Sizing, load_connector("flightsql").connect(settings))
        try:
            assert connection.sizes(["sales.small"])["sales.small"].rows == 9
            proxy.break_after("stall", 0)
            began = time.monotonic()
            with pytest.raises(ConnectorUnavailable):
                connection.sizes(["sales.small"])
            assert time.monotonic() - began < 20
        finally:
            connection.close()
            proxy.close()
