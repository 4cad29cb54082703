"""A process with a gateway in it, whose memory is nobody else's.

Takes: as arguments a mesh folder and the environment as JSON; a statement a line, as JSON, on
standard input. Gives: a line of JSON for each: seconds, rows, bytes. Never keeps a batch.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from bench.ours import Ours
from gateway.config import load_config
from gateway.opening import open_gateway, settle


def drained(batches: Iterable[pa.RecordBatch]) -> tuple[int, int]:
    """Rows and bytes of batches that nobody keeps."""
    rows = size = 0
    for one in batches:
        rows += one.num_rows
        size += one.nbytes
    return rows, size


def main(conf: str, environment: str) -> None:
    """Answer until the input ends."""
    with closing(open_gateway(load_config(Path(conf), json.loads(environment)))) as opened:
        settle()
        ours = Ours(opened, "open")
        for line in sys.stdin:
            start = time.perf_counter()
            rows, size = drained(ours.batches(json.loads(line)))
            told = (time.perf_counter() - start, rows, size)
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
