"""Clients of all kinds at once, in three thirds, with a rest after each.

Takes: a place, clients, seconds. Gives: a report. Never stops at a defect: what comes after it
tells more.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from gateway.serve.flight.streams import WAITING_SECONDS
from tests.served import within
from tests.soak.counts import Counts, counts, memory
from tests.soak.judging import grown, growth, left
from tests.soak.place import Place

# One turn of a client; raises where an answer is wrong, or an error is none of those due.
Turn = Callable[[Place, random.Random], None]
# A result of Flight SQL waits a minute for somebody to fetch it: a client that vanishes between the
# two calls is not seen to.
_PATIENCE = WAITING_SECONDS + 15.0
_TOLD_DEFECTS = 40


@dataclass(slots=True)
class Report:
    """How a soak went. `rests` are the counts after each third, memory is in bytes."""

    seconds: float
    turns: dict[str, int]
    rests: list[Counts]
    memory: list[list[int]]
    defects: list[str]

    @property
    def as_json(self) -> Mapping[str, object]:
        """For files."""
        return {**asdict(self), "rests": [asdict(one) for one in self.rests]}


@dataclass(slots=True)
class _Board:
    """What the clients tell."""

    turns: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def turned(self, name: str) -> None:
        with self.lock:
            self.turns[name] += 1

    def failed(self, name: str, error: BaseException) -> None:
        text = f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:400]}"
        with self.lock:
            self.defects[text] += 1


def soak(
    place: Place,
    clients: Mapping[str, Turn],
    seconds: float,
    tell: Callable[[str], None] = lambda _: None,
    patience: float = _PATIENCE,
) -> Report:
    """Everything at once for so long, then the verdict; so long a rest may wait for quiet."""
    board, rests, held = _Board(), [], []
    for third in range(3):
        held.append(_third(place, clients, seconds / 3, (board, third, tell)))
        within(patience, lambda: _is_quiet(place))
        rests.append(counts(place))
        tell(f"at rest: {_line(rests[-1])}")
    found = [f"{text} ({count} times)" for text, count in board.defects.most_common(_TOLD_DEFECTS)]
    found += [one for rest in rests for one in left(rest)]
    found += grown(rests[1], rests[2])
    found += growth([rests[1].memory], [rests[2].memory], "at rest")
    found += growth(held[1], held[2], "at work")
    found += [f"{name} never had a turn" for name in clients if not board.turns[name]]
    return Report(seconds, dict(sorted(board.turns.items())), rests, held, found)


def _third(
    place: Place,
    clients: Mapping[str, Turn],
    seconds: float,
    told: tuple[_Board, int, Callable[[str], None]],
) -> list[int]:
    """One third; gives what memory was held meanwhile."""
    board, number, tell = told
    stop, seen, began = threading.Event(), list[int](), time.monotonic()

    def client(name: str, turn: Turn) -> None:
        chosen = random.Random(f"{name} {number}")
        while not stop.is_set():
            try:
                turn(place, chosen)
            except Exception as error:  # noqa: BLE001 - whatever it is, the soak goes on and tells it
                board.failed(name, error)
                stop.wait(0.2)
            board.turned(name)

    threads = [
        threading.Thread(target=client, args=each, name=each[0]) for each in clients.items()
    ]
    for one in threads:
        one.start()
    shown = began
    while (passed := time.monotonic() - began) < seconds:
        time.sleep(min(1.0, seconds - passed))
        seen.append(memory(place.served.pid))
        if time.monotonic() - shown >= 10:
            shown = time.monotonic()
            done, bad = sum(board.turns.values()), sum(board.defects.values())
            tell(
                f"third {number + 1}, {passed:4.0f} s: {done} turns, {bad} defects, "
                f"{seen[-1] >> 20} MiB"
            )
    stop.set()
    _joined(threads, board)
    return seen


def _joined(threads: Sequence[threading.Thread], board: _Board) -> None:
    deadline = time.monotonic() + 120
    for one in threads:
        one.join(max(0.0, deadline - time.monotonic()))
        if one.is_alive():
            board.failed(one.name, TimeoutError("the client hangs"))


def _is_quiet(place: Place) -> bool:
    found = counts(place)
    return not (found.running or found.active or found.files)


def _line(one: Counts) -> str:
    return (
        f"{one.running} running, {one.sessions} sessions of PostgreSQL ({one.active} active), "
        f"{one.threads} threads, {one.descriptors} descriptors ({one.sockets} sockets), "
        f"{len(one.files)} files, {one.memory >> 20} MiB"
    )
