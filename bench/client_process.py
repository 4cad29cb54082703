"""A client in a process of its own, which does one task after the other.

Takes: the program of clients, a kind of them, what they connect with. Gives: what it tells of each
task, a line of JSON for a line of JSON. Never waits for a client that has ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ClientProcess:
    """The process; it has connected when it first answers."""

    def __init__(self, program: str, kind: str, address: str, user: str, password: str) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", program, kind, json.dumps([address, user, password])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).resolve().parents[1],
        )  # fmt: skip

    @property
    def process_id(self) -> int:
        """Of the process."""
        return self._process.pid

    def do(self, task: Mapping[str, object]) -> Any:  # noqa: ANN401 - what programs tell differs
        """What is told of a task."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a client has ended; it said why on standard error")
        return json.loads(line)

    def kill(self) -> None:
        """End the process as a crash would."""
        self._process.kill()

    def close(self) -> None:
        """End it, and wait."""
        self._process.kill()
        self._process.communicate()
