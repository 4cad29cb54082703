"""Tests that failed in a whole run and pass alone: told by name, let through within bounds.

Takes: what pytest wrote down as failed in the last run. Gives: exit 0 where few failed, all of them
tests that wait for processes and sockets, and each passes twice more by itself; else 1. Never asks
a test of rows, policies or leaks again: what fails there once is wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LAST_FAILED = Path(".pytest_cache/v/cache/lastfailed")
# What waits for other processes, which a machine that stalls makes wait for longer.
WAITING = frozenset((
    "bench", "cli", "client", "clients", "decision_point", "demo", "faults", "flight", "gateways",
    "http", "identity", "pgwire", "serve", "sessions", "soak",
))  # fmt: skip
MOST = 5
TIMES = 2
SECONDS = 300


def refused(failed: Sequence[str]) -> str:
    """Why these are not asked again; '' if they may be."""
    if not failed:
        return "no test is written down as failed"
    if len(failed) > MOST:
        return f"{len(failed)} tests failed, over {MOST}"
    for one in failed:
        folder, *rest = one.removeprefix("tests/").split("/")
        if not one.startswith("tests/") or not rest or folder not in WAITING or "::" not in one:
            return f"{one} waits for nothing"
    return ""


def passes(test: str) -> bool:
    """Whether a test passes by itself, each time."""
    command = [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider"]
    every = ["-m", "long or not long"]
    try:
        return all(
            subprocess.run([*command, *every, test], timeout=SECONDS, check=False).returncode == 0
            for _ in range(TIMES)
        )
    except subprocess.TimeoutExpired:
        return False


def main() -> int:
    """Ask again what failed, and tell."""
    failed = sorted(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.exists() else []
    if why := refused(failed):
        sys.stdout.write(f"Not asked again: {why}.\n")
        return 1
    failing = [one for one in failed if not passes(one)]
    for one in failed:
        word = "FAILS" if one in failing else "UNSTEADY, passes alone"
        sys.stdout.write(f"{word}: {one}\n")
    if failing:
        return 1
    # pytest would carry them on into the next run's.
    LAST_FAILED.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
