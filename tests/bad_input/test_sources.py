"""Sources that fail and files that are broken: only their own products suffer.

Takes: a small mesh of three sources for each test. Gives: what callers meet when one is down,
dies, loses its secret, or is left by its reader. Never waits without a deadline.
"""

from __future__ import annotations

import csv
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from adbc_driver_flightsql import dbapi
from adbc_driver_manager import Error

from gateway.errors import InvalidConfig, SqluiceError
from gateway.opening import OpenGateway
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.http.application import make_application
from gateway.sessions import new_query_id
from tests.bad_input.plant import (
    Plant,
    answer,
    build_database,
    build_plant,
    failure_of,
    principal,
    start,
    within,
)
from tests.sample import SampleMesh

EXPECTED = {"records": 1, "stock": 2, "archive": 3}
MANY = "select * from plant.records.many"
SLOW = "select * from plant.records.slow"
BASIC = ("nora", "nora-demo")


@pytest.fixture(scope="module")
def database(sample: SampleMesh) -> SampleMesh:
    """The database of this module, built once."""
    build_database(sample.server)
    return sample


@pytest.fixture
def plant(database: SampleMesh, tmp_path: Path) -> Plant:
    """The mesh, not yet open."""
    return build_plant(database.server, tmp_path)


@pytest.fixture
def opened(plant: Plant) -> Iterator[OpenGateway]:
    """An open gateway over it."""
    made = plant.open()
    yield made
    made.close()


def check_only_down(opened: OpenGateway, plant: Plant, down: str) -> SqluiceError:
    """One product is unavailable, alone and joined; the others answer."""
    for product, number in EXPECTED.items():
        sql = f"select id from plant.{product}.parts"
        if product != down:
            assert answer(opened, sql) == [{"id": number}]
            joined = f"{sql} union all select id from plant.{down}.parts"
            assert getattr(failure_of(opened, joined), "code", None) == "source_unavailable"
    error = failure_of(opened, f"select id from plant.{down}.parts")
    assert error is not None
    assert error.code == "source_unavailable"
    assert f"plant.{down}" in error.message
    assert error.remedy
    shown = f"{error.message} {error.remedy} {error}"
    for private in (str(plant.folder), "127.0.0.1", "localhost", "sqlite", "hush", "password"):
        assert private not in shown
    return error


def test_all_answer(opened: OpenGateway) -> None:
    for product, number in EXPECTED.items():
        assert answer(opened, f"select id from plant.{product}.parts") == [{"id": number}]


def test_a_database_file_that_is_gone(plant: Plant) -> None:
    place = plant.folder / "store.sqlite"
    away = place.rename(plant.folder / "elsewhere")
    opened = plant.open()
    try:
        check_only_down(opened, plant, "stock")
        assert not place.exists()
        away.rename(place)
        assert answer(opened, "select id from plant.stock.parts") == [{"id": 2}]
    finally:
        opened.close()


def test_a_server_that_does_not_listen(plant: Plant, opened: OpenGateway) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    right = plant.secret.read_text()
    plant.secret.write_text(f"postgresql://postgres:hush@127.0.0.1:{port}/bad_input")
    check_only_down(opened, plant, "records")
    plant.secret.write_text(right)
    assert answer(opened, "select id from plant.records.parts") == [{"id": 1}]


def test_a_secret_that_is_missing(plant: Plant, opened: OpenGateway) -> None:
    right = plant.secret.read_text()
    plant.secret.unlink()
    error = check_only_down(opened, plant, "records")
    assert right not in f"{error.private}"
    plant.secret.write_text(right)
    assert answer(opened, "select id from plant.records.parts") == [{"id": 1}]


def test_a_password_that_is_wrong(plant: Plant, opened: OpenGateway) -> None:
    """What the server says of it stays in the owner's log."""
    right = plant.secret.read_text()
    plant.secret.write_text(re.sub(r"//[^@]*@", "//nobody_there:hush@", right))
    check_only_down(opened, plant, "records")


@pytest.mark.parametrize(
    "sql",
    [
        MANY,
        f"{MANY} where id > 1.5",
        "select m.id, m.note, s.id from plant.records.many m "
        "left join plant.stock.parts s on s.id = m.id",
    ],
)
def test_a_source_that_dies_in_mid_stream(plant: Plant, opened: OpenGateway, sql: str) -> None:
    """Never a clean end: an error, before or after the first batch."""
    # How large the tables are is asked once, and not in the middle of this.
    answer(opened, "select id from plant.records.many limit 1")
    started, ended = threading.Event(), threading.Event()
    killed: list[int] = []

    def kill() -> None:
        # Again and again: what breaks before its first row is read once more.
        started.wait(60)
        while not ended.wait(0.02):
            if count := plant.terminate():
                killed.append(count)

    killer = threading.Thread(target=kill)
    killer.start()
    rows = 0
    try:
        with pytest.raises(SqluiceError) as caught:
            started.set()
            result = start(opened, sql)
            for batch in result.batches():
                within(60, lambda: bool(killed))
                rows += batch.num_rows
    finally:
        ended.set()
    killer.join(60)
    assert killed
    assert rows < 3_000_000
    assert caught.value.code in ("source_error", "source_unavailable")
    assert "plant.records" in caught.value.message
    assert "terminat" not in caught.value.message
    assert answer(opened, "select id from plant.records.parts") == [{"id": 1}]
    told = opened.gateway.queries(principal(opened), ended=True)
    assert caught.value.code in {one.code for one in told}


@pytest.mark.parametrize("media", ["application/json", "text/csv"])
def test_http_never_ends_a_broken_answer_cleanly(
    plant: Plant, opened: OpenGateway, media: str
) -> None:
    client = make_application(opened).test_client()
    response = client.post(
        "/v1/query", json={"sql": MANY}, auth=BASIC, headers={"Accept": media}, buffered=False
    )
    assert response.status_code == 200
    pieces = iter(response.iter_encoded())
    body = [next(pieces), next(pieces)]
    assert plant.terminate() == 1
    body.extend(pieces)
    whole = b"".join(body)
    if media == "text/csv":
        assert re.search(rb'\r\n"#error source_\w+ \w+\Z', whole)
        with pytest.raises(csv.Error, match="unexpected end"):
            list(csv.reader(io.StringIO(whole.decode(), newline=""), strict=True))
    else:
        assert json.loads(whole)["error"]["code"].startswith("source_")


@pytest.mark.parametrize("sql", [SLOW, MANY])
def test_cancel_from_another_thread(plant: Plant, opened: OpenGateway, sql: str) -> None:
    query_id = new_query_id()
    cancelled: list[float] = []

    def cancel() -> None:
        if within(60, lambda: plant.running() > 0):
            cancelled.append(time.monotonic())
            assert opened.gateway.cancel(query_id, principal(opened))

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(SqluiceError) as caught:
        for _ in start(opened, sql, query_id=query_id).batches():
            canceller.join(60)
    ended = time.monotonic()
    canceller.join(60)
    assert caught.value.code == "cancelled"
    assert ended - cancelled[0] < 60
    assert within(60, lambda: plant.running() == 0)
    assert answer(opened, "select id from plant.records.parts") == [{"id": 1}]


def test_who_leaves_early_stops_the_source(plant: Plant, opened: OpenGateway) -> None:
    batches = start(opened, MANY).batches()
    assert next(batches).num_rows > 0
    assert within(60, lambda: plant.running() == 1)
    batches.close()  # type: ignore[attr-defined]  # the protocol promises an iterator only
    assert within(60, lambda: plant.running() == 0)
    assert answer(opened, "select id from plant.records.parts") == [{"id": 1}]


def test_a_client_of_http_that_goes_away(plant: Plant, opened: OpenGateway) -> None:
    client = make_application(opened).test_client()
    response = client.post("/v1/query", json={"sql": MANY}, auth=BASIC, buffered=False)
    pieces = iter(response.iter_encoded())
    assert next(pieces)
    assert within(60, lambda: plant.running() == 1)
    response.close()
    assert within(60, lambda: plant.running() == 0)
    assert client.post("/v1/query", json={"sql": "select 1"}, auth=BASIC).status_code == 200


@pytest.fixture
def cursor(opened: OpenGateway) -> Iterator[dbapi.Cursor]:
    """A cursor of a stock client over Flight."""
    endpoint = FlightEndpoint(opened, "127.0.0.1", 0)
    address = f"grpc://127.0.0.1:{endpoint.start()}"
    signed = {"username": BASIC[0], "password": BASIC[1]}
    with (
        dbapi.connect(address, db_kwargs=signed, autocommit=True) as connection,
        connection.cursor() as made,
    ):
        yield made
    endpoint.stop()


def test_flight_never_ends_a_broken_answer_cleanly(plant: Plant, cursor: dbapi.Cursor) -> None:
    cursor.execute(MANY)
    reader = cursor.fetch_record_batch()
    rows = reader.read_next_batch().num_rows
    assert plant.terminate() == 1
    with pytest.raises((Error, OSError), match=r"source_\w+") as caught:
        rows += sum(batch.num_rows for batch in reader)
    assert 0 < rows < 3_000_000
    assert "terminat" not in str(caught.value)
    cursor.execute("select id from plant.records.parts")
    assert cursor.fetchall() == [(1,)]


def test_a_client_of_flight_that_goes_away(plant: Plant, cursor: dbapi.Cursor) -> None:
    cursor.execute(MANY)
    reader = cursor.fetch_record_batch()
    assert reader.read_next_batch().num_rows > 0
    assert within(60, lambda: plant.running() == 1)
    reader.close()
    cursor.close()
    assert within(60, lambda: plant.running() == 0)


CONTRACT = "domains/plant/contracts/stock.odcs.yaml"
BROKEN = {
    "no YAML": (CONTRACT, "kind: [", r"stock\.odcs\.yaml:\d+"),
    "unknown key": (
        "domains/plant/domain.yaml",
        "kind: Domain\nname: plant\ndescription: x\nowners: [nobody]\ncolour: red\n",
        r"domain\.yaml:5",
    ),
    "unknown product": (
        "domains/plant/grants/more.yaml",
        "kind: Grant\nid: more\nproduct: nothing\nsubjects: [{groups: [staff]}]\n",
        r"more\.yaml:\d+.*nothing",
    ),
    "two masks of one rank": (
        "governance/policies/masks.yaml",
        "kind: Policy\nid: first-mask\nmatch: {tags: [part.note]}\n"
        "effect: {mask: {kind: partial, keepLast: 4}}\n---\n"
        "kind: Policy\nid: second-mask\nmatch: {tags: [part.note]}\n"
        "effect: {mask: {kind: partial, keepLast: 2}}\n",
        r"masks\.yaml:\d+.*first-mask.*second-mask|second-mask.*first-mask",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_at_start(plant: Plant, name: str) -> None:
    path, text, told = BROKEN[name]
    (plant.conf / path).write_text(text)
    with pytest.raises(InvalidConfig, match=told) as caught:
        plant.open()
    assert str(plant.folder) not in caught.value.message
    assert "sqluice check" in caught.value.remedy


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_at_reload(plant: Plant, opened: OpenGateway, name: str) -> None:
    path, text, told = BROKEN[name]
    place, before = plant.conf / path, opened.publisher.current()
    good = place.read_text() if place.exists() else None
    place.write_text(text)
    assert not opened.publisher.reload()
    assert re.search(told, opened.publisher.failure or "")
    assert opened.publisher.current() is before
    assert answer(opened, "select id from plant.stock.parts") == [{"id": 2}]
    ready = make_application(opened).test_client().get("/readyz")
    assert ready.get_json()["status"] == "degraded"
    assert "yaml" not in ready.text
    if good is None:
        place.unlink()
    else:
        place.write_text(good)
    assert opened.publisher.reload()
    assert opened.publisher.failure is None
