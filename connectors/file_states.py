"""Whether files are what they were when somebody began to read them.

Takes: paths. Gives: their states, and what has become of them since: the same, written over, gone
or another file under the name. Never opens a file to read it: whoever closes one lets go of all
locks that the process holds on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

# Which file it is, when it was written, how large it is.
State = tuple[int, int, int, int]
# A file that is written twice within one tick of the clock has one time: wait until it is older.
_TICK_NS = 20_000_000
_TRIES = 50


def state_of(path: Path) -> State | None:
    """The state of the file that a path means now; None where there is none."""
    try:
        return _state(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def settled(paths: Iterable[Path]) -> tuple[tuple[str, State], ...]:
    """The states of files that nobody has written in this very moment, by path."""
    named = list(paths)
    found: list[tuple[str, State]] = []
    for _ in range(_TRIES):
        states = ((str(one), state_of(one)) for one in named)
        found = [(name, state) for name, state in states if state is not None]
        if all(abs(time.time_ns() - state[2]) > _TICK_NS for _, state in found):
            break
        time.sleep(_TICK_NS / 1e9)
    return tuple(found)


def changed(states: Sequence[tuple[str, State]]) -> str | None:
    """What was written or removed since, if anything was."""
    for name, state in states:
        now = state_of(Path(name))
        if now is None:
            return f"{name} was removed while it was read"
        if now != state:
            return f"{name} was written while it was read"
    return None


class HeldFile:
    """A file by itself, whatever becomes of its name. `state`: as it was when it was found."""

    def __init__(self, path: Path) -> None:
        """Find it; FileNotFoundError where it is not."""
        self.path = path
        # Such a handle is for looking only: to close it lets go of no lock.
        only_look = getattr(os, "O_PATH", None)
        self._handle = None if only_look is None else os.open(path, only_look)
        found = settled([path])
        if not found:
            self.close()
            raise FileNotFoundError(path)
        self.state = found[0][1]

    def is_named(self) -> bool:
        """Whether the path still means it, and it is what it was."""
        return state_of(self.path) == self.state

    def is_written(self) -> bool:
        """Whether it was written since, under its name or without one."""
        if self._handle is None:
            now = state_of(self.path)
            return now is not None and now[:2] == self.state[:2] and now != self.state
        return _state(os.fstat(self._handle)) != self.state

    def close(self) -> None:
        """Let go of it; idempotent."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def _state(found: os.stat_result) -> State:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
