"""When the endpoint stops, nothing of it is left: no task that waits, no thread that reads."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from tests.pgwire.small import small
from tests.pgwire.wire import Wire, query
from tests.served import within

LARGE = "select i, 'some text of row ' || i as t from range(0, 10000000) as r(i)"


def test_a_client_that_does_not_read_leaves_no_task_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = "SELECT i AS id FROM range(3) AS r(i)"
    before = set(threading.enumerate())
    with small(tmp_path / "mesh", table, {"id": "BIGINT"}) as held:
        with Wire(held.address) as made:
            made.sign_in("all")
            made.send(query(LARGE))
            assert made.receive() is not None
            assert within(60, lambda: "reading ahead" in _names(before))
            held.endpoint.stop(0.1)
        assert within(60, lambda: not {"reading ahead", "pgwire"} & _names(before))
        gc.collect()
    assert not [one for one in caplog.records if one.name == "asyncio"]


def _names(before: set[threading.Thread]) -> set[str]:
    """Of the threads that were not there before."""
    return {one.name for one in set(threading.enumerate()) - before}
