"""The peer of the bench, made once for all tests that measure beside it.

Takes: the folder of a test. Gives: the environment with DuckDB 1.5.5 in it, found there by the
bench. It lies where `make bench` has it; never made by two at once.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

from bench.__main__ import FOLDER
from bench.peers import peer_python


def lend_peer(folder: Path) -> None:
    """Let a bench that keeps its data in the folder find the environment."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "peer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        home = peer_python(FOLDER).parents[1]
    (folder / home.name).symlink_to(home)
