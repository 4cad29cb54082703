"""The gateway of the demo, in a process of its own.

Takes: a mesh folder, its data folder, arguments of `sqluice serve`. Gives: the addresses on which
it answers, for as long as it is wanted. Never leaves it running.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gateway.errors import SourceUnavailable

_START = "from sqluice.command import main; main(prog_name='sqluice')"
_READY = re.compile(r"ready http=(\S+) flight=(\S+) pgwire=(\S+)")
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that answers."""

    process: subprocess.Popen[str]
    http: str
    flight: str
    pgwire: str


@contextmanager
def running(
    folder: Path, data: Path, *arguments: str, log: IO[str] | None = None
) -> Iterator[Gateway]:
    """Start, wait for an answer, hand over, stop. Its log goes to `log`, else to the terminal."""
    process = subprocess.Popen(
        [sys.executable, "-c", _START, "serve", "--conf", str(folder), *arguments],
        env={**os.environ, "SQLUICE_DATA": str(data)},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
    reader.start()
    try:
        yield Gateway(process, *_addresses(lines))
    finally:
        process.terminate()
        try:
            process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)
        reader.join(timeout=5)


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Every line that the gateway prints; the empty text at the end."""
    assert process.stdout is not None
    with process.stdout as printed:
        for line in printed:
            lines.put(line)
    lines.put("")


def _addresses(lines: queue.Queue[str]) -> tuple[str, str, str]:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            line = lines.get(timeout=1.0)
        except queue.Empty:
            continue
        if found := _READY.search(line):
            return found[1], found[2], found[3]
        if not line:
            break
    raise SourceUnavailable(
        "The gateway did not start.", hint="Its reasons stand above, or in the file gateway.log."
    )
