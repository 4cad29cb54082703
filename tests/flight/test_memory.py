"""A large answer passes through in little memory, however large it is."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.served import Served

ROWS, MEGABYTES = 1_500_000, 60
WIDE = (
    "select a.*, b.flight_id as other from operations.departures a, operations.departures b "
    "limit {}"
)


def _kilobytes(process: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1])


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_large_answer_passes_through(gateway: Served) -> None:
    """The peak of the gateway, over what it held when it had answered the same briefly."""
    with gateway.connect() as connection, connection.cursor() as cursor:
        for count in (10, ROWS):
            Path(f"/proc/{gateway.pid}/clear_refs").write_text("5")  # the peak begins anew
            before, rows, size = _kilobytes(gateway.pid, "VmRSS"), 0, 0
            cursor.execute(WIDE.format(count))
            with cursor.fetch_record_batch() as reader:
                for batch in reader:
                    rows, size = rows + batch.num_rows, size + batch.nbytes
            assert rows == count
    assert size > 2 * MEGABYTES << 20
    assert _kilobytes(gateway.pid, "VmHWM") - before <= MEGABYTES << 10
