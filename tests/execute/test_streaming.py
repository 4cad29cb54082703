"""A stream that is read ahead: up to its bound, in order, to no clean end where it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pyarrow as pa
import pytest

from gateway.errors import Cancelled, SourceFailed, SqluiceError, TimedOut
from gateway.streaming import Stream
from tests.served import within

ROWS = 1_000
BYTES = ROWS * 8


class Source:
    """Numbered batches; how many were read, and whether it was closed. `gate` holds it up."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error = count, error
        self.read, self.is_closed = 0, False
        self.gate = threading.Event()
        self.gate.set()
        self.reason: SqluiceError | None = None

    def _batches(self) -> Generator[pa.RecordBatch, None, None]:
        try:
            for number in range(self.count):
                self.gate.wait(60)
                if self.reason is not None:
                    raise self.reason
                self.read += 1
                yield pa.record_batch({"n": pa.array([number] * ROWS)})
            if self.error is not None:
                raise self.error
        finally:
            self.is_closed = True

    def stream(self) -> Stream:
        batches = self._batches()
        return Stream(next(batches), batches, lambda: self.reason)


def numbers(stream: Stream) -> list[int]:
    return [one.column(0)[0].as_py() for one in stream]


def test_it_is_read_before_it_is_asked_for_and_no_further_than_its_bound() -> None:
    source = Source(20)
    stream = source.stream()
    assert source.read == 1
    stream.read_ahead(4 * BYTES)
    assert within(60, lambda: source.read == 4)
    assert not within(0.1, lambda: source.read > 4)
    next(stream)
    assert within(60, lambda: source.read == 5)
    assert numbers(stream) == list(range(1, 20)) and source.is_closed


def test_an_error_comes_behind_what_was_read_before_it() -> None:
    stream = Source(3, SourceFailed("broken")).stream()
    stream.read_ahead(100 * BYTES)
    assert [next(stream).column(0)[0].as_py() for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(SourceFailed):
            next(stream)


@pytest.mark.parametrize("at_source", [False, True])
def test_what_is_stopped_gives_nothing_more_and_no_clean_end(at_source: bool) -> None:
    """Wherever its thread is: at its bound, or at the source."""
    source = Source(9)
    stream = source.stream()
    if at_source:
        source.gate.clear()
    stream.read_ahead((9 if at_source else 3) * BYTES)
    assert within(60, lambda: source.read == (1 if at_source else 3))
    source.reason = TimedOut("too long")
    stream.stop()
    source.gate.set()
    for _ in range(2):
        with pytest.raises(TimedOut):
            next(stream)
    assert within(60, lambda: source.is_closed)


def test_a_source_that_ends_while_it_is_stopped_makes_no_clean_end() -> None:
    source = Source(2)
    stream = source.stream()
    stream.read_ahead(9 * BYTES)
    assert within(60, lambda: source.is_closed)
    stream.stop()
    with pytest.raises(Cancelled):
        next(stream)


def test_who_closes_it_waits_for_its_thread() -> None:
    before = threading.active_count()
    source = Source(9)
    stream = source.stream()
    stream.read_ahead(2 * BYTES)
    stream.close()
    assert source.is_closed and threading.active_count() <= before


def test_a_small_answer_is_taken_whole_and_leaves_nothing() -> None:
    source = Source(1)
    stream = source.stream()
    found = stream.whole(BYTES)
    assert found is not None and [one.num_rows for one in found] == [ROWS]
    assert source.is_closed and numbers(stream) == []
    assert Stream(None, Source(0)._batches(), lambda: None).whole(BYTES) == ()


def test_what_is_no_small_answer_stays_to_be_read() -> None:
    for source, most in ((Source(3), BYTES), (Source(1), BYTES - 1)):
        stream = source.stream()
        assert stream.whole(most) is None
        assert numbers(stream) == list(range(source.count)) and source.is_closed


def test_whole_meets_what_the_source_fails_with_and_that_it_was_stopped() -> None:
    stream = Source(1, SourceFailed("gone")).stream()
    with pytest.raises(SourceFailed):
        stream.whole(BYTES)
    source = Source(3)
    stream = source.stream()
    assert stream.whole(BYTES) is None
    stream.stop()
    assert source.is_closed
    for again in (lambda: stream.whole(BYTES), lambda: next(stream)):
        with pytest.raises(Cancelled):
            again()
