"""A minute of the soak, and leaks that are planted: each of them is found."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flight.raw import RawClient
from tests.pgwire.wire import Wire, query
from tests.served import MANY, within
from tests.soak.clients import CLIENTS
from tests.soak.counts import Counts, counts
from tests.soak.judging import (
    MORE_DESCRIPTORS,
    MORE_SOCKETS,
    MORE_THREADS,
    grown,
    growth,
    left,
)
from tests.soak.place import Known, Place, opened
from tests.soak.running import soak
from tests.soak.wrong import WrongError, expect_rows

AT_REST = Counts(0, 0, 6, 12, 60, 90, (), 500 << 20)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize(
    ("leak", "word"),
    [
        ({"running": 1}, "statements run"),
        ({"active": 1}, "not idle"),
        ({"sessions": 17}, "more than the pools"),
        ({"threads": 90 + MORE_THREADS + 1}, "threads have grown"),
        ({"descriptors": 60 + MORE_DESCRIPTORS + 1}, "descriptors have grown"),
        ({"sockets": 12 + MORE_SOCKETS + 1}, "sockets have grown"),
        ({"files": ("left (deleted)",)}, "temporary files"),
    ],
)  # fmt: skip
def test_each_count_is_judged(leak: dict[str, object], word: str) -> None:
    held = replace(AT_REST, **leak)  # type: ignore[arg-type]  # by name
    (told,) = left(held) + grown(AT_REST, held)
    assert word in told
    assert not left(AT_REST) + grown(AT_REST, AT_REST)


def test_what_runs_still_is_told() -> None:
    (told,) = left(replace(AT_REST, active=1, statements=("PostgreSQL: active select 1",)))
    assert told == "1 sessions of PostgreSQL are not idle (PostgreSQL: active select 1)"


def test_memory_is_judged_by_its_median() -> None:
    before = [500 << 20] * 60
    assert not growth(before, [540 << 20] * 59 + [900 << 20], "at work")
    assert growth(before, [545 << 20] * 60, "at work")


def test_a_wrong_answer_is_told() -> None:
    known = Known("nora", "select 1", ("n",), (("1",),))
    expect_rows(known, [(1,)], "a client")
    for rows in ([], [(2,)], [(1,), (1,)], [(None,)]):
        with pytest.raises(WrongError):
            expect_rows(known, rows, "a client")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with opened(tmp_path_factory.mktemp("soak")) as made:
        yield made


@linux
@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_minute(place: Place) -> None:
    """Memory is not judged: the gateway has not seen everything yet after 20 seconds."""
    report = soak(place, CLIENTS, 60)
    assert [one for one in report.defects if not one.startswith("memory")] == []
    assert min(report.turns.values()) > 0


@linux
@pytest.mark.long
@pytest.mark.timeout(400)
def test_planted_leaks_are_found(place: Place) -> None:
    """Clients that keep what they open, beside one that does not, and one that tells a lie."""
    kept, streams = ExitStack(), list[Wire]()

    def keeps(place: Place, chosen: random.Random) -> None:
        made = kept.enter_context(Wire(place.served.pgwire))
        made.sign_in("nora")
        if len(streams) < 3:
            streams.append(made)
            made.send(query(MANY))
        (place.temporary / f"left-{chosen.random()}").touch()
        time.sleep(0.2)

    def lies(place: Place, chosen: random.Random) -> None:
        time.sleep(0.2)
        expect_rows(chosen.choice(place.known), [], "a liar")

    honest = {"http-formats": CLIENTS["http-formats"]}
    with kept:
        report = soak(place, {**honest, "keeps": keeps, "lies": lies}, 12, patience=2)
    told = "\n".join(report.defects)
    for word in (
        "statements run", "not idle", "temporary files", "sockets have grown",
        "descriptors have grown", "lies: WrongError",
    ):  # fmt: skip
        assert word in told, told
    assert "http-formats" not in told
    for one in place.temporary.iterdir():
        one.unlink()
    assert within(60, lambda: not counts(place).running)
    assert Path(f"/proc/{place.served.pid}").is_dir()


@linux
@pytest.mark.long
@pytest.mark.timeout(400)
def test_planted_growth_is_found(place: Place) -> None:
    """Long statements, prepared in sessions that nobody ends."""
    kept = ExitStack()

    def hoards(place: Place, chosen: random.Random) -> None:
        raw = kept.enter_context(RawClient(place.served.flight, "carl"))
        for _ in range(40):
            raw.prepare(f"select '{'x' * 900_000}' as t, {chosen.random()} as n")

    with kept:
        report = soak(place, {"hoards": hoards}, 30, patience=2)
    assert any(one.startswith("memory at rest has grown") for one in report.defects), report
