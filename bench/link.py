"""A slow link in front of the PostgreSQL server, as the measurements use it.

Takes: a server's URL and what the link is like. Gives: the URL through a proxy that runs in a
process of its own, so that it takes nothing from whom it slows, and the bytes that came through.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

_END_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Link:
    """Milliseconds of a round trip, megabits a second."""

    latency: float
    bandwidth: float

    @classmethod
    def of(cls, text: str) -> Link:
        """What `20,100` says; ValueError where that is no link."""
        latency, bandwidth = (float(part) for part in text.split(","))
        if latency < 0 or bandwidth <= 0:
            raise ValueError("a link has a latency and a bandwidth")
        return cls(latency, bandwidth)


class SlowLink:
    """A running proxy; `with` ends it."""

    def __init__(self, url: str, link: Link) -> None:
        """Start it in front of the server of a URL."""
        parts = urlsplit(url)
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("slow_link.py"),
             str(parts.hostname), str(parts.port or 5432), str(link.latency), str(link.bandwidth)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._port = self._read()

    def through(self, url: str) -> str:
        """A URL of the same server, by way of the link."""
        parts = urlsplit(url)
        signed, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{signed}{at}127.0.0.1:{self._port}"))

    @property
    def bytes(self) -> int:
        """What came from the server so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate(timeout=_END_SECONDS)
